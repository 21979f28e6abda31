"""The file of a queue may come from anybody: no value in it reaches the terminal as it is."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import queuectl.cli
from queuectl.cli import output, tables
from queuectl.core.states import JobState
from support.queue import Queue
from support.states import every_state

_TEXT = "\x1b]0;pwned\a\x1b[2J\nsecond line"
_ESCAPED = r"\x1b]0;pwned\x07\x1b[2J\nsecond line"
_COMMANDS = (
    "list",
    "list --ids",
    "dlq list",
    "show dead",
    "show failed",
    "why failed",
    "status",
    "queue list",
    "worker list",
    "config list",
    "config get retention",
    "check",
    "doctor",
    "completion bash",
)
_COLUMNS = (
    "jobs.priority",
    "jobs.attempts",
    "jobs.max_retries",
    "jobs.exit_code",
    "jobs.queue",
    "jobs.locked_by",
    "jobs.id",
    "executions.attempt",
    "executions.worker",
    "executions.exit_code",
    "executions.signal",
    "executions.output_bytes",
    "queues.job_limit",
    "queues.name",
    "queues.pause_reason",
    "config.value",
)


@pytest.mark.parametrize("column", _COLUMNS)
def test_text_in_any_column_is_escaped(queue: Queue, column: str) -> None:
    """Prevents: a TEXT in a column of numbers, or the id of a worker, controlled the terminal."""
    every_state(queue)
    queue.ok("queue", "limit", "q", "3")
    queue.ok("queue", "pause", "q", "--reason", "x")
    queue.ok("config", "set", "retention", "1d")
    table, name = column.split(".")
    only = {"jobs": "WHERE id IN ('dead', 'failed')", "queues": "WHERE name = 'q'"}.get(table, "")
    if name in ("id", "locked_by"):
        only = f"WHERE state = '{'dead' if name == 'id' else 'processing'}'"
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("PRAGMA ignore_check_constraints = ON")
        conn.execute(f"UPDATE OR IGNORE {table} SET {name} = ? {only}", (_TEXT,))
        conn.commit()
        assert conn.execute(f"SELECT 1 FROM {table} WHERE {name} = ?", (_TEXT,)).fetchone()

    for words in _COMMANDS:
        called = queue.run(*words.split())
        printed = called.out + called.err
        assert "\x1b" not in printed, words
        assert "\a" not in printed, words
        assert "\nsecond line" not in printed, words


@pytest.mark.parametrize("value", [b"\x00\xff", b"q", "garbage", "2x"])
@pytest.mark.parametrize("column", ["jobs.queue", "executions.started_at", "executions.queue"])
def test_bytes_or_garbage_do_not_stop_what_looks_at_everything(
    queue: Queue, column: str, value: bytes | str
) -> None:
    """Prevents: these commands ended with a TypeError or a ValueError."""
    every_state(queue)
    queue.enqueue("true", "--queue", "other")
    table, name = column.split(".")
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute(f"UPDATE {table} SET {name} = ?", (value,))
        conn.commit()

    for words in ("status", "check", "doctor", "metrics", "stats", "stats --by hour"):
        assert "unexpected error" not in queue.run(*words.split()).err, words


def test_tables_fields_and_lines_escape_what_they_print(capsys: pytest.CaptureFixture[str]) -> None:
    """Each value, of any type; a state may have its colour."""
    columns = [tables.Column("A"), tables.Column("B")]
    tables.print_table(columns, [[_TEXT, 7], ["None", tables.state_cell(JobState.DEAD)]])
    tables.print_fields([("Name", _TEXT), ("Number", 7), ("Absent", None)])
    output.print_line(_TEXT)

    assert capsys.readouterr().out == (
        f"A{' ' * len(_ESCAPED)} B\n"
        f"{_ESCAPED}  7\n"
        f"None{' ' * (len(_ESCAPED) - 2)}dead\n"
        f"Name:   {_ESCAPED}\n"
        "Number: 7\n"
        f"{_ESCAPED}\n"
    )


def test_commands_print_text_only_through_what_escapes_it() -> None:
    """A new command must not have to remember it: raw output is for data, in these places."""
    package = Path(queuectl.cli.__file__).parent
    raw = {
        f"{path.relative_to(package)}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\b(print_data|click\.echo|click\.secho|sys\.stdout\.write)\(", line)
        and path.name not in ("output.py", "tables.py")
    }

    assert raw == {
        # help and version; empty lines; JSON that is escaped; a script for a shell
        "command.py: output.print_data(text(ctx))",
        "command.py: click.echo(ctx.get_help(), err=True)",
        'commands/help.py: output.print_data(f"queuectl {__version__}")',
        "pager.py: output.print_data(text, line_break=False)",
        'commands/show.py: output.print_data("")',
        "commands/show.py: output.print_data(separator, line_break=False)",
        'commands/logs.py: output.print_data("")',
        "commands/logs.py: output.print_data(separator, line_break=False)",
        "commands/transfer.py: output.print_data(line)",
        "commands/schedule_import.py: output.print_data(escape_json(line))",
        'commands/schedule.py: output.print_data("\\nNext:")',
        'commands/schedule.py: output.print_data("")',
        'hook_listings.py: output.print_data("")',
        'commands/sql.py: output.print_data("")',
        # CSV, escaped on a terminal
        "commands/sql.py: output.print_data(lines.getvalue(), line_break=False)",
        "commands/completion.py: output.print_data(script(shell))",
        # escaped, and constants
        'commands/sql.py: output.print_data("\\nExamples:")',
        'commands/sql.py: output.print_data(f"  {example}")',
        "commands/show.py: output.print_data(faint(_MEMORY))",
        "commands/doctor.py: output.print_data(level + line)",
        "commands/logs.py: output.print_data(strong(begin + title(job, cells=room) + end))",
        'command.py: click.echo(f"{escape(question)} [y/N]: ", nl=False, err=True)',
        r'commands/enqueue_wait.py: click.echo("\r", nl=False, err=True)  '
        "# over the ^C that the terminal shows",
    }

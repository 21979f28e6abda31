"""The command `sql`: a query of the queue by SQL, which can only read."""

from __future__ import annotations

import csv
import io
import os
import sys
import threading
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Iterable, Iterator, NoReturn, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import (
    QueueCommand,
    fail,
    json_option,
    option,
    queue_files,
    usage_error,
)
from queuectl.cli.parameters import DURATION
from queuectl.cli.tables import Cell, Column, print_fields, print_table
from queuectl.core.cells import width
from queuectl.core.errors import ReadTimeOut
from queuectl.core.escaping import escape
from queuectl.core.times import format_duration
from queuectl.storage.read_only import Answer, Value, ask, promised_views

_TIMED_OUT = 124
_FIRST_ROWS = 500
"""How many rows decide how the columns of a table look."""
_ROWS_AT_ONCE = 200
"""How many rows of CSV are printed at once: one by one takes ten times as long."""
_NARROW = 10
"""A text that takes no more cells than this stays whole in a table."""
_GRACE_SECONDS = 1.0
"""How long after its time a query is ended if SQLite itself does not end it."""

_EXAMPLES = (
    "queuectl sql 'SELECT command, sum(seconds) FROM run_list GROUP BY command'",
    "queuectl sql --json 'SELECT * FROM queue_list' | jq .",
)


@click.command(
    "sql",
    cls=QueueCommand,
    sections={"What is printed": "--json --csv --show-env", "Limits": "--timeout"},
)
@click.argument("query", nargs=-1, metavar="[QUERY|-]")
@json_option
@option("--csv", "as_csv", is_flag=True, help="Print CSV, with a line of column names.")
@option(
    "--show-env",
    is_flag=True,
    help="Read environment variables and stdin of jobs, too (default: as NULL).",
)
@option(
    "--timeout",
    "seconds",
    type=DURATION,
    default="10s",
    metavar="DURATION",
    help="How long the query may take (default: 10s; 0: no limit).",
)
def sql(query: Sequence[str], as_json: bool, as_csv: bool, show_env: bool, seconds: float) -> None:
    """Query the queue by SQL, for reading only.

    Without QUERY it lists the views that can be queried, with their columns; `queuectl help
    queries` explains them. With - the query is read from stdin. Environment variables and secrets
    are read as NULL.

    \b
    Exit codes:
      0    the query was answered, perhaps with no rows
      1    the query is refused or wrong
      124  the time of --timeout ran out

    \b
    Examples:
      queuectl sql "SELECT id, command FROM job_list WHERE state = 'dead'"
      queuectl sql --csv 'SELECT * FROM run_list' >runs.csv
    """
    if as_json and as_csv:
        usage_error("--json and --csv cannot be used together")
    if not query:
        if as_json or as_csv:
            usage_error("no query given (as an argument, or - to read it from stdin)")
        _print_views()
        return
    text = sys.stdin.read() if list(query) == ["-"] else " ".join(query)
    with _ended_after(seconds):
        try:
            answer = ask(
                queue_files(), text, show_env=show_env, seconds=seconds, notice=output.message
            )
        except ReadTimeOut:
            fail(_timed_out(seconds), _TIMED_OUT)
    if as_json:
        _print_json(answer)
    elif as_csv:
        _print_csv(answer)
    else:
        _print_table(answer)


def _timed_out(seconds: float) -> str:
    return f"the query took longer than {format_duration(seconds)} (--timeout)"


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """End the process if SQLite does not end a query in time.

    It looks at the clock between its instructions, but a single one, such as a search in a long
    text, can take for ever. Nothing is printed before a query has ended.
    """
    if not seconds:
        yield
        return
    path = click.get_current_context().command_path

    def end() -> NoReturn:
        output.error(path, _timed_out(seconds))
        os._exit(_TIMED_OUT)

    timer = threading.Timer(seconds + _GRACE_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _print_views() -> None:
    print_fields((view.name, view.columns) for view in promised_views())
    output.print_data("\nExamples:")
    for example in _EXAMPLES:
        output.print_data(f"  {example}")


def _print_json(answer: Answer) -> None:
    for at, name in enumerate(answer.columns):
        if name in answer.columns[:at]:
            fail(f"two columns are named {name} (give one another name with AS)", 1)
    output.print_json_array(dict(zip(answer.columns, map(_json_value, row))) for row in answer.rows)


def _json_value(value: Value) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    is_infinite = isinstance(value, float) and value in (float("inf"), float("-inf"))
    return None if is_infinite else value  # JSON has no such number


def _print_csv(answer: Answer) -> None:
    rows = chain([answer.columns], answer.rows)
    while True:
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows(_for_stdout(row) for row in islice(rows, _ROWS_AT_ONCE))
        if not lines.tell():
            return
        output.print_data(lines.getvalue(), line_break=False)


def _for_stdout(row: Iterable[Value]) -> list[Any]:
    """Return values for CSV. Their control characters do not reach a terminal."""
    values = [value.hex() if isinstance(value, bytes) else value for value in row]
    if not output.on_terminal():
        return values
    return [escape(value) if isinstance(value, str) else value for value in values]


def _print_table(answer: Answer) -> None:
    first = [list(map(_cell, row)) for row in islice(answer.rows, _FIRST_ROWS)]
    rows = chain(first, (list(map(_cell, row)) for row in answer.rows))
    columns = [
        _column(escape(name), [row[at] for row in first]) for at, name in enumerate(answer.columns)
    ]
    room = output.line_width()
    if room is not None and not _fits(columns, first, room):
        _print_records([column.header for column in columns], rows)
    elif not print_table(columns, rows):
        output.message("no rows")


def _print_records(names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print one row after another, each with a line per column: a table would be too wide."""
    for at, row in enumerate(rows):
        if at:
            output.print_data("")
        print_fields((name, value) for name, value in zip(names, row) if value != "")


def _column(header: str, cells: Sequence[Cell]) -> Column:
    if all(isinstance(cell, (int, float)) or cell == "" for cell in cells):
        return Column(header, right=True)
    return Column(header, least=max(_NARROW, width(header)))


def _fits(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int) -> bool:
    """Whether a table fits into a line, with texts that are cut."""
    if not rows:
        return True
    taken = 2 * (len(columns) - 1)
    for at, column in enumerate(columns):
        widest = max(width(column.header), *(width(escape(str(row[at]))) for row in rows))
        taken += widest if column.least is None else min(widest, column.least)
    return taken <= room


def _cell(value: Value) -> Cell:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    return f"{value:.15g}" if isinstance(value, float) else value

"""How jobs, counts and errors look: tables, JSON, colour, and control characters made harmless."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    TypeVar,
)

import click

from queuectl.core.errors import QueueError
from queuectl.core.escaping import escape, escape_json
from queuectl.core.states import JobState
from queuectl.core.times import format_duration, to_text, utcnow

if TYPE_CHECKING:
    from queuectl.core.models import Execution, Job, Worker

_Row = TypeVar("_Row")

MASK = "***"
_PAGE = 500
_CHUNK = 1 << 16

_COLORS = {
    JobState.COMPLETED: "green",
    JobState.PROCESSING: "cyan",
    JobState.FAILED: "yellow",
    JobState.DEAD: "red",
    JobState.CANCELLED: "bright_black",
}


def prepare_streams() -> None:
    """Make the standard streams fit for any text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Started with it closed: whatever was opened first would get its number, here and in
            # the pool that `worker start` becomes.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
        errors = "backslashreplace" if number else "surrogateescape"
        getattr(sys, name).reconfigure(errors=errors)


def wants_color() -> bool | None:
    """Return what the environment says about colour; None leaves it to the terminal."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return True if os.environ.get("FORCE_COLOR") else None


@contextmanager
def writing_to_stdout() -> Iterator[None]:
    """Deal with a stdout that cannot be written to; everything that prints data does so in here.

    A closed pipe ends the process in silence, by SIGPIPE itself, as it ends other programs. Any
    other error becomes a QueueError. Python ignores SIGPIPE, and it must stay ignored: by default,
    waking a worker that is just leaving would kill us, after the commit and before the id is
    printed.
    """
    try:
        yield
    except BrokenPipeError:
        from queuectl.host.signals import die_by  # only here

        die_by(signal.SIGPIPE)
        raise
    except OSError as error:
        raise QueueError(f"cannot write to stdout: {error.strerror}") from None


def print_data(text: str, *, line_break: bool = True) -> None:
    """Print text to stdout. Raises QueueError if that fails."""
    with writing_to_stdout():
        click.echo(text, nl=line_break)


def print_bytes(chunk: bytes) -> None:
    """Print bytes to stdout as they are. Raises QueueError if that fails."""
    with writing_to_stdout():
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def print_file(source: IO[str]) -> None:
    """Print the rest of a text file to stdout. Raises QueueError if that fails."""
    with writing_to_stdout():
        while True:
            chunk = source.read(_CHUNK)
            if not chunk:
                break
            sys.stdout.write(chunk)
        sys.stdout.flush()


def print_json(value: Any) -> None:
    """Print one JSON document."""
    import json  # not every command needs it

    print_data(escape_json(json.dumps(value, indent=2, ensure_ascii=needs_ascii())))


def needs_ascii() -> bool:
    """Whether stdout cannot hold every character: JSON's own escapes must stand for them then."""
    return not sys.stdout.encoding.lower().startswith("utf")


def message(text: str) -> None:
    """Print a message to stderr. One that cannot be written changes nothing about the command."""
    try:
        click.echo(escape(text), err=True)
    except OSError:
        pass


def error(command: str, text: str) -> None:
    """Print an error as one line: `queuectl COMMAND: what (what to do)`."""
    message(f"{command}: {text}")


def on_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def can_animate() -> bool:
    """Whether stdout is a terminal that can redraw."""
    return on_terminal() and os.environ.get("TERM", "dumb") != "dumb"


def ago(instant: datetime | None, *, now: datetime) -> str:
    """Return `3 min ago` or `in 2 h` for people, the full time off a terminal."""
    if instant is None:
        return "-"
    if not on_terminal():
        return to_text(instant)
    seconds = (now - instant).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if abs(seconds) >= length or unit == "s":
            count = int(abs(seconds) / length)
            return f"in {count} {unit}" if seconds < 0 else f"{count} {unit} ago"
    raise AssertionError


def state(value: JobState) -> str:
    """Return a state's name, coloured where colours are shown."""
    color = _COLORS.get(value)
    return value.value if color is None else click.style(value.value, fg=color)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows in columns."""
    from tabulate import tabulate  # costs 60 ms

    return tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True)


def fields(pairs: Iterable[tuple[str, str | None]]) -> None:
    """Print names and values in two columns; an absent value leaves its line out."""
    present = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in present), default=0) + 1
    for name, value in present:
        print_data(f"{name + ':':<{width}} {value}")


def jobs_table(jobs: Sequence[Job], first: bool = True) -> None:
    """Print jobs, a line each; on a terminal commands are cut to its width."""
    now = utcnow()
    rows = [
        [
            escape(job.id),
            state(job.state),
            escape(job.queue),
            str(job.priority),
            f"{job.attempts}/{job.max_retries}",
            ago(job.updated_at, now=now),
            escape(job.command),
        ]
        for job in jobs
    ]
    headers = ("ID", "STATE", "QUEUE", "PRIO", "RUNS", "UPDATED", "COMMAND")
    _fit_last_column(headers, rows)
    print_data(table(headers if first else (), rows))


def pages(rows: Iterator[_Row], show: Callable[[Sequence[_Row], bool], None]) -> bool:
    """Print rows in pages, so that memory stays flat, under one header; whether there were any."""
    first = True
    page = list(islice(rows, _PAGE))
    while page:
        show(page, first)
        first = False
        page = list(islice(rows, _PAGE))
    return not first


def dead_table(jobs: Sequence[Job], first: bool = True) -> None:
    """Print dead jobs with their reasons, a line each."""
    now = utcnow()
    rows = [
        [
            escape(job.id),
            escape(job.queue),
            f"{job.attempts}/{job.max_retries}",
            ago(job.finished_at, now=now),
            escape(job.last_error or "-"),
            escape(job.command),
        ]
        for job in jobs
    ]
    headers = ("ID", "QUEUE", "RUNS", "DIED", "REASON", "COMMAND")
    _fit_last_column(headers, rows)
    print_data(table(headers if first else (), rows))


def jobs_json(jobs: Iterable[Job], *, show_env: bool) -> None:
    """Print one array, an object a line, without holding all of it."""
    import json  # not every command needs it

    opening = "["
    for job in jobs:
        shown = json.dumps(job_json(job, show_env=show_env), ensure_ascii=needs_ascii())
        print_data(opening + escape_json(shown), line_break=False)
        opening = ",\n "
    print_data("]" if opening != "[" else "[]")


def job_and_attempts_json(job: Job, executions: Iterable[Execution], *, show_env: bool) -> None:
    """Print one object, without holding all attempts."""
    import json  # not every command needs it

    shown = json.dumps(
        job_json(job, show_env=show_env), indent=2, ensure_ascii=needs_ascii()
    ).rpartition("\n")[0]
    print_data(escape_json(shown) + ',\n  "executions": [', line_break=False)
    separator = "\n    "
    for execution in executions:
        attempt = json.dumps(execution_json(execution), ensure_ascii=needs_ascii())
        print_data(separator + escape_json(attempt), line_break=False)
        separator = ",\n    "
    print_data("]\n}")


def _fit_last_column(headers: Sequence[str], rows: list[list[str]]) -> None:
    """On a terminal, cut the last column to what is left of the width."""
    if not on_terminal() or not rows:
        return
    import shutil  # only here

    width = shutil.get_terminal_size().columns
    used = 0
    for column, header in enumerate(headers[:-1]):
        # tabulate makes a column two wider than its header, and puts two spaces between columns.
        used += max(len(header) + 2, *(len(click.unstyle(row[column])) for row in rows)) + 2
    for row in rows:
        row[-1] = cut(row[-1], max(20, width - used))


def cut(text: str, width: int) -> str:
    """Shorten a text to a width."""
    return text if len(text) <= width else text[: width - 1] + "…"


def time_or_none(instant: datetime | None) -> str | None:
    """Return an instant as JSON shows it."""
    return None if instant is None else to_text(instant)


def job_json(job: Job, *, show_env: bool) -> dict[str, Any]:
    """Return a job as JSON shows it; the values of its env are masked unless asked for."""
    return {
        "id": job.id,
        "queue": job.queue,
        "label": job.label,
        "command": job.command,
        "state": job.state.value,
        "priority": job.priority,
        "attempts": job.attempts,
        "max_retries": job.max_retries,
        "timeout": job.timeout,
        "run_at": time_or_none(job.run_at),
        "created_at": to_text(job.created_at),
        "updated_at": to_text(job.updated_at),
        "finished_at": time_or_none(job.finished_at),
        "locked_by": job.locked_by,
        "locked_at": time_or_none(job.locked_at),
        "cwd": job.cwd,
        "env": masked(job.env, show_env=show_env),
        "unique_key": job.unique_key,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "last_error": job.last_error,
        "cancel_requested": job.cancel_requested,
        "cancel_reason": job.cancel_reason,
    }


def masked(env: Mapping[str, str], *, show_env: bool) -> dict[str, str]:
    """Return the variables, their values hidden unless asked for: they may be secrets."""
    return dict(env) if show_env else dict.fromkeys(env, MASK)


def execution_json(execution: Execution) -> dict[str, Any]:
    """Return an attempt as JSON shows it."""
    return {
        "id": execution.id,
        "attempt": execution.attempt,
        "worker": execution.worker,
        "pid": execution.pid,
        "started_at": to_text(execution.started_at),
        "finished_at": time_or_none(execution.finished_at),
        "outcome": None if execution.outcome is None else execution.outcome.value,
        "exit_code": execution.exit_code,
        "signal": execution.signal,
        "seconds": execution.seconds,
        "cpu_seconds": execution.cpu_seconds,
        "max_rss_bytes": execution.max_rss_bytes,
        "output_bytes": execution.output.size_bytes,
        "output_truncated": execution.output.truncated,
        "leftovers": execution.leftovers,
    }


def worker_json(worker: Worker) -> dict[str, Any]:
    """Return a worker as JSON shows it."""
    return {
        "id": worker.id,
        "supervisor": worker.supervisor,
        "pid": worker.pid,
        "host": worker.host,
        "started_at": to_text(worker.started_at),
        "queues": list(worker.queues),
        "job": worker.job,
    }


def workers_table(workers: Sequence[Worker]) -> None:
    """Print workers, a line each."""
    now = utcnow()
    rows: list[list[str]] = [
        [
            worker.id,
            str(worker.pid),
            ago(worker.started_at, now=now),
            escape(", ".join(worker.queues)) or "all",
            escape(worker.job or "-"),
            "-" if worker.job_since is None else ago(worker.job_since, now=now),
        ]
        for worker in workers
    ]
    print_data(table(("WORKER", "PID", "STARTED", "QUEUES", "JOB", "SINCE"), rows))


def seconds(value: float | None) -> str | None:
    """Return a duration for people, None as None."""
    return None if value is None else format_duration(value)

"""How jobs, attempts and workers look to people: tables, two-column lists and colours."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, Sequence, TypeVar

import click

from queuectl.cli.colors import state_word
from queuectl.cli.moments import relative_time
from queuectl.cli.output import line_width, on_terminal, print_data, print_line
from queuectl.core.cells import cut
from queuectl.core.escaping import escape
from queuectl.core.states import JobState
from queuectl.core.times import utcnow

if TYPE_CHECKING:
    from queuectl.core.models import Job, Worker

_Row = TypeVar("_Row")

_PAGE = 500


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, fits: bool = False
) -> None:
    """Print a table; with `fits`, each row is cut on a terminal so that it takes one line.

    Every cell is escaped: a queue may come from anybody, with any value in any column.
    """
    from tabulate import tabulate  # costs 60 ms

    cells = [[_shown(cell) for cell in row] for row in rows]
    if fits:
        _fit_last_column(headers, cells)
    print_data(tabulate(cells, headers=headers, tablefmt="plain", disable_numparse=True))


def _shown(value: object) -> str:
    """Return a value as text that drives no terminal, a state with its style."""
    return state_word(value) if isinstance(value, JobState) else escape(str(value))


def print_fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and escaped values in two columns, without the names whose value is None."""
    present = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in present), default=0) + 1
    for name, value in present:
        print_data(f"{name + ':':<{width}} {_shown(value)}")


def print_pages(rows: Iterator[_Row], show: Callable[[Sequence[_Row], bool], None]) -> bool:
    """Print a table page by page, so that memory stays flat; return whether it has any rows.

    `show` prints one page; it is told whether to print the header.
    """
    first = True
    page = list(islice(rows, _PAGE))
    while page:
        show(page, first)
        first = False
        page = list(islice(rows, _PAGE))
    return not first


def print_jobs(jobs: Sequence[Job], first: bool = True) -> None:
    """Print jobs, one per line; on a terminal, commands are cut to its width."""
    now = utcnow()
    rows = [
        [
            job.id,
            job.state,
            job.queue,
            job.priority,
            f"{job.attempts}/{job.max_retries}",
            relative_time(job.updated_at, now=now),
            job.command,
        ]
        for job in jobs
    ]
    headers = ("ID", "STATE", "QUEUE", "PRIO", "RUNS", "UPDATED", "COMMAND")
    print_table(headers if first else (), rows, fits=True)


def print_dead_jobs(jobs: Sequence[Job], first: bool = True) -> None:
    """Print dead jobs with the reasons of their deaths, one per line."""
    now = utcnow()
    rows = [
        [
            job.id,
            job.queue,
            f"{job.attempts}/{job.max_retries}",
            relative_time(job.finished_at, now=now),
            job.last_error or "-",
            job.command,
        ]
        for job in jobs
    ]
    headers = ("ID", "QUEUE", "RUNS", "DIED", "REASON", "COMMAND")
    print_table(headers if first else (), rows, fits=True)


def print_workers(workers: Sequence[Worker]) -> None:
    """Print workers, one per line."""
    now = utcnow()
    rows = [
        [
            worker.id,
            worker.pid,
            relative_time(worker.started_at, now=now),
            ", ".join(worker.queues) or "all",
            worker.job or "-",
            relative_time(worker.job_since, now=now),
        ]
        for worker in workers
    ]
    print_table(("WORKER", "PID", "STARTED", "QUEUES", "JOB", "SINCE"), rows)
    for worker in workers:
        if worker.problem is not None:
            print_line(f"worker {worker.id}: {worker.problem}")


def _fit_last_column(headers: Sequence[str], rows: list[list[str]]) -> None:
    """On a terminal, cut the last column so that each row fits into one line."""
    if not on_terminal() or not rows:
        return
    width = line_width() or 80
    used = 0
    for column, header in enumerate(headers[:-1]):
        # tabulate makes a column two wider than its header, and puts two spaces between columns.
        used += max(len(header) + 2, *(len(click.unstyle(row[column])) for row in rows)) + 2
    for row in rows:
        row[-1] = cut(row[-1], max(20, width - used))

"""The tables of `list`, `dlq list` and `worker list`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Callable, Iterable, Mapping, Sequence

from queuectl.cli.colors import bad, strong
from queuectl.cli.output import on_terminal, print_line
from queuectl.cli.shown_times import relative_time
from queuectl.cli.tables import (
    Cell,
    Column,
    Styled,
    all_the_same,
    job_state_cell,
    only,
    print_table,
)
from queuectl.core.cells import cut_middle
from queuectl.core.moments import distance, lasting_in_short, local, upcoming
from queuectl.core.naming import hook_title, number
from queuectl.core.reasons import short_reason
from queuectl.core.states import JobState
from queuectl.core.times import utcnow

if TYPE_CHECKING:
    from queuectl.core.models import Job, Worker

_NONE = "-"

_NUMBER = Column("JOB")
_ID = Column("ID", least=6, shorten=cut_middle)
_GIVEN_ID = _ID._replace(parts=6, says_nothing=only(_NONE))
_STATE = Column("STATE")
_QUEUE = Column("QUEUE", least=7, parts=5, says_nothing=all_the_same, optional=True)
_PRIORITY = Column("PRIO", says_nothing=only("0"), optional=True)
_RUNS = Column("RUNS", optional=True)
_WHEN = Column("WHEN")
_REASON = Column("REASON", least=20)
_LABEL = Column("LABEL", least=6, says_nothing=only(_NONE))
_COMMAND = Column("COMMAND", least=24, shorten=cut_middle, alike=True)

Longest = Callable[[], Mapping[str, int]]
"""Returns how many cells a column of a long table needs, by its header."""


def print_jobs(jobs: Iterable[Job], longest: Longest) -> bool:
    """Print jobs, one per line; return whether there are any."""
    now = utcnow()
    if on_terminal():
        columns = [_NUMBER, _GIVEN_ID, _STATE, _QUEUE, _PRIORITY, _RUNS, _WHEN, _COMMAND]
        return print_table(columns, (_row_for_people(job, now) for job in jobs), longest=longest)
    columns = [_ID, _STATE, _QUEUE, _PRIORITY, _RUNS, Column("UPDATED"), _LABEL, _COMMAND]
    return print_table(columns, map(_row, jobs), longest=longest)


def print_dead_jobs(jobs: Iterable[Job], longest: Longest) -> bool:
    """Print dead jobs with the reasons of their deaths, one per line; return whether any."""
    now = utcnow()
    if on_terminal():
        columns = [_NUMBER, _GIVEN_ID, _QUEUE, _RUNS, _WHEN, _REASON, _COMMAND]
        return print_table(columns, (_dead_row_for_people(j, now) for j in jobs), longest=longest)
    columns = [_ID, _QUEUE, _RUNS, Column("DIED"), _REASON, _LABEL, _COMMAND]
    return print_table(columns, map(_dead_row, jobs), longest=longest)


def print_workers(workers: Sequence[Worker], job_of: Callable[[Worker], Job | None]) -> None:
    """Print workers, one per line; on a terminal with the titles of their jobs."""
    now = utcnow()
    columns = [
        Column("WORKER", least=11),
        Column("PID"),
        Column("STARTED", optional=True),
        Column("QUEUES", least=8, says_nothing=only("all")),
        Column("JOB", least=8),
        Column("SINCE"),
    ]
    rows: list[list[Cell]] = [_worker_row(worker, now) for worker in workers]
    if on_terminal():
        columns.append(_COMMAND)
        for row, job in zip(rows, map(job_of, workers)):
            row.append(_NONE if job is None else _title(job))
            if job is not None:
                row[4] = number(job)
    print_table(columns, rows)
    for worker in workers:
        if worker.problem is not None:
            print_line(f"worker {worker.id}: {worker.problem}")


def when(job: Job, *, now: datetime) -> str:
    """Return the time that matters in the job's state.

    `for 12 min` (how long it runs or waits), `in 4 s` or `at 23:59` (when it starts), `3 min ago`
    (when it ended).
    """
    if job.state is JobState.PROCESSING and job.locked_at is not None:
        return lasting_in_short(job.locked_at, now=now)
    if job.state in (JobState.SCHEDULED, JobState.FAILED) and job.run_at is not None:
        return upcoming(job.run_at, now=now, short=True)
    if job.finished_at is not None:
        return distance(job.finished_at, now=now)
    return lasting_in_short(job.updated_at, now=now)


def _row(job: Job) -> list[Cell]:
    return [
        job.id,
        job_state_cell(job),
        job.queue,
        job.priority,
        _runs(job),
        local(job.updated_at),
        _label(job),
        job.command,
    ]


def _row_for_people(job: Job, now: datetime) -> list[Cell]:
    return [
        number(job),
        _given_id(job),
        job_state_cell(job),
        job.queue,
        job.priority,
        _runs(job),
        when(job, now=now),
        _title(job),
    ]


def _dead_row(job: Job) -> list[Cell]:
    died = _NONE if job.finished_at is None else local(job.finished_at)
    return [job.id, job.queue, _runs(job), died, _reason(job), _label(job), job.command]


def _dead_row_for_people(job: Job, now: datetime) -> list[Cell]:
    return [
        number(job),
        _given_id(job),
        job.queue,
        _runs(job),
        when(job, now=now),
        _reason(job),
        _title(job),
    ]


def _worker_row(worker: Worker, now: datetime) -> list[Cell]:
    since = relative_time(worker.job_since, now=now)
    if worker.job_since is not None and on_terminal():
        since = lasting_in_short(worker.job_since, now=now)
    return [
        worker.id,
        worker.pid,
        relative_time(worker.started_at, now=now),
        ", ".join(worker.queues) or "all",
        worker.job or _NONE,
        since,
    ]


def _runs(job: Job) -> str:
    return f"{job.attempts}/{job.max_retries}"


def _given_id(job: Job) -> str:
    """Return an id that a person gave; generated ones say nothing to people."""
    return _NONE if job.id_made else job.id


def _reason(job: Job) -> Cell:
    return Styled(short_reason(job.last_error), bad) if job.last_error else _NONE


def _label(job: Job) -> str:
    return job.label or hook_title(job) or _NONE


def _title(job: Job) -> Cell:
    """Return the label or the title of a hook's job, emphasized; else the command."""
    label = job.label or hook_title(job)
    return Styled(label, strong) if label else job.command

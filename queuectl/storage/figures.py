"""The figures of queues, schedules and hooks for `metrics`, read in one transaction."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from datetime import datetime

from queuectl.core.activity import (
    DEAD,
    ENQUEUED,
    JOB_CANCELLED,
    JOB_COMPLETED,
    JOB_EVENTS,
    NO_DURATIONS,
    plus,
)
from queuectl.core.figures import Histogram, HookFigures, QueueFigures, ScheduleFigures
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.storage import waits
from queuectl.storage.activity import totals
from queuectl.storage.base import Base
from queuectl.storage.job_counts import kept_counts
from queuectl.storage.queues import OwnSettings, own_settings
from queuectl.storage.rule_facts import time

_FINISHED = {
    JOB_COMPLETED: JobState.COMPLETED,
    DEAD: JobState.DEAD,
    JOB_CANCELLED: JobState.CANCELLED,
}
"""The events by which a job finishes. A job is completed by exactly one attempt that is `ok`."""


class StoredFigures(NamedTuple):
    """The figures that the file of the queue holds."""

    queues: list[QueueFigures]
    """All queues that hold jobs or held some, or are paused or limited, ordered by name."""
    schedules: list[ScheduleFigures]
    """All schedules, ordered by name."""
    hooks: list[HookFigures]
    """All hooks, ordered by name."""
    all_paused: bool
    """Whether all queues are paused by one switch."""


class FiguresOfQueue(Base):
    """The method that reads all figures of the file at once."""

    def figures(self, *, now: datetime) -> StoredFigures:
        """Return the figures of all queues, schedules and hooks.

        It reads kept counts and counters, and the first jobs of indexes, but never all jobs.
        """
        with self._snapshot() as conn:
            settings = own_settings(conn)
            switch = settings.pop("", OwnSettings())
            return StoredFigures(
                _queues(conn, settings, now),
                _schedules(conn, now),
                _hooks(conn),
                switch.paused_at is not None,
            )


class _Counters:
    """The counters of one queue, while rows are added to them."""

    def __init__(self) -> None:
        self.enqueued = 0
        self.runs: dict[str, int] = {}
        self.finished: dict[str, int] = defaultdict(int)
        self.cpu_seconds = 0.0
        self.run = Histogram(NO_DURATIONS, 0.0)
        self.wait = Histogram(NO_DURATIONS, 0.0)


def _queues(
    conn: sqlite3.Connection, settings: dict[str, OwnSettings], now: datetime
) -> list[QueueFigures]:
    jobs: dict[str, dict[str, int]] = defaultdict(dict)
    for queue, state, number, _ in kept_counts(conn):
        jobs[queue][state.value] = number
    waited = {
        wait.queue: max(0.0, (now - wait.since).total_seconds())
        for wait in waits.find(conn, (), now)
    }
    counters = _counters(conn)
    found = []
    for name in sorted(jobs.keys() | counters.keys() | settings.keys()):
        own = settings.get(name, OwnSettings())
        counted = counters[name]
        found.append(
            QueueFigures(
                name=name,
                jobs=jobs.get(name, {}),
                oldest_ready_seconds=waited.get(name, 0.0),
                paused=own.paused_at is not None,
                limit=own.limit,
                enqueued=counted.enqueued,
                runs=counted.runs,
                finished=counted.finished,
                cpu_seconds=counted.cpu_seconds,
                run_seconds=counted.run,
                wait_seconds=counted.wait,
            )
        )
    return found


def _counters(conn: sqlite3.Connection) -> defaultdict[str, _Counters]:
    """Return the counters of each queue since it was created."""
    counters: defaultdict[str, _Counters] = defaultdict(_Counters)
    for tally in totals(conn):
        of_queue = counters[tally.queue]
        finished = _FINISHED.get(tally.event)
        if finished is not None:
            of_queue.finished[finished.value] += tally.times
        if tally.event == ENQUEUED:
            of_queue.enqueued += tally.times
        elif tally.event not in JOB_EVENTS:
            of_queue.runs[tally.event] = tally.times
        of_queue.cpu_seconds += tally.cpu_seconds
        of_queue.run = _added(of_queue.run, Histogram(tally.run, tally.run_seconds))
        of_queue.wait = _added(of_queue.wait, Histogram(tally.wait, tally.wait_seconds))
    return counters


def _added(one: Histogram, other: Histogram) -> Histogram:
    return Histogram(plus(one.buckets, other.buckets), one.seconds + other.seconds)


def _schedules(conn: sqlite3.Connection, now: datetime) -> list[ScheduleFigures]:
    rows = conn.execute(
        """
        SELECT name, next_at, due_at, paused_at, last_success_at, last_ended,
               made, overlapped, missed_count
          FROM schedules
         ORDER BY name
        """
    )
    return [
        ScheduleFigures(
            str(name),  # another program may have written bytes
            _timestamp(next_at),
            0.0 if success_at is None and ended is not None else _timestamp(success_at),
            _lateness(due_at, now) if paused_at is None else 0.0,
            paused_at is not None,
            {"made": _number(made), "overlapped": _number(overlapped), "missed": _number(missed)},
        )
        for name, next_at, due_at, paused_at, success_at, ended, made, overlapped, missed in rows
    ]


def _hooks(conn: sqlite3.Connection) -> list[HookFigures]:
    rows = conn.execute("SELECT name, disabled_at, failures FROM hooks ORDER BY name")
    return [
        HookFigures(str(name), disabled_at is not None, _number(failures))
        for name, disabled_at, failures in rows
    ]


def _number(value: object) -> int:
    """Return how often something happened; 0 if another program wrote something else."""
    return value if isinstance(value, int) else 0


def _timestamp(text: str | None) -> float | None:
    """Return a time as seconds since 1970; None without one, or if it cannot be read."""
    instant = time(text)
    return None if instant is None else instant.timestamp()


def _lateness(due_at: str | None, now: datetime) -> float:
    due = time(due_at)
    return 0.0 if due is None else max(0.0, (now - due).total_seconds())

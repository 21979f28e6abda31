"""The figures of a queue at one moment, as `metrics` exposes them."""

from __future__ import annotations

from typing import Mapping, Sequence

from queuectl.core.named_tuples import NamedTuple


class Histogram(NamedTuple):
    """How many durations fell into each bucket."""

    buckets: tuple[int, ...]
    """The number in each bucket, not cumulative; the last bucket has no upper bound."""
    seconds: float
    """The sum of the durations."""


class QueueFigures(NamedTuple):
    """The figures of one queue. Those named after events count since the queue was created."""

    name: str
    """The name of the queue."""
    jobs: Mapping[str, int]
    """The number of jobs in each state; states without jobs may be left out."""
    oldest_ready_seconds: float
    """The longest waiting time of a job that could run; 0 if none waits."""
    paused: bool
    """Whether the queue itself is paused."""
    limit: int | None
    """How many of its jobs may run at once; None without a limit."""
    enqueued: int
    """How many jobs were enqueued."""
    runs: Mapping[str, int]
    """How many attempts ended with each outcome."""
    finished: Mapping[str, int]
    """How many jobs became completed, dead or cancelled."""
    cpu_seconds: float
    """The CPU time of all attempts."""
    run_seconds: Histogram
    """How long attempts ran."""
    wait_seconds: Histogram
    """How long attempts waited for their start, from the moment at which they could start."""

    @property
    def size(self) -> int:
        """How much has happened in this queue. It only grows."""
        return self.enqueued + sum(self.runs.values())


class ScheduleFigures(NamedTuple):
    """The figures of one schedule. Times are seconds since 1970."""

    name: str
    """The name of the schedule."""
    next_at: float | None
    """Its next planned time; None if there is none."""
    last_success_at: float | None
    """When its last completed job ended; 0 if only others have ended, None if none has."""
    lateness_seconds: float
    """For how long its next job has been due."""
    paused: bool
    """Whether it is paused."""
    ticks: Mapping[str, int]
    """How many planned times were made, overlapped and missed."""


class HookFigures(NamedTuple):
    """The figures of one hook."""

    name: str
    """The name of the hook."""
    disabled: bool
    """Whether it was disabled because its receiver is gone."""
    failures: int
    """How many deliveries in a row have failed."""


class Figures(NamedTuple):
    """Everything that `metrics` exposes."""

    queues: Sequence[QueueFigures]
    """All queues that hold jobs or held some."""
    schedules: Sequence[ScheduleFigures]
    """All schedules."""
    hooks: Sequence[HookFigures]
    """All hooks."""
    busy_workers: int
    """How many living workers run a job."""
    idle_workers: int
    """How many living workers run none."""
    all_paused: bool
    """Whether all queues are paused by one switch."""
    findings: Mapping[str, int]
    """How many findings of each severity there are."""
    database_bytes: int
    """The size of the file of the queue."""
    wal_bytes: int
    """The size of its write-ahead log."""
    free_bytes: int | None
    """The space that is free for us on the disk of the queue; None if it is unknown."""
    version: str
    """The version of queuectl."""
    schema: int
    """The version of the schema of the file."""
    seconds: float
    """How long it took to collect all this."""

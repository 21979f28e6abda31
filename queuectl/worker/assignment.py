"""Messages between a supervisor and one of its workers: the task, later orders, and the end."""

from __future__ import annotations

from enum import Enum

from queuectl.core.named_tuples import NamedTuple


class Assignment(NamedTuple):
    """The task that a supervisor gives to one worker process."""

    worker: str
    """The id of the worker: ID-1, ID-2 … for the supervisor ID."""

    supervisor: str
    """The id of its supervisor."""

    slot: int
    """Its place in the pool, 0 to N-1, which its replacement keeps; -1 with `recovers_only`."""

    queues: tuple[str, ...]
    """The queues that it serves; empty for all."""

    orders: int
    """The descriptor from which it reads the orders of its supervisor; -1 before the fork."""

    drain: bool = False
    """Whether it exits when no job is pending, failed or running."""

    max_jobs: int | None = None
    """The number of jobs after which it exits; None for no limit."""

    until: float | None = None
    """The time of the monotonic clock after which it claims nothing more; None for no limit."""

    recovers: str | None = None
    """The id of the dead worker that it replaces and whose job it recovers before it claims."""

    recovers_only: bool = False
    """Whether it exits after that recovery, without claiming a job."""


class Order(bytes, Enum):
    """An order of a supervisor to a running worker, in one byte.

    The end of the pipe means that the supervisor is gone.
    """

    STOP = b"s"
    """Finish the running job, then exit."""

    KILL = b"k"
    """Kill the running job, release it, then exit."""

    LEAVE_JOBS = b"l"
    """Exit at once and leave the running job alone: the next workers adopt it."""


class WorkerExit(int, Enum):
    """The exit status of a worker process; any other status means that it crashed."""

    DONE = 0
    """It was told to exit, or had nothing left to do."""

    FAILED = 1
    """It met an error that it could not work around, and logged it."""

    REPLACE_ME = 10
    """Somebody asked this one process to exit: another worker takes its place."""

    QUEUE_UPGRADED = 11
    """The queue was upgraded: no worker of this pool can go on."""

    QUEUE_REPLACED = 12
    """The database was removed or replaced: no worker of this pool can go on."""

    QUEUE_DAMAGED = 13
    """The database is damaged: no worker of this pool can go on."""

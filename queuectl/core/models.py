"""What travels between the floors: jobs, their attempts and their ends, as frozen values."""

from __future__ import annotations

import signal
from datetime import datetime
from enum import Enum
from typing import Mapping, NamedTuple

from queuectl.core.settings import Settings
from queuectl.core.states import JobState


class OutcomeKind(str, Enum):
    """How an attempt ended."""

    OK = "ok"
    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    LOST = "lost"
    SPAWN_ERROR = "spawn-error"


SPAWN_FAILED = 126
"""The exit code of a command that could not be started, as in a shell."""


def signal_name(number: int) -> str:
    """Return `TERM` for 15; the number where the signal has no name."""
    try:
        return signal.Signals(number).name[len("SIG") :]
    except ValueError:
        return str(number)


class Job(NamedTuple):
    """One row of the queue. Times are aware UTC; `timeout` is in seconds, 0 means no limit."""

    seq: int
    id: str
    command: str
    state: JobState
    queue: str
    label: str | None
    priority: int
    attempts: int
    max_retries: int
    timeout: float
    run_at: datetime | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    locked_by: str | None
    locked_at: datetime | None
    cwd: str | None
    env: Mapping[str, str]
    unique_key: str | None
    exit_code: int | None
    signal: int | None
    last_error: str | None
    cancel_requested: bool
    cancel_reason: str | None
    id_made: bool


class JobKey(NamedTuple):
    """The part of a job that identifies it. A list of all jobs takes little memory as keys."""

    seq: int
    id: str


class Output(NamedTuple):
    """What an attempt printed: its size in bytes, and where it is kept.

    `tail` is all of it when `in_file` is false, else the end of it.
    """

    size_bytes: int = 0
    truncated: bool = False
    tail: bytes = b""
    in_file: bool = False


class Outcome(NamedTuple):
    """The fact of how an attempt ended; no decision.

    `exit_code` is None and `signal` a number when a signal ended it, by whomever. `seconds` is None
    when nobody knows how long it took.
    """

    kind: OutcomeKind
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    pid: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    output: Output = Output()
    leftovers: bool = False


class Execution(NamedTuple):
    """One recorded attempt of a job; all that comes after `started_at` is unset while it runs."""

    id: int
    job_seq: int
    attempt: int
    worker: str
    pid: int | None
    started_at: datetime
    finished_at: datetime | None
    outcome: OutcomeKind | None
    exit_code: int | None
    signal: int | None
    seconds: float | None
    cpu_seconds: float | None
    max_rss_bytes: int | None
    leftovers: bool
    output: Output


class Claim(NamedTuple):
    """A job that a worker holds, under the fence `execution_id`."""

    job: Job
    execution_id: int
    settings: Settings
    """The configuration at the time of the claim."""
    log_owner: str
    """The worker that started it, by whose id the files of the running job are named."""
    earlier: tuple[int, ...] = ()
    """Execution ids of the job's attempts before, of many the newest, newest first: what they left
    must be gone before this one."""


class Verdict(NamedTuple):
    """What becomes of a job after an attempt; `run_at` is set when it waits for a retry."""

    state: JobState
    run_at: datetime | None = None
    last_error: str | None = None


class Recorded(Enum):
    """Whether a result was written. CANCELLED: it was, and the job is cancelled."""

    DONE = "done"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


class Worker(NamedTuple):
    """A worker process. `queues` is empty when it serves all."""

    id: str
    supervisor: str
    pid: int
    start_ticks: int | None
    boot_id: str | None
    host: str
    queues: tuple[str, ...]
    started_at: datetime
    job: str | None = None
    job_since: datetime | None = None


class QueueStatus(NamedTuple):
    """One queue by name: whether it is held back, by whom, and how many may run at once."""

    name: str
    paused: bool
    paused_at: datetime | None
    paused_by: str | None
    pause_reason: str | None
    limit: int | None
    counts: Mapping[JobState, int]


class Selection(NamedTuple):
    """Which jobs a verb is about; an empty tuple does not restrict."""

    queues: tuple[str, ...] = ()
    states: tuple[JobState, ...] = ()

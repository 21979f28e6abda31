"""What travels between the floors: jobs, their attempts and their ends, as frozen values."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Mapping, NamedTuple, Optional, Tuple

from queuectl.settings import Settings
from queuectl.states import JobState


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


class Job(NamedTuple):
    """One row of the queue. Times are aware UTC; `timeout` is in seconds, 0 means no limit."""

    seq: int
    id: str
    command: str
    state: JobState
    queue: str
    label: Optional[str]
    priority: int
    attempts: int
    max_retries: int
    timeout: float
    run_at: Optional[datetime]
    created_at: datetime
    updated_at: datetime
    finished_at: Optional[datetime]
    locked_by: Optional[str]
    locked_at: Optional[datetime]
    cwd: Optional[str]
    env: Mapping[str, str]
    unique_key: Optional[str]
    exit_code: Optional[int]
    signal: Optional[int]
    last_error: Optional[str]
    cancel_requested: bool
    cancel_reason: Optional[str]
    id_made: bool


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
    exit_code: Optional[int] = None
    signal: Optional[int] = None
    reason: Optional[str] = None
    pid: Optional[int] = None
    seconds: Optional[float] = None
    cpu_seconds: Optional[float] = None
    max_rss_bytes: Optional[int] = None
    output: Output = Output()
    leftovers: bool = False


class Execution(NamedTuple):
    """One recorded attempt of a job; all that comes after `started_at` is unset while it runs."""

    id: int
    job_seq: int
    attempt: int
    worker: str
    pid: Optional[int]
    started_at: datetime
    finished_at: Optional[datetime]
    outcome: Optional[OutcomeKind]
    exit_code: Optional[int]
    signal: Optional[int]
    seconds: Optional[float]
    cpu_seconds: Optional[float]
    max_rss_bytes: Optional[int]
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
    earlier: Tuple[int, ...] = ()
    """Execution ids of the job's attempts before, of many the newest, newest first: what they left
    must be gone before this one."""


class Verdict(NamedTuple):
    """What becomes of a job after an attempt; `run_at` is set when it waits for a retry."""

    state: JobState
    run_at: Optional[datetime] = None
    last_error: Optional[str] = None


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
    start_ticks: Optional[int]
    boot_id: Optional[str]
    host: str
    queues: Tuple[str, ...]
    started_at: datetime
    job: Optional[str] = None
    job_since: Optional[datetime] = None


class QueueStatus(NamedTuple):
    """One queue by name: whether it is held back, by whom, and how many may run at once."""

    name: str
    paused: bool
    paused_at: Optional[datetime]
    paused_by: Optional[str]
    pause_reason: Optional[str]
    limit: Optional[int]
    counts: Mapping[JobState, int]


class Selection(NamedTuple):
    """Which jobs a verb is about; an empty tuple does not restrict."""

    queues: Tuple[str, ...] = ()
    states: Tuple[JobState, ...] = ()


class Assignment(NamedTuple):
    """What a supervisor wants of one worker process.

    `slot` is 0 … N-1 and kept by a replacement. `heir_of` names a dead worker whose job is to be
    settled first; with `settles_only` that is all. `until` is a time of the monotonic clock after
    which nothing is claimed. `orders` is the descriptor on which the supervisor gives orders.
    """

    worker: str
    supervisor: str
    slot: int
    queues: Tuple[str, ...]
    orders: int
    drain: bool = False
    max_jobs: Optional[int] = None
    until: Optional[float] = None
    heir_of: Optional[str] = None
    settles_only: bool = False


class Order(bytes, Enum):
    """What a supervisor tells a worker, a byte each. The end of the pipe means: you are alone."""

    STOP = b"s"
    KILL = b"k"
    ABANDON = b"a"


class WorkerExit(int, Enum):
    """Why a worker process ended; any other status is a crash."""

    DONE = 0
    FAILED = 1
    REPLACE_ME = 10
    QUEUE_CHANGED = 11
    """It was upgraded or replaced: no worker of this pool can go on."""

"""The values that travel between the layers: jobs, their attempts, and how attempts end.

All times are aware and in UTC.
"""

from __future__ import annotations

import signal
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Mapping

from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import Settings
from queuectl.core.states import JobState

if TYPE_CHECKING:
    from queuectl.core.job_query import JobQuery


class OutcomeKind(str, Enum):
    """How an attempt ended."""

    OK = "ok"
    """The command exited with 0."""
    EXIT = "exit"
    """The command exited with another code."""
    SIGNAL = "signal"
    """A signal killed the command; queuectl did not send it."""
    TIMEOUT = "timeout"
    """The worker killed the command at its timeout."""
    CANCELLED = "cancelled"
    """The worker killed the command because its job was cancelled."""
    INTERRUPTED = "interrupted"
    """The worker killed the command because it was told to stop at once; not counted."""
    LOST = "lost"
    """The worker died, and its job was not adopted."""
    SPAWN_ERROR = "spawn-error"
    """The command could not be started."""


SPAWN_FAILED = 126
"""The exit code of a command that could not be started, as in a shell."""
NO_SHELL = 127
"""The exit code of a command whose shell does not exist."""


def signal_name(number: int) -> str:
    """Return `TERM` for 15; the number where the signal has no name."""
    try:
        return signal.Signals(number).name[len("SIG") :]
    except ValueError:
        return str(number)


class Job(NamedTuple):
    """One row of the table `jobs`; the fields have the names of the columns."""

    seq: int
    """The order of entry; never used twice."""
    id: str
    """The name by which people and scripts refer to the job."""
    command: str
    """What the shell runs, as `sh -c` does."""
    state: JobState
    """The present state."""
    queue: str
    """The queue it is in."""
    label: str | None
    """A note for people; None if there is none."""
    priority: int
    """Jobs with a higher one are claimed first."""
    attempts: int
    """How many attempts count; a running one is among them, an interrupted one is not."""
    interruptions: int
    """How often the job was put back uncounted since its last attempt that ended by itself."""
    max_retries: int
    """The maximum number of attempts, at least 1."""
    timeout: float
    """How long an attempt may run, in seconds; 0 means no limit."""
    run_at: datetime | None
    """The earliest time of the next attempt; None means at once."""
    created_at: datetime
    """When the job was enqueued."""
    updated_at: datetime
    """When the job last changed."""
    finished_at: datetime | None
    """When it completed, died or was cancelled; None if it is unfinished."""
    locked_by: str | None
    """The worker that answers for the running attempt; None if the job does not run."""
    locked_at: datetime | None
    """When the running attempt was claimed; None if the job does not run."""
    cwd: str | None
    """The folder it runs in; None means that of the worker."""
    env: Mapping[str, str]
    """Variables to set in its environment: those that it took over, and those given for it."""
    unique_key: str | None
    """No two unfinished jobs have the same key; None means no key."""
    exit_code: int | None
    """The exit code of the last ended attempt; None if a signal ended it, or there is none."""
    signal: int | None
    """The signal that ended the last ended attempt; None if none did."""
    last_error: str | None
    """Why the last attempt failed, or the job was cancelled; None if nothing did."""
    cancel_requested: bool
    """Whether a cancel was requested; the worker of a running job then ends the attempt."""
    cancel_reason: str | None
    """The reason that the user gave for the cancel; None if there is none."""
    id_made: bool
    """Whether queuectl generated the id: only then may the id be abbreviated."""
    retry_delay: float | None = None
    """The time between a failed attempt and the next one, in seconds; None means the backoff."""
    backoff: float | None = None
    """The base of the backoff of this job; None means the key backoff-base."""
    shell: str | None = None
    """The absolute path of the shell that runs the command; None means DEFAULT_SHELL."""
    paused_at: datetime | None = None
    """When it was paused; None if it is not paused."""
    input_id: int | None = None
    """The row that holds its stdin; None means that its stdin is empty."""
    input_bytes: int | None = None
    """How long its stdin is, in bytes; None if nothing is stored."""
    captured_id: int | None = None
    """The row that holds the variables which it took over; None if it took none."""
    captured: Mapping[str, str] = {}
    """The variables that it took over when it was enqueued; those given for it win over them."""
    schedule: str | None = None
    """The schedule that made it; None if none did."""
    scheduled_for: datetime | None = None
    """The planned time of that schedule; None if no schedule made it."""
    on_success: str | None = None
    """The command to run once the job has completed; None if there is none."""
    on_failure: str | None = None
    """The command to run once the job is dead; None if there is none."""
    on_finish: str | None = None
    """The command to run once the job has finished, in any way; None if there is none."""
    hook: str | None = None
    """The hook whose job this is, or `on-success` and the like; None if it is no hook's job."""
    hook_of: int | None = None
    """The seq of the job whose event the hook reports; None if it is no hook's job."""
    hook_depth: int = 0
    """How many hooks led to this job, one enqueueing the next."""
    event_id: str | None = None
    """The event that the hook reports; None if it is no hook's job."""

    def own_env(self) -> dict[str, str]:
        """Return the variables that differ from those that it took over."""
        captured = self.captured
        return {name: value for name, value in self.env.items() if captured.get(name) != value}


class JobKey(NamedTuple):
    """The part of a job that identifies it. A list of all jobs takes little memory as keys."""

    seq: int
    id: str


class Need(NamedTuple):
    """A dependency: a job that another job waits for."""

    job: Job
    """The job that is waited for."""
    any_outcome: bool
    """Whether it only has to finish (--after-any), not to complete (--after)."""


class Output(NamedTuple):
    """The output of an attempt, and where it is kept."""

    size_bytes: int = 0
    """How much it printed, in bytes, including what was not kept."""
    truncated: bool = False
    """Whether the middle was cut out, because the output exceeded the key output-limit."""
    tail: bytes = b""
    """The whole output, or the end of it if `in_file`."""
    in_file: bool = False
    """Whether the output is kept in a file of its own."""


class LeftProcess(NamedTuple):
    """A process that outlived its attempt."""

    pid: int
    """Its process id."""
    start_ticks: int
    """When it started, in clock ticks since boot; 0 if processes are not visible."""
    boot_id: str | None
    """The boot of the machine that both numbers belong to; None where /proc is missing."""


class Outcome(NamedTuple):
    """The facts of how an attempt ended. What follows from them is a Verdict."""

    kind: OutcomeKind
    """How it ended."""
    exit_code: int | None = None
    """None if a signal ended the command, or if nobody knows."""
    signal: int | None = None
    """The signal that ended the command, from whichever process; None if none did."""
    reason: str | None = None
    """The same for people, in a few words; None if it completed."""
    pid: int | None = None
    """The process id of the shell; None if it was never started or is unknown."""
    seconds: float | None = None
    """How long it ran; None if nobody knows."""
    cpu_seconds: float | None = None
    """The CPU time of the command and of the children it waited for; None if nobody knows."""
    max_rss_bytes: int | None = None
    """The peak memory of the largest of these processes; None if nobody knows."""
    output: Output = Output()
    """Its output."""
    leftovers: bool = False
    """Whether processes that it started were still running when it ended."""
    left_processes: tuple[LeftProcess, ...] = ()
    """Those of them that are known."""


class Execution(NamedTuple):
    """One row of the table `executions`, which is one attempt of a job."""

    id: int
    """The fence: higher than that of any earlier attempt of any job, never used twice."""
    job_seq: int
    """The job."""
    attempt: int
    """The number of the attempt, from 1; an interrupted attempt and the next have the same."""
    worker: str
    """The worker that started it."""
    pid: int | None
    """The process id of the shell; None while it runs, or if it is unknown."""
    started_at: datetime
    """When it was claimed."""
    finished_at: datetime | None
    """When its end was recorded; None while it runs."""
    outcome: OutcomeKind | None
    """How it ended; None while it runs."""
    exit_code: int | None
    """As in Outcome; None while it runs."""
    signal: int | None
    """As in Outcome; None while it runs."""
    seconds: float | None
    """As in Outcome; None while it runs."""
    cpu_seconds: float | None
    """As in Outcome; None while it runs."""
    max_rss_bytes: int | None
    """As in Outcome; None while it runs."""
    leftovers: bool
    """As in Outcome; False while it runs."""
    output: Output
    """As in Outcome; empty while it runs."""


class LastRun(NamedTuple):
    """The last attempt of a job, as far as lists show it."""

    started_at: datetime
    """When it was claimed."""
    seconds: float | None
    """How long it ran; None while it runs, or if nobody knows."""
    output_bytes: int | None
    """How much it printed; None while it runs."""


class Claim(NamedTuple):
    """The right of a worker to run one attempt of a job, and to record how it ended."""

    job: Job
    """The job, as it is while the attempt runs."""
    execution_id: int
    """The fence: the right is lost once the job has another one, or none."""
    settings: Settings
    """The configuration at the time of the claim."""
    log_owner: str
    """The worker that started the attempt: the files of the running job have its name."""
    earlier: tuple[int, ...] = ()
    """Execution ids of the job's earlier attempts, newest first, at most 16: their leftover
    processes must be gone before this attempt starts."""
    left_processes: tuple[LeftProcess, ...] = ()
    """Processes that were known to run when these attempts ended."""


class Verdict(NamedTuple):
    """The decision about a job after an attempt, as opposed to the facts of the attempt."""

    state: JobState
    """COMPLETED, FAILED, DEAD or CANCELLED; after an interrupted attempt also PENDING."""
    run_at: datetime | None = None
    """When it is retried; None unless it is FAILED."""
    last_error: str | None = None
    """Why it did not complete, for people; None if it did."""


class Recorded(Enum):
    """The result of recording an attempt."""

    DONE = "done"
    """It was written."""
    CANCELLED = "cancelled"
    """It was written, and the job is cancelled."""
    SUPERSEDED = "superseded"
    """The verdict was not written: the claim was no longer valid, or the row of the job is odd."""


class Worker(NamedTuple):
    """One row of the table `workers`, with the job that the worker runs."""

    id: str
    """The name of the worker; never used twice."""
    supervisor: str
    """The name of the supervisor that forked it; all workers of a pool have the same one."""
    pid: int
    """Its process id, as seen from its own PID namespace."""
    start_ticks: int | None
    """When the process started, in clock ticks since boot; None where /proc is missing."""
    boot_id: str | None
    """The boot of the machine that it belongs to; None where /proc is missing."""
    host: str
    """The name of the host."""
    queues: tuple[str, ...]
    """The queues it serves; empty means all."""
    started_at: datetime
    """When it registered."""
    job: str | None = None
    """The id of the job that it runs; None if it is idle."""
    job_since: datetime | None = None
    """When it claimed that job; None if it is idle."""
    problem: str | None = None
    """Why it runs no jobs though it is alive; None if nothing keeps it from running them."""
    job_pid: int | None = None
    """The process id of that job's shell; None if it is idle, and if the process cannot be seen
    from here."""


class QueueStatus(NamedTuple):
    """One queue: whether it is paused, its limit, and how many jobs it holds."""

    name: str
    """Its name."""
    paused: bool
    """Whether nothing in it is claimed, because of a pause of this queue or of all queues."""
    paused_at: datetime | None
    """Since when; None if it is not paused."""
    paused_by: str | None
    """The user who paused it; None if it is not paused."""
    pause_reason: str | None
    """The reason that the user gave for the pause; None if there is none."""
    limit: int | None
    """How many of its jobs may run at once; None means no limit."""
    counts: Mapping[JobState, int]
    """The number of its jobs in each of the eight states."""
    paused_jobs: Mapping[JobState, int] = MappingProxyType({})
    """How many of them are paused, each by itself; states without any may be missing."""


class Selection(NamedTuple):
    """The jobs that a command is about."""

    queues: tuple[str, ...] = ()
    """Only jobs in these queues; empty means all."""
    states: tuple[JobState, ...] = ()
    """Only jobs in these states; empty means all."""
    label: str | None = None
    """Only jobs whose label fits this pattern (`*`, `?`, `[a-z]`); None means any, or no label."""
    since: datetime | None = None
    """Only jobs that ended at this time or later, or that are unfinished and changed since then."""
    paused: bool = False
    """Whether only paused jobs are selected."""
    schedule: str | None = None
    """Only jobs that this schedule made; None means any, or none."""
    query: JobQuery | None = None
    """Only jobs for which the conditions of this query hold."""

    @property
    def is_counted(self) -> bool:
        """Whether the kept counts tell how many jobs are selected."""
        return (
            self.label is None
            and self.since is None
            and not self.paused
            and self.schedule is None
            and self.query is None
        )

"""The facts about a queue at one moment that tell whether something is wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

from queuectl.core.models import QueueStatus, Worker
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState

# Thresholds of findings that also limit what is read: below them, some facts are not asked for.
BEHIND_AFTER = timedelta(minutes=10)
"""A queue that is served is a finding when one of its jobs has waited for longer than this."""
OVERRUN_AFTER = timedelta(minutes=10)
"""No job that has run for a shorter time takes unusually long."""
MANY_RETRIES = 20
"""The number of jobs that wait for a retry from which on they are a finding."""

TREND_MINUTES = 10
"""How many of the last minutes make the trend of a queue."""


class QueueFacts(NamedTuple):
    """One queue."""

    status: QueueStatus
    """Its pause, its limit, and how many jobs it holds."""
    ready: int = 0
    """How many of its jobs could run now, if they are not kept from running by their queue; of very
    many that have just become due, some are not counted. Paused jobs are left out."""
    ready_since: datetime | None = None
    """Since when the oldest of these waits; None if there is none."""
    came_in: int = 0
    """How many jobs were enqueued during the last TREND_MINUTES."""
    ended: int = 0
    """How many of its jobs completed, died or were cancelled during that time."""


class RunningFacts(NamedTuple):
    """A job that runs."""

    name: str
    """Its name in a command."""
    queue: str
    """The queue it is in."""
    since: datetime
    """When its attempt was claimed."""
    usual_seconds: float | None = None
    """How long such jobs take at most, the longest twentieth aside; None if too few ran before."""


class Reason(NamedTuple):
    """Why most of some jobs failed."""

    text: str
    """The reason, as `core/reasons.py` shortens it."""
    jobs: int
    """How many of them failed for this reason."""
    among: int
    """The number of jobs whose reasons were looked at."""


class Deaths(NamedTuple):
    """The jobs that died within the last hour and are still dead; those of hooks are left out."""

    jobs: int
    """The number of these jobs."""
    ended: int
    """How many jobs have ended within that hour, in any way. Counting stops when it is clear
    that the dead ones are few among them."""
    reason: Reason
    """Why most of them died."""
    last_name: str
    """The name of the job that died last."""
    last_at: datetime
    """When it died."""


class Stuck(NamedTuple):
    """Blocked jobs that can never run by themselves."""

    jobs: int
    """The number of these jobs, as far as they were looked for."""
    need: str
    """The name of a job that the first of them waits for, perhaps through others."""
    state: JobState
    """How that job ended: DEAD or CANCELLED."""


class HookFacts(NamedTuple):
    """One hook."""

    name: str
    """Its name."""
    is_rule: bool = True
    """Whether it is a rule for many jobs, not the command of one job for its end."""
    is_paused: bool = False
    """Whether it is paused."""
    disabled_at: datetime | None = None
    """When it was disabled; None if it is not."""
    disabled_reason: str | None = None
    """Why; None if it is not disabled."""
    failures: int = 0
    """How many deliveries have failed since the last one that succeeded."""
    last_at: datetime | None = None
    """When the last delivery was tried; None if none was."""
    last_result: str | None = None
    """How that delivery ended."""
    dead_jobs: int = 0
    """How many of its jobs died within the last hour and are still dead."""
    lane: str | None = None
    """The queue of one of these dead jobs; None if there is none."""


class Run(NamedTuple):
    """A run of a schedule: one job."""

    name: str
    """The name of the job."""
    state: JobState
    """Its state."""
    ended_at: datetime | None
    """When it ended; None if it is unfinished."""
    reason: str | None = None
    """Why it died; None if it did not."""


class ScheduleFacts(NamedTuple):
    """One schedule."""

    name: str
    """Its name."""
    is_paused: bool = False
    """Whether it is paused."""
    due_at: datetime | None = None
    """When its next job is to be made; None if none will be."""
    problem: str | None = None
    """Why no planned times can be computed here; None if they can."""
    remedy: str | None = None
    """The command that solves the problem; None if there is no problem, or no command."""
    left_out: datetime | None = None
    """Its last planned time, if that was left out because the run before it had not ended."""
    unfinished: Run | None = None
    """Its newest run that has not ended; None if all have. Only if a time was left out."""
    last_ended: Run | None = None
    """Its newest run that completed or died; None if that is not known to have died."""


class Disk(NamedTuple):
    """The file system on which the queue lies."""

    folder: str
    """The folder of the queue."""
    free_bytes: int
    """How many bytes this user can still write."""
    total_bytes: int
    """How large it is."""


class Facts(NamedTuple):
    """Everything that is looked at to find out whether something is wrong."""

    now: datetime
    """The moment."""
    queues: tuple[QueueFacts, ...] = ()
    """The queues, ordered by name."""
    all_paused: bool = False
    """Whether one switch pauses all queues."""
    workers: tuple[Worker, ...] = ()
    """The living workers of these queues."""
    unattended: int = 0
    """How many running jobs have a worker that is dead."""
    running: tuple[RunningFacts, ...] = ()
    """The running jobs that are not paused, the one that has run longest first; only the first of
    many, and at least the first one of each queue that is at its limit."""
    deaths: Deaths | None = None
    """The jobs that died within the last hour; None if none did."""
    last_death: datetime | None = None
    """When the newest dead job died; None if no job is dead."""
    retries: int = 0
    """How many jobs wait for a retry."""
    retry_reason: Reason | None = None
    """Why most of them failed; None if few wait."""
    stuck: Stuck | None = None
    """Jobs that can never run by themselves; None if none was found."""
    jobs_to_come: int = 0
    """How many jobs an enqueue that was cut short has stored that are not visible yet."""
    hooks: tuple[HookFacts, ...] = ()
    """The hooks, ordered by name."""
    schedules: tuple[ScheduleFacts, ...] = ()
    """The schedules, ordered by name."""
    disk: Disk | None = None
    """The disk of the queue; None if it is unknown."""
    newest_change: datetime | None = None
    """About when a job was last changed; None if there are no jobs."""

"""How far the jobs of each queue have come, and about how long the rest will take."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from itertools import repeat
from typing import TYPE_CHECKING, Callable, Collection, Mapping, NamedTuple, Sequence

from queuectl.cli import colors, output
from queuectl.core.batches import serves
from queuectl.core.escaping import escape
from queuectl.core.states import UNFINISHED_STATES, JobState

if TYPE_CHECKING:
    from queuectl.core.models import QueueStatus, Worker
    from queuectl.storage import Storage
    from queuectl.storage.progress import End, RunningJob

_OLDEST = timedelta(hours=6)
"""Jobs that ended earlier say nothing about the next ones."""

_RECENT = timedelta(minutes=10)
"""Only jobs that ended so lately count, if they are enough."""

_ENOUGH = 5
"""If fewer jobs ended lately, so many of the last ones count."""

_FEWEST = 3
"""No estimate is made from fewer jobs."""

_FIRST_ROUND = 10
"""While many jobs run, so many have to end first: those that end first are the shortest."""

_OF_EACH = 200
"""How many of the last jobs of each queue count at most."""

_SHORTEST_SECONDS = 0.0005
SHORTEST_BAR, LONGEST_BAR = 8, 30
"""Between so many cells a bar is long."""

_UNITS = (("s", 1), ("min", 60), ("h", 3600))


class Hold(Enum):
    """What holds up the jobs of a queue, in the words of JSON."""

    PAUSED = "paused"
    """The queue is paused, or each of the jobs that are left."""
    NO_WORKER = "no_worker"
    """No worker serves the queue."""
    BUSY = "busy_workers"
    """All workers that serve it run jobs of other queues."""
    RETRIES = "retries"
    """Its jobs wait for the time of their retry."""
    BLOCKED = "blocked"
    """Its jobs wait for other jobs."""
    SCHEDULED = "scheduled"
    """Its jobs are for later."""
    OVERDUE = "overdue"
    """Its last jobs run longer than those before, so nothing says how long they will take."""


HOLD_WORDS: Mapping[Hold, str] = {
    Hold.PAUSED: "paused",
    Hold.NO_WORKER: "no worker",
    Hold.BUSY: "workers are busy",
    Hold.RETRIES: "waiting to retry",
    Hold.BLOCKED: "blocked",
    Hold.SCHEDULED: "for later",
    Hold.OVERDUE: "longer than usual",
}
"""What holds up the jobs of a queue, in words for people."""


class Load(NamedTuple):
    """What a queue has to do, and what there is to do it."""

    counts: Mapping[JobState, int]
    """How many of its jobs are in which state."""
    running_for: Sequence[float] = ()
    """How long each of its running jobs has run, in seconds."""
    idle: int = 0
    """How many workers that serve it are idle."""
    serving: int = 0
    """How many workers serve it, idle ones included."""
    limit: int | None = None
    """How many of its jobs may run at once; None means no limit."""
    paused: bool = False
    """Whether it is paused."""
    paused_jobs: int = 0
    """How many of its jobs are paused, each by itself; they are not among the others here."""
    ends: Sequence[End] = ()
    """Its last jobs to complete or die, newest first."""


class Estimate(NamedTuple):
    """About how long a queue needs for its unfinished jobs, scheduled ones left out."""

    seconds: float | None = None
    """The time left; None if nothing can be said."""
    per_second: float | None = None
    """How many jobs will end per second; None if nothing can be said."""
    hold: Hold | None = None
    """Why there is no time left to tell; None if there is, or if too few jobs have ended."""


class QueueProgress(NamedTuple):
    """How far one queue has come."""

    status: QueueStatus
    """The queue."""
    left: int
    """How many of its jobs are still to do; scheduled ones do not count."""
    ended: Mapping[JobState, int]
    """How many of its jobs have ended, and how."""
    estimate: Estimate
    """About how long the jobs that are left will take."""

    @property
    def done(self) -> int:
        """How many of its jobs have completed or died."""
        return self.ended[JobState.COMPLETED] + self.ended[JobState.DEAD]


def measure(
    storage: Storage,
    workers: Sequence[Worker],
    running: Sequence[RunningJob],
    *,
    now: datetime,
    among: Collection[str] = (),
    up_to: Mapping[str, int] | None = None,
) -> list[QueueProgress]:
    """Return how far the queues with unfinished jobs have come, those with running jobs first.

    Only the queues `among`, if any is named. All their ended jobs count (see EndedJobs). `up_to` is
    for a wait for some jobs only: the last seq in each queue, of which later jobs do not count.
    """
    queues = [
        queue
        for queue in storage.queues()
        if any(map(queue.counts.get, UNFINISHED_STATES)) and (not among or queue.name in among)
    ]
    queues.sort(key=lambda queue: not queue.counts[JobState.PROCESSING])
    ends = storage.newest_ends(
        {queue.name for queue in queues}, after=now - _OLDEST, until=now, of_each=_OF_EACH
    )
    running_for: dict[str, list[float]] = {}
    for job in running:
        if job.is_paused:
            continue
        running_for.setdefault(job.queue, []).append((now - job.since).total_seconds())
    able = [worker for worker in workers if worker.problem is None]
    measured = []
    for queue in queues:
        serving = [each for each in able if serves(each.queues, queue.name)]
        counts = {
            state: jobs - queue.paused_jobs.get(state, 0) for state, jobs in queue.counts.items()
        }
        if up_to is not None:
            counts[JobState.PENDING] = storage.pending_up_to(queue.name, up_to[queue.name])
        load = Load(
            counts=counts,
            running_for=running_for.get(queue.name, ()),
            idle=sum(worker.job is None for worker in serving),
            serving=len(serving),
            limit=queue.limit,
            paused=queue.paused,
            paused_jobs=sum(map(queue.paused_jobs.get, UNFINISHED_STATES, repeat(0))),
            ends=ends[queue.name],
        )
        measured.append(
            QueueProgress(
                queue,
                sum(queue.counts[state] for state in UNFINISHED_STATES)
                - queue.counts[JobState.SCHEDULED],
                queue.counts,
                estimate(load, now=now),
            )
        )
    return measured


class EndedJobs:
    """Counts the jobs that ended since the oldest unfinished job of their queue was enqueued.

    A batch that was enqueued at once is counted from its beginning, whatever ended before.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._version: int | None = None
        self._counted: dict[str, Mapping[JobState, int]] = {}
        self._too_many: set[tuple[str, datetime]] = set()

    def add_to(self, measured: Sequence[QueueProgress]) -> list[QueueProgress]:
        """Return the same with these counts, unless there are too many jobs to count.

        While nothing changes, they are not counted again.
        """
        version = self._storage.version()
        if version != self._version:
            self._version = version
            self._counted.clear()
        return [progress._replace(ended=self._of(progress)) for progress in measured]

    def _of(self, progress: QueueProgress) -> Mapping[JobState, int]:
        name = progress.status.name
        if name not in self._counted:
            since = self._storage.oldest_unfinished_at(name)
            ended = None
            if since is not None and (name, since) not in self._too_many:
                ended = self._storage.ended_since([name], since)
                if ended is None:
                    self._too_many.add((name, since))
            self._counted[name] = progress.ended if ended is None else ended
        return self._counted[name]


def estimate(load: Load, *, now: datetime) -> Estimate:
    """Return about how long a queue needs for its unfinished jobs, scheduled ones left out.

    It is the time that its last jobs took, for each job that is left, shared among the workers that
    run its jobs now or are free to do so. Nothing is said before enough jobs have ended.
    """
    left = sum(load.counts[s] for s in (JobState.PENDING, JobState.FAILED, JobState.BLOCKED))
    at_once = len(load.running_for) + load.idle
    if load.limit is not None:
        at_once = min(at_once, load.limit)
    hold = _hold(load, left=left, at_once=at_once)
    if hold is not None:
        return Estimate(hold=hold)
    seconds = [end.seconds for end in _lately(load.ends, now)]
    if len(seconds) < max(_FEWEST, min(_FIRST_ROUND, len(load.running_for))):
        return Estimate()
    mean = sum(seconds) / len(seconds)
    # A job that has run longer than that makes it longer: it will take at least as long.
    overdue = [lasted for lasted in load.running_for if lasted > mean]
    mean = max(_SHORTEST_SECONDS, (sum(seconds) + sum(overdue)) / (len(seconds) + len(overdue)))
    rest = [max(0.0, mean - lasted) for lasted in load.running_for]
    at_once = min(at_once, left + len(rest))
    if not left and not any(rest):
        return Estimate(hold=Hold.OVERDUE if rest else None)
    time_left = max((left * mean + sum(rest)) / at_once, max(rest, default=0.0))
    return Estimate(time_left, at_once / mean)


def _hold(load: Load, *, left: int, at_once: int) -> Hold | None:
    """Return why the jobs that are left do not end one after the other; None if they do."""
    counts = load.counts
    if not left and not load.running_for and load.paused_jobs:
        return Hold.PAUSED
    if not left and not load.running_for:
        return Hold.SCHEDULED if counts[JobState.SCHEDULED] else None
    if left and load.paused:
        return Hold.PAUSED
    if left and not load.serving:
        return Hold.NO_WORKER
    if load.running_for:
        return None
    if counts[JobState.PENDING]:
        return None if at_once else Hold.BUSY
    return Hold.RETRIES if counts[JobState.FAILED] else Hold.BLOCKED


def _lately(ends: Sequence[End], now: datetime) -> list[End]:
    """Return those of the last ends that count."""
    recent = [end for end in ends if now - end.at <= _RECENT]
    return recent if len(recent) >= _ENOUGH else list(ends[:_ENOUGH])


def time_left(storage: Storage, queue: str, *, now: datetime) -> str | None:
    """Return about how long a queue needs for all its jobs: `about 35 min`; None if unknown."""
    progress = measure(
        storage, storage.living_workers(), storage.running_jobs(), now=now, among=[queue]
    )
    seconds = progress[0].estimate.seconds if progress else None
    return None if seconds is None else about(seconds)


def overall(measured: Sequence[QueueProgress]) -> str:
    """Return about how long all these queues need, or what holds one up; empty if unknown."""
    for queue in measured:
        hold = queue.estimate.hold
        if hold is not None:
            name = f"{escape(queue.status.name)}: " if len(measured) > 1 else ""
            return name + HOLD_WORDS[hold]
    seconds = [queue.estimate.seconds for queue in measured]
    known = [each for each in seconds if each is not None]
    return f"{about(max(known))} left" if known and len(known) == len(seconds) else ""


def bar(done: int, dead: int, total: int, length: int) -> str:
    """Return a styled bar of at most LONGEST_BAR cells; empty if there is no room for one."""
    length = min(length, LONGEST_BAR)
    if length < SHORTEST_BAR:
        return ""
    return "".join(style(text) for text, style in bar_pieces(done, dead, total, length) if text)


def bar_pieces(
    done: int, dead: int, total: int, length: int
) -> list[tuple[str, Callable[[str], str]]]:
    """Return the pieces of a bar with their styles: completed jobs, dead ones, those left.

    `done` counts the dead ones as well.
    """
    full, empty = ("#", "-") if output.needs_ascii() else ("█", "░")
    # Rounded down: a bar is full only when nothing is left.
    filled = done * length // total
    red = min(filled, -(-dead * length // total))
    return [
        (full * (filled - red), colors.good),
        (full * red, colors.bad),
        (empty * (length - filled), colors.faint),
    ]


def about(seconds: float) -> str:
    """Return an estimated time in few digits: `about 40 s`, `about 35 min`, `about 2 h 10 min`."""
    if seconds < 10:
        return "a few seconds"
    if seconds <= 50:
        return f"about {-(-seconds // 10):.0f}0 s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"about {minutes} min"
    minutes = round(minutes / 5) * 5
    if minutes < 10 * 60:
        hours, minutes = divmod(minutes, 60)
        return f"about {hours} h {minutes:02} min" if minutes else f"about {hours} h"
    hours = round(minutes / 60)
    return f"about {hours} h" if hours < 48 else f"about {round(hours / 24)} d"


def rate(per_second: float) -> str:
    """Return how many jobs end in which time, in few digits: `40/s`, `2.5/min`, `8/h`."""
    many, unit = next(
        ((per_second * seconds, unit) for unit, seconds in _UNITS if per_second * seconds >= 1),
        (per_second * 86400, "d"),
    )
    digits = f"{many:.1f}" if many < 9.95 else f"{many:.0f}"
    return f"{digits[:-2] if digits.endswith('.0') else digits}/{unit}"

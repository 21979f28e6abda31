"""About how long a queue needs for its jobs: from how long its last ones took."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Mapping, Sequence

from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState

_RECENT = timedelta(minutes=10)
"""Only jobs that ended within this time count, if they are enough."""

_ENOUGH = 5
"""How many of the last jobs count if fewer ended lately."""

_FEWEST = 3
"""No estimate is made from fewer jobs."""

_FIRST_ROUND = 10
"""How many jobs have to end first while many run: those that end first are the shortest."""

_SHORTEST_SECONDS = 0.0005
_UNITS = (("s", 1), ("min", 60), ("h", 3600))


class End(NamedTuple):
    """A job that completed or died, as far as it tells how long the next ones will take."""

    at: datetime
    """When it ended."""
    seconds: float
    """How long it kept workers busy: all its attempts, each from claim to record."""


class Hold(Enum):
    """The reason why the jobs of a queue are held up, in the words of JSON."""

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
"""The same reasons in words for people."""


class Load(NamedTuple):
    """The work of a queue, and the workers for it."""

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
    """Why the time left cannot be told; None if it can, or if too few jobs have ended."""


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

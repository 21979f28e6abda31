"""Schedules: the values of a schedule, and which of its planned times make a job.

Everything here is pure: the storage passes the present time, and carries out the plan.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from queuectl.core.cron import Times, next_after
from queuectl.core.errors import QueueError
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import to_text

GRACE = timedelta(seconds=120)
"""How late a planned time may be to count as on time: workers that cron starts each minute need
about one."""

MOST_MISSED = 100
"""How many missed times are counted, and made with `all`; if there are more, the newest ones."""

MISSED = ("skip", "once", "all")
OVERLAP = ("skip", "allow", "replace")


class ScheduleExists(QueueError):
    """There is a schedule of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a schedule {name} already")
        self.name = name


class Schedule(NamedTuple):
    """One row of the table `schedules`; the fields have the names of the columns."""

    name: str
    """Its name."""
    expression: str
    """Its planned times: a cron expression, a name such as `@daily`, or `every 10m`."""
    timezone: str | None
    """The zone of a cron expression; None is the zone of the machine."""
    spec: str
    """The job that it makes, as JSON; see `schedule_specs`."""
    anchor: datetime
    """The time from which `every D` is counted."""
    created_at: datetime
    """When it was added."""
    updated_at: datetime
    """When a user last changed it."""
    missed: str = "once"
    """`skip`, `once` or `all`: what to do about times at which no worker was there."""
    missed_within: float | None = None
    """Missed times that are longer ago, in seconds, are left out; None means none."""
    overlap: str = "skip"
    """`skip`, `allow` or `replace`: what to do if the job of an earlier time has not ended."""
    jitter: float = 0.0
    """How long after its planned time a job becomes due at the latest, in seconds."""
    until: datetime | None = None
    """No planned time is after this one; None means no end."""
    paused_at: datetime | None = None
    """Since when it is paused; None if it is not."""
    paused_by: str | None = None
    """The user who paused it; None if it is not paused."""
    pause_reason: str | None = None
    """The reason that the user gave for the pause; None if there is none."""
    next_at: datetime | None = None
    """The next planned time; None if there is none any more."""
    due_at: datetime | None = None
    """When the next planned time is due: the jitter is added."""
    last_at: datetime | None = None
    """The last planned time that made a job; None if none has."""
    last_ended: str | None = None
    """The state in which the last of its jobs ended; None if none has."""
    last_success_at: datetime | None = None
    """When the last of its jobs that completed ended; None if none has completed."""
    made: int = 0
    """How many planned times have made a job."""
    overlapped: int = 0
    """How many were left out because the job of an earlier one had not ended."""
    missed_count: int = 0
    """How many were left out because no worker was there in time."""
    source: str | None = None
    """The path of the crontab that it was imported from, `#` and a hash of the line; None if it was
    not imported."""


class Tick(NamedTuple):
    """One row of the table `ticks`: what became of a planned time."""

    planned_at: datetime
    """The planned time; the latest one if the row stands for several."""
    result: str
    """`made`, `overlapped`, `missed`, `paused` or `by-hand`."""
    times: int
    """How many planned times this row stands for."""
    at: datetime
    """When a worker dealt with it."""
    job_seq: int | None = None
    """The job that it made; None if it made none."""
    job: str | None = None
    """The id of the job; None if it made none, or if the job was deleted."""
    state: str | None = None
    """The state of the job now; None as for `job`."""
    seconds: float | None = None
    """How long the last attempt of the job took; None as for `job`, or while it runs."""
    started_at: datetime | None = None
    """When the running attempt of the job started; None if it does not run."""


class Due(NamedTuple):
    """A planned time that makes a job."""

    planned_at: datetime
    """The planned time."""
    missed: int
    """How many planned times right before it are left out."""


class Plan(NamedTuple):
    """What a schedule does at one moment."""

    made: tuple[Due, ...]
    """The planned times that make a job, the earliest first."""
    left_out: int
    """How many planned times are left out."""
    left_out_at: datetime | None
    """The latest of those; None if there are none."""
    next_at: datetime | None
    """The next planned time after all of these; None if there is none any more."""


def plan(schedule: Schedule, times: Times, *, now: datetime, grace: timedelta = GRACE) -> Plan:
    """Decide which planned times make a job now; `now` is not before the next one is due.

    A time that has been due for at most `grace` is on time. For older ones, the policy `skip` makes
    no job, `once` makes one for the newest unless another is on time, and `all` makes one for each,
    100 at most.
    """
    assert schedule.next_at is not None
    due, following = _due(schedule, times, schedule.next_at, now)
    on_time = [at for at in due if due_at(schedule, at) >= now - grace]
    late = [at for at in due if due_at(schedule, at) < now - grace]
    if schedule.missed_within is not None:
        earliest = now - timedelta(seconds=schedule.missed_within)
        allowed = [at for at in late if due_at(schedule, at) >= earliest]
    else:
        allowed = late
    if schedule.missed == "skip" or (schedule.missed == "once" and on_time):
        caught_up: list[datetime] = []
    elif schedule.missed == "once":
        caught_up = allowed[-1:]
    else:
        caught_up = allowed[-MOST_MISSED:]
    chosen = sorted([*caught_up, *on_time])  # with a long jitter, they may alternate
    left_out = [at for at in late if at not in caught_up]
    before_first = sum(at < chosen[0] for at in left_out) if chosen else 0
    made = tuple(Due(at, 0 if number else before_first) for number, at in enumerate(chosen))
    return Plan(made, len(left_out), left_out[-1] if left_out else None, following)


def _due(
    schedule: Schedule, times: Times, first: datetime, now: datetime
) -> tuple[list[datetime], datetime | None]:
    """Return the planned times that are due, and the one after them.

    If there are many, only the newest are returned: after a year, a schedule that is due each
    minute has half a million, which takes seconds.
    """
    found = [first]
    for planned in times.following(first):
        if _is_over(schedule, planned):
            return found[-MOST_MISSED - 1 :], None
        if due_at(schedule, planned) > now:
            return found[-MOST_MISSED - 1 :], planned
        found.append(planned)
        if len(found) == 2 * MOST_MISSED:
            start = _few_before(times, min(now, schedule.until or now))
            if start > planned:
                return _due(schedule, times, start, now)
        elif len(found) > 2 * MOST_MISSED:
            found = found[-MOST_MISSED - 1 :]
    return found[-MOST_MISSED - 1 :], None


def _few_before(times: Times, now: datetime) -> datetime:
    """Return a planned time that is followed by some others before the present."""
    wanted = list(islice(times.preceding(now), MOST_MISSED + 2))
    # Going back, the simulation may differ by an hour near a change of the clock.
    return next(times.following(wanted[-1])) if wanted else now


def _is_over(schedule: Schedule, planned: datetime) -> bool:
    return schedule.until is not None and planned > schedule.until


def with_next(schedule: Schedule, times: Times, *, after: datetime) -> Schedule:
    """Return a schedule whose next planned time is the first one after an instant, if any."""
    planned = next_after(times, after)
    if planned is None or _is_over(schedule, planned):
        return schedule._replace(next_at=None, due_at=None)
    return schedule._replace(next_at=planned, due_at=due_at(schedule, planned))


def upcoming(schedule: Schedule, times: Times, *, most: int) -> list[datetime]:
    """Return the next planned times of a schedule, at most `most`."""
    if schedule.next_at is None:
        return []
    following = islice(times.following(schedule.next_at), most - 1)
    return [schedule.next_at, *(at for at in following if not _is_over(schedule, at))]


def due_at(schedule: Schedule, planned: datetime) -> datetime:
    """Return when a planned time is due: later by a part of the jitter.

    That part follows from the name and the time, so it is the same in every worker.
    """
    if not schedule.jitter:
        return planned
    from hashlib import sha256  # only for jitter

    digest = sha256(f"{schedule.name}\0{to_text(planned)}".encode()).digest()
    part = int.from_bytes(digest[:8], "big") % max(1, round(schedule.jitter * 1_000_000))
    return planned + timedelta(microseconds=part)


def missed_text(missed: int) -> str:
    """Return how many times were left out, for a job: `100+` if there were more than counted."""
    return f"{MOST_MISSED}+" if missed >= MOST_MISSED else str(missed)


def variables(name: str, due: Due, times: Times) -> dict[str, str]:
    """Return the variables by which a job learns of the planned time that made it."""
    return {
        "QUEUECTL_SCHEDULE": name,
        "QUEUECTL_SCHEDULED_FOR": to_text(due.planned_at),
        "QUEUECTL_SCHEDULED_LOCAL": local_text(due.planned_at, times),
        "QUEUECTL_MISSED": missed_text(due.missed),
    }


def local_text(planned: datetime, times: Times) -> str:
    """Return a planned time in the zone of its schedule: `2026-11-29T02:00:00+01:00`."""
    return planned.astimezone(times.zone).isoformat(timespec="seconds")


def unique_key(name: str) -> str:
    """Return the unique key of the jobs of a schedule that must not overlap."""
    return f"schedule/{name}"

"""The first page: what is wrong, how much waits and runs, why jobs died, and in which queue."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Mapping, Sequence

from flask import Blueprint, request
from markupsafe import Markup

from queuectl.core import moments
from queuectl.core.activity import (
    DEAD,
    JOB_COMPLETED,
    NO_DURATIONS,
    Histogram,
    Tally,
    plus,
    quantile,
)
from queuectl.core.batches import is_lane, serves
from queuectl.core.counts import counted
from queuectl.core.facts import BEHIND_AFTER, Facts, QueueFacts
from queuectl.core.models import Job, Selection
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.naming import number
from queuectl.core.schedule_words import explained
from queuectl.core.schedules import Schedule
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.web import activity, charts, dying
from queuectl.web.chosen import group_name
from queuectl.web.findings import diagnosis
from queuectl.web.frame import render
from queuectl.web.guard import serving, storage

overview_page = Blueprint("overview", __name__)

_MOST_FINDINGS = 5
_MOST_RUNNING = 8
_MOST_GROUPS = 5
_MOST_DEATHS = 300
"""So many of the last deaths are put into groups here; the page of dead jobs looks at more."""
_KEPT_SECONDS = 5.0
"""How long figures of a whole day are kept."""
_MOST_QUEUES = 8
_MOST_SCHEDULES = 5
_DAY = timedelta(days=1)
_TREND_MINUTES = 10
_LONG_SECONDS = 60.0
"""A job that has run for less is not called long, however short others are."""


class Runs(NamedTuple):
    """A running job, compared with its timeout or with what is usual."""

    job: Job
    since: datetime
    share: float | None
    """How much of that time it has run; None if there is nothing to compare with."""
    words: str
    is_long: bool


class QueueRow(NamedTuple):
    """A queue in the table."""

    facts: QueueFacts
    is_unserved: bool
    """Whether jobs wait there and no worker serves it."""
    spark: Markup


class ScheduleRow(NamedTuple):
    """A schedule in the table."""

    schedule: Schedule
    when: str


class Day(NamedTuple):
    """What completed within 24 hours."""

    completed: int
    dead: int
    run: Histogram

    @property
    def share(self) -> str:
        """The share of the jobs that ended well, in percent; empty without any."""
        ended = self.completed + self.dead
        return f"{100 * self.completed / ended:.1f} %" if ended else ""


@overview_page.get("/")
def overview() -> str:
    """Show how the queue is doing."""
    queue = storage()
    now = utcnow()
    known = diagnosis(now=now)
    facts = known.facts
    counts = queue.by_state()
    chosen = activity.chosen_range(request.args.get("range"))
    periods = serving().lately(
        f"activity {chosen.name}",
        chosen.kept_seconds,
        lambda: activity.read(queue, chosen, now=now),
    )
    shown = activity.steps(periods, chosen, now=now)
    last_hour = periods
    if chosen is not activity.RANGES[0]:
        last_hour = activity.read(queue, activity.RANGES[0], now=now)
    day = serving().lately(
        "day", _KEPT_SECONDS, lambda: queue.activity(now - _DAY, now + timedelta(minutes=1))
    )
    running = queue.running_jobs()
    groups = dying.groups(queue, since=now - _DAY, most=_MOST_DEATHS)
    problems = len(known.findings)
    oldest = min((one.ready_since for one in facts.queues if one.ready_since), default=None)
    return render(
        "overview.html",
        title=counted(problems, "problem") if problems else "queuectl",
        nav="overview.overview",
        known=known,
        findings=known.findings[:_MOST_FINDINGS],
        more_findings=max(0, problems - _MOST_FINDINGS),
        is_new=not any(counts.values()),
        workers=len(facts.workers),
        longest=running[0].since if running else None,
        oldest=oldest,
        is_behind=oldest is not None and now - oldest >= BEHIND_AFTER,
        growth=sum(one.growth for one in queue.trends(now=now).values()) / _TREND_MINUTES,
        next_retry=_next_retry(counts, now),
        day=_day(day),
        median=quantile,
        ranges=activity.RANGES,
        chosen=chosen,
        steps=shown,
        throughput=charts.throughput(shown, activity.about(shown, chosen), _gap(facts, now)),
        durations=charts.durations(shown, activity.about_durations(shown)),
        running=_running([one.seq for one in running[:_MOST_RUNNING]], facts, day, now),
        more_running=max(0, len(running) - _MOST_RUNNING),
        groups=groups[:_MOST_GROUPS],
        grouped=sum(len(group.jobs) for group in groups),
        most_grouped=_MOST_DEATHS,
        group_name=group_name,
        queues=_queues(facts, activity.sparks(last_hour, now=now)),
        schedules=_schedules(),
    )


def _next_retry(counts: Mapping[JobState, int], now: datetime) -> datetime | None:
    if not counts[JobState.FAILED]:
        return None
    found = storage().overview(Selection(states=(JobState.FAILED,)), 1, now=now)
    return found[0].run_at if found else None


def _day(tallies: Sequence[Tally]) -> Day:
    run = NO_DURATIONS
    counted = {JOB_COMPLETED: 0, DEAD: 0}
    for tally in tallies:
        if tally.event in counted:
            counted[tally.event] += tally.times
        if tally.event == JOB_COMPLETED:
            run = plus(run, tally.run)
    return Day(counted[JOB_COMPLETED], counted[DEAD], run)


def _gap(facts: Facts, now: datetime) -> charts.Gap | None:
    """Return since when jobs wait in a queue that nobody serves; None if all are served."""
    unserved = [one for one in facts.queues if _is_unserved(one, facts)]
    since = min((one.ready_since for one in unserved if one.ready_since), default=None)
    if since is None or now - since < timedelta(minutes=1):
        return None
    if not facts.workers:
        return charts.Gap(since, "no worker is running")
    return charts.Gap(since, f"nobody serves “{unserved[0].status.name}”")


def _is_unserved(queue: QueueFacts, facts: Facts) -> bool:
    name = queue.status.name
    return (
        queue.ready_since is not None
        and not queue.status.paused
        and not any(serves(worker.queues, name) for worker in facts.workers)
    )


def _running(seqs: Sequence[int], facts: Facts, day: Sequence[Tally], now: datetime) -> list[Runs]:
    """Return the jobs that have run longest; what is usual is exact for those that run long."""
    exact = {one.name: one.usual_seconds for one in facts.running}
    by_queue: dict[str, Histogram] = {}
    for tally in day:
        if tally.event == JOB_COMPLETED:
            by_queue[tally.queue] = plus(by_queue.get(tally.queue, NO_DURATIONS), tally.run)
    found = []
    for job in storage().jobs_by_seq(seqs):
        if job.locked_at is None:
            continue
        usual = exact.get(job.id) or exact.get(number(job))
        usual = usual or quantile(by_queue.get(job.queue, NO_DURATIONS), 0.95)
        found.append(_compared(job, job.locked_at, usual, now))
    return found


def _compared(job: Job, since: datetime, usual: float | None, now: datetime) -> Runs:
    ran = max(0.0, (now - since).total_seconds())
    if job.timeout and (usual is None or ran > usual or usual > job.timeout):
        left = job.timeout - ran
        words = f"timeout in {moments.span(max(0, int(left)))}" if left > 0 else "at its timeout"
        return Runs(job, since, ran / job.timeout, words, left < job.timeout / 5)
    if not usual:
        return Runs(job, since, None, "no timeout", is_long=False)
    if ran > 1.5 * usual and ran >= _LONG_SECONDS:
        words = f"{ran / usual:,.0f} times the usual {moments.span(usual)}"
        return Runs(job, since, 1.0, words, is_long=True)
    return Runs(job, since, min(1.0, ran / usual), f"usually {moments.span(usual)}", is_long=False)


def _queues(facts: Facts, sparks: Mapping[str, Sequence[int]]) -> list[QueueRow]:
    """Return the queues with the most to do. Lanes of hooks are left out while they are idle."""

    def urgency(queue: QueueFacts) -> tuple[bool, int, int, str]:
        counts = queue.status.counts
        return (
            not _is_unserved(queue, facts),
            -queue.ready,
            -counts[JobState.PROCESSING],
            queue.status.name,
        )

    def is_idle(queue: QueueFacts) -> bool:
        counts = queue.status.counts
        return not (queue.status.paused or counts[JobState.PENDING] or counts[JobState.PROCESSING])

    shown = [one for one in facts.queues if not (is_lane(one.status.name) and is_idle(one))]
    return [
        QueueRow(queue, _is_unserved(queue, facts),
                 charts.sparkline(sparks.get(queue.status.name, [0] * 15)))
        for queue in sorted(shown, key=urgency)[:_MOST_QUEUES]
    ]  # fmt: skip


def _schedules() -> list[ScheduleRow]:
    """Return the schedules whose times come next; those without one come last."""
    found = storage().schedules().schedules
    found.sort(key=lambda one: (one.next_at is None, one.next_at and one.next_at.timestamp()))
    return [ScheduleRow(one, explained(one)) for one in found[:_MOST_SCHEDULES]]

"""The pages of schedules: when each makes jobs, and what became of its last times."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import NamedTuple, Sequence

from flask import Blueprint
from markupsafe import Markup

from queuectl.core import cron
from queuectl.core.errors import QueueError
from queuectl.core.schedule_specs import from_text
from queuectl.core.schedules import Schedule, Tick, due_at, local_text
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.web import charts
from queuectl.web.frame import render
from queuectl.web.guard import storage

schedules_page = Blueprint("schedules", __name__)

_STRIP = 30
_NEXT = 5
_LAST = 50
_LATE_SECONDS = 120


class Row(NamedTuple):
    """A schedule in the list."""

    schedule: Schedule
    when: str
    """When it makes jobs, in words."""
    late_seconds: int
    """How late it is; 0 if it is on time."""
    last: Tick | None
    strip: Markup


class Planned(NamedTuple):
    """One of the next planned times."""

    due: datetime
    shown: str
    """The planned time in the zone of the schedule."""


@schedules_page.get("/schedules")
def schedules() -> str:
    """List the schedules."""
    found = storage().schedules()
    return render(
        "schedules.html",
        title="Schedules",
        nav="schedules.schedules",
        rows=[_row(one) for one in found.schedules],
        unreadable=found.unreadable,
    )


@schedules_page.get("/schedules/<name>")
def schedule(name: str) -> str:
    """Show one schedule."""
    found = storage().schedule(name)
    ticks = storage().last_ticks(name, at_most=_LAST)
    return render(
        "schedule.html",
        title=f"{name} · schedule",
        nav="schedules.schedules",
        schedule=found,
        row=_row(found),
        spec=_spec(found),
        coming=_coming(found),
        ticks=ticks,
        chart=charts.took([(tick.planned_at, tick.seconds, _color(tick)) for tick in ticks[::-1]]),
        states={state.value: state for state in JobState},
    )


def explained(one: Schedule) -> str:
    """Return when a schedule makes jobs, in words; its expression where that is not possible."""
    try:
        text = cron.times_of(one.expression, one.timezone, one.anchor).explain()
    except QueueError:  # no cronsim, or no such zone
        return one.expression
    by_the_clock = cron.needs_cronsim(one.expression)
    return f"{text}, {one.timezone}" if one.timezone and by_the_clock else text


def _row(one: Schedule) -> Row:
    now = utcnow()
    ticks = storage().last_ticks(one.name, at_most=_STRIP)
    late = 0
    if one.due_at is not None and one.paused_at is None:
        late = int((now - one.due_at).total_seconds())
    return Row(
        one,
        explained(one),
        late if late > _LATE_SECONDS else 0,
        ticks[0] if ticks else None,
        charts.strip([_color(tick) for tick in ticks[::-1]]),
    )


def _color(tick: Tick) -> str:
    """Return how a planned time went: `ok`, `bad`, `run`, or `w` for one that was left out."""
    if tick.state is None:
        return "w"
    if tick.state == JobState.COMPLETED.value:
        return "ok"
    return "bad" if tick.state in (JobState.DEAD.value, JobState.FAILED.value) else "run"


def _spec(one: Schedule) -> JobSpec | None:
    try:
        return from_text(one.spec).spec
    except QueueError:  # another program wrote it
        return None


def _coming(one: Schedule) -> Sequence[Planned]:
    """Return the next planned times; none if it is paused or has ended, or cannot be planned."""
    if one.next_at is None or one.paused_at is not None:
        return ()
    try:
        times = cron.times_of(one.expression, one.timezone, one.anchor)
        following = [one.next_at, *islice(times.following(one.next_at), _NEXT - 1)]
    except QueueError:
        return ()
    return [
        Planned(due_at(one, at), local_text(at, times).replace("T", " "))
        for at in following
        if one.until is None or at <= one.until
    ]

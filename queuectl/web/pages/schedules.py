"""The pages of schedules: all of them, and one with its next and its last times."""

from __future__ import annotations

from datetime import datetime
from shlex import quote
from typing import Sequence

from flask import Blueprint, request
from markupsafe import Markup

from queuectl.core import moments
from queuectl.core.errors import QueueError
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.schedule_words import explained, job_of, late_by, planned_line, times_of
from queuectl.core.schedules import Schedule, Tick, due_at, upcoming
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.web import charts
from queuectl.web.frame import render
from queuectl.web.guard import storage
from queuectl.web.parts import Part

schedules_page = Blueprint("schedules", __name__)

_MOST_UNREADABLE = 50
_STRIP = 30
_NEXT = 5
_TICKS = 50
_MOST_NAMES = 20
_GOOD = (JobState.COMPLETED.value,)
_BAD = (JobState.DEAD.value, JobState.FAILED.value)


class Result(NamedTuple):
    """What became of a planned time, as a chip shows it."""

    color: str
    sign: str
    text: str


class Row(NamedTuple):
    """A schedule in the list."""

    schedule: Schedule
    when: str
    command: str
    late: int
    """For how many seconds its next job has been due; 0 if that is as usual."""
    last: Tick | None
    result: Result | None
    """What became of its last planned time; None if there was none."""
    strip: Markup


@schedules_page.get("/schedules")
def schedules() -> str:
    """Show all schedules, by name."""
    now = utcnow()
    found = storage().schedules()
    query = request.args.get("q", "").strip()
    chosen = [one for one in found.schedules if _fits(one, query.casefold())]
    part = Part.of(len(chosen), request.args.get("from", 0, type=int))
    shown = chosen[part.start : part.end]
    ticks = storage().last_ticks_of([one.name for one in shown], at_most=_STRIP)
    return render(
        "schedules.html",
        title="Schedules",
        nav="schedules.schedules",
        rows=[_row(one, ticks[one.name], now) for one in shown],
        unreadable=found.unreadable[:_MOST_UNREADABLE],
        query=query,
        there_are=len(found.schedules),
        part=part,
        bars=_STRIP,
    )


def _fits(schedule: Schedule, query: str) -> bool:
    """Whether the name or the command of a schedule contains the text that is searched for."""
    return (
        not query
        or query in schedule.name.casefold()
        or query in job_of(schedule).spec.command.casefold()
    )


def _row(schedule: Schedule, ticks: Sequence[Tick], now: datetime) -> Row:
    last = ticks[0] if ticks else None
    return Row(
        schedule,
        explained(schedule),
        job_of(schedule).spec.command,
        late_by(schedule, now=now),
        last,
        None if last is None else _result(last, now),
        _strip(ticks, now),
    )


@schedules_page.get("/schedules/<name>")
def schedule(name: str) -> str:
    """Show one schedule."""
    queue, now = storage(), utcnow()
    found = queue.schedule(name)
    ticks = queue.last_ticks(name, at_most=_TICKS)
    job = job_of(found)
    names = sorted(job.spec.env)
    problem, following = None, []
    try:
        times = times_of(found)
        following = [
            planned_line(planned, due_at(found, planned), found.timezone, times, now=now)
            for planned in upcoming(found, times, most=_NEXT)
        ]
    except QueueError as error:
        problem = str(error)
    return render(
        "schedule.html",
        title=found.name,
        nav="schedules.schedules",
        schedule=found,
        when_text=explained(found),
        quoted=quote(found.name),
        spec=job.spec,
        names=names[:_MOST_NAMES],
        more_names=len(names) - _MOST_NAMES,
        taken_over=len(job.captured),
        problem=problem,
        following=[] if found.paused_at else following,
        late=late_by(found, now=now),
        ticks=[(tick, _result(tick, now)) for tick in ticks],
        strip=_strip(ticks[:_STRIP], now),
        chart=charts.lengths([_bar(tick) for tick in reversed(ticks) if tick.seconds is not None]),
    )


def _result(tick: Tick, now: datetime) -> Result:
    """Return what became of a planned time, and of the job that it made."""
    times = f" ({tick.times:,} times)" if tick.times > 1 else ""
    if tick.result not in ("made", "by-hand"):
        text = "left out while paused" if tick.result == "paused" else tick.result
        return Result("retry" if tick.result != "paused" else "off", "-", f"{text}{times}")
    if tick.state is None:
        return Result("off", "·", "made a job that was deleted" if tick.job is None else "made")
    if tick.state == JobState.PROCESSING.value and tick.started_at is not None:
        return Result("run", "▸", f"runs {moments.lasting(tick.started_at, now=now)}")
    color, sign = {
        "completed": ("ok", "✓"),
        "dead": ("dead", "✗"),
        "failed": ("retry", "↻"),
        "cancelled": ("off", "⊘"),
    }.get(tick.state, ("wait", "…"))
    if tick.state == JobState.COMPLETED.value and tick.seconds is not None:
        return Result(color, sign, f"{tick.state} in {moments.span(tick.seconds)}")
    return Result(color, sign, tick.state)


def _strip(ticks: Sequence[Tick], now: datetime) -> Markup:
    """Return one small bar for each of the last planned times, the latest at the right."""
    told = [
        (f"r-{_color(tick)}", _height(tick),
         f"{moments.local(tick.planned_at)[:16]}: {_result(tick, now).text}")
        for tick in reversed(ticks)
    ]  # fmt: skip
    counts: dict[str, int] = {}
    for tick in ticks:
        word = tick.state if tick.state and tick.result in ("made", "by-hand") else tick.result
        counts[word] = counts.get(word, 0) + 1
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    which = "The last time" if len(ticks) == 1 else f"The last {len(ticks)} times"
    return charts.strip(told, f"{which}: {words}.", _STRIP)


def _color(tick: Tick) -> str:
    if tick.state in _GOOD:
        return "ok"
    if tick.state in _BAD:
        return "bad"
    return "run" if tick.state is not None else "off"


def _height(tick: Tick) -> float:
    """Return how high the bar is, as a share: what did not end well differs not by colour only."""
    if tick.state in _GOOD:
        return 0.7
    if tick.state in _BAD:
        return 1.0
    return 0.4 if tick.state is not None else 0.2


def _bar(tick: Tick) -> charts.Length:
    color = "bad" if tick.state in _BAD else "ok" if tick.state in _GOOD else "run"
    return charts.Length(tick.planned_at, tick.seconds or 0.0, tick.state or "deleted", color)

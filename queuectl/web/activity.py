"""What happened over time, in equal steps, for the charts."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Iterable, Mapping, Sequence

from queuectl.core import moments
from queuectl.core.activity import (
    DEAD,
    ENQUEUED,
    JOB_COMPLETED,
    NO_DURATIONS,
    Histogram,
    plus,
    quantile,
)
from queuectl.core.named_tuples import NamedTuple
from queuectl.storage.activity import Period
from queuectl.web.storages import WebStorage

_FAILURES = frozenset(("exit", "signal", "timeout", "lost", "spawn-error"))


class Range(NamedTuple):
    """A range of time that a chart shows, up to now."""

    name: str
    """As in the address: `24h`."""
    words: str
    """For people: `last 24 hours`."""
    steps: int
    """How many bars it has."""
    step: timedelta
    """How long each of them is."""
    per: str
    """What a bar counts: `minute`."""
    kept_seconds: float
    """How long the figures may be kept that a page has read."""


RANGES = (
    Range("1h", "last hour", 60, timedelta(minutes=1), "minute", 0.0),
    Range("24h", "last 24 hours", 24, timedelta(hours=1), "hour", 15.0),
    Range("7d", "last 7 days", 84, timedelta(hours=2), "2 hours", 60.0),
    Range("90d", "last 90 days", 90, timedelta(days=1), "day", 60.0),
)
"""The ranges that can be chosen, the first one unless another is asked for."""


class Step(NamedTuple):
    """What happened within one bar of a chart."""

    start: datetime
    came_in: int = 0
    completed: int = 0
    retried: int = 0
    """How many attempts failed and were tried again."""
    dead: int = 0
    run: Histogram = NO_DURATIONS
    """How long attempts ran."""
    wait: Histogram = NO_DURATIONS
    """How long they waited before their start."""

    @property
    def run_p95(self) -> float | None:
        """About how long the shortest 95 % of the attempts ran at most; None without any."""
        return quantile(self.run, 0.95)

    @property
    def wait_p95(self) -> float | None:
        """About how long 95 % of them waited at most; None without any."""
        return quantile(self.wait, 0.95)


def chosen_range(name: str | None) -> Range:
    """Return the range with this name, else the first one."""
    return next((one for one in RANGES if one.name == name), RANGES[0])


def read(storage: WebStorage, chosen: Range, *, now: datetime) -> list[Period]:
    """Return what was counted in a range, by minute, hour or day, queue and event."""
    begin = first_start(chosen, now=now)
    if chosen.step < timedelta(hours=1):
        return storage.activity_by_minute(begin, now + timedelta(hours=1))
    if chosen.step < timedelta(days=1):
        return storage.activity_by_hour(begin, now + timedelta(hours=1))
    return storage.activity_by_day(begin, now + timedelta(days=1))


def first_start(chosen: Range, *, now: datetime) -> datetime:
    """Return when the first bar begins: the last one contains the present."""
    seconds = chosen.step.total_seconds()
    last = int(now.timestamp() // seconds * seconds)
    return datetime.fromtimestamp(last, timezone.utc) - (chosen.steps - 1) * chosen.step


def steps(
    periods: Iterable[Period], chosen: Range, *, now: datetime, queue: str | None = None
) -> list[Step]:
    """Return the bars of a chart, the oldest first; of one queue only, if it is named."""
    begin = first_start(chosen, now=now)
    found = [Step(begin + number * chosen.step) for number in range(chosen.steps)]
    failures = [0] * chosen.steps
    for start, tally in periods:
        place = int((start - begin) / chosen.step)
        if not 0 <= place < chosen.steps or queue not in (None, tally.queue):
            continue
        one = found[place]
        if tally.event == ENQUEUED:
            one = one._replace(came_in=one.came_in + tally.times)
        elif tally.event == DEAD:
            one = one._replace(dead=one.dead + tally.times)
        else:
            if tally.event == JOB_COMPLETED:
                one = one._replace(completed=one.completed + tally.times)
            elif tally.event in _FAILURES:
                failures[place] += tally.times
            one = one._replace(run=plus(one.run, tally.run), wait=plus(one.wait, tally.wait))
        found[place] = one
    return [one._replace(retried=max(0, failed - one.dead)) for one, failed in zip(found, failures)]


def about(steps: Sequence[Step], chosen: Range) -> str:
    """Return what a chart of the jobs says, in a sentence."""
    came_in = sum(one.came_in for one in steps)
    completed = sum(one.completed for one in steps)
    dead = sum(one.dead for one in steps)
    return (
        f"Jobs per {chosen.per}, {chosen.words}: {came_in:,} came in, {completed:,} completed, "
        f"{dead:,} died."
    )


def about_durations(steps: Sequence[Step]) -> str:
    """Return what a chart of waiting and running times says, in a sentence."""
    run, wait = NO_DURATIONS, NO_DURATIONS
    for one in steps:
        run, wait = plus(run, one.run), plus(wait, one.wait)
    found = [(word, quantile(values, 0.95)) for word, values in (("waited", wait), ("ran", run))]
    told = [f"{word} about {moments.span(value)} at most" for word, value in found if value]
    return f"95 % of the attempts {' and '.join(told)}." if told else "No attempts ended."


def sparks(periods: Iterable[Period], *, now: datetime, bars: int = 15) -> Mapping[str, list[int]]:
    """Return for each queue how many jobs completed, in so many equal parts of the last hour."""
    length = timedelta(hours=1) / bars
    begin = first_start(RANGES[0], now=now)
    found: dict[str, list[int]] = {}
    for start, tally in periods:
        place = int((start - begin) / length)
        if tally.event == JOB_COMPLETED and 0 <= place < bars:
            found.setdefault(tally.queue, [0] * bars)[place] += tally.times
    return found

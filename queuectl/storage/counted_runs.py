"""Figures of attempts from the counters of activity: for times with too many attempts to read."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Callable, Iterable, Mapping, Sequence

from queuectl.core.activity import DEAD, JOB_EVENTS, NO_DURATIONS, plus, quantile
from queuectl.core.models import OutcomeKind
from queuectl.core.run_figures import FAILED, PARTS, Figures, Group, Grouping, Spread, Summary
from queuectl.core.times import to_text
from queuectl.storage.activity import Period, by_hour
from queuectl.storage.counting import HOUR_PREFIX, hour

_KEYS: Mapping[Grouping, Callable[[Period], str]] = {
    Grouping.QUEUE: lambda period: period.tally.queue,
    Grouping.OUTCOME: lambda period: period.tally.event,
    Grouping.HOUR: lambda period: to_text(period.start),
    Grouping.DAY: lambda period: f"{period.start.astimezone():%Y-%m-%d}",
}


def are_counted(conn: sqlite3.Connection, by: Grouping, first_start: str) -> bool:
    """Whether the counters have all attempts since the one that started then, in such groups.

    Attempts that ended before the file was upgraded to schema 4 are not in the counters.
    """
    first = conn.execute(
        "SELECT min(period) FROM activity WHERE period >= ?", (HOUR_PREFIX,)
    ).fetchone()[0]
    return by in _KEYS and first is not None and first <= hour(first_start)


def summary(
    conn: sqlite3.Connection,
    by: Grouping,
    *,
    since: datetime,
    now: datetime,
    queues: Sequence[str],
    most: int,
) -> Summary:
    """Estimate the figures of the attempts that ended since the beginning of that hour.

    Quantiles are estimated from histograms. The longest attempt, and the most memory, are unknown;
    without queues as groups it is also unknown how many jobs died.
    """
    since = since.replace(minute=0, second=0, microsecond=0)
    periods = [
        period
        for period in by_hour(conn, since, now + timedelta(hours=1))
        if not queues or period.tally.queue in queues
    ]
    groups: dict[str, list[Period]] = {}
    for period in periods:
        event = period.tally.event
        if event not in JOB_EVENTS or (event == DEAD and by is not Grouping.OUTCOME):
            groups.setdefault(_KEYS[by](period), []).append(period)
    figures = {key: _figures(found, since, now) for key, found in groups.items()}
    figures = {key: found for key, found in figures.items() if found.runs}
    if by.is_time:
        chosen = sorted(figures)[-most:]
    else:
        chosen = sorted(figures, key=lambda key: (-figures[key].runs, key))[:most]
    return Summary(
        since,
        now,
        [Group(key, figures[key]) for key in chosen],
        len(figures) - len(chosen),
        _figures(periods, since, now),
        is_about=True,
    )


def _figures(periods: Iterable[Period], since: datetime, now: datetime) -> Figures:
    ok = failed = dead = runs = 0
    cpu_seconds = 0.0
    run = wait = NO_DURATIONS
    series = [0] * PARTS
    for start, tally in periods:
        if tally.event == DEAD:
            dead += tally.times
        if tally.event in JOB_EVENTS:
            continue
        runs += tally.times
        ok += tally.times if tally.event == OutcomeKind.OK.value else 0
        failed += tally.times if tally.event in FAILED else 0
        cpu_seconds += tally.cpu_seconds
        run, wait = plus(run, tally.run), plus(wait, tally.wait)
        series[min(PARTS - 1, int(PARTS * ((start - since) / (now - since))))] += tally.times
    return Figures(
        runs, ok, failed, dead, _spread(wait), _spread(run), cpu_seconds, None, tuple(series)
    )


def _spread(histogram: Sequence[int]) -> Spread | None:
    p50, p95 = quantile(histogram, 0.5), quantile(histogram, 0.95)
    return None if p50 is None or p95 is None else Spread(p50, p95, None)

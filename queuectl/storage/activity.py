"""Reading the counters: how often each event happened in each queue, ever or in a range of time.

For commands and pages: `Storage.totals()` (ever since), `Storage.activity(since, until)` (sums of a
range), `Storage.activity_by_minute(…)`, `…_by_hour(…)`, `…_by_day(…)` and `Storage.trends(…)`.
With a connection of your own: `totals(conn)`, `in_range(conn, …)`, `by_minute(conn, …)`. All return
values of `core.activity.Tally`, whose histograms give quantiles (`core.activity.quantile`). Nobody
else reads the table: the attempts that are not counted yet have to be added.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Any, Callable, Iterable, Iterator, Sequence

from queuectl.core.activity import BUCKETS, DEAD, ENQUEUED, JOB_CANCELLED, JOB_COMPLETED, Tally
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import from_text, to_text
from queuectl.storage.base import Base
from queuectl.storage.counting import (
    COLUMNS,
    DAY,
    DAY_PREFIX,
    EVER,
    FIRST_MINUTE,
    HOUR,
    HOUR_PREFIX,
    IS_UNCOUNTED,
    SUMS,
    beginning,
    day,
    ended_attempts,
    hour,
    minute,
)
from queuectl.storage.rows import NEVER

_NUMBERS = ", ".join(f"{name} + 0" for name in COLUMNS)
_SELECT = f"SELECT period, CAST(queue AS TEXT), CAST(event AS TEXT), {_NUMBERS} FROM activity "


class Period(NamedTuple):
    """The events of a minute, an hour or a day."""

    start: datetime
    """When it began."""
    tally: Tally
    """One queue and one event."""


class Trend(NamedTuple):
    """How many jobs of a queue came in and finished lately."""

    enqueued: int = 0
    """How many came in; retries of finished jobs are among them."""
    completed: int = 0
    """How many completed."""
    dead: int = 0
    """How many died."""
    cancelled: int = 0
    """How many were cancelled."""

    @property
    def growth(self) -> int:
        """How many more came in than finished; negative if the queue gets shorter."""
        return self.enqueued - self.completed - self.dead - self.cancelled


class Activity(Base):
    """The methods that read the counters."""

    def totals(self) -> list[Tally]:
        """Return all that ever happened, ordered by queue and event. No number ever falls."""
        with self._snapshot() as conn:
            return totals(conn)

    def activity(self, since: datetime, until: datetime) -> list[Tally]:
        """Return what happened in a range, as the function `in_range`."""
        with self._snapshot() as conn:
            return in_range(conn, since, until)

    def activity_by_minute(self, since: datetime, until: datetime) -> list[Period]:
        """Return what happened in each minute of a range, as the function `by_minute`."""
        with self._snapshot() as conn:
            return by_minute(conn, since, until)

    def activity_by_hour(self, since: datetime, until: datetime) -> list[Period]:
        """Return what happened in each hour, from that of one time to before that of another."""
        with self._snapshot() as conn:
            return by_hour(conn, since, until)

    def activity_by_day(self, since: datetime, until: datetime) -> list[Period]:
        """Return what happened on each day (UTC), from that of one time to before that of another.

        Days are kept longest, for 400 days. For a long range they are much faster than hours.
        """
        with self._snapshot() as conn:
            return by_day(conn, since, until)

    def trends(self, *, now: datetime, minutes: int = 10) -> dict[str, Trend]:
        """Return how many jobs came in and finished in the last minutes, the present one included.

        They are given by the name of the queue. A queue without any may be missing.
        """
        counts: dict[str, dict[str, int]] = {}
        begin = now - timedelta(minutes=minutes - 1)
        for tally in self.activity(begin, now + timedelta(minutes=1)):
            counts.setdefault(tally.queue, {})[tally.event] = tally.times
        events = (ENQUEUED, JOB_COMPLETED, DEAD, JOB_CANCELLED)
        return {
            queue: Trend(*(of_queue.get(event, 0) for event in events))
            for queue, of_queue in counts.items()
        }


def totals(conn: sqlite3.Connection) -> list[Tally]:
    """Return all that ever happened, ordered by queue and event. No number ever falls."""
    rows = conn.execute(_SELECT + "WHERE period = ? ORDER BY queue, event", (EVER,)).fetchall()
    uncounted = (tally for _, tally in _uncounted(conn))
    return _summed((*(_tally(row[1:]) for row in rows), *uncounted))


def in_range(conn: sqlite3.Connection, since: datetime, until: datetime) -> list[Tally]:
    """Return what happened from the minute of one time to before that of another.

    By queue and event, in this order. Where minutes are no longer kept (48 hours), both ends are
    taken back to whole hours; where hours are no longer kept (100 days), to whole days.
    """
    minutes_from, hours_from = conn.execute(
        """
        SELECT (SELECT min(period) FROM activity WHERE period > :minutes AND period < :days),
               (SELECT min(period) FROM activity WHERE period > :hours)
        """,
        {"minutes": FIRST_MINUTE, "days": DAY_PREFIX, "hours": HOUR_PREFIX},
    ).fetchone()
    first, end = (
        _whole(minute(to_text(instant)), minutes_from, hours_from) for instant in (since, until)
    )
    return _summed(
        (
            *(tally for piece in _pieces(first, end) for tally in _sums(conn, *piece)),
            *(tally for at, tally in _uncounted(conn) if first <= at < end),
        )
    )


def _whole(at: str, minutes_from: str | None, hours_from: str | None) -> str:
    """Return the last minute, not after this one, with which a kept period begins."""
    if hours_from is None or hour(at) < hours_from:
        return at[:DAY] + "T00:00"
    if minutes_from is None or at < minutes_from:
        return at[:HOUR] + ":00"
    return at


def _pieces(first: str, end: str) -> list[tuple[str, str]]:
    """Return the ranges of minutes, hours and days of which the time between two minutes consists.

    They are as few and as long as possible: there may be 200,000 rows of minutes in a day.
    """
    pieces = []
    for period, length, rest in ((hour, HOUR, ":00"), (day, DAY, "T00:00")):
        finer = minute if period is hour else hour
        inner, last = _next(first, length, rest), end[:length] + rest
        if inner > last:
            pieces.append((finer(first), finer(end)))
            return pieces
        pieces += [(finer(first), finer(inner)), (finer(last), finer(end))]
        first, end = inner, last
    return [*pieces, (day(first), day(end))]


def _next(at: str, length: int, rest: str) -> str:
    """Return the first minute, not before this one, with which an hour or a day begins."""
    start = at[:length] + rest
    if start == at:
        return at
    step = timedelta(hours=1) if length == HOUR else timedelta(days=1)
    return minute(to_text(from_text(start + NEVER[len(start) :]) + step))


def by_minute(conn: sqlite3.Connection, since: datetime, until: datetime) -> list[Period]:
    """Return what happened in each minute, from that of one time to before that of another.

    By minute, queue and event, in this order. There are no minutes longer ago than 48 hours.
    """
    return _by_period(conn, minute(to_text(since)), minute(to_text(until)), minute)


def by_hour(conn: sqlite3.Connection, since: datetime, until: datetime) -> list[Period]:
    """Return what happened in each hour, from that of one time to before that of another."""
    return _by_period(conn, hour(to_text(since)), hour(to_text(until)), hour)


def by_day(conn: sqlite3.Connection, since: datetime, until: datetime) -> list[Period]:
    """Return what happened on each day (UTC), from that of one time to before that of another."""
    return _by_period(conn, day(to_text(since)), day(to_text(until)), day)


def times_in_range(
    conn: sqlite3.Connection, since: datetime, until: datetime
) -> dict[tuple[str, str], int]:
    """Return how often each event happened from one minute to before another, by queue and event.

    It is what `in_range` returns for minutes, without the durations: these take ten times as long
    to read.
    """
    first, end = minute(to_text(since)), minute(to_text(until))
    found: dict[tuple[str, str], int] = {
        (queue, event): times
        for queue, event, times in conn.execute(
            """
            SELECT CAST(queue AS TEXT), CAST(event AS TEXT), CAST(total(times) AS INTEGER)
              FROM activity
             WHERE period >= :first
               AND period < :end
             GROUP BY queue, event
             ORDER BY queue, event
            """,
            {"first": first, "end": end},
        )
    }
    for at, tally in _uncounted(conn):
        if first <= at < end:
            key = (tally.queue, tally.event)
            found[key] = found.get(key, 0) + tally.times
    return found


def times_by_minute(
    conn: sqlite3.Connection, since: datetime, until: datetime
) -> dict[tuple[datetime, str, str], int]:
    """Return how often each event happened in each minute, by minute, queue and event.

    It is what `by_minute` returns, without the durations.
    """
    first, end = minute(to_text(since)), minute(to_text(until))
    found: dict[tuple[str, str, str], int] = {
        (period, queue, event): times
        for period, queue, event, times in conn.execute(
            """
            SELECT period, CAST(queue AS TEXT), CAST(event AS TEXT), CAST(times AS INTEGER)
              FROM activity
             WHERE period >= :first
               AND period < :end
             ORDER BY period, queue, event
            """,
            {"first": first, "end": end},
        )
    }
    for at, tally in _uncounted(conn):
        if first <= at < end:
            key = (at, tally.queue, tally.event)
            found[key] = found.get(key, 0) + tally.times
    starts = {at: beginning(at) for at, _, _ in found}
    return {
        (start, queue, event): times
        for (at, queue, event), times in found.items()
        if (start := starts[at]) is not None
    }


def _by_period(
    conn: sqlite3.Connection, first: str, end: str, period_of: Callable[[str], str]
) -> list[Period]:
    found: dict[tuple[str, str, str], Tally] = {}
    rows = conn.execute(
        _SELECT + "WHERE period >= :first AND period < :end ORDER BY period, queue, event",
        {"first": first, "end": end},
    ).fetchall()
    counted = ((row[0], _tally(row[1:])) for row in rows)
    uncounted = ((period_of(at), tally) for at, tally in _uncounted(conn))
    for period, tally in (*counted, *uncounted):
        if first <= period < end:
            key = (period, tally.queue, tally.event)
            found[key] = found[key].plus(tally) if key in found else tally
    starts = {period: beginning(period) for period, _, _ in found}
    return [
        Period(start, found[key]) for key in sorted(found) if (start := starts[key[0]]) is not None
    ]


def _uncounted(conn: sqlite3.Connection) -> Iterator[tuple[str, Tally]]:
    for is_uncounted in IS_UNCOUNTED:
        yield from ended_attempts(conn, is_uncounted)


def _sums(conn: sqlite3.Connection, first: str, end: str) -> list[Tally]:
    """Return the sums of the periods from one to before another, which must be of one kind."""
    rows = conn.execute(
        f"""
        SELECT CAST(queue AS TEXT), CAST(event AS TEXT), {SUMS}
          FROM activity
         WHERE period >= :first
           AND period < :end
         GROUP BY queue, event
         ORDER BY queue, event
        """,
        {"first": first, "end": end},
    ).fetchall()
    return [_tally(row) for row in rows]


def _tally(row: Sequence[Any]) -> Tally:
    histograms = len(row) - 2 * BUCKETS
    run, wait = row[histograms : histograms + BUCKETS], row[histograms + BUCKETS :]
    return Tally._make((*row[:histograms], tuple(run), tuple(wait)))


def _summed(tallies: Iterable[Tally]) -> list[Tally]:
    found: dict[tuple[str, str], Tally] = {}
    for tally in tallies:
        key = (tally.queue, tally.event)
        found[key] = found[key].plus(tally) if key in found else tally
    return [found[key] for key in sorted(found)]

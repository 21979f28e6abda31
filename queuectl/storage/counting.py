"""Counting the ends of attempts into `activity`, and deleting its old minutes, hours and days.

Attempts are counted later than they are recorded, many at a time, and each one exactly once: those
up to the id in `counted_attempts`, except those in `late_attempts`. Whoever reads the counters adds
the attempts that are still to be counted.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Any, Iterator, Sequence

from queuectl.core.activity import BOUNDS, BUCKETS, Tally
from queuectl.core.errors import QueueUnusable
from queuectl.core.times import from_text, to_text
from queuectl.storage.base import Base, any_bytes
from queuectl.storage.rows import NEVER, one_of

ROWS_AT_ONCE = 5000
"""How many rows one transaction counts or deletes at most: some 10 ms for which others wait."""

MINUTES_KEPT = timedelta(hours=48)
HOURS_KEPT = timedelta(days=100)
DAYS_KEPT = timedelta(days=400)
_SILENT_YEARS = 2
"""The number of years without any activity after which the clock is not believed at once."""

EVER = ""
"""The period of the row that has the sum of all times."""
BEFORE = "-"
"""The period of the row that has the sum of the days which are no longer kept."""
FIRST_MINUTE = "0"
"""All minutes come after this in the order of periods, and before all days and hours."""
DAY_PREFIX = "d"
"""The beginning of the period of a day."""
HOUR_PREFIX = "h"
"""The beginning of the period of an hour."""

_UNKNOWN = NEVER[: len("1970-01-01T00:00")]
"""The minute in which an attempt counts if the time of its end cannot be read."""
MINUTE, HOUR, DAY = len("2026-11-28T11:43"), len("2026-11-28T11"), len("2026-11-28")
"""The lengths of the part of a time as text that names its minute, its hour and its day."""


def minute(at: str) -> str:
    """Return the period of the minute of a time as text."""
    return at[:MINUTE]


def hour(at: str) -> str:
    """Return the period of the hour of a time as text, or of a minute."""
    return HOUR_PREFIX + at[:HOUR]


def day(at: str) -> str:
    """Return the period of the day, in UTC, of a time as text, or of a minute."""
    return DAY_PREFIX + at[:DAY]


COLUMNS = (
    "times", "run_seconds", "cpu_seconds", "wait_seconds",
    *(f"run_{number}" for number in range(BUCKETS)),
    *(f"wait_{number}" for number in range(BUCKETS)),
)  # fmt: skip
"""The columns of `activity` that are summed up, in the order of Tally."""

_INTO = f"INSERT INTO activity (period, queue, event, {', '.join(COLUMNS)})"
_ADDING = "ON CONFLICT (period, queue, event) DO UPDATE SET " + ", ".join(
    f"{name} = {name} + excluded.{name}" for name in COLUMNS
)
SUMS = ", ".join(
    f"total({name})" if name.endswith("_seconds") else f"CAST(total({name}) AS INTEGER)"
    for name in COLUMNS
)
"""The expressions for the sums of these columns, in their order."""

IS_UNCOUNTED = (
    "id > (SELECT up_to FROM counted_attempts)",
    "id IN (SELECT execution_id FROM late_attempts)",
)
"""SQL conditions: no attempt fulfils both, and those that fulfil one are to be counted when ended.
(Each one is a search; SQLite would read all rows for both in one condition.)"""


def _bucket(seconds: str) -> str:
    cases = " ".join(f"WHEN {seconds} <= {bound} THEN {n}" for n, bound in enumerate(BOUNDS))
    return f"CASE WHEN {seconds} IS NULL THEN NULL {cases} ELSE {len(BOUNDS)} END"


_ATTEMPTS = f"""
    SELECT substr(CAST(finished_at AS TEXT), 1, {MINUTE}),
           CAST(coalesce(queue, (SELECT queue FROM jobs WHERE jobs.seq = job_seq), '') AS TEXT),
           CAST(outcome AS TEXT),
           {_bucket("seconds")},
           {_bucket("waited_seconds")},
           count(*),
           total(seconds),
           total(cpu_seconds),
           total(waited_seconds)
      FROM executions
     WHERE outcome IS NOT NULL
       AND {{which}}
     GROUP BY 1, 2, 3, 4, 5
     ORDER BY 1, 2, 3, 4, 5
"""


def beginning(period: str) -> datetime | None:
    """Return when a minute, an hour or a day began; None if another program made it up."""
    at = period.lstrip(HOUR_PREFIX + DAY_PREFIX)
    try:
        return from_text(at + NEVER[len(at) :])
    except QueueUnusable:
        return None


def ended_attempts(
    conn: sqlite3.Connection, which: str, values: Sequence[Any] = ()
) -> Iterator[tuple[str, Tally]]:
    """Yield the ended attempts for which a condition holds, with their minutes.

    There may be several for the same minute, queue and event.
    """
    with any_bytes(conn):
        rows = conn.execute(_ATTEMPTS.format(which=which), values).fetchall()
    for at, queue, event, run, wait, times, *seconds in rows:
        histograms = _only(run, times), _only(wait, times)
        period = _UNKNOWN if at is None or beginning(at) is None else at
        yield period, Tally._make((queue, event, times, *seconds, *histograms))


def _only(bucket: int | None, times: int) -> tuple[int, ...]:
    return tuple(times if number == bucket else 0 for number in range(BUCKETS))


def count_attempts_of(conn: sqlite3.Connection, jobs: Sequence[int]) -> None:
    """Count the uncounted attempts of jobs that this transaction deletes, given their seqs."""
    which = f"job_seq {one_of(jobs)} AND "
    for is_uncounted in IS_UNCOUNTED:
        _add(conn, ended_attempts(conn, which + is_uncounted, jobs))


def _add(conn: sqlite3.Connection, tallies: Iterator[tuple[str, Tally]]) -> None:
    rows = [
        (into, *tally[:6], *tally.run, *tally.wait)
        for period, tally in tallies
        for into in (period, hour(period), day(period), EVER)
    ]
    if rows:
        conn.executemany(f"{_INTO} VALUES ({', '.join('?' * len(rows[0]))}) {_ADDING}", rows)


class Counting(Base):
    """The methods that count and roll up."""

    def count_attempts(self) -> bool:
        """Count attempts that have ended, at most 5,000; return whether there may be more."""
        # Idle workers look all day, and must not write.
        with self._snapshot() as conn:
            up_to, last, late = conn.execute(
                """
                SELECT (SELECT up_to FROM counted_attempts),
                       (SELECT max(id) FROM executions),
                       EXISTS (SELECT 1
                                 FROM late_attempts
                                WHERE NOT EXISTS (SELECT 1
                                                    FROM executions
                                                   WHERE id = execution_id
                                                     AND outcome IS NULL))
                """
            ).fetchone()
        if (last is None or last <= up_to) and not late:
            return False
        with self._transaction() as conn:
            above, last = conn.execute(
                "SELECT up_to, (SELECT max(id) FROM executions) FROM counted_attempts"
            ).fetchone()
            up_to = max(above, min(above + ROWS_AT_ONCE, last or 0))
            _add(conn, ended_attempts(conn, "id > ? AND id <= ?", (above, up_to)))
            _add(conn, ended_attempts(conn, IS_UNCOUNTED[1]))
            conn.execute(
                """
                DELETE FROM late_attempts
                 WHERE NOT EXISTS (SELECT 1
                                     FROM executions
                                    WHERE id = execution_id
                                      AND outcome IS NULL)
                """
            )
            conn.execute(
                """
                INSERT INTO late_attempts (execution_id)
                SELECT id
                  FROM executions
                 WHERE id > :above
                   AND id <= :up_to
                   AND outcome IS NULL
                """,
                {"above": above, "up_to": up_to},
            )
            conn.execute("UPDATE counted_attempts SET up_to = ?", (up_to,))
        return last is not None and up_to < last

    def expire_activity(self, *, now: datetime) -> bool:
        """Delete some of the minutes, hours and days that are older than they are kept.

        Days are summed up in one row. Returns whether there may be more. It takes microseconds if
        there is nothing to do. A clock that is years ahead for less than a day deletes nothing.
        """
        old = (
            (FIRST_MINUTE, minute(to_text(now - MINUTES_KEPT))),
            (HOUR_PREFIX, hour(to_text(now - HOURS_KEPT))),
            (DAY_PREFIX, day(to_text(now - DAYS_KEPT))),
        )
        with self._snapshot() as conn:
            if not any(_last_of_some(conn, *periods) for periods in old):
                return False
            if not _is_plausible(conn, now):
                return False
        with self._transaction() as conn:
            for first, end in old:
                last = _last_of_some(conn, first, end)
                if last is not None:
                    _expire(conn, first, last, summed=first == DAY_PREFIX)
                    return True
        return False


def _last_of_some(conn: sqlite3.Connection, first: str, end: str) -> str | None:
    """Return the last of the first periods in a range that one transaction should delete."""
    row = conn.execute(
        """
        SELECT max(period)
          FROM (SELECT period
                  FROM activity
                 WHERE period > :first
                   AND period < :end
                 ORDER BY period, queue, event
                 LIMIT :most)
        """,
        {"first": first, "end": end, "most": ROWS_AT_ONCE},
    ).fetchone()
    return row[0]  # type: ignore[no-any-return]


def _is_plausible(conn: sqlite3.Connection, now: datetime) -> bool:
    """Whether the clock may be right: there was activity within the last years.

    There must also have been some in the years before the last day with activity, since jobs may
    have run while the clock was wrong. If a queue was not used for years, its old rows are deleted
    from its second day on.
    """
    later, end = day(to_text(now)), day(to_text(now + timedelta(days=1)))
    for _ in range(2):
        (period,) = conn.execute(
            "SELECT max(period) FROM activity WHERE period > :first AND period < :end",
            {"first": DAY_PREFIX, "end": end},
        ).fetchone()
        year = later[len(DAY_PREFIX) : len(DAY_PREFIX) + 4]
        if period is None or not year.isdecimal():  # what another program wrote
            return True
        if period < f"{DAY_PREFIX}{int(year) - _SILENT_YEARS:04d}{later[len(DAY_PREFIX) + 4 :]}":
            return False
        later = end = period
    return True


def _expire(conn: sqlite3.Connection, first: str, last: str, *, summed: bool) -> None:
    """Delete all rows of some periods, with their sum added to what is no longer kept."""
    values = {"before": BEFORE, "first": first, "last": last}
    chosen = "period > :first AND period <= :last"
    if summed:
        conn.execute(
            f"""
            {_INTO}
            SELECT :before, queue, event, {SUMS}
              FROM activity
             WHERE {chosen}
             GROUP BY queue, event
            {_ADDING}
            """,
            values,
        )
    conn.execute(f"DELETE FROM activity WHERE {chosen}", values)

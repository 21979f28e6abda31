"""Figures of the attempts since some time, read from the attempts themselves."""

from __future__ import annotations

import sqlite3
from collections import deque
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from heapq import nsmallest
from itertools import count
from typing import AbstractSet, Dict, Iterable, Iterator, Optional, Sequence

from queuectl.core.named_tuples import NamedTuple
from queuectl.core.programs import program_of
from queuectl.core.quantiles import Sample, quantile
from queuectl.core.run_figures import FAILED, PARTS, Figures, Group, Grouping, Spread, Summary
from queuectl.core.times import to_text
from queuectl.storage.base import Base
from queuectl.storage.counted_runs import are_counted
from queuectl.storage.counted_runs import summary as counted_summary
from queuectl.storage.rows import one_of

_PAGE = 20_000
"""How many attempts are read in one transaction, so that the log can be emptied in between."""

_MOST_READ = 2_000_000
"""If there are more attempts, the figures come from the counters of activity, if these can tell."""

_LARGEST_ID = (1 << 63) - 1
"""SQLite has no larger numbers."""

_MOST_GROUPS = 2_000
"""If there are more groups, those with most attempts are found first, and only they are kept."""

_QUEUE = "coalesce(executions.queue, jobs.queue)"
"""The queue of an attempt; for older attempts only the present queue of the job is known."""

# Another program may have written bytes.
_KEYS = {
    Grouping.QUEUE: f"CAST({_QUEUE} AS TEXT)",
    Grouping.SCHEDULE: "CAST(jobs.schedule AS TEXT)",
    Grouping.PROGRAM: "program_of(CAST(jobs.command AS TEXT))",
    Grouping.COMMAND: "CAST(jobs.command AS TEXT)",
    Grouping.LABEL: "CAST(jobs.label AS TEXT)",
    Grouping.OUTCOME: "CAST(executions.outcome AS TEXT)",
    Grouping.HOUR: "strftime('%Y-%m-%dT%H:00:00.000000Z', executions.started_at)",
    Grouping.DAY: "date(executions.started_at, 'localtime')",
}

_Key = Optional[str]


class _Window(NamedTuple):
    """The attempts that figures are about."""

    bounds: Sequence[int]
    """The ids at which the parts of the time begin, and the first id that is not wanted."""
    key: str
    """An expression of SQL: the key of the group of an attempt."""
    conditions: str
    """A condition of SQL for attempts and their jobs."""
    values: tuple[str, ...]
    """The values in it."""


class _Tally:
    """The counts of the attempts of a group."""

    __slots__ = ("cpu", "dead", "failed", "ok", "rss", "run", "runs", "series", "wait")

    def __init__(self) -> None:
        self.runs = self.ok = self.failed = self.dead = 0
        self.cpu = 0.0
        self.rss: int | None = None
        self.run = Sample()
        self.wait = Sample()
        self.series = [0] * PARTS


_Tallies = Dict[_Key, _Tally]


class RunHistory(Base):
    """The method that sums up attempts."""

    def summary(
        self,
        by: Grouping,
        *,
        since: datetime,
        now: datetime,
        queues: Sequence[str] = (),
        most: int,
    ) -> Summary:
        """Return the figures of attempts that started since then, in at most `most` groups.

        Attempts that still run are left out. The others are read once or twice, page by page:
        1,000,000 in some seconds. Memory grows by 16 bytes for each, however many groups there are.
        If there are more than _MOST_READ, the figures may come from the counters of activity.
        """
        with self._snapshot() as conn:
            window = _window(conn, by, since=since, now=now, queues=queues)
            if window.bounds[-1] - window.bounds[0] > _MOST_READ:
                started = conn.execute(
                    "SELECT CAST(min(started_at) AS TEXT) FROM executions WHERE id = ?",
                    (window.bounds[0],),
                ).fetchone()[0]
                if are_counted(conn, by, started or to_text(since)):
                    return counted_summary(conn, by, since=since, now=now, queues=queues, most=most)
        if by is Grouping.PROGRAM:
            known = lru_cache(maxsize=10_000)(program_of)
            self._database.connection.create_function("program_of", 1, known)
        others = _Tally()
        tallies = self._tallies(window, None, others)
        groups = len(tallies)
        if groups > _MOST_GROUPS:
            kept, groups = self._shown(window, by, most)
            others = _Tally()
            tallies = self._tallies(window, kept, others)
        chosen = _chosen(tallies, by, most)
        return Summary(
            since,
            now,
            [Group(key, _figures([tallies[key]])) for key in chosen],
            groups - len(chosen),
            _figures([*tallies.values(), others]),
        )

    def _tallies(self, window: _Window, kept: AbstractSet[_Key] | None, others: _Tally) -> _Tallies:
        """Read all attempts of a window into tallies by their keys.

        Those whose key is not among the `kept` ones go into `others`. Without `kept`, reading ends
        when there are more than _MOST_GROUPS.
        """
        tallies: _Tallies = {} if kept is None else {key: _Tally() for key in kept}
        for part in range(PARTS):
            first, last = window.bounds[part], window.bounds[part + 1]
            while first < last:
                with self._snapshot() as conn:
                    # Many ids may be missing, if another program wrote a large one.
                    first = _next_id(conn, first, last)
                    end = min(first + _PAGE, last)
                    _add(_rows(conn, window, first, end), part, tallies, kept, others)
                first = end
                if kept is None and len(tallies) > _MOST_GROUPS:
                    return tallies
        return tallies

    def _shown(self, window: _Window, by: Grouping, most: int) -> tuple[set[_Key], int]:
        """Return the keys of the groups that are shown, and the number of all groups."""
        with self._sorting_in_files(), self._snapshot() as conn:
            groups = count()
            sizes = conn.execute(
                f"""
                SELECT count(*), {window.key} AS key
                  FROM executions
                 CROSS JOIN jobs ON jobs.seq = executions.job_seq
                 WHERE {window.conditions}
                   AND executions.id >= ?
                   AND executions.id < ?
                 GROUP BY key
                 ORDER BY key
                """,
                (*window.values, window.bounds[0], window.bounds[-1]),
            )
            if by.is_time:
                last = deque((key for _, key in sizes if next(groups) >= 0), maxlen=most)
                return set(last), next(groups)
            ranked = ((-runs, key is None, key or "", next(groups)) for runs, key in sizes)
            largest = nsmallest(most, ranked)
            return {None if is_none else key for _, is_none, key, _ in largest}, next(groups)

    @contextmanager
    def _sorting_in_files(self) -> Iterator[None]:
        """Let SQLite sort in temporary files: 1,000,000 attempts take 50 MB of memory."""
        conn = self._database.connection
        conn.execute("PRAGMA temp_store = FILE")
        try:
            yield
        finally:
            conn.execute("PRAGMA temp_store = MEMORY")


def _window(
    conn: sqlite3.Connection,
    by: Grouping,
    *,
    since: datetime,
    now: datetime,
    queues: Sequence[str],
) -> _Window:
    part = (now - since) / PARTS
    last = conn.execute("SELECT max(id) FROM executions").fetchone()[0] or 0
    last = min(last, _LARGEST_ID - 1)
    bounds = [_first_since(conn, to_text(since + number * part), last) for number in range(PARTS)]
    conditions = "executions.outcome IS NOT NULL AND executions.started_at >= ?"
    if queues:
        conditions += f" AND {_QUEUE} {one_of(queues)}"
    return _Window([*bounds, last + 1], _KEYS[by], conditions, (to_text(since), *queues))


def _first_since(conn: sqlite3.Connection, at: str, last: int) -> int:
    """Return the first id of an attempt that started at this time or later, by bisection.

    Ids and times grow together; if the clock was set, a few attempts may be on the wrong side.
    """
    low, high = 1, last + 1
    while low < high:
        middle = (low + high) // 2
        row = conn.execute(
            "SELECT id, started_at >= ? FROM executions WHERE id >= ? ORDER BY id LIMIT 1",
            (at, middle),
        ).fetchone()
        if row is None or row[1]:
            high = middle
        else:
            low = row[0] + 1
    return low


def _next_id(conn: sqlite3.Connection, first: int, last: int) -> int:
    """Return the first id of an attempt that is not below `first`; `last` if none is below that."""
    row = conn.execute("SELECT min(id) FROM executions WHERE id >= ?", (first,)).fetchone()
    return last if row[0] is None else min(last, row[0])


def _rows(conn: sqlite3.Connection, window: _Window, first: int, end: int) -> sqlite3.Cursor:
    # The times are equal only for the attempt after which the job was dead. A value that another
    # program wrote in the place of a number becomes one.
    return conn.execute(
        f"""
        SELECT {window.key}, executions.outcome, executions.seconds + 0.0,
               executions.waited_seconds + 0.0, executions.cpu_seconds + 0.0,
               executions.max_rss_bytes + 0,
               jobs.state = 'dead' AND jobs.finished_at = executions.finished_at
          FROM executions
         CROSS JOIN jobs ON jobs.seq = executions.job_seq
         WHERE {window.conditions}
           AND executions.id >= ?
           AND executions.id < ?
         ORDER BY executions.id
        """,
        (*window.values, first, end),
    )


def _add(
    rows: Iterable[tuple[_Key, str, float | None, float | None, float | None, int | None, int]],
    part: int,
    tallies: _Tallies,
    kept: AbstractSet[_Key] | None,
    others: _Tally,
) -> None:
    """Count attempts. This loop takes half of the time of all, so it calls little."""
    for key, outcome, seconds, waited, cpu, rss, is_dead in rows:
        tally = tallies.get(key)
        if tally is None:
            if kept is None:
                tally = tallies[key] = _Tally()
            else:
                tally = others
        tally.runs += 1
        tally.series[part] += 1
        if outcome == "ok":
            tally.ok += 1
        elif outcome in FAILED:
            tally.failed += 1
        if is_dead:
            tally.dead += 1
        if seconds is not None:
            tally.run.numbers.append(seconds)
        if waited is not None:
            tally.wait.numbers.append(waited)
        if cpu is not None:
            tally.cpu += cpu
        if rss is not None and (tally.rss is None or rss > tally.rss):
            tally.rss = rss


def _chosen(tallies: _Tallies, by: Grouping, most: int) -> list[_Key]:
    """Return the keys of the groups that are shown, in their order."""
    if by.is_time:
        return [*sorted(key for key in tallies if key is not None)[-most:]]
    return sorted(tallies, key=lambda key: (-tallies[key].runs, key is None, key or ""))[:most]


def _figures(tallies: Sequence[_Tally]) -> Figures:
    peaks = [tally.rss for tally in tallies if tally.rss is not None]
    return Figures(
        runs=sum(tally.runs for tally in tallies),
        ok=sum(tally.ok for tally in tallies),
        failed=sum(tally.failed for tally in tallies),
        dead=sum(tally.dead for tally in tallies),
        wait=_spread([tally.wait for tally in tallies]),
        run=_spread([tally.run for tally in tallies]),
        cpu_seconds=sum(tally.cpu for tally in tallies),
        max_rss_bytes=max(peaks, default=None),
        series=tuple(map(sum, zip(*(tally.series for tally in tallies)))),
    )


def _spread(samples: Sequence[Sample]) -> Spread | None:
    p50, p95, longest = (quantile(samples, share) for share in (0.5, 0.95, 1.0))
    return None if p50 is None or p95 is None or longest is None else Spread(p50, p95, longest)

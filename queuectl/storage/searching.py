"""Finding the jobs of a query page by page, within a limited time."""

from __future__ import annotations

import sqlite3
import time
from typing import Sequence

from queuectl.core.job_query import JobQuery
from queuectl.core.models import Job
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.storage.base import Base
from queuectl.storage.finding import INDEXES
from queuectl.storage.matching import matching
from queuectl.storage.rows import SELECT_JOB, one_of, shown_job

_STEP = 20_000
"""How many jobs are read before the clock is looked at again: 5 ms."""
_FEW = 2_000
"""The jobs of a state are read from its index, and sorted, if they are no more."""


class JobPage(NamedTuple):
    """Some of the jobs that fit a query."""

    jobs: list[Job]
    """The jobs, the newest first."""
    has_newer: bool
    """Whether newer jobs may fit."""
    has_older: bool
    """Whether older jobs may fit."""
    stopped_at: int | None = None
    """Where the search ended because its time was over: older jobs than this seq were not looked
    at. None if it found a whole page, or all jobs."""
    searched: int = 0
    """How many jobs were looked at, about."""


class Searching(Base):
    """The method that finds a page of jobs."""

    def search(
        self,
        query: JobQuery,
        *,
        before: int | None = None,
        after: int | None = None,
        most: int,
        seconds: float,
        with_hooks: bool = True,
    ) -> JobPage:
        """Return the newest jobs that fit, older than `before`, or the next ones after `after`.

        It takes about `seconds` at most, however many jobs there are: then the page says how far it
        came. Without `with_hooks`, jobs of hooks are left out.
        """
        deadline = time.monotonic() + seconds
        parts, values = matching(query)
        if not with_hooks:
            parts.append("hook IS NULL")
        with self._snapshot() as conn:
            newest = conn.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()[0]
            find = _Search(conn, parts, values, most + 1, deadline)
            few = _few_states(conn, query)
            if few is not None:
                found = find.by_index(few, before, after)
                stopped = None
            elif after is not None:
                found, stopped = find.upwards(after, newest)
            else:
                found, stopped = find.downwards(newest + 1 if before is None else before)
            has_more = len(found) > most
            found = found[:most]
            jobs = _read(conn, sorted(found, reverse=True))
        searched = 0 if stopped is None else (newest + 1 if before is None else before) - stopped
        if after is not None:
            return JobPage(jobs, has_more or stopped is not None, True, None, 0)
        return JobPage(jobs, before is not None, has_more or stopped is not None, stopped, searched)


class _Search:
    """One search: its conditions, how many jobs it wants, and when it ends."""

    def __init__(
        self,
        conn: sqlite3.Connection,
        parts: Sequence[str],
        values: Sequence[object],
        wanted: int,
        deadline: float,
    ) -> None:
        self._conn = conn
        self._where = " AND ".join(parts) or "1"
        self._values = values
        self._wanted = wanted
        self._deadline = deadline

    def by_index(
        self, states: Sequence[JobState], before: int | None, after: int | None
    ) -> list[int]:
        """Return the seqs of jobs in states that have few jobs."""
        found: list[int] = []
        for state in states:
            index, condition = INDEXES[state]
            rows = self._conn.execute(
                f"""
                SELECT seq
                  FROM jobs INDEXED BY {index}
                 WHERE {condition}
                   AND state = '{state.value}'
                   AND seq < ?
                   AND seq > ?
                   AND {self._where}
                 ORDER BY seq {"DESC" if after is None else "ASC"}
                 LIMIT ?
                """,
                (
                    before if before is not None else 1 << 62,
                    after if after is not None else -1,
                    *self._values,
                    self._wanted,
                ),
            )
            found += [row[0] for row in rows]
        return sorted(found, reverse=after is None)[: self._wanted]

    def downwards(self, before: int) -> tuple[list[int], int | None]:
        """Return seqs below one, the highest first, and where the search ended for lack of time."""
        found: list[int] = []
        top = before
        while top > 0 and len(found) < self._wanted:
            low = max(0, top - _STEP)
            found += self._step(low, top, "DESC", self._wanted - len(found))
            top = low
            if top > 0 and len(found) < self._wanted and time.monotonic() >= self._deadline:
                return found, top
        return found, None

    def upwards(self, after: int, newest: int) -> tuple[list[int], int | None]:
        """Return seqs above one, the lowest first, and where the search ended for lack of time."""
        found: list[int] = []
        low = after + 1
        while low <= newest and len(found) < self._wanted:
            found += self._step(low, low + _STEP, "ASC", self._wanted - len(found))
            low += _STEP
            if len(found) < self._wanted and time.monotonic() >= self._deadline:
                return found, low
        return found, None

    def _step(self, low: int, top: int, order: str, wanted: int) -> list[int]:
        rows = self._conn.execute(
            f"""
            SELECT seq
              FROM jobs NOT INDEXED
             WHERE seq >= ?
               AND seq < ?
               AND {self._where}
             ORDER BY seq {order}
             LIMIT ?
            """,
            (low, top, *self._values, wanted),
        )
        return [row[0] for row in rows]


def _few_states(conn: sqlite3.Connection, query: JobQuery) -> list[JobState] | None:
    """Return the states of a query if only few jobs are in them; None without, or if many are."""
    if not query.states:
        return None
    counts: dict[str, int] = dict(
        conn.execute("SELECT state, sum(jobs) FROM job_counts GROUP BY state").fetchall()
    )
    asked = [state for state in query.states if counts.get(state.value)]
    return asked if sum(counts[state.value] for state in asked) <= _FEW else None


def _read(conn: sqlite3.Connection, seqs: Sequence[int]) -> list[Job]:
    rows = conn.execute(f"{SELECT_JOB} WHERE seq {one_of(seqs)} ORDER BY seq DESC", tuple(seqs))
    return [shown_job(row) for row in rows.fetchall()]

"""Finding the jobs of a selection without reading all jobs: by the kept counts and the indexes."""

from __future__ import annotations

import sqlite3
from heapq import merge
from typing import Any, Callable, Sequence

from queuectl.core.models import Selection
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import to_text
from queuectl.storage.rows import in_queues, one_of

_NEAR = 10_000
"""How many of the newest jobs are looked at first, without an index."""

_FEW = 20
"""If at most one job in this many is selected, reading all jobs takes too long."""

_ENDED = "jobs_prunable", "(state = 'completed' OR state = 'cancelled')"
_DUE = "jobs_due", "(state = 'scheduled' OR state = 'failed')"
INDEXES = {
    JobState.PENDING: ("jobs_pending", "state = 'pending'"),
    JobState.PROCESSING: ("jobs_processing", "state = 'processing'"),
    JobState.COMPLETED: _ENDED,
    JobState.CANCELLED: _ENDED,
    JobState.SCHEDULED: _DUE,
    JobState.FAILED: _DUE,
    JobState.DEAD: ("jobs_dead", "state = 'dead'"),
    JobState.BLOCKED: ("jobs_blocked", "state = 'blocked'"),
}
"""The index that holds the jobs of a state, and its condition, which a query has to repeat."""


def conditions(selection: Selection) -> tuple[list[str], tuple[Any, ...]]:
    """Return conditions, which all must hold, and their values; no value is in their text."""
    found: list[str] = []
    values: list[Any] = []
    if selection.queues:
        found.append(f"queue {one_of(selection.queues)}")
        values.extend(selection.queues)
    if selection.states:
        # Literals: a partial index does not serve a query whose state is a parameter.
        states = " OR ".join(f"state = '{state.value}'" for state in selection.states)
        found.append(f"({states})")
    if selection.label is not None:
        found.append("label GLOB ?")
        # SQLite negates a set of characters by ^ only, shells by ! as well.
        values.append(selection.label.replace("[!", "[^"))
    if selection.paused:
        found.append("paused_at IS NOT NULL")
    if selection.since is not None:
        found.append("coalesce(finished_at, updated_at) >= ?")
        values.append(to_text(selection.since))
    if selection.schedule is not None:
        found.append("schedule = ?")
        values.append(selection.schedule)
    if selection.query is not None:
        from queuectl.storage.matching import matching  # few processes need what it imports

        parts, more = matching(selection.query)
        found += parts
        values += more
    return found, tuple(values)


def find_seqs(
    conn: sqlite3.Connection, selection: Selection, newest: int | None
) -> Sequence[int] | None:
    """Return the seqs of the selected jobs, ascending; with `newest`, only those of the last ones.

    Returns None if it is better to read all jobs.
    """
    if not selection.is_counted:
        found = sorted(_finder(selection)(conn, selection))
        return found if newest is None else found[-newest:]
    parts, values = conditions(selection)
    where = " AND ".join(parts)
    counts: dict[str, int] = dict(
        conn.execute(
            f"SELECT state, sum(jobs) FROM job_counts WHERE {where} GROUP BY state", values
        ).fetchall()
    )
    selected = sum(counts.values())
    if newest is None:
        total = conn.execute("SELECT total(jobs) FROM job_counts").fetchone()[0]
        if selected * _FEW >= total:
            return None
        newest = selected
    wanted = min(newest, selected)
    found = _near_the_end(conn, where, values, wanted)
    if len(found) < wanted:
        found = _by_index(conn, selection, values, counts, wanted)
    return found[::-1]


def _finder(selection: Selection) -> Callable[[sqlite3.Connection, Selection], list[int]]:
    """Return the function that finds jobs whose number no kept count tells."""
    if selection.paused or selection.schedule is not None or selection.label is not None:
        return _by_column
    return _since if selection.query is None else _matching


def _by_column(conn: sqlite3.Connection, selection: Selection) -> list[int]:
    """Return the seqs of jobs that are selected by a column which has an index of its own."""
    if selection.paused:
        index, condition, order = "jobs_paused", "paused_at IS NOT NULL", "seq"
    elif selection.schedule is not None:
        index, condition, order = "jobs_schedule", "schedule IS NOT NULL", "seq"
    else:
        index, condition, order = "jobs_labelled", "label IS NOT NULL", "label, seq"
    parts, values = conditions(selection)
    rows = conn.execute(
        f"""
        SELECT seq
          FROM jobs INDEXED BY {index}
         WHERE {" AND ".join([condition, *parts])}
         ORDER BY {order}
        """,
        values,
    )
    return [row[0] for row in rows]


def _of_state(
    state: JobState, where: str = "1", *, index: str | None = None, order: str = "seq"
) -> str:
    """Return a SELECT of the jobs in a state for which a condition holds, by the state's index."""
    usual, condition = INDEXES[state]
    return f"""
        SELECT seq
          FROM jobs INDEXED BY {index or usual}
         WHERE {condition}
           AND state = '{state.value}'
           AND {where}
         ORDER BY {order}
        """


def _matching(conn: sqlite3.Connection, selection: Selection) -> list[int]:
    """Return the seqs of jobs that a query selects; only jobs in its states are read."""
    parts, values = conditions(selection)
    where = " AND ".join(parts) or "1"
    asked = selection.query.states if selection.query is not None else ()
    states = [state for state in selection.states or JobState if not asked or state in asked]
    if len(states) == len(JobState):
        return [row[0] for row in conn.execute(f"SELECT seq FROM jobs WHERE {where}", values)]
    found: list[int] = []
    for state in states:
        found.extend(row[0] for row in conn.execute(_of_state(state, where), values))
    return found


def _since(conn: sqlite3.Connection, selection: Selection) -> list[int]:
    """Return the seqs of jobs that ended or changed since a time, state by state.

    The times of finished and pending jobs are in the indexes. The rows of other jobs are read.
    """
    since = "" if selection.since is None else to_text(selection.since)
    found: list[int] = []
    for state in selection.states or JobState:
        at = "finished_at" if state in FINISHED_STATES else "updated_at"
        wanted = f"{at} >= ? AND {in_queues(selection.queues)}"
        index = "jobs_died" if state is JobState.DEAD else None
        rows = conn.execute(_of_state(state, wanted, index=index), (since, *selection.queues))
        found.extend(row[0] for row in rows)
    return found


def find_by_state(conn: sqlite3.Connection, states: Sequence[JobState]) -> list[int]:
    """Return the seqs of all jobs in these states, ascending."""
    return sorted(row[0] for state in states for row in conn.execute(_of_state(state)))


def _near_the_end(
    conn: sqlite3.Connection, where: str, values: Sequence[str], wanted: int
) -> list[int]:
    if not 0 < wanted <= _NEAR:
        return []
    rows = conn.execute(
        f"""
        SELECT seq
          FROM (SELECT seq, state, queue FROM jobs ORDER BY seq DESC LIMIT ?)
         WHERE {where}
         LIMIT ?
        """,
        (_NEAR, *values, wanted),
    )
    return [row[0] for row in rows]


def _by_index(
    conn: sqlite3.Connection,
    selection: Selection,
    values: Sequence[str],
    counts: dict[str, int],
    wanted: int,
) -> list[int]:
    """Return the highest seqs, descending, from the indexes of the states that have jobs."""
    columns = []
    for state in map(JobState, counts):
        newest = _of_state(state, in_queues(selection.queues), order="seq DESC LIMIT ?")
        columns.append([row[0] for row in conn.execute(newest, (*values, wanted))])
    return list(merge(*columns, reverse=True))[:wanted]

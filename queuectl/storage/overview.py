"""The jobs that people look for in a long list: running, failed, next, and ended ones."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from heapq import merge
from typing import Any, Callable, Sequence

from queuectl.core.cells import fit
from queuectl.core.models import Job, Selection
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.storage.base import Base
from queuectl.storage.finding import find_seqs
from queuectl.storage.heads import Place, place_of
from queuectl.storage.rows import SELECT_JOB, one_of, shown_job

_LATELY = timedelta(days=1)
"""A job that died within this time is among those that failed, an older one among the ended."""

_MOST_COMPARED = 20_000
"""How many of the newest jobs with a label or a time are sorted: no index has their order."""

_PAGE = 500


class Groups(NamedTuple):
    """The seqs of jobs in five groups, each in the order in which a person looks for them."""

    running: Sequence[int]
    """Processing, the one that started first at the top."""
    troubled: Sequence[int]
    """Failed, in the order of their retries, then those that died lately, the last one first."""
    following: Sequence[int]
    """Pending, in the order of claims; those of paused queues come last."""
    waiting: Sequence[int]
    """Scheduled, the one that starts first at the top, then blocked ones in the order of entry."""
    ended: Sequence[int]
    """Finished, the last one first."""


class Overview(Base):
    """The method that chooses a few jobs among many."""

    def overview(self, selection: Selection, at_most: int, *, now: datetime) -> list[Job]:
        """Return the most interesting jobs of a selection, in the order of `Groups`.

        Each group gets a part of `at_most`.
        """
        with self._snapshot() as conn:
            groups = _find(conn, selection, at_most, now=now)
            chosen = [
                seq for group, part in zip(groups, parts(groups, at_most)) for seq in group[:part]
            ]
            if not chosen:
                return []
            rows = conn.execute(f"{SELECT_JOB} WHERE seq {one_of(chosen)}", chosen).fetchall()
        by_seq = {row[0]: row for row in rows}
        return [shown_job(by_seq[seq]) for seq in chosen]


def parts(groups: Groups, at_most: int) -> list[int]:
    """Return how many jobs of each group are shown if there is room for a limited number.

    The largest group gives way first. Half of the place is for running jobs, a quarter for those
    that failed, if there are so many.
    """
    least = (at_most // 2, at_most // 4, 1, 1, 1)
    sizes = list(map(len, groups))
    return fit(sizes, [min(size, low) for size, low in zip(sizes, least)], at_most)


def _find(conn: sqlite3.Connection, selection: Selection, at_most: int, *, now: datetime) -> Groups:
    if not selection.is_counted:
        return _among_found(conn, selection, now=now)
    wanted = _states_with_jobs(conn, selection)
    lately = to_text(now - _LATELY)

    def seqs(state: JobState, query: str) -> list[int]:
        return _seqs(conn, selection, query, at_most) if state in wanted else []

    died = _ended(conn, selection, JobState.DEAD, at_most) if JobState.DEAD in wanted else []
    ended = [
        _ended(conn, selection, state, at_most)
        for state in (JobState.COMPLETED, JobState.CANCELLED)
        if state in wanted
    ]
    ended.append([one for one in died if one[0] < lately])
    following = _next_pending(conn, selection, at_most) if JobState.PENDING in wanted else []
    return Groups(
        running=seqs(JobState.PROCESSING, _RUNNING),
        troubled=[
            *seqs(JobState.FAILED, _DUE.format(state="failed")),
            *(seq for finished_at, seq in died if finished_at >= lately),
        ],
        following=following,
        waiting=[
            *seqs(JobState.SCHEDULED, _DUE.format(state="scheduled")),
            *seqs(JobState.BLOCKED, _BLOCKED),
            *seqs(JobState.PENDING, _PAUSED),
        ],
        ended=[seq for _, seq in merge(*ended, reverse=True)][:at_most],
    )


def _states_with_jobs(conn: sqlite3.Connection, selection: Selection) -> set[JobState]:
    """Return the selected states that have selected jobs: for the others no index is searched."""
    only, values = _of_queues(selection)
    rows = conn.execute(
        f"""
        SELECT state
          FROM job_counts
         WHERE jobs > 0
               {only}
         GROUP BY state
        """,
        values,
    )
    with_jobs = {row[0] for row in rows}
    return {state for state in selection.states or JobState if state in with_jobs}


_RUNNING = """
    SELECT seq
      FROM jobs INDEXED BY jobs_processing
     WHERE state = 'processing'
           {queues}
     ORDER BY locked_at, seq
     LIMIT :at_most
    """
_DUE = """
    SELECT seq
      FROM jobs INDEXED BY jobs_due
     WHERE (state = 'scheduled' OR state = 'failed')
       AND state = '{state}'
           {{queues}}
     ORDER BY run_at, seq
     LIMIT :at_most
    """
_PAUSED = """
    SELECT seq
      FROM jobs INDEXED BY jobs_paused
     WHERE paused_at IS NOT NULL
       AND state = 'pending'
           {queues}
     ORDER BY seq
     LIMIT :at_most
    """
_BLOCKED = """
    SELECT seq
      FROM jobs INDEXED BY jobs_blocked
     WHERE state = 'blocked'
           {queues}
     ORDER BY seq
     LIMIT :at_most
    """


def _seqs(conn: sqlite3.Connection, selection: Selection, query: str, at_most: int) -> list[int]:
    only, values = _of_queues(selection)
    rows = conn.execute(query.format(queues=only), {**values, "at_most": at_most})
    return [row[0] for row in rows]


def _ended(
    conn: sqlite3.Connection, selection: Selection, state: JobState, at_most: int
) -> list[tuple[str, int]]:
    """Return times and seqs of the jobs that ended last in a state, the last one first."""
    only, values = _of_queues(selection)
    index, condition = "jobs_prunable", "(state = 'completed' OR state = 'cancelled')"
    if state is JobState.DEAD:
        index, condition = "jobs_died", "state = 'dead'"
    return conn.execute(
        f"""
        SELECT CAST(finished_at AS TEXT), seq
          FROM jobs INDEXED BY {index}
         WHERE {condition}
           AND state = '{state.value}'
               {only}
         ORDER BY jobs.finished_at DESC, seq DESC
         LIMIT :at_most
        """,
        {**values, "at_most": at_most},
    ).fetchall()


def _next_pending(conn: sqlite3.Connection, selection: Selection, at_most: int) -> list[int]:
    """Return the pending jobs that are claimed next; those of paused queues come last.

    The first N jobs of all queues are in the N queues with the best heads, so no other is read.
    """
    found: list[tuple[bool, Place, int]] = []
    for is_paused in (False, True):
        if len(found) >= at_most:
            break
        for queue in _best_queues(conn, selection, at_most, is_paused=is_paused):
            rows = conn.execute(
                """
                SELECT priority, seq
                  FROM jobs INDEXED BY jobs_pending
                 WHERE state = 'pending'
                   AND queue = :queue
                   AND paused_at IS NULL
                 ORDER BY priority DESC, seq
                 LIMIT :at_most
                """,
                {"queue": queue, "at_most": at_most},
            )
            found.extend((is_paused, place_of(priority, seq), seq) for priority, seq in rows)
    return [seq for *_, seq in sorted(found)[:at_most]]


def _best_queues(
    conn: sqlite3.Connection, selection: Selection, at_most: int, *, is_paused: bool
) -> list[str]:
    only, values = _of_queues(selection, "heads.queue")
    rows = conn.execute(
        f"""
        SELECT heads.queue
          FROM job_counts AS heads INDEXED BY queue_heads
          LEFT JOIN queues ON queues.name = heads.queue
         WHERE heads.state = 'pending'
           AND heads.jobs > heads.paused
           AND (queues.paused_at IS NOT NULL) = :is_paused
               {only}
         ORDER BY heads.head_priority DESC, heads.head_seq
         LIMIT :at_most
        """,
        {**values, "at_most": at_most, "is_paused": is_paused},
    )
    return [row[0] for row in rows]


def _of_queues(selection: Selection, column: str = "queue") -> tuple[str, dict[str, str]]:
    """Return a condition for the queues of a selection, if it names any, and its values."""
    values = {f"queue{number}": queue for number, queue in enumerate(selection.queues)}
    names = ", ".join(f":{name}" for name in values)
    return (f"AND {column} IN ({names})" if values else ""), dict(values)


class _Found(NamedTuple):
    """The values by which a job is ordered; an absent time is empty."""

    seq: int
    state: str
    urgency: int
    run_at: str
    locked_at: str
    finished_at: str


def _among_found(conn: sqlite3.Connection, selection: Selection, *, now: datetime) -> Groups:
    """Sort the jobs that a label or a time selects; only the newest ones, if there are many."""
    found: list[_Found] = []
    seqs = find_seqs(conn, selection, _MOST_COMPARED) or ()
    for start in range(0, len(seqs), _PAGE):
        page = seqs[start : start + _PAGE]
        rows = conn.execute(
            f"""
            SELECT seq,
                   state,
                   -priority,
                   coalesce(CAST(run_at AS TEXT), ''),
                   coalesce(CAST(locked_at AS TEXT), ''),
                   coalesce(CAST(finished_at AS TEXT), '')
              FROM jobs
             WHERE seq {one_of(page)}
             ORDER BY seq
            """,
            page,
        )
        found += map(_Found._make, rows)
    lately = to_text(now - _LATELY)
    ended = sorted((one for one in found if one.finished_at), key=_end, reverse=True)
    died = [one for one in ended if one.state == JobState.DEAD and one.finished_at >= lately]
    return Groups(
        running=_in_order(found, JobState.PROCESSING, lambda one: one.locked_at),
        troubled=[
            *_in_order(found, JobState.FAILED, lambda one: one.run_at),
            *(one.seq for one in died),
        ],
        following=_in_order(found, JobState.PENDING, lambda one: one.urgency),
        waiting=[
            *_in_order(found, JobState.SCHEDULED, lambda one: one.run_at),
            *_in_order(found, JobState.BLOCKED, lambda one: one.seq),
        ],
        ended=[one.seq for one in ended if one.state != JobState.DEAD or one.finished_at < lately],
    )


def _end(one: _Found) -> tuple[str, int]:
    return one.finished_at, one.seq


def _in_order(found: Sequence[_Found], state: JobState, key: Callable[[_Found], Any]) -> list[int]:
    """Return the jobs in a state; they come in the order of entry, and the sort keeps it."""
    return [one.seq for one in sorted((o for o in found if o.state == state), key=key)]

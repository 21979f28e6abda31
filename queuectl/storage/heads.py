"""The head of each queue, the job that it gives out next: which of them is claimed."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from itertools import chain
from typing import Any, Iterator, Sequence, Tuple

from queuectl.core.batches import lane_of, with_lanes
from queuectl.core.errors import QueueDamaged
from queuectl.core.named_tuples import NamedTuple

_MOVED_AT_ONCE = 1000
"""How many kept heads one transaction moves: some 10 ms for which others wait."""

# The queues that are neither paused nor full. `job_counts` keeps a head of each: its first pending
# job, or one that was before that and is claimed or paused by now. So neither the other jobs of a
# queue nor the number of queues matters: a paused queue with 100,000 waiting jobs costs a claim one
# step.
_OPEN_QUEUES = """
      FROM job_counts AS heads {index} {joined}
     WHERE heads.state = 'pending'
       AND NOT EXISTS (SELECT 1
                         FROM queues
                        WHERE queues.name = heads.queue
                          AND (queues.paused_at IS NOT NULL
                               OR queues.job_limit <= (SELECT running.jobs
                                                         FROM job_counts AS running
                                                        WHERE running.state = 'processing'
                                                          AND running.queue = heads.queue)))
       AND NOT EXISTS (SELECT 1 FROM queues WHERE name = '' AND paused_at IS NOT NULL)
       AND {served}
"""

_FIRST_JOB = """
    SELECT {columns}
      FROM jobs AS head
     WHERE head.state = 'pending'
       AND head.queue = {queue}
       AND head.paused_at IS NULL
     ORDER BY head.priority DESC, head.seq
     LIMIT 1
"""

_MOVE = f"""
    UPDATE job_counts
       SET (head_priority, head_seq) = (
               {_FIRST_JOB.format(columns="head.priority, head.seq", queue="job_counts.queue")}
           )
     WHERE state = 'pending'
       AND head_priority IS ?
       AND head_seq IS ?
"""

_MEND = f"""
    UPDATE job_counts
       SET (head_priority, head_seq) = (
               {_FIRST_JOB.format(columns="head.priority, head.seq", queue="job_counts.queue")}
           )
     WHERE state = 'pending'
       AND typeof(head_priority) = 'text'
       AND head_seq <> ({_FIRST_JOB.format(columns="head.seq", queue="job_counts.queue")})
"""


Place = Tuple[float, float]
"""The place of a job in the order of claims; the first one is the smallest."""


class Found(NamedTuple):
    """The result of a look at the heads of the queues."""

    row: tuple[Any, ...] | None
    """The columns that were asked for, of the job to claim next; None if no job can be claimed."""
    has_run: bool
    """Whether the job has attempts."""
    are_due: bool
    """Whether jobs are due that are not pending yet; unknown, and False, without a row."""
    are_ticks_due: bool
    """Whether schedules are due to make a job; unknown, and False, without a row."""
    is_final: bool
    """False if so many heads were moved that the rest is left to another transaction: another job
    may come first."""


def _open_queues(queues: int, *, joined: str = "", in_order: bool = False) -> str:
    """Return the part of a SELECT that finds the rows of the queues with a job to claim.

    `queues` is how many queues are named, as parameters; 0 means all queues but batches, which are
    left to the workers that name them. But the lanes of batches, see `core.batches`, are included.
    """
    index = served = ""
    if queues:
        served = f"heads.queue IN ({', '.join('?' * queues)})"
    else:
        # SQLite guesses that reading all heads and sorting them is faster than reading them in
        # order.
        index = "INDEXED BY queue_heads" if in_order else ""
        served = "(substr(heads.queue, 1, 1) <> '@' OR substr(heads.queue, -6) = '/hooks')"
    return _OPEN_QUEUES.format(index=index, joined=joined, served=served)


@lru_cache(maxsize=4)
def _in_order(queues: int, columns: str) -> str:
    """Return a SELECT of the kept head and the first job of each queue.

    One statement, because each takes a worker 3 us; so it also tells whether jobs or schedules are
    due, which hardly ever is so, whether the job has attempts, and, as the last column, whether
    there is work in the lanes of the named queues. To search these as well, which sorts all rows,
    would take 8 us.
    """
    lanes = ""
    if queues:
        lanes = f""", EXISTS (SELECT 1
                         FROM job_counts
                        WHERE state = 'pending'
                          AND queue IN ({", ".join("?" * queues)}))"""
    first = _FIRST_JOB.format(columns="head.seq", queue="heads.queue")
    return f"""
        SELECT heads.head_priority,
               heads.head_seq,
               EXISTS (SELECT 1
                         FROM jobs AS due
                        WHERE (due.state = 'scheduled' OR due.state = 'failed')
                          AND due.run_at <= ?),
               EXISTS (SELECT 1
                         FROM schedules
                        WHERE schedules.paused_at IS NULL
                          AND schedules.due_at <= ?),
               EXISTS (SELECT 1 FROM executions WHERE executions.job_seq = jobs.seq),
               jobs.seq,
               {columns}
               {lanes}
        {_open_queues(queues, joined=f"CROSS JOIN jobs ON jobs.seq = ({first})", in_order=True)}
         ORDER BY heads.head_priority DESC, heads.head_seq
        """


@lru_cache(maxsize=2)
def _any(queues: int) -> str:
    return f"SELECT 1 {_open_queues(queues)} AND heads.jobs > heads.paused LIMIT 1"


def is_any(conn: sqlite3.Connection, queues: Sequence[str]) -> bool:
    """Whether there is a job to claim in these queues (in all but batches, if none is named)."""
    queues = with_lanes(queues)
    return conn.execute(_any(len(queues)), tuple(queues)).fetchone() is not None


def find(
    conn: sqlite3.Connection,
    queues: Sequence[str],
    columns: str,
    at: str,
    parameters: Sequence[object] = (),
) -> Found:
    """Find the job to claim next in these queues (in all but batches, if none is named).

    Queues come with their lanes. A claim leaves the kept head of its queue where it is. If another
    queue may come first because of that, the kept head is moved to the first job of its queue here,
    so that only one claim has to pass it by. `at` is the present, as text; `parameters` are those
    of the columns.

    Raises QueueDamaged if no job is pending, though some are counted.
    """
    best: tuple[Any, ...] | None = None
    place: Place | None = None
    visited: list[tuple[int, int]] = []
    chosen = 0
    given = (at, at, *parameters)
    rows = (
        _heads_and_lanes(conn, queues, columns, given)
        if queues
        else conn.execute(_in_order(0, columns), given)
    )
    for row in rows:
        if best is None:
            best = row
        else:
            # Asked for here: usually there is one queue, and nothing to compare.
            place = place or place_of(_priority(conn, best[5]), best[5])
            if place <= place_of(row[0], row[1]) or len(visited) > _MOVED_AT_ONCE:
                break
            other = place_of(_priority(conn, row[5]), row[5])
            if other < place:
                best, place, chosen = row, other, len(visited)
        visited.append(row[:2])
    if best is None:
        if is_any(conn, queues):
            raise QueueDamaged("no job is pending, though some are counted")
        return Found(None, has_run=False, are_due=False, are_ticks_due=False, is_final=True)
    # The chosen one would have to be moved again after the claim.
    moved = visited[:chosen] + visited[chosen + 1 :]
    if moved:
        conn.executemany(_MOVE, moved)
    return Found(
        best[6:-1] if queues else best[6:],
        has_run=bool(best[4]),
        are_due=bool(best[2]),
        are_ticks_due=bool(best[3]),
        is_final=len(visited) <= _MOVED_AT_ONCE,
    )


def first_jobs(conn: sqlite3.Connection, queues: Sequence[str], at: str) -> list[int]:
    """Return the seq of the first job of each queue that `find` looks at, the best one first."""
    named = with_lanes(queues)
    rows = conn.execute(_in_order(len(named), "NULL"), (at, at, *map(lane_of, named), *named))
    return [row[5] for row in rows]


def mend(conn: sqlite3.Connection) -> bool:
    """Move the kept heads that cannot be read and that are not the first job of their queue.

    Another program wrote the priority of such a job, which is paused or no longer pending. Returns
    whether there was any. A head stays where all pending jobs are paused: without one, no trigger
    would give the queue a head again.
    """
    return conn.execute(_MEND).rowcount > 0


def _heads_and_lanes(
    conn: sqlite3.Connection, queues: Sequence[str], columns: str, given: Sequence[object]
) -> Iterator[tuple[Any, ...]]:
    """Return the rows of `_in_order` for these queues, and for their lanes if these have work."""
    rows = conn.execute(_in_order(len(queues), columns), (*given, *map(lane_of, queues), *queues))
    first = rows.fetchone()
    if first is not None and not first[-1]:
        return chain((first,), rows)
    named = with_lanes(queues)
    return conn.execute(_in_order(len(named), columns), (*given, *map(lane_of, named), *named))


def _priority(conn: sqlite3.Connection, seq: int) -> float:
    (priority,) = conn.execute("SELECT priority FROM jobs WHERE seq = ?", (seq,)).fetchone()
    return priority  # type: ignore[no-any-return]


def place_of(priority: object, seq: object) -> Place:
    """Return where a job is in the order of claims, as SQLite sorts by priority DESC, seq.

    SQLite puts text, which another program may have written, before all numbers.
    """
    return _key(priority, -1), _key(seq, 1)


def _key(value: object, sign: int) -> float:
    if isinstance(value, (int, float)):
        return sign * value
    return float("inf") if (value is None) == (sign < 0) else float("-inf")

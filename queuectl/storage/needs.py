"""The needs of a new or edited job: finding the jobs by name, storing them, refusing cycles."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from itertools import chain
from typing import Callable, Iterable, Mapping, Sequence

from queuectl.core.errors import InvalidInput
from queuectl.core.states import FINISHED_STATES
from queuectl.storage.dependencies import unblock
from queuectl.storage.ids import find_seq


class Cycle(Exception):
    """A job waits, perhaps through others, for itself."""

    def __init__(self, seq: int) -> None:
        super().__init__(seq)
        self.seq = seq


def wanted(
    find: Callable[[str], Iterable[int]], after: Sequence[str], after_any: Sequence[str]
) -> dict[int, bool]:
    """Return the seqs of the named jobs, and for each whether any end of it is enough."""
    # If a job is named in both, it has to complete: that is the stronger condition.
    found = dict.fromkeys(chain.from_iterable(map(find, after_any)), True)
    found.update(dict.fromkeys(chain.from_iterable(map(find, after)), False))
    return found


def find_needed(conn: sqlite3.Connection, name: str, *, by: int, up_to: int) -> Sequence[int]:
    """Return the seqs of the jobs that a name means for the job with the seq `by`.

    `up_to`: see `find_seq`.
    """
    if name.startswith("@"):
        from queuectl.storage import names  # most jobs wait for none

        return names.find_needed(conn, name, by=by, up_to=up_to)
    return [find_seq(conn, name, up_to=up_to)]


def is_met(state: str, *, any_outcome: bool) -> bool:
    """Whether a job in this state need not be waited for any more."""
    return state == "completed" or (any_outcome and state in FINISHED_STATES)


def unmet(
    needs: Mapping[int, bool], read: Callable[[int], tuple[str, str]], *, by: int
) -> tuple[list[tuple[int, bool]], tuple[str, ...]]:
    """Return which of these needs are not met yet, and the ids of jobs that will never meet theirs.

    `read` returns the id and the state of a job. Raises InvalidInput if the job with the seq `by`
    needs itself.
    """
    left, unsatisfiable = [], []
    for seq, any_outcome in needs.items():
        job_id, state = read(seq)
        if seq == by:
            raise InvalidInput(f"{job_id} waits for itself")
        if is_met(state, any_outcome=any_outcome):
            continue
        if state in FINISHED_STATES:
            unsatisfiable.append(job_id)
        left.append((seq, any_outcome))
    return left, tuple(unsatisfiable)


def add_needs(
    conn: sqlite3.Connection,
    seq: int,
    after: Sequence[str],
    after_any: Sequence[str],
    *,
    up_to: int,
    now: datetime,
) -> tuple[str, ...]:
    """Store what a new job waits for; return the ids of those that cannot complete by themselves.

    `up_to`: see `find_seq`.
    """

    def read(needed: int) -> tuple[str, str]:
        row = conn.execute("SELECT id, state FROM jobs WHERE seq = ?", (needed,)).fetchone()
        return row[0], row[1]

    needs = wanted(lambda name: find_needed(conn, name, by=seq, up_to=up_to), after, after_any)
    left, unsatisfiable = unmet(needs, read, by=seq)
    for needed_seq, any_outcome in left:
        conn.execute(
            """
            INSERT INTO dependencies (job_seq, needs_seq, however)
            VALUES (:job, :needs, :any_outcome)
            """,
            {"job": seq, "needs": needed_seq, "any_outcome": int(any_outcome)},
        )
    unblock(conn, seq, now=now)
    return unsatisfiable


def refuse_cycles(conn: sqlite3.Connection, changed: Sequence[int]) -> None:
    """Raise InvalidInput if one of these jobs waits, through others, for itself."""

    def needs_of(seq: int) -> list[int]:
        rows = conn.execute(
            "SELECT needs_seq FROM dependencies WHERE job_seq = ? ORDER BY needs_seq", (seq,)
        )
        return [row[0] for row in rows]

    try:
        in_order(changed, needs_of)
    except Cycle as cycle:
        row = conn.execute("SELECT id FROM jobs WHERE seq = ?", (cycle.seq,)).fetchone()
        raise cycle_through(row[0]) from None


def cycle_through(job_id: str) -> InvalidInput:
    """Return the error for jobs that wait for each other; it names one of them."""
    return InvalidInput(f"the dependencies form a cycle through {job_id}")


def in_order(starts: Iterable[int], needs_of: Callable[[int], Iterable[int]]) -> list[int]:
    """Return these jobs and all that they wait for, each after those that it waits for.

    Raises Cycle.
    """
    left: dict[int, list[int]] = {}
    done: dict[int, None] = {}
    for start in starts:
        # Depth first without recursion: a chain may have 100,000 links.
        trail, on_trail = [start], {start}
        while trail:
            seq = trail[-1]
            if seq not in left:
                left[seq] = list(needs_of(seq))
            if not left[seq] or seq in done:
                done[seq] = None
                on_trail.discard(seq)
                trail.pop()
                continue
            following = left[seq].pop()
            if following in on_trail:
                raise Cycle(following)
            if following not in done:
                trail.append(following)
                on_trail.add(following)
    return list(done)

"""The end of a stage: its jobs are moved into the queue, or discarded, in small steps."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Callable, Iterator, Mapping

from queuectl.core.errors import QueueError
from queuectl.core.times import to_text
from queuectl.storage.adding import JOB_COLUMNS, count_enqueued
from queuectl.storage.database import Database
from queuectl.storage.stages import StageState, read_stage

NEVER = float("inf")
_TARGET_SECONDS = 0.02
"""How long one transaction should last: others wait for it."""
_FIRST, _FEWEST, _MOST = 100, 50, 1000
"""How many rows the first transaction writes, and how many one writes at least and at most."""


class Pace:
    """How many rows the next transaction writes, from how long the last ones took."""

    def __init__(self) -> None:
        self.rows = _FIRST

    @contextmanager
    def timed(self, database: Database) -> Iterator[sqlite3.Connection]:
        """Run one transaction with this many rows, and learn from its time, COMMIT included."""
        with database.transaction() as conn:
            began = time.monotonic()
            yield conn
        seconds = max(time.monotonic() - began, 0.001)
        self.rows = int(
            min(_MOST, 2 * self.rows, max(_FEWEST, self.rows * _TARGET_SECONDS / seconds))
        )


class Mover:
    """Moves the jobs of a decided stage into `jobs`."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._after: int | None = 0
        """The last seq of the first wave that was moved; None when all of that wave are moved."""

    def move(self, conn: sqlite3.Connection, most: int) -> int:
        """Move the next jobs, `most` at most; return how many. 0 means that there are no more.

        Each job arrives with its dependencies, and after the jobs that it waits for.
        """
        if self._after is not None:
            (last,) = conn.execute(
                """
                SELECT max(seq)
                  FROM (SELECT seq
                          FROM staged_jobs
                         WHERE wave = 0
                           AND seq > :after
                         ORDER BY seq
                         LIMIT :most)
                """,
                {"after": self._after, "most": most},
            ).fetchone()
            values = {"after": self._after, "last": last}
            self._after = last
            if last is not None:
                return self._move(conn, "wave = 0 AND seq > :after AND seq <= :last", values)
        # Later waves exist only if a job waits for a later line of the input.
        chosen = """
            seq IN (SELECT seq
                      FROM staged_jobs
                     WHERE wave > 0
                     ORDER BY wave, seq
                     LIMIT :most)"""
        return self._move(conn, chosen, {"most": most})

    def _move(self, conn: sqlite3.Connection, chosen: str, which: Mapping[str, int]) -> int:
        """Move the staged jobs that a condition selects into `jobs`; return how many were moved."""
        columns = ", ".join(JOB_COLUMNS)
        values: dict[str, Any] = {**which, "now": to_text(self._now)}
        conn.execute(
            f"""
            INSERT INTO jobs ({columns})
            SELECT {columns}
              FROM staged_jobs
             WHERE {chosen}
             ORDER BY wave, seq
            """,
            values,
        )
        came_in = conn.execute(
            f"""
            SELECT queue, count(*)
              FROM staged_jobs
             WHERE {chosen}
               AND finished_at IS NULL
             GROUP BY queue
             ORDER BY queue
            """,
            which,
        ).fetchall()
        count_enqueued(conn, dict(came_in), values["now"])
        blocked = f"SELECT seq FROM staged_jobs WHERE {chosen} AND state = 'blocked'"
        if conn.execute(f"SELECT EXISTS ({blocked})", values).fetchone()[0]:
            # A job may have ended since it was found to be waited for.
            conn.execute(
                f"""
                INSERT INTO dependencies (job_seq, needs_seq, however)
                SELECT needed.job_seq, needed.needs_seq, needed.however
                  FROM staged_needs AS needed
                  JOIN jobs ON jobs.seq = needed.needs_seq
                 WHERE needed.job_seq IN ({blocked})
                   AND jobs.state <> 'completed'
                   AND NOT (needed.however = 1
                            AND (jobs.state = 'dead' OR jobs.state = 'cancelled'))
                """,
                values,
            )
            conn.execute(
                f"""
                UPDATE jobs
                   SET state = CASE WHEN run_at > :now THEN 'scheduled' ELSE 'pending' END,
                       updated_at = :now
                 WHERE seq IN ({blocked})
                   AND NOT EXISTS (SELECT 1 FROM dependencies WHERE job_seq = jobs.seq)
                """,
                values,
            )
            conn.execute(f"DELETE FROM staged_needs WHERE job_seq IN ({blocked})", values)
        return conn.execute(f"DELETE FROM staged_jobs WHERE {chosen}", values).rowcount


def move_all(
    database: Database, stage: StageState, *, now: datetime, until: float = NEVER
) -> Iterator[int]:
    """Move all jobs of a decided stage into `jobs`, then remove the stage.

    Yields the number of jobs after each transaction. Stops at a time of the monotonic clock.
    """
    mover, pace = Mover(now), Pace()
    moved = 1
    while moved and time.monotonic() < until:
        try:
            with pace.timed(database) as conn:
                current = read_stage(conn)
                if current is None or current.token != stage.token:
                    return  # another process has finished it
                moved = mover.move(conn, pace.rows)
                if not moved:
                    remove(conn)
        except sqlite3.IntegrityError as error:  # another program has written into the tables
            raise QueueError(f"jobs that were staged cannot be added: {error}") from error
        yield moved


def discard_all(database: Database, stage: StageState, *, until: float = NEVER) -> None:
    """Remove all jobs of an undecided stage, and the stage; it can no longer be decided.

    Stops at a time of the monotonic clock.
    """
    with database.transaction() as conn:
        conn.execute(
            "UPDATE stage SET phase = 'discarded' WHERE token = ? AND phase = 'filling'",
            (stage.token,),
        )
    pace = Pace()
    left = 1
    while left and time.monotonic() < until:
        with pace.timed(database) as conn:
            current = read_stage(conn)
            if current is None or current.token != stage.token or current.is_decided:
                return
            left = _discard(conn, pace.rows)
            if not left:
                remove(conn)


def _discard(conn: sqlite3.Connection, most: int) -> int:
    """Delete some of what is staged; return how much, 0 if nothing is left."""
    for statement in (
        """
        DELETE FROM staged_needs
         WHERE job_seq IN (SELECT job_seq FROM staged_needs ORDER BY job_seq LIMIT ?)
        """,
        """
        DELETE FROM staged_jobs
         WHERE seq IN (SELECT seq FROM staged_jobs ORDER BY seq LIMIT ?)
        """,
        # When the stage goes, a trigger deletes all contents that no job uses. These may be many.
        """
        DELETE FROM contents
         WHERE id IN (SELECT content_id
                        FROM content_uses
                       WHERE jobs = 0
                       ORDER BY content_id
                       LIMIT ?)
        """,
    ):
        removed = conn.execute(statement, (most,)).rowcount
        if removed:
            return removed
    return 0


def remove(conn: sqlite3.Connection) -> None:
    """Remove the row of a stage that has no jobs any more."""
    conn.execute("DELETE FROM stage")


def finish(
    database: Database,
    wake_workers: Callable[[], None],
    *,
    now: datetime,
    until: float = NEVER,
) -> bool:
    """Finish, or discard, what a dead process left, while its lock is held; whether it left any.

    Stops at a time of the monotonic clock.
    """
    with database.snapshot() as conn:
        stage = read_stage(conn)
    if stage is None:
        return False
    if stage.is_decided:
        for _ in move_all(database, stage, now=now, until=until):
            wake_workers()
    else:
        discard_all(database, stage, until=until)
    return True


def finish_in_copy(copy: sqlite3.Connection, *, now: datetime) -> None:
    """Do the same in the transaction of a copy of a queue, in which no process works."""
    stage = read_stage(copy)
    if stage is None:
        return
    if stage.is_decided:
        mover = Mover(now)
        while mover.move(copy, _MOST):
            pass
    copy.execute("DELETE FROM staged_needs")
    copy.execute("DELETE FROM staged_jobs")
    remove(copy)

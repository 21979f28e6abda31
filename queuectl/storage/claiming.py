"""Choosing the next job and claiming it: pending -> processing."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import NamedTuple, Sequence

from queuectl.core.errors import QueueUnusable, UnreadableRow
from queuectl.core.models import Claim, Job
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.storage import heads
from queuectl.storage.base import Base
from queuectl.storage.rows import JOB_VALUES, left_processes, optional_time, to_job
from queuectl.storage.sqlite_errors import READING_ERRORS, is_undecodable

_PROMOTED_AT_ONCE = 1000
"""How many due jobs one transaction makes claimable: some 5 ms for which others wait."""

NEWEST_ATTEMPTS = 16
"""Starting an attempt kills the leftover processes of earlier attempts. So only attempts since the
last one that was started can have any, and the newest 16 are enough."""


class Ready(NamedTuple):
    """What an idle worker finds when it looks at the queue."""

    now: bool
    """Whether a claim may succeed now."""
    next_due: datetime | None
    """When the next scheduled or failed job is due; None if there is none."""


class Claiming(Base):
    """Claiming jobs for workers."""

    def ready(self, queues: Sequence[str], *, now: datetime) -> Ready:
        """Look, without the write lock, whether a claim is worth the effort."""
        with self._snapshot() as conn:
            due = conn.execute(
                """
                SELECT run_at
                  FROM jobs
                 WHERE state = 'scheduled' OR state = 'failed'
                 ORDER BY run_at, seq
                 LIMIT 1
                """
            ).fetchone()
            # Compared as text, as the claim does: it sets a job aside whose time cannot be read.
            next_due = _readable_time(due[0]) if due else None
            if due and str(due[0]) <= to_text(now):
                return Ready(True, next_due)
            return Ready(heads.is_any(conn, queues), next_due)

    def claim(self, worker: str, queues: Sequence[str] = (), *, now: datetime) -> Claim | None:
        """Claim the next job of these queues (of all but batches, if none is named).

        It changes from pending to processing.

        The attempt is counted. Returns None if no job can be claimed.
        """
        while True:
            with self._transaction() as conn:
                claim, is_final = self._claim(conn, worker, queues, now=now)
            if is_final:
                return claim

    def _claim(
        self, conn: sqlite3.Connection, worker: str, queues: Sequence[str], *, now: datetime
    ) -> tuple[Claim | None, bool]:
        """Claim the next job; None if there is none.

        Also returns whether that is final: if so much had to be put right that nothing was claimed,
        the rest is left to another transaction. Jobs that cannot be read are set aside.
        """
        at = to_text(now)
        while True:
            try:
                found = heads.find(conn, queues, JOB_VALUES, at)
                if found.are_due or found.row is None:
                    # Which due job is the best one is known only when all of them are pending.
                    promoted = promote(conn, at)
                    if promoted == _PROMOTED_AT_ONCE:
                        return None, False
                    if promoted:
                        continue
                if found.row is None or not found.is_final:
                    return None, found.is_final
                job = to_job(found.row)
            except (UnreadableRow, *READING_ERRORS) as error:
                if not isinstance(error, UnreadableRow) and not is_undecodable(error):
                    raise
                from queuectl.storage.unreadable import set_aside  # almost never needed

                row = heads.find(conn, queues, "jobs.seq", at).row
                if row is None:
                    raise
                set_aside(conn, row[0], now=now)
            else:
                attempts = newest_attempts(conn, job.seq) if found.has_run else ()
                return self._take(conn, job, attempts, worker, now=now), True

    def _take(
        self,
        conn: sqlite3.Connection,
        job: Job,
        attempts: Sequence[tuple[int, str, str | None]],
        worker: str,
        *,
        now: datetime,
    ) -> Claim:
        """Claim a job that has these attempts: count one more, and note its worker."""
        at = to_text(now)
        execution_id = conn.execute(
            """
            INSERT INTO executions (job_seq, attempt, worker, started_at)
            VALUES (:job, :attempt, :worker, :now)
            """,
            {"job": job.seq, "attempt": job.attempts + 1, "worker": worker, "now": at},
        ).lastrowid
        assert execution_id is not None
        conn.execute(
            """
            UPDATE jobs
               SET state = 'processing',
                   attempts = attempts + 1,
                   locked_by = :worker,
                   locked_at = :now,
                   execution_id = :execution,
                   updated_at = :now
             WHERE seq = :job
               AND state = 'pending'
            """,
            {"worker": worker, "now": at, "execution": execution_id, "job": job.seq},
        )
        return Claim(
            _claimed(job, worker, now),
            execution_id,
            self._settings(conn),
            worker,
            tuple(number for number, _, _ in attempts),
            tuple(left for _, _, text in attempts if text for left in left_processes(text)),
        )


def _readable_time(text: str) -> datetime | None:
    try:
        return optional_time(text)
    except QueueUnusable:  # another program wrote it
        return None


def _claimed(job: Job, worker: str, now: datetime) -> Job:
    return job._replace(
        state=JobState.PROCESSING,
        attempts=job.attempts + 1,
        locked_by=worker,
        locked_at=now,
        updated_at=now,
    )


def promote(conn: sqlite3.Connection, at: str) -> int:
    """Make due jobs claimable, scheduled and failed -> pending; return how many, at most 1,000."""
    return conn.execute(
        """
        UPDATE jobs
           SET state = 'pending',
               updated_at = :now
         WHERE seq IN (SELECT seq
                         FROM jobs
                        WHERE (state = 'scheduled' OR state = 'failed')
                          AND run_at <= :now
                        ORDER BY run_at, seq
                        LIMIT :most)
        """,
        {"now": at, "most": _PROMOTED_AT_ONCE},
    ).rowcount


def newest_attempts(
    conn: sqlite3.Connection, job_seq: int, at_most: int = NEWEST_ATTEMPTS
) -> Sequence[tuple[int, str, str | None]]:
    """Return the last attempts of a job, newest first: execution id, worker, processes left."""
    return conn.execute(
        """
        SELECT id, worker, left_processes
          FROM executions
         WHERE job_seq = :job
         ORDER BY id DESC
         LIMIT :at_most
        """,
        {"job": job_seq, "at_most": at_most},
    ).fetchall()

"""Choosing the next job and claiming it: pending -> processing."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, Sequence

from queuectl.core.errors import QueueDamaged, QueueUnusable, UnreadableRow
from queuectl.core.models import Claim, Job
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.storage.base import Base
from queuectl.storage.rows import SELECT_JOB, left_processes, optional_time, to_job
from queuectl.storage.sqlite_errors import READING_ERRORS, is_undecodable

_PROMOTED_AT_ONCE = 1000
"""How many due jobs one transaction makes claimable: some 5 ms for which others wait."""

NEWEST_ATTEMPTS = 16
"""Starting an attempt kills the leftover processes of earlier attempts. So only attempts since the
last one that was started can have any, and the newest 16 are enough."""

# The first job of each queue that is neither paused nor full. `job_counts` names it, so neither the
# other jobs of a queue nor the number of queues matters: a paused queue with 100,000 waiting jobs
# costs a claim one step.
_BEST_HEAD = """
    SELECT head_seq
      FROM job_counts AS heads {index}
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
           {served}
     ORDER BY heads.head_priority DESC, heads.head_seq
     LIMIT 1
"""


@lru_cache(maxsize=2)
def _best_head(queues: int) -> str:
    """Return a SELECT of the seq of the job to claim next.

    `queues` is how many queues are named, as parameters; 0 means all queues but batches.
    """
    if queues:
        named = ", ".join("?" * queues)
        return _BEST_HEAD.format(index="", served=f"AND heads.queue IN ({named})")
    # SQLite guesses that reading all heads and sorting them is faster than reading them in order.
    # Batches are left to the workers that name them.
    return _BEST_HEAD.format(
        index="INDEXED BY queue_heads", served="AND substr(heads.queue, 1, 1) <> '@'"
    )


@lru_cache(maxsize=2)
def _best_job(queues: int) -> str:
    return f"{SELECT_JOB} WHERE seq = ({_best_head(queues)})"


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
            head = conn.execute(_best_head(len(queues)), tuple(queues)).fetchone()
            return Ready(head is not None, next_due)

    def claim(self, worker: str, queues: Sequence[str] = (), *, now: datetime) -> Claim | None:
        """Claim the next job of these queues (of all but batches, if none is named).

        It changes from pending to processing.

        The attempt is counted. Returns None if no job can be claimed.
        """
        while True:
            with self._transaction() as conn:
                # Which due job is the best one is known only when all of them are pending.
                if not promote(conn, to_text(now)):
                    return self._claim(conn, worker, queues, now)

    def _claim(
        self, conn: sqlite3.Connection, worker: str, queues: Sequence[str], now: datetime
    ) -> Claim | None:
        at = to_text(now)
        job = self._best_readable(conn, queues, now)
        if job is None:
            return None
        attempts = newest_attempts(conn, job.seq)
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

    def _best_readable(
        self, conn: sqlite3.Connection, queues: Sequence[str], now: datetime
    ) -> Job | None:
        """Return the job to claim next; those before it that cannot be read are set aside."""
        while True:
            try:
                row = conn.execute(_best_job(len(queues)), tuple(queues)).fetchone()
                job = None if row is None else to_job(row)
                if job is None or job.state is not JobState.PENDING:
                    self._refuse_wrong_head(conn, queues)
                return job
            except (UnreadableRow, *READING_ERRORS) as error:
                if not isinstance(error, UnreadableRow) and not is_undecodable(error):
                    raise
            from queuectl.storage.unreadable import set_aside  # almost never needed

            (seq,) = conn.execute(_best_head(len(queues)), tuple(queues)).fetchone()
            set_aside(conn, seq, now=now)

    def _refuse_wrong_head(self, conn: sqlite3.Connection, queues: Sequence[str]) -> None:
        """Raise QueueDamaged if a queue is kept to give out a job that is gone or not pending."""
        head = conn.execute(_best_head(len(queues)), tuple(queues)).fetchone()
        if head is not None:
            raise QueueDamaged(
                f"{self.files.database} is damaged: job {head[0]} is kept as the next one of its "
                "queue, but it is not pending"
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


def promote(conn: sqlite3.Connection, at: str) -> bool:
    """Make due jobs claimable, scheduled and failed -> pending; return whether more are due."""
    # Usually nothing is due, and asking costs a third of an UPDATE that finds nothing.
    due = conn.execute(
        """
        SELECT EXISTS (SELECT 1
                         FROM jobs
                        WHERE (state = 'scheduled' OR state = 'failed')
                          AND run_at <= ?)
        """,
        (at,),
    ).fetchone()
    if not due[0]:
        return False
    promoted = conn.execute(
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
    return promoted == _PROMOTED_AT_ONCE


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

"""Jobs that wait for a time that was set by a clock that was ahead, or that cannot be read."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import from_text, to_text
from queuectl.storage.base import Base, any_bytes
from queuectl.storage.rows import is_readable

_MOVED_AT_ONCE = 500
_TIME_PATTERN = (
    "[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]"
    "T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z"
)
"""Times as they are usually stored; nearly all that match can be read."""


class Retry(NamedTuple):
    """A failed job and the time of its retry."""

    seq: int
    """The seq of the job."""
    failed_at: datetime
    """When its attempt failed, or when it was changed last, by the clock of that moment."""
    run_at: datetime
    """When it is retried."""
    delay: float | None = None
    """The delay before each retry that the job has of its own, in seconds; None means none."""


class Retries(Base):
    """The methods that find and move such retries."""

    def retries_after(self, failed_at: datetime) -> list[Retry]:
        """Return the retries of jobs that failed after a time, which is in the future; at most 500.

        They come in the order of their retries.
        """
        # The index holds all jobs that wait for a time, with their states. So only the rows of
        # failed jobs are read.
        with self._snapshot() as conn:
            rows = conn.execute(
                """
                SELECT seq, updated_at, run_at, retry_delay
                  FROM jobs
                 WHERE (state = 'scheduled' OR state = 'failed')
                   AND run_at > :failed_at
                   AND state = 'failed'
                   AND updated_at > :failed_at
                 ORDER BY run_at, seq
                 LIMIT :most
                """,
                {"failed_at": to_text(failed_at), "most": _MOVED_AT_ONCE},
            ).fetchall()
        return [
            Retry(seq, from_text(failed), from_text(run_at), delay)
            for seq, failed, run_at, delay in rows
            # Of others, the first time is set aside at the next start, the second one when due.
            if is_readable("updated_at", failed)
            and is_readable("run_at", run_at)
            and is_readable("retry_delay", delay)
        ]

    def set_aside_undue(self, *, now: datetime) -> int:
        """Make the jobs dead that wait for a time that cannot be read; return how many.

        They would never become due. This reads the times of all waiting jobs: 0.1 s for 1,000,000.
        """
        # Not GLOB alone: times in the format of SQLite can be read, too.
        query = f"""
            SELECT seq, run_at
              FROM jobs
             WHERE (state = 'scheduled' OR state = 'failed')
               AND (typeof(run_at) <> 'text' OR run_at NOT GLOB '{_TIME_PATTERN}')
             ORDER BY run_at, seq
            """
        with self._snapshot() as conn, any_bytes(conn):
            waiting = conn.execute(query)
            undue = [seq for seq, run_at in waiting if not is_readable("run_at", run_at)]
        if not undue:
            return 0
        from queuectl.storage.unreadable import set_aside  # almost never needed

        wakes = False
        for start in range(0, len(undue), _MOVED_AT_ONCE):
            with self._transaction() as conn:
                for seq in undue[start : start + _MOVED_AT_ONCE]:
                    if _is_undue(conn, seq):
                        wakes = set_aside(conn, seq, now=now) or wakes
        if wakes:
            self._wake_workers()
        return len(undue)

    def move_retry(self, retry: Retry, run_at: datetime, *, now: datetime) -> bool:
        """Retry a job at another time; return whether it was still waiting for the old one."""
        with self._transaction() as conn:
            moved = conn.execute(
                """
                UPDATE jobs
                   SET run_at = :run_at,
                       updated_at = :now
                 WHERE seq = :seq
                   AND state = 'failed'
                   AND run_at = :old_run_at
                """,
                {
                    "run_at": to_text(run_at),
                    "now": to_text(now),
                    "seq": retry.seq,
                    "old_run_at": to_text(retry.run_at),
                },
            ).rowcount
        self._wake_workers()
        return moved == 1


def _is_undue(conn: sqlite3.Connection, seq: int) -> bool:
    """Whether a job still waits for a time that cannot be read."""
    with any_bytes(conn):
        row = conn.execute(
            """
            SELECT run_at
              FROM jobs
             WHERE seq = ?
               AND (state = 'scheduled' OR state = 'failed')
            """,
            (seq,),
        ).fetchone()
    return row is not None and not is_readable("run_at", row[0])

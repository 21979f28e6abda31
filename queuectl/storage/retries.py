"""Retries whose time was set by a clock that was ahead."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from queuectl.core.times import from_text, to_text
from queuectl.storage.base import Base

_MOVED_AT_ONCE = 500


class Retry(NamedTuple):
    """A failed job and the time of its retry."""

    seq: int
    """The seq of the job."""
    failed_at: datetime
    """When its attempt failed, or when it was changed last, by the clock of that moment."""
    run_at: datetime
    """When it is retried."""


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
                SELECT seq, updated_at, run_at
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
        return [Retry(seq, from_text(failed), from_text(run_at)) for seq, failed, run_at in rows]

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

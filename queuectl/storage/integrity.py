"""Checks of the whole database."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import datetime

from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import optional_time
from queuectl.storage import schema
from queuectl.storage.base import Base


class Miscount(NamedTuple):
    """A kept count that differs from the rows."""

    queue: str
    """The queue that was counted."""
    state: str
    """The state that was counted."""
    kept: int
    """The count that triggers keep."""
    counted: int
    """The number of rows."""


class Integrity(Base):
    """The methods that read every page or row."""

    def integrity_errors(self) -> list[str]:
        """Return what SQLite's integrity check finds, and broken references; usually none."""
        with self._snapshot() as conn:
            found = [row[0] for row in conn.execute("PRAGMA integrity_check(10)")]
            broken = conn.execute("PRAGMA foreign_key_check").fetchall()
        errors = [text for text in found if text != "ok"]
        return errors + [
            f"{row[0]} row {row[1]} refers to a row of {row[2]} that is missing" for row in broken
        ]

    def schema_version(self) -> tuple[int, int]:
        """Return the version of the file's schema, and the version that this queuectl uses."""
        with self._snapshot() as conn:
            return int(conn.execute("PRAGMA user_version").fetchone()[0]), schema.VERSION

    def journal_mode(self) -> str:
        """Return the journal mode of the file: `wal`, unless another program changed it."""
        return str(self._database.connection.execute("PRAGMA journal_mode").fetchone()[0])

    def miscounts(self) -> list[Miscount]:
        """Return the kept counts that differ from a recount, by queue and state."""
        with self._snapshot() as conn:
            rows = conn.execute(
                """
                SELECT CAST(queue AS TEXT), CAST(state AS TEXT), CAST(jobs AS INTEGER) AS number
                  FROM job_counts
                 WHERE number <> 0
                 ORDER BY queue, state
                """
            )
            kept = {(queue, state): jobs for queue, state, jobs in rows}
            # GROUP BY would sort all jobs in memory: 400 MB for 7,000,000.
            counted = Counter(
                conn.execute("SELECT CAST(queue AS TEXT), CAST(state AS TEXT) FROM jobs")
            )
        return [
            Miscount(queue, state, kept.get((queue, state), 0), counted.get((queue, state), 0))
            for queue, state in sorted(kept.keys() | counted.keys())
            if kept.get((queue, state)) != counted.get((queue, state))
        ]

    def wrong_heads(self) -> list[str]:
        """Return the queues whose kept head comes after a claimable job, or is missing.

        Also those whose kept number of paused pending jobs is wrong: workers would not look there.
        """
        with self._snapshot() as conn:
            rows = conn.execute(
                """
                SELECT CAST(queue AS TEXT)
                  FROM job_counts
                 WHERE state = 'pending'
                   AND (paused <> (SELECT count(*)
                                     FROM jobs
                                    WHERE state = 'pending'
                                      AND queue = job_counts.queue
                                      AND paused_at IS NOT NULL)
                        OR jobs > paused
                       AND NOT coalesce((SELECT head_priority > head.priority
                                                OR (head_priority = head.priority
                                                    AND head_seq <= head.seq)
                                           FROM jobs AS head
                                          WHERE head.state = 'pending'
                                            AND head.queue = job_counts.queue
                                            AND head.paused_at IS NULL
                                          ORDER BY head.priority DESC, head.seq
                                          LIMIT 1), 0))
                 ORDER BY queue
                """
            )
            return [str(row[0]) for row in rows]

    def activity_miscounts(self) -> list[str]:
        """Return the counters of activity whose total is not the sum of their days."""
        with self._snapshot() as conn:
            rows = conn.execute(
                """
                SELECT queue,
                       event,
                       sum(CASE WHEN period = '' THEN times ELSE 0 END),
                       sum(CASE WHEN period = '' THEN 0 ELSE times END)
                  FROM activity
                 WHERE period = ''
                    OR period = '-'
                    OR (period > 'd' AND period < 'e')
                 GROUP BY queue, event
                HAVING sum(CASE WHEN period = '' THEN times ELSE -times END) <> 0
                 ORDER BY queue, event
                """
            )
            return [f"{queue} {event}: {kept}, but {counted} by days"
                    for queue, event, kept, counted in rows]  # fmt: skip

    def newest_time(self) -> datetime | None:
        """Return when a job was last changed; None if there are no jobs."""
        with self._snapshot() as conn:
            row = conn.execute("SELECT max(updated_at) FROM jobs").fetchone()
        return optional_time(row[0])

    @staticmethod
    def sqlite_version() -> tuple[int, ...]:
        """Return the version of the SQLite library in use."""
        return sqlite3.sqlite_version_info

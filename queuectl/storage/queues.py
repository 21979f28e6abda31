"""Pauses and limits of queues."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from queuectl.core.models import QueueStatus
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.storage.base import Base
from queuectl.storage.job_counts import kept_counts
from queuectl.storage.rows import paused_since

_ALL = ""
"""The row that stands for all queues, including future ones: no queue can have that name."""


class OwnSettings(NamedTuple):
    """The row of one queue, or that of all queues."""

    paused_at: datetime | None = None
    """Since when it is paused; None if it is not."""
    paused_by: str | None = None
    """The user who paused it."""
    pause_reason: str | None = None
    """The reason that the user gave."""
    limit: int | None = None
    """How many of its jobs may run at once; None means no limit."""


def own_settings(conn: sqlite3.Connection) -> dict[str, OwnSettings]:
    """Return the rows of queues by their names; '' stands for all queues.

    Another program may have written a row. As for a claim, any value in the place of a time is a
    pause, and only a number is a limit.
    """
    rows = conn.execute(
        """
        SELECT CAST(name AS TEXT), paused_at, CAST(paused_by AS TEXT), CAST(pause_reason AS TEXT),
               CASE typeof(job_limit) WHEN 'integer' THEN job_limit END
          FROM queues
         ORDER BY name
        """
    )
    return {
        name: OwnSettings(None if at is None else paused_since(at), *others)
        for name, at, *others in rows
    }


class Queues(Base):
    """The methods that pause, resume, limit and list queues."""

    def pause_queue(self, queue: str | None, *, by: str, reason: str | None, now: datetime) -> None:
        """Let no more jobs of a queue be claimed; None pauses all queues by one switch."""
        with self._transaction() as conn:
            conn.execute(
                """
                INSERT INTO queues (name, paused_at, paused_by, pause_reason)
                VALUES (:name, :now, :by, :reason)
                    ON CONFLICT (name) DO UPDATE
                   SET paused_at = :now,
                       paused_by = :by,
                       pause_reason = :reason
                """,
                {"name": queue or _ALL, "now": to_text(now), "by": by, "reason": reason},
            )

    def resume_queue(self, queue: str | None) -> None:
        """Lift the pause of a queue; None lifts all pauses."""
        with self._transaction() as conn:
            conn.execute(
                """
                UPDATE queues
                   SET paused_at = NULL,
                       paused_by = NULL,
                       pause_reason = NULL
                 WHERE name = :name
                    OR :every = 1
                """,
                {"name": queue or _ALL, "every": int(queue is None)},
            )
            _drop_idle_rows(conn)
        self._wake_workers()

    def limit_queue(self, queue: str, limit: int | None) -> None:
        """Limit how many jobs of a queue run at once; None lifts the limit."""
        with self._transaction() as conn:
            conn.execute(
                """
                INSERT INTO queues (name, job_limit)
                VALUES (:name, :limit)
                    ON CONFLICT (name) DO UPDATE
                   SET job_limit = :limit
                """,
                {"name": queue, "limit": limit},
            )
            _drop_idle_rows(conn)
        self._wake_workers()

    def queues(self) -> list[QueueStatus]:
        """Return the queues that hold jobs, are paused or are limited, ordered by name.

        A queue also counts as paused if all queues are; then it has the user, time and reason of
        that pause, unless it is paused itself.
        """
        with self._snapshot() as conn:
            settings = own_settings(conn)
            counts: dict[str, dict[JobState, int]] = {}
            paused: dict[str, dict[JobState, int]] = {}
            for queue, state, jobs, paused_jobs in kept_counts(conn):
                counts.setdefault(queue, {})[state] = jobs
                if paused_jobs:
                    paused.setdefault(queue, {})[state] = paused_jobs
        switch = settings.pop(_ALL, None)
        found = []
        for name in sorted(settings.keys() | counts.keys()):
            own = settings.get(name, OwnSettings())
            pause = own if own.paused_at is not None or switch is None else switch
            found.append(
                QueueStatus(
                    name=name,
                    paused=pause.paused_at is not None,
                    paused_at=pause.paused_at,
                    paused_by=pause.paused_by,
                    pause_reason=pause.pause_reason,
                    limit=own.limit,
                    counts={state: counts.get(name, {}).get(state, 0) for state in JobState},
                    paused_jobs=paused.get(name, {}),
                )
            )
        return found

    def all_paused(self) -> bool:
        """Whether all queues are paused by one switch."""
        with self._snapshot() as conn:
            row = conn.execute("SELECT paused_at FROM queues WHERE name = ?", (_ALL,)).fetchone()
        return row is not None and row[0] is not None


def _drop_idle_rows(conn: sqlite3.Connection) -> None:
    conn.execute("DELETE FROM queues WHERE paused_at IS NULL AND job_limit IS NULL")

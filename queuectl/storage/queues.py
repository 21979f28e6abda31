"""Pauses and limits of queues."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from queuectl.core.models import QueueStatus
from queuectl.core.states import JobState
from queuectl.core.times import optional_time, to_text
from queuectl.storage.base import Base

_ALL = ""
"""The row that stands for all queues, including future ones: no queue can have that name."""


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
            settings = {
                row[0]: row[1:]
                for row in conn.execute(
                    """
                    SELECT name, paused_at, paused_by, pause_reason, job_limit
                      FROM queues
                     ORDER BY name
                    """
                )
            }
            counts: dict[str, dict[JobState, int]] = {}
            paused: dict[str, dict[JobState, int]] = {}
            for queue, state, jobs, paused_jobs in conn.execute(
                """
                SELECT queue, state, jobs, paused
                  FROM job_counts
                 WHERE jobs > 0
                 ORDER BY queue, state
                """
            ):
                counts.setdefault(queue, {})[JobState(state)] = jobs
                if paused_jobs:
                    paused.setdefault(queue, {})[JobState(state)] = paused_jobs
        switch = settings.pop(_ALL, None)
        found = []
        for name in sorted(settings.keys() | counts.keys()):
            own: Any = settings.get(name, (None, None, None, None))
            pause = own if own[0] is not None or switch is None else switch
            found.append(
                QueueStatus(
                    name=name,
                    paused=pause[0] is not None,
                    paused_at=optional_time(pause[0]),
                    paused_by=pause[1],
                    pause_reason=pause[2],
                    limit=own[3],
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

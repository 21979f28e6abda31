"""The outlook for jobs that were just enqueued: when they start, and the reason if they wait."""

from __future__ import annotations

from datetime import datetime
from typing import Mapping

from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.core.times import from_text, optional_time
from queuectl.storage.base import Base
from queuectl.storage.rows import known_state, paused_since

_SHOWN_NEEDS = 4


class Predecessor(NamedTuple):
    """The job that was enqueued just before."""

    queue: str
    """The queue it is in."""
    has_waited: bool
    """Whether it still waits, and has waited since it was enqueued."""
    created_at: datetime
    """When it was enqueued."""


class Outlook(NamedTuple):
    """The outlook for the jobs of one call."""

    states: Mapping[JobState, int]
    """How many of them are in each state; states without any are left out."""
    earliest: datetime | None
    """When the first of those that wait for their time starts; None if none does."""
    latest: datetime | None
    """When the last of them starts."""
    needs: tuple[int, ...]
    """The numbers of the jobs that the first of them waits for, at most four."""
    pauses: Mapping[str, datetime]
    """The queues that are paused, and since when; the empty name stands for all queues."""
    before: Predecessor | None
    """The job that was enqueued before them; None if they are the first ones."""


class Outlooks(Base):
    """The method that tells a person what becomes of new jobs."""

    def outlook(self, first: int, last: int) -> Outlook:
        """Return what becomes of the jobs with these numbers and those in between.

        It reads them all: 0.2 s for 1,000,000.
        """
        with self._snapshot() as conn:
            rows = conn.execute(
                """
                SELECT state, COUNT(*), MIN(run_at), MAX(run_at)
                  FROM jobs
                 WHERE seq BETWEEN :first AND :last
                 GROUP BY state
                 ORDER BY state
                """,
                {"first": first, "last": last},
            ).fetchall()
            needs = conn.execute(
                """
                SELECT needs_seq
                  FROM dependencies
                 WHERE job_seq = :first
                 ORDER BY needs_seq
                 LIMIT :most
                """,
                {"first": first, "most": _SHOWN_NEEDS},
            ).fetchall()
            pauses = conn.execute(
                "SELECT name, paused_at FROM queues WHERE paused_at IS NOT NULL ORDER BY name"
            ).fetchall()
            before = conn.execute(
                """
                SELECT queue, state, attempts, created_at
                  FROM jobs
                 WHERE seq < :first
                 ORDER BY seq DESC
                 LIMIT 1
                """,
                {"first": first},
            ).fetchone()
        scheduled = [(first, last) for state, _, first, last in rows if state == "scheduled"]
        earliest, latest = map(optional_time, scheduled[0] if scheduled else (None, None))
        return Outlook(
            {state: count for name, count, _, _ in rows if (state := known_state(name))},
            earliest,
            latest,
            tuple(seq for (seq,) in needs),
            {name: paused_since(since) for name, since in pauses},
            None if before is None else _predecessor(*before),
        )


def _predecessor(queue: str, state: str, attempts: int, created_at: str) -> Predecessor:
    waits = state in ("pending", "scheduled", "blocked") and not attempts
    return Predecessor(queue, waits, from_text(created_at))

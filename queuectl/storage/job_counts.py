"""How many jobs there are: the kept counts of each queue and state."""

from __future__ import annotations

import sqlite3
from typing import Iterator, Sequence

from queuectl.core.batches import is_batch, is_lane, serves, waits_for
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.storage.base import Base, any_bytes
from queuectl.storage.rows import known_state


class Count(NamedTuple):
    """How many jobs of a queue are in a state."""

    queue: str
    """The name of the queue."""
    state: JobState
    """The state."""
    jobs: int
    """The number of jobs."""


def kept_counts(conn: sqlite3.Connection) -> Iterator[tuple[str, JobState, int, int]]:
    """Yield queue, state, jobs and paused jobs of each kept count, except zeros.

    A count that another program made up is left out.
    """
    for queue, state, jobs, paused in conn.execute(
        """
        SELECT CAST(queue AS TEXT),
               state,
               CAST(jobs AS INTEGER) AS number,
               CAST(paused AS INTEGER)
          FROM job_counts
         WHERE number > 0
         ORDER BY queue, state
        """
    ):
        known = known_state(state)
        if known is not None:
            yield queue, known, jobs, paused


class JobCounts(Base):
    """The methods that read the counts. They are all that a worker needs to know of many jobs."""

    def counts(self) -> list[Count]:
        """Return the kept counts of all queues and states, except zeros."""
        with self._snapshot() as conn, any_bytes(conn):
            return [Count(queue, state, jobs) for queue, state, jobs, _ in kept_counts(conn)]

    def by_state(self, queues: Sequence[str] = ()) -> dict[JobState, int]:
        """Return the number of jobs of these queues (of all, if none is named) in each state."""
        totals = dict.fromkeys(JobState, 0)
        for count in self.counts():
            if not queues or count.queue in queues:
                totals[count.state] += count.jobs
        return totals

    def bad_ends(self, queues: Sequence[str] = ()) -> int:
        """Return how often a job of these queues (of all but lanes, if none is named) ended badly.

        That means that it died or was cancelled. The total never falls: a retried job that dies
        again counts twice, and a pruned one still counts. A job counts in the queue in which it
        ended. One that was imported as dead does not count.
        """
        return sum(self.bad_ends_by_state(queues).values())

    def bad_ends_by_state(self, queues: Sequence[str] = ()) -> dict[JobState, int]:
        """Return the same for dead and for cancelled jobs."""
        ended = {JobState.DEAD: 0, JobState.CANCELLED: 0}
        with self._snapshot() as conn:
            for state, queue, jobs in conn.execute(
                """
                SELECT state, CAST(queue AS TEXT), CAST(jobs AS INTEGER)
                  FROM bad_ends
                 WHERE state = 'dead'
                    OR state = 'cancelled'
                 ORDER BY state, queue
                """
            ):
                if waits_for(queues, queue):
                    ended[JobState(state)] += jobs
        return ended

    def unfinished(self, queues: Sequence[str]) -> dict[JobState, int]:
        """Return how many jobs a drain of these queues still waits for.

        None named means all but batches. Paused jobs, and jobs of paused queues, count only while
        they run. Retries of the hooks of a named batch do not count: workers of all queues will run
        them, and `run` would wait a day for a webhook whose receiver is down.
        """
        totals = {JobState.PENDING: 0, JobState.FAILED: 0, JobState.PROCESSING: 0}
        with self._snapshot() as conn, any_bytes(conn):
            rows = conn.execute(
                """
                SELECT CAST(counted.queue AS TEXT),
                       counted.state,
                       CASE counted.state WHEN 'processing' THEN CAST(counted.jobs AS INTEGER)
                                          ELSE counted.jobs - counted.paused END AS waited_for
                  FROM job_counts AS counted
                  LEFT JOIN queues ON queues.name = counted.queue
                 WHERE waited_for > 0
                   AND (counted.state = 'processing'
                        OR (counted.state = 'pending' OR counted.state = 'failed')
                       AND queues.paused_at IS NULL
                       AND NOT EXISTS (SELECT 1
                                         FROM queues
                                        WHERE name = ''
                                          AND paused_at IS NOT NULL))
                 ORDER BY counted.queue, counted.state
                """
            )
            for queue, state, jobs in rows:
                is_left = queues and is_batch(queue) and is_lane(queue) and state == "failed"
                if serves(queues, queue) and not is_left:
                    totals[JobState(state)] += jobs
        return totals

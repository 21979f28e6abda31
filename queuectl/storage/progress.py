"""The facts by which progress is measured: the newest ends, running jobs, and recent counts."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import datetime
from typing import AbstractSet, Mapping, Sequence

from queuectl.core.errors import QueueUnusable
from queuectl.core.estimates import End
from queuectl.core.models import Job
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.core.times import from_text, to_text
from queuectl.storage.base import Base
from queuectl.storage.rows import SELECT_JOB, in_queues, one_of, shown_job

_MOST_READ = 5_000
"""How many of the newest ends are looked at. They come from indexes: about 5 ms."""

_MOST_PRIORITIES = 20
"""In how many of the highest priorities the oldest pending job is searched for."""

_MOST_COUNTED = 200_000
"""How many ends of one kind are counted at most: that takes 0.05 s."""

_AT_ONCE = 500
"""How many jobs are looked up by one statement."""

# How a query has to name the states so that the partial index on them serves it.
_ENDED_BY_INDEX: Mapping[JobState, str] = {
    JobState.COMPLETED: "state = 'completed' AND (state = 'completed' OR state = 'cancelled')",
    JobState.CANCELLED: "state = 'cancelled' AND (state = 'completed' OR state = 'cancelled')",
    JobState.DEAD: "state = 'dead'",
}


class RunningJob(NamedTuple):
    """A job that runs."""

    seq: int
    """Its order of entry."""
    queue: str
    """The queue it is in."""
    since: datetime
    """When its attempt was claimed."""
    is_paused: bool = False
    """Whether it is paused."""


class Progress(Base):
    """The methods that tell how far the jobs have come. All are short reads without a lock."""

    def newest_ends(
        self,
        queues: AbstractSet[str],
        *,
        after: datetime,
        until: datetime,
        of_each: int,
        at_most: int = _MOST_READ,
    ) -> dict[str, list[End]]:
        """Return the last ends of jobs in these queues, newest first, up to `of_each` per queue.

        Only those between the two times count, and of all queues together `at_most`. So some are
        missing if other queues had many more ends since then.
        """
        found: dict[str, list[tuple[int, str]]] = {queue: [] for queue in queues}
        missing = len(found)
        with self._snapshot() as conn:
            for queue, seq, at in conn.execute(
                f"""
                SELECT queue, seq, finished_at
                  FROM jobs INDEXED BY jobs_prunable
                 WHERE {_ENDED_BY_INDEX[JobState.COMPLETED]}
                   AND finished_at BETWEEN :after AND :until
                 UNION ALL
                SELECT queue, seq, finished_at
                  FROM jobs INDEXED BY jobs_died
                 WHERE {_ENDED_BY_INDEX[JobState.DEAD]}
                   AND finished_at BETWEEN :after AND :until
                 ORDER BY finished_at DESC, seq DESC
                 LIMIT :most
                """,
                {"after": to_text(after), "until": to_text(until), "most": at_most},
            ):
                ends = found.get(queue)
                if ends is None or len(ends) == of_each:
                    continue
                ends.append((seq, at))
                missing -= len(ends) == of_each
                if not missing:
                    break
            seconds = _busy_seconds(conn, [seq for ends in found.values() for seq, _ in ends])
        return {
            queue: [End(from_text(at), seconds[seq]) for seq, at in ends if seq in seconds]
            for queue, ends in found.items()
        }

    def running_jobs(self, queues: Sequence[str] = ()) -> list[RunningJob]:
        """Return the jobs that run, the one that has run longest first.

        Only jobs of these queues, if any is named.
        """
        with self._snapshot() as conn:
            rows = conn.execute(
                """
                SELECT seq, queue, locked_at, paused_at IS NOT NULL
                  FROM jobs
                 WHERE state = 'processing'
                 ORDER BY locked_at, seq
                """
            ).fetchall()
        running = []
        for seq, queue, since, is_paused in rows:
            if queues and queue not in queues:
                continue
            with suppress(QueueUnusable):  # another program wrote the time
                running.append(RunningJob(seq, queue, from_text(since), bool(is_paused)))
        return running

    def jobs_by_seq(self, seqs: Sequence[int]) -> list[Job]:
        """Return the jobs with these seqs, in the given order; deleted ones are left out."""
        jobs: dict[int, Job] = {}
        with self._snapshot() as conn:
            for start in range(0, len(seqs), _AT_ONCE):
                some = seqs[start : start + _AT_ONCE]
                rows = conn.execute(
                    f"{SELECT_JOB} WHERE seq {one_of(some)} ORDER BY seq",
                    tuple(some),
                )
                jobs.update((job.seq, job) for job in map(shown_job, rows))
        return [jobs[seq] for seq in seqs if seq in jobs]

    def died_last(self, at_most: int, queues: Sequence[str] = ()) -> list[Job]:
        """Return the dead jobs that died last, newest first.

        Only jobs of these queues, if any is named.
        """
        with self._snapshot() as conn:
            rows = conn.execute(
                f"""
                {SELECT_JOB} INDEXED BY jobs_died
                 WHERE state = 'dead'
                   AND {in_queues(queues)}
                 ORDER BY finished_at DESC, seq DESC
                 LIMIT ?
                """,
                (*queues, at_most),
            ).fetchall()
        return list(map(shown_job, rows))

    def oldest_unfinished_at(self, queue: str) -> datetime | None:
        """Return when the oldest job that is still to do was enqueued; None if there is none.

        Scheduled jobs do not count. With pending jobs of many priorities the lowest are not looked
        at.
        """
        with self._snapshot() as conn:
            # The kept counts come first, so that the jobs of other queues are not searched for one
            # that is not there.
            found = [
                text
                for (text,) in conn.execute(
                    """
                    SELECT CAST(min(created_at) AS TEXT)
                      FROM jobs INDEXED BY jobs_processing
                     WHERE state = 'processing'
                       AND queue = :queue
                     UNION ALL
                    SELECT CAST(min(created_at) AS TEXT)
                      FROM (SELECT created_at
                              FROM job_counts AS counted
                             CROSS JOIN jobs INDEXED BY jobs_blocked
                             WHERE counted.state = 'blocked'
                               AND counted.queue = :queue
                               AND jobs.state = 'blocked'
                               AND jobs.queue = :queue
                             ORDER BY jobs.seq
                             LIMIT 1)
                     UNION ALL
                    SELECT CAST(min(created_at) AS TEXT)
                      FROM (SELECT created_at
                              FROM job_counts AS counted
                             CROSS JOIN jobs INDEXED BY jobs_due
                             WHERE counted.state = 'failed'
                               AND counted.queue = :queue
                               AND (jobs.state = 'scheduled' OR jobs.state = 'failed')
                               AND jobs.state = 'failed'
                               AND jobs.queue = :queue
                             ORDER BY jobs.run_at, jobs.seq
                             LIMIT 1)
                    """,
                    {"queue": queue},
                )
                if text is not None
            ]
            found += _oldest_pending(conn, queue)
        try:
            return from_text(min(found)) if found else None
        except QueueUnusable:  # another program wrote the time
            return None

    def ended_since(
        self, queues: Sequence[str], since: datetime, *, at_most: int = _MOST_COUNTED
    ) -> dict[JobState, int] | None:
        """Return how many jobs of these queues ended in which state since then, and are kept.

        All queues if none is named. None if more than `at_most` jobs of all queues ended in one of
        the states: to count them would take too long.
        """
        named = in_queues(queues)
        ended = {}
        with self._snapshot() as conn:
            for state, condition in _ENDED_BY_INDEX.items():
                index = "jobs_died" if state is JobState.DEAD else "jobs_prunable"
                read, counted = conn.execute(
                    f"""
                    SELECT count(*), count(CASE WHEN {named} THEN 1 END)
                      FROM (SELECT queue
                              FROM jobs INDEXED BY {index}
                             WHERE {condition}
                               AND finished_at >= ?
                             LIMIT ?)
                    """,
                    (*queues, to_text(since), at_most + 1),
                ).fetchone()
                if read > at_most:
                    return None
                ended[state] = counted
        return ended

    def pending_up_to(self, queue: str, seq: int) -> int:
        """Return how many pending jobs of a queue were enqueued no later than this job.

        Paused ones do not count.
        """
        with self._snapshot() as conn:
            row = conn.execute(
                """
                SELECT count(*)
                  FROM jobs
                 WHERE state = 'pending'
                   AND queue = :queue
                   AND paused_at IS NULL
                   AND seq <= :seq
                """,
                {"queue": queue, "seq": seq},
            ).fetchone()
        return int(row[0])


def _busy_seconds(conn: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, float]:
    """Return how long the attempts of these jobs lasted; without those that have none."""
    seconds: dict[int, float] = {}
    for start in range(0, len(seqs), _AT_ONCE):
        some = seqs[start : start + _AT_ONCE]
        rows = conn.execute(
            f"""
            SELECT job_seq, total(julianday(finished_at) - julianday(started_at)) * 86400
              FROM executions
             WHERE job_seq {one_of(some)}
             GROUP BY job_seq
             ORDER BY job_seq
            """,
            tuple(some),
        )
        # A clock that was set back meanwhile makes an attempt end before it started.
        seconds.update((seq, max(0.0, lasted)) for seq, lasted in rows)
    return seconds


def _oldest_pending(conn: sqlite3.Connection, queue: str) -> list[str]:
    """Return when the first pending job of each of the highest priorities was enqueued."""
    found: list[str] = []
    below = ""
    priority = None
    for _ in range(_MOST_PRIORITIES):
        row = conn.execute(
            f"""
            SELECT priority, CAST(created_at AS TEXT)
              FROM jobs INDEXED BY jobs_pending
             WHERE state = 'pending'
               AND queue = :queue
               AND paused_at IS NULL
                   {below}
             ORDER BY priority DESC, seq
             LIMIT 1
            """,
            {"queue": queue, "priority": priority},
        ).fetchone()
        if row is None:
            break
        priority, below = row[0], "AND priority < :priority"
        found.append(row[1])
    return found

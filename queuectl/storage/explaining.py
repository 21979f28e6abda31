"""Why a job does not run: what it waits for, and which jobs come before it."""

from __future__ import annotations

import sqlite3
from typing import Container, Iterable, Sequence

from queuectl.core.models import Job, JobKey, Need
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.storage.base import Base
from queuectl.storage.rows import SELECT_JOB, in_queues, known_state, one_of, shown_job


class Explaining(Base):
    """The methods that tell people why a job does not run."""

    def needs(self, job: Job) -> list[Need]:
        """Return what a blocked job still waits for, in the order of entry."""
        with self._snapshot() as conn:
            rows = conn.execute(
                SELECT_JOB
                + """
                  JOIN dependencies ON dependencies.needs_seq = jobs.seq
                 WHERE dependencies.job_seq = ?
                 ORDER BY jobs.seq
                """,
                (job.seq,),
            ).fetchall()
            any_outcome = {
                row[0]
                for row in conn.execute(
                    "SELECT needs_seq FROM dependencies WHERE job_seq = ? AND however = 1",
                    (job.seq,),
                )
            }
        return [Need(shown_job(row), row[0] in any_outcome) for row in rows]

    def dependants(self, job: Job) -> list[JobKey]:
        """Return the keys of the jobs that wait for this one, in the order of entry."""
        with self._snapshot() as conn:
            return _direct_dependants(conn, JobKey(job.seq, job.id))

    def with_dependants(self, jobs: Iterable[JobKey]) -> list[JobKey]:
        """Return these jobs and all that wait for them, directly or through others.

        Each job comes after those that wait for it. So none of them becomes claimable meanwhile, if
        they are cancelled in this order.
        """
        ordered: list[JobKey] = []
        seen: set[int] = set()
        with self._snapshot() as conn:
            for first in jobs:
                # Depth first, without recursion: a chain may have 100,000 links. A job is put into
                # the order when the trail comes back to it, after all that wait for it.
                trail = [(first, False)]
                while trail:
                    job, is_back = trail.pop()
                    if is_back:
                        ordered.append(job)
                    elif job.seq not in seen:
                        seen.add(job.seq)
                        trail.append((job, True))
                        trail.extend((key, False) for key in _direct_dependants(conn, job))
        return ordered

    def all_dependants(self, job: Job) -> frozenset[int]:
        """Return the seq of each job that waits for this one, also through other jobs."""
        with self._snapshot() as conn:
            rows = conn.execute(
                """
                WITH RECURSIVE waiting (seq) AS (
                    SELECT job_seq
                      FROM dependencies
                     WHERE needs_seq = ?
                     UNION
                    SELECT dependencies.job_seq
                      FROM waiting
                      JOIN dependencies ON dependencies.needs_seq = waiting.seq
                )
                SELECT seq FROM waiting ORDER BY seq
                """,
                (job.seq,),
            )
            return frozenset(row[0] for row in rows)

    def stuck_on(self, job: Job) -> Job | None:
        """Return the dead or cancelled job because of which a blocked job can never run by itself.

        The search follows the dependencies of dependencies. None if there is no such job.
        """
        seen, to_look_at = {job.seq}, [job]
        while to_look_at:
            for need in self.needs(to_look_at.pop()):
                if need.job.state in FINISHED_STATES and not need.any_outcome:
                    return need.job
                if need.job.state is JobState.BLOCKED and need.job.seq not in seen:
                    seen.add(need.job.seq)
                    to_look_at.append(need.job)
        return None

    def first_stuck(
        self, queues: Sequence[str] = (), among: Container[int] | None = None
    ) -> Job | None:
        """Return the first blocked job that can never run by itself; None if there is none.

        It depends, perhaps through other jobs, on a dead or cancelled one. Only jobs of these
        queues are looked at (of all queues, if none is named); if `among` is given, only those
        whose seq it contains.
        """
        with self._snapshot() as conn:
            rows = conn.execute(
                """
                WITH RECURSIVE stuck (seq) AS (
                    SELECT dependencies.job_seq
                      FROM dependencies
                      JOIN jobs ON jobs.seq = dependencies.needs_seq
                     WHERE dependencies.however = 0
                       AND (jobs.state = 'dead' OR jobs.state = 'cancelled')
                     UNION
                    SELECT dependencies.job_seq
                      FROM stuck
                      JOIN dependencies ON dependencies.needs_seq = stuck.seq
                )
                """
                + SELECT_JOB
                + "WHERE state = 'blocked' AND seq IN (SELECT seq FROM stuck) "
                + f"AND {in_queues(queues)} ORDER BY seq",
                tuple(queues),
            )
            jobs = map(shown_job, rows)
            return next((job for job in jobs if among is None or job.seq in among), None)

    def ahead_of(self, job: Job) -> int:
        """Return how many jobs of its queue are claimed before this pending one."""
        with self._snapshot() as conn:
            row = conn.execute(
                """
                SELECT count(*)
                  FROM jobs
                 WHERE state = 'pending'
                   AND queue = :queue
                   AND paused_at IS NULL
                   AND (priority > :priority OR (priority = :priority AND seq < :seq))
                """,
                {"queue": job.queue, "priority": job.priority, "seq": job.seq},
            ).fetchone()
        return int(row[0])

    def running_in(self, queue: str) -> list[Job]:
        """Return the running jobs of a queue, in the order of entry."""
        with self._snapshot() as conn:
            rows = conn.execute(
                SELECT_JOB + "WHERE state = 'processing' AND queue = ? ORDER BY seq",
                (queue,),
            )
            return list(map(shown_job, rows))

    def states_of(self, seqs: Sequence[int]) -> dict[int, JobState]:
        """Return the present states of jobs by their seq; deleted jobs are left out."""
        found: dict[int, JobState] = {}
        with self._snapshot() as conn:
            for start in range(0, len(seqs), 500):
                chunk = seqs[start : start + 500]
                rows = conn.execute(
                    f"SELECT seq, state FROM jobs WHERE seq {one_of(chunk)} ORDER BY seq",
                    tuple(chunk),
                )
                found.update((seq, known_state(state) or JobState.DEAD) for seq, state in rows)
        return found

    def version(self) -> int:
        """Return a number that changes when another process changes the queue."""
        with self._snapshot() as conn:
            return int(conn.execute("PRAGMA data_version").fetchone()[0])


def _direct_dependants(conn: sqlite3.Connection, job: JobKey) -> list[JobKey]:
    rows = conn.execute(
        """
        SELECT jobs.seq, jobs.id
          FROM dependencies
          JOIN jobs ON jobs.seq = dependencies.job_seq
         WHERE dependencies.needs_seq = ?
         ORDER BY jobs.seq
        """,
        (job.seq,),
    )
    return list(map(JobKey._make, rows))

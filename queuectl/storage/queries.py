"""Looking at jobs; short reads that take no lock."""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Sequence

from queuectl.core.models import Execution, Job, JobKey, Selection
from queuectl.core.states import JobState
from queuectl.storage.base import Base
from queuectl.storage.ids import find_seq
from queuectl.storage.rows import SELECT_EXECUTION, SELECT_JOB, to_execution, to_job

_PAGE = 500


class Count(NamedTuple):
    """How many jobs of a queue are in a state."""

    queue: str
    state: JobState
    jobs: int


class Queries(Base):
    """Finding, listing and counting."""

    def get(self, job: str) -> Job:
        """Return a job by its id, or by the first 4 to 11 digits of a made id.

        Raises NoSuchJob, or AmbiguousJob when several made ids begin so. A whole id wins.
        """
        with self._snapshot() as conn:
            seq = find_seq(conn, job)
            return to_job(conn.execute(SELECT_JOB + "WHERE seq = ?", (seq,)).fetchone())

    def newest(self) -> Job | None:
        """Return the job that was enqueued last."""
        return next(self.jobs(Selection(), newest=1), None)

    def executions(self, job: Job) -> Iterator[Execution]:
        """Yield the attempts of a job, oldest first; read page by page, as `jobs` does."""
        after = -1
        while True:
            with self._snapshot() as conn:
                rows = conn.execute(
                    SELECT_EXECUTION + "WHERE job_seq = ? AND id > ? ORDER BY id LIMIT ?",
                    (job.seq, after, _PAGE),
                ).fetchall()
            yield from map(to_execution, rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def execution(self, execution_id: int) -> Execution | None:
        """Return one attempt by its number."""
        return self._one_execution("WHERE id = ?", execution_id)

    def last_execution(self, job: Job, *, attempt: int | None = None) -> Execution | None:
        """Return the last attempt of a job, or the last with this number; None without any."""
        return self._one_execution(
            """
             WHERE job_seq = ?1
               AND (?2 IS NULL OR attempt = ?2)
             ORDER BY id DESC
             LIMIT 1
            """,
            job.seq,
            attempt,
        )

    def next_execution(self, job: Job, after: int) -> Execution | None:
        """Return the first attempt of a job that came after another, which is named by its id."""
        return self._one_execution(
            "WHERE job_seq = ? AND id > ? ORDER BY id LIMIT 1", job.seq, after
        )

    def _one_execution(self, condition: str, *values: int | None) -> Execution | None:
        with self._snapshot() as conn:
            row = conn.execute(SELECT_EXECUTION + condition, values).fetchone()
        return None if row is None else to_execution(row)

    def jobs(self, selection: Selection, *, newest: int | None = None) -> Iterator[Job]:
        """Yield jobs in the order of their entry; with `newest`, only the last so many.

        Read page by page, so that neither memory nor the WAL grows with the number of jobs.
        """
        after = -1
        if newest is not None:
            where, values = _condition(selection)
            with self._snapshot() as conn:
                row = conn.execute(
                    "SELECT min(seq) FROM (SELECT seq FROM jobs WHERE "
                    + where
                    + " ORDER BY seq DESC LIMIT ?)",
                    (*values, newest),
                ).fetchone()
            if row[0] is None:
                return
            after = row[0] - 1
        yield from map(to_job, self._rows(SELECT_JOB, selection, after))

    def keys(self, selection: Selection) -> Iterator[JobKey]:
        """Yield the keys of jobs in the order of their entry, read as `jobs` reads them."""
        return map(JobKey._make, self._rows("SELECT seq, id FROM jobs ", selection, -1))

    def _rows(self, select: str, selection: Selection, after: int) -> Iterator[Any]:
        """Yield rows that begin with a seq, those above `after`, page by page."""
        where, values = _condition(selection)
        while True:
            with self._snapshot() as conn:
                rows = conn.execute(
                    select + "WHERE " + where + " AND seq > ? ORDER BY seq LIMIT ?",
                    (*values, after, _PAGE),
                ).fetchall()
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def count(self, selection: Selection) -> int:
        """Return how many jobs there are of the selection's queues and states, from kept counts."""
        return sum(
            count.jobs
            for count in self.counts()
            if (not selection.queues or count.queue in selection.queues)
            and (not selection.states or count.state in selection.states)
        )

    def counts(self) -> list[Count]:
        """Return the kept counts of all queues, those that are not zero."""
        with self._snapshot() as conn:
            rows = conn.execute(
                "SELECT queue, state, jobs FROM job_counts WHERE jobs > 0 ORDER BY queue, state"
            )
            return [Count(queue, JobState(state), jobs) for queue, state, jobs in rows]

    def by_state(self) -> dict[JobState, int]:
        """Return the number of jobs in each of the eight states."""
        totals = dict.fromkeys(JobState, 0)
        for count in self.counts():
            totals[count.state] += count.jobs
        return totals

    def bad_ends(self, queues: Sequence[str] = ()) -> int:
        """Return how often a job of these queues (none named: of all) has died or been cancelled.

        The total never falls: a retried job that dies again counts twice, a pruned one still
        counts. A job counts in the queue where it ended; one that was imported dead does not count.
        """
        with self._snapshot() as conn:
            rows = conn.execute("SELECT queue, jobs FROM bad_ends ORDER BY state, queue").fetchall()
        return sum(jobs for queue, jobs in rows if not queues or queue in queues)

    def unfinished(self, queues: Sequence[str]) -> dict[JobState, int]:
        """Return what a drain of these queues (none named: of all) has still before it.

        Jobs of paused queues count only while they run.
        """
        totals = {JobState.PENDING: 0, JobState.FAILED: 0, JobState.PROCESSING: 0}
        with self._snapshot() as conn:
            rows = conn.execute(
                """
                SELECT counted.queue, counted.state, counted.jobs
                  FROM job_counts AS counted
                  LEFT JOIN queues ON queues.name = counted.queue
                 WHERE counted.jobs > 0
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
                if not queues or queue in queues:
                    totals[JobState(state)] += jobs
        return totals


def _condition(selection: Selection) -> tuple[str, tuple[str, ...]]:
    """Return a WHERE condition and its values; the text is made of fixed pieces only."""
    pieces: list[str] = ["1"]
    values: list[str] = []
    if selection.queues:
        pieces.append(f"queue IN ({', '.join('?' * len(selection.queues))})")
        values.extend(selection.queues)
    if selection.states:
        # Literals, since a partial index is not used for a state that comes as a parameter.
        states = " OR ".join(f"state = '{state.value}'" for state in selection.states)
        pieces.append(f"({states})")
    return " AND ".join(pieces), tuple(values)

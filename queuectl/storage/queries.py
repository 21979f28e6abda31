"""Finding, listing and counting jobs: short reads that take no lock."""

from __future__ import annotations

import sqlite3
from typing import Any, Iterator, Mapping, Sequence

from queuectl.core.errors import UnreadableRow
from queuectl.core.models import Execution, Job, JobKey, Selection
from queuectl.storage.finding import conditions, find_seqs
from queuectl.storage.ids import find_seq
from queuectl.storage.job_counts import JobCounts
from queuectl.storage.rows import (
    SELECT_EXECUTION,
    SELECT_JOB,
    one_of,
    shown_job,
    to_execution,
    to_job,
)

_PAGE = 500


class Queries(JobCounts):
    """The methods that find, list and count jobs and attempts."""

    def get(self, job: str) -> Job:
        """Return a job, given its id, the first 4 to 11 digits of a generated id, or a name.

        Names begin with `@`: `@17`, `@last`, `@running`, `@failed`. Raises NoSuchJob, or
        AmbiguousJob when several generated ids begin so. A complete id wins.
        """
        with self._snapshot() as conn:
            seq = find_seq(conn, job)
            return shown_job(conn.execute(SELECT_JOB + "WHERE seq = ?", (seq,)).fetchone())

    def newest(self) -> Job | None:
        """Return the job that was enqueued last; None if there are no jobs."""
        return next(self.jobs(Selection(), newest=1), None)

    def ran_last(self) -> Job | None:
        """Return the running job that started last, else the job that ran last; None without."""
        with self._snapshot() as conn:
            row = conn.execute(
                SELECT_JOB
                + """
                  INDEXED BY jobs_processing
                  WHERE state = 'processing'
                  ORDER BY execution_id DESC
                  LIMIT 1
                """
            ).fetchone()
            row = (
                row
                or conn.execute(
                    SELECT_JOB
                    + "WHERE seq = (SELECT job_seq FROM executions ORDER BY id DESC LIMIT 1)"
                ).fetchone()
            )
        return None if row is None else shown_job(row)

    def executions(self, job: Job) -> Iterator[Execution]:
        """Yield the attempts of a job, oldest first, read page by page as `jobs` reads jobs."""
        after = -1
        while True:
            with self._snapshot() as conn:
                rows = conn.execute(
                    SELECT_EXECUTION
                    + "WHERE job_seq = :job AND id > :after ORDER BY id LIMIT :page",
                    {"job": job.seq, "after": after, "page": _PAGE},
                ).fetchall()
            yield from map(to_execution, rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def execution(self, execution_id: int) -> Execution | None:
        """Return an attempt by its execution id; None if there is no such attempt."""
        return self._one_execution("WHERE id = :id", {"id": execution_id})

    def last_execution(self, job: Job, *, attempt: int | None = None) -> Execution | None:
        """Return the last attempt of a job, or the last with this number; None if there is none."""
        numbered = "" if attempt is None else "AND attempt = :attempt"
        return self._one_execution(
            f"""
             WHERE job_seq = :job
                   {numbered}
             ORDER BY id DESC
             LIMIT 1
            """,
            {"job": job.seq, "attempt": attempt},
        )

    def next_execution(self, job: Job, after: int) -> Execution | None:
        """Return the attempt of a job that follows the one with execution id `after`, if any."""
        return self._one_execution(
            "WHERE job_seq = :job AND id > :after ORDER BY id LIMIT 1",
            {"job": job.seq, "after": after},
        )

    def _one_execution(self, condition: str, values: Mapping[str, int | None]) -> Execution | None:
        with self._snapshot() as conn:
            row = conn.execute(SELECT_EXECUTION + condition, values).fetchone()
        return None if row is None else to_execution(row)

    def jobs(self, selection: Selection, *, newest: int | None = None) -> Iterator[Job]:
        """Yield jobs in the order of entry; with `newest`, only that many of the last ones.

        They are read page by page, so that neither memory nor the WAL grows with their number.
        Jobs that do not fit the selection any more when their page is read are left out.
        """
        return map(shown_job, self._rows(SELECT_JOB, selection, newest))

    def unreadable_jobs(self) -> tuple[int, list[str]]:
        """Return the number of jobs, and for each unreadable one a sentence that says why.

        All other methods return such jobs with stand-ins for what another program wrote into them.
        """
        jobs, problems = 0, []
        for row in self._rows(SELECT_JOB, Selection(), None):
            jobs += 1
            try:
                to_job(row)
            except UnreadableRow as error:
                problems.append(str(error))
        return jobs, problems

    def keys(self, selection: Selection) -> Iterator[JobKey]:
        """Yield the keys of jobs in the order of entry, read page by page as `jobs` reads jobs."""
        return map(JobKey._make, self._rows("SELECT seq, id FROM jobs ", selection, None))

    def _rows(self, select: str, selection: Selection, newest: int | None) -> Iterator[Any]:
        """Yield the rows of jobs, whose first column is the seq, in the order of entry."""
        parts, values = conditions(selection)
        seqs = None
        with self._snapshot() as conn:
            if parts:
                seqs = find_seqs(conn, selection, newest)
            after = -1 if newest is None else _before_the_last(conn, newest)
        if seqs is None:
            yield from self._all_rows(select, parts, values, after)
            return
        for start in range(0, len(seqs), _PAGE):
            page = seqs[start : start + _PAGE]
            where = " AND ".join([f"seq {one_of(page)}", *parts])
            with self._snapshot() as conn:
                rows = conn.execute(
                    f"{select} WHERE {where} ORDER BY seq", (*page, *values)
                ).fetchall()
            yield from rows

    def _all_rows(
        self, select: str, parts: Sequence[str], values: Sequence[Any], after: int
    ) -> Iterator[Any]:
        # Without NOT INDEXED, SQLite may collect and sort all jobs of a state, for each page again.
        where = " AND ".join([*parts, "seq > ?"])
        query = f"{select} NOT INDEXED WHERE {where} ORDER BY seq LIMIT ?"
        while True:
            with self._snapshot() as conn:
                rows = conn.execute(query, (*values, after, _PAGE)).fetchall()
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def longest(self) -> tuple[int, int]:
        """Return the numbers of characters in the longest id and in the longest label, else 0.

        Both are read from indexes: 0.1 s with 1,000,000 jobs.
        """
        with self._snapshot() as conn:
            row = conn.execute("SELECT max(length(id)) FROM jobs").fetchone()
            label = conn.execute(
                """
                SELECT max(length(label))
                  FROM jobs INDEXED BY jobs_labelled
                 WHERE label IS NOT NULL
                """
            ).fetchone()
        return row[0] or 0, label[0] or 0

    def count(self, selection: Selection) -> int:
        """Return how many jobs are selected.

        The kept counts tell, so that it costs nothing, unless a label or a time selects jobs.
        """
        if not selection.is_counted:
            with self._snapshot() as conn:
                return len(find_seqs(conn, selection, None) or ())
        return sum(
            count.jobs
            for count in self.counts()
            if (not selection.queues or count.queue in selection.queues)
            and (not selection.states or count.state in selection.states)
        )

    def labels(self, begin: str, *, most: int) -> list[str]:
        """Return the labels that begin with a text, each once, in alphabetical order."""
        with self._snapshot() as conn:
            # Steps from label to label in the index, however many jobs have each of them.
            rows = conn.execute(
                """
                WITH RECURSIVE found (label) AS (
                    SELECT min(label) FROM jobs WHERE label IS NOT NULL AND label >= :begin
                     UNION ALL
                    SELECT (SELECT min(label)
                              FROM jobs
                             WHERE label IS NOT NULL
                               AND label > found.label)
                      FROM found
                     WHERE found.label IS NOT NULL
                )
                SELECT label
                  FROM found
                 WHERE substr(label, 1, length(:begin)) = :begin
                 LIMIT :most
                """,
                {"begin": begin, "most": most},
            )
            return [row[0] for row in rows]


def _before_the_last(conn: sqlite3.Connection, jobs: int) -> int:
    """Return the seq after which come that many jobs, or all if there are fewer."""
    row = conn.execute(
        "SELECT min(seq) FROM (SELECT seq FROM jobs ORDER BY seq DESC LIMIT ?)", (jobs,)
    ).fetchone()
    return -1 if row[0] is None else int(row[0]) - 1

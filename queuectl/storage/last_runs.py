"""The last attempt of each job, as far as lists show it."""

from __future__ import annotations

from itertools import islice
from typing import Iterable, Iterator

from queuectl.core.models import Job, LastRun
from queuectl.core.times import from_text
from queuectl.storage.base import Base
from queuectl.storage.rows import legible_value, one_of

_PAGE = 500


class LastRuns(Base):
    """The method that finds the last attempts of many jobs."""

    def with_last_runs(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, LastRun | None]]:
        """Yield each job with its last attempt, or None if it has not run; page by page."""
        rest = iter(jobs)
        page = list(islice(rest, _PAGE))
        while page:
            runs = self._last_runs([job.seq for job in page])
            yield from ((job, runs.get(job.seq)) for job in page)
            page = list(islice(rest, _PAGE))

    def _last_runs(self, seqs: list[int]) -> dict[int, LastRun]:
        with self._snapshot() as conn:
            rows = conn.execute(
                f"""
                SELECT last.job_seq, last.started_at, last.seconds, last.output_bytes,
                       last.outcome IS NULL
                  FROM jobs
                  JOIN executions AS last
                    ON last.id = (SELECT max(id)
                                    FROM executions
                                   WHERE job_seq = jobs.seq)
                 WHERE jobs.seq {one_of(seqs)}
                 ORDER BY last.job_seq
                """,
                seqs,
            ).fetchall()
        return {
            seq: LastRun(
                from_text(legible_value("started_at", started_at)),
                legible_value("seconds", seconds),
                None if runs else legible_value("output_bytes", output_bytes),
            )
            for seq, started_at, seconds, output_bytes, runs in rows
        }

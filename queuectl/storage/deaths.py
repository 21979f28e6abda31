"""Reading why jobs died: the newest dead jobs, each with the end of its output."""

from __future__ import annotations

import time
from datetime import datetime

from queuectl.core.batches import LANE
from queuectl.core.deaths import Death
from queuectl.core.errors import QueueUnusable
from queuectl.core.job_query import EVERYTHING, JobQuery
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import from_text, to_text
from queuectl.storage.base import Base
from queuectl.storage.matching import matching

_TAIL_BYTES = 512
_FIRST_STEP = 500
_LARGEST_STEP = 20_000
"""How many dead jobs are read before the clock is looked at again: about 40 ms."""


class Place(NamedTuple):
    """A place among the dead jobs in the order of their deaths: that of one job."""

    died_at: str
    """When it died, as it is stored."""
    seq: int
    """Its seq."""


class DeadPage(NamedTuple):
    """Some of the dead jobs that fit a query."""

    seqs: list[int]
    """The jobs, the one that died last first."""
    next: Place | None
    """The place at which older jobs begin; None if there are no more."""
    is_whole: bool
    """Whether the page is complete. If not, the time was over before enough jobs were found."""


class DeathWithOutput(NamedTuple):
    """A dead job, and the end of the output of its last attempt."""

    death: Death
    """The job; its last line is not read yet."""
    tail: bytes
    """The last bytes of the output."""
    is_all: bool
    """Whether that is the whole output."""


_IN_ORDER = """
    SELECT {}
      FROM jobs INDEXED BY jobs_died
     WHERE state = 'dead'
       AND finished_at >= ?
       AND (finished_at, seq) < (?, ?)
     ORDER BY finished_at DESC, seq DESC
     LIMIT ?
"""
"""The dead jobs below a place, as many as are wanted, read from the index alone."""


class Deaths(Base):
    """The methods that read dead jobs."""

    def oldest_death(self) -> datetime | None:
        """Return the time of the oldest death among the dead jobs; None if no job is dead.

        Jobs of hooks are left out.
        """
        with self._snapshot() as conn:
            row = conn.execute(
                """
                SELECT finished_at
                  FROM jobs INDEXED BY jobs_died
                 WHERE state = 'dead'
                   AND substr(queue, :length) <> :lane
                 ORDER BY finished_at
                 LIMIT 1
                """,
                {"length": -len(LANE), "lane": LANE},
            ).fetchone()
        try:
            return None if row is None else from_text(row[0])
        except QueueUnusable:  # another program wrote it
            return None

    def dead_page(
        self,
        query: JobQuery = EVERYTHING,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        after: Place | None = None,
        most: int,
        seconds: float,
    ) -> DeadPage:
        """Return dead jobs that fit a query, the one that died last first, older than `after`.

        The bounds are those of `deaths`. It stops after about this many `seconds`.
        """
        deadline = time.monotonic() + seconds
        parts, values = matching(query)
        where = " AND ".join(("hook IS NULL", *parts))
        earliest = "" if since is None else to_text(since)
        place = after or Place("~" if until is None else to_text(until), 1 << 62)
        found: list[Place] = []
        step = _FIRST_STEP
        with self._snapshot() as conn:
            while True:
                bounds = (earliest, *place, step)
                # Only within the LIMIT of the inner query are jobs compared with the query. The
                # inner columns have names of their own, for the conditions mean the jobs.
                found += map(Place._make, conn.execute(
                    f"""
                    SELECT finished_at, seq
                      FROM ({_IN_ORDER.format("finished_at AS ended, seq AS number")}) AS part
                     CROSS JOIN jobs ON jobs.seq = part.number
                     WHERE {where}
                     ORDER BY finished_at DESC, seq DESC
                     LIMIT ?
                    """,
                    (*bounds, *values, most + 1 - len(found)),
                ))  # fmt: skip
                if len(found) > most:
                    return DeadPage([one.seq for one in found[:most]], found[most - 1], True)
                last = conn.execute(
                    _IN_ORDER.format("finished_at, seq") + "OFFSET ?", (*bounds[:-1], 1, step - 1)
                ).fetchone()
                if last is None:
                    return DeadPage([one.seq for one in found], None, True)
                place = Place._make(last)
                if time.monotonic() >= deadline:
                    return DeadPage([one.seq for one in found], place, False)
                step = min(_LARGEST_STEP, 4 * step)

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
                    SELECT seq,
                           CAST(id AS TEXT),
                           CAST(label AS TEXT),
                           CAST(command AS TEXT),
                           CAST(last_error AS TEXT),
                           finished_at
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
                       CAST(coalesce(last.output_bytes, 0) AS INTEGER)
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

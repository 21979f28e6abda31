"""What people do to jobs that are there."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Sequence

from queuectl.errors import UniqueKeyHeld, WrongState
from queuectl.models import FINISHED_STATES, Job, JobState
from queuectl.storage.base import Base
from queuectl.storage.intake import key_holder
from queuectl.storage.rows import SELECT_JOB, to_job
from queuectl.times import to_text


class Control(Base):
    """Acting on single jobs."""

    def retry(
        self,
        job: Job,
        *,
        now: datetime,
        states: Sequence[JobState] = (JobState.FAILED, *FINISHED_STATES),
    ) -> None:
        """Run a job again: a failed one now, attempts kept; a finished one from the start.

        A finished job keeps its place and its history. Raises WrongState if it is in none of
        `states` (any more), UniqueKeyHeld if another job took its unique key meanwhile.
        """
        with self._transaction() as conn:
            current = _current(conn, job)
            if current.state not in states:
                raise WrongState(job.id, current.state.value, " or ".join(s.value for s in states))
            if current.unique_key is not None and current.state in FINISHED_STATES:
                holder = key_holder(conn, current.unique_key)
                if holder is not None:
                    raise UniqueKeyHeld(current.unique_key, holder[1])
            conn.execute(
                """
                UPDATE jobs
                   SET state = 'pending',
                       attempts = CASE WHEN state = 'failed' THEN attempts ELSE 0 END,
                       run_at = NULL,
                       finished_at = NULL,
                       last_error = NULL,
                       cancel_requested = 0,
                       cancel_reason = NULL,
                       updated_at = :now
                 WHERE seq = :seq
                   AND state = :state
                """,
                {"now": to_text(now), "seq": job.seq, "state": current.state.value},
            )
        self._ring()


def _current(conn: sqlite3.Connection, job: Job) -> Job:
    row = conn.execute(SELECT_JOB + "WHERE seq = ?", (job.seq,)).fetchone()
    if row is None:
        raise WrongState(job.id, "deleted", "there any more")
    return to_job(row)

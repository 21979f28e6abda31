"""Pausing and resuming single jobs."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from queuectl.core.errors import QueueError, WrongState
from queuectl.core.models import Job, JobKey
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import to_text
from queuectl.host import wakeup
from queuectl.storage.actions import current_job
from queuectl.storage.base import Base


class JobPauses(Base):
    """The methods that pause and resume jobs.

    A paused job keeps its state. `clock` is the time of `processes.clock`: by that a timeout is
    measured, and it stands still during a pause.
    """

    def pause(self, job: Job | JobKey, *, now: datetime, clock: float) -> JobState:
        """Pause a job: a waiting one is not claimed, the processes of a running one are stopped.

        Returns its state. The worker of a running job is asked to stop it, which it does at once. A
        paused job stays as it is. Raises WrongState if the job is finished, QueueError if it is
        being cancelled, JobDeleted if it was deleted.
        """
        with self._transaction() as conn:
            current = current_job(conn, job)
            if current.state in FINISHED_STATES:
                raise WrongState(job.id, current.state.value, "pause")
            if current.cancel_requested:
                raise QueueError(f"cannot pause {job.id}: it is being cancelled")
            if current.paused_at is not None:
                return current.state
            _set_paused(conn, current, to_text(now), now=now)
            conn.execute(
                """
                UPDATE executions
                   SET pause_began = :clock
                 WHERE id = (SELECT execution_id FROM jobs WHERE seq = :seq)
                """,
                {"clock": clock, "seq": job.seq},
            )
        if current.state is JobState.PROCESSING:
            self._after_commit(wakeup.wake_up, self.files, current.locked_by)
        return current.state

    def resume(self, job: Job | JobKey, *, now: datetime, clock: float) -> JobState | None:
        """End the pause of a job; return its state, None if it was not paused.

        Raises JobDeleted if it was deleted.
        """
        with self._transaction() as conn:
            current = current_job(conn, job)
            if current.paused_at is None:
                return None
            _set_paused(conn, current, None, now=now)
            conn.execute(
                """
                UPDATE executions
                   SET paused_seconds = paused_seconds + max(0, :clock - pause_began),
                       pause_began = NULL
                 WHERE id = (SELECT execution_id FROM jobs WHERE seq = :seq)
                   AND pause_began IS NOT NULL
                """,
                {"clock": clock, "seq": job.seq},
            )
        if current.state is JobState.PROCESSING:
            self._after_commit(wakeup.wake_up, self.files, current.locked_by)
        else:
            self._wake_workers()
        return current.state


def _set_paused(
    conn: sqlite3.Connection, job: Job, paused_at: str | None, *, now: datetime
) -> None:
    conn.execute(
        """
        UPDATE jobs
           SET paused_at = :paused_at,
               updated_at = :now
         WHERE seq = :seq
        """,
        {"paused_at": paused_at, "now": to_text(now), "seq": job.seq},
    )

"""Noting at a schedule how its jobs ended."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from queuectl.core.states import JobState
from queuectl.core.times import to_text


def note_end(conn: sqlite3.Connection, schedule: str, state: JobState, now: datetime) -> None:
    """Note how and when a job of a schedule ended. A cancelled one says nothing about the schedule.

    The job itself may be pruned before the schedule makes another one. A row that breaks a
    constraint, because another program wrote it, is left as it is.
    """
    if state not in (JobState.COMPLETED, JobState.DEAD):
        return
    conn.execute(
        """
        UPDATE OR IGNORE schedules
           SET last_ended = :state,
               last_success_at = CASE :state WHEN 'completed' THEN :now ELSE last_success_at END
         WHERE name = :name
           AND (:state = 'completed' OR last_ended IS NOT :state)
        """,
        {"state": state.value, "now": to_text(now), "name": schedule},
    )

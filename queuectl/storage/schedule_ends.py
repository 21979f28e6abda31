"""What a schedule remembers of the ends of its jobs."""

from __future__ import annotations

import sqlite3

from queuectl.core.states import JobState


def note_end(conn: sqlite3.Connection, schedule: str, state: JobState) -> None:
    """Note how a job of a schedule ended. A cancelled one says nothing about the schedule."""
    if state not in (JobState.COMPLETED, JobState.DEAD):
        return
    conn.execute(
        """
        UPDATE schedules
           SET last_ended = :state
         WHERE name = :name
           AND last_ended IS NOT :state
        """,
        {"state": state.value, "name": schedule},
    )

"""Schedules whose next planned time was computed while the clock was ahead."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from queuectl.core.errors import QueueError
from queuectl.core.times import to_text
from queuectl.storage.base import Base, any_bytes

_MOVED_AT_ONCE = 50


class ScheduleClock(Base):
    """The method that finds and moves such planned times."""

    def correct_schedules(self, *, changed_after: datetime, now: datetime) -> int:
        """Give a next planned time after now to schedules that were last changed in the future.

        Otherwise a clock that was wrong for a minute could stop a schedule for years. No planned
        time makes two jobs: `ticks` still knows the earlier ones. Returns how many were moved.
        """
        names = self._changed_after(changed_after)
        moved = 0
        for start in range(0, len(names), _MOVED_AT_ONCE):
            with self._transaction() as conn:
                moved += sum(_correct(conn, n, now) for n in names[start : start + _MOVED_AT_ONCE])
        if moved:
            self._wake_workers()
        return moved

    def _changed_after(self, changed_after: datetime) -> list[str]:
        """Return the schedules that somebody changed, or that made a job, after a time."""
        with self._snapshot() as conn, any_bytes(conn):
            rows = conn.execute(
                """
                SELECT name
                  FROM schedules
                 WHERE updated_at > :after
                    OR (SELECT at
                          FROM ticks
                         WHERE ticks.schedule = schedules.name
                         ORDER BY planned_at DESC
                         LIMIT 1) > :after
                 ORDER BY name
                """,
                {"after": to_text(changed_after)},
            ).fetchall()
        return [str(name) for (name,) in rows]


def _correct(conn: sqlite3.Connection, name: str, now: datetime) -> bool:
    """Move the next planned time of a schedule to the first one after now; return whether it was.

    One that is overdue, or cannot be read or planned here, stays as it is.
    """
    from queuectl.core.cron import times_of  # almost never needed
    from queuectl.core.schedules import with_next
    from queuectl.core.times import optional_text
    from queuectl.storage.schedule_rows import SELECT_SCHEDULE, to_schedule

    with any_bytes(conn):
        row = conn.execute(SELECT_SCHEDULE + "WHERE name = ?", (name,)).fetchone()
    try:
        if row is None:
            return False
        old = to_schedule(row)
        new = old._replace(anchor=min(old.anchor, now), updated_at=min(old.updated_at, now))
        times = times_of(new.expression, new.timezone, new.anchor)
        new = with_next(new, times, after=now)
    except QueueError:
        return False
    if new.next_at is None or (old.next_at is not None and old.next_at <= new.next_at):
        return False
    conn.execute(
        """
        UPDATE schedules
           SET next_at = :next_at,
               due_at = :due_at,
               anchor = :anchor,
               updated_at = :updated_at
         WHERE name = :name
        """,
        {
            "next_at": optional_text(new.next_at),
            "due_at": optional_text(new.due_at),
            "anchor": to_text(new.anchor),
            "updated_at": to_text(new.updated_at),
            "name": name,
        },
    )
    return True

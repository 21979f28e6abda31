"""Schedules as users add, change and look at them."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, Mapping, Sequence

from queuectl.core.cron import times_of
from queuectl.core.errors import QueueError, UnreadableRow
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.schedule_specs import from_text as read_job
from queuectl.core.schedules import (
    Due,
    Plan,
    Schedule,
    ScheduleExists,
    Tick,
    due_at,
    plan,
    with_next,
)
from queuectl.core.times import from_text, optional_text, optional_time, to_text
from queuectl.core.values import captured_variables
from queuectl.storage import ticks
from queuectl.storage.base import Base
from queuectl.storage.schedule_rows import (
    INSERT_SCHEDULE,
    SELECT_SCHEDULE,
    to_schedule,
    values_of,
)

_REPLACED = ("expression", "timezone", "spec", "missed", "missed_within", "overlap", "jitter",
             "anchor", "until", "updated_at", "next_at", "due_at", "source")  # fmt: skip
"""The fields that `add --replace` changes; the pause, the history and the counts are kept."""

_TICKS = """
    SELECT ticks.planned_at,
           ticks.result,
           ticks.times,
           ticks.at,
           ticks.job_seq,
           jobs.id,
           jobs.state,
           (SELECT executions.seconds
              FROM executions
             WHERE executions.job_seq = jobs.seq
             ORDER BY executions.id DESC
             LIMIT 1),
           jobs.locked_at
      FROM ticks
      LEFT JOIN jobs ON jobs.seq = ticks.job_seq
     WHERE ticks.schedule = :name
     ORDER BY ticks.planned_at DESC
     LIMIT :at_most
    """


class NoSuchSchedule(QueueError):
    """No schedule has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no such schedule: {name}")
        self.name = name


class StillUnfinished(QueueError):
    """A schedule is to make a job now, and its last one has not ended."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the last job of {name} has not ended")
        self.name = name


class Scheduled(NamedTuple):
    """All schedules that can be read, and what is wrong with the others."""

    schedules: list[Schedule]
    """Those that can be read, by name."""
    unreadable: list[str]
    """For each of the others, why it cannot be read."""


class Schedules(Base):
    """The methods that add, change, list and tick schedules.

    They are not part of `Storage`, because every command would take 2 ms longer to load them.
    """

    def captured(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """Return the variables that a new job takes over in an environment, by the key capture-env.

        InvalidInput if one of them cannot be stored.
        """
        with self._snapshot() as conn:
            return captured_variables(self._settings(conn).capture_env, environ)

    def add_schedule(self, schedule: Schedule, *, replace: bool = False) -> Schedule:
        """Store a schedule; with `replace`, also in the place of one with the same name.

        If the planned times are the same, the next one stays as it is: storing a schedule at each
        deployment must not put its jobs off. Returns the stored schedule. Raises ScheduleExists.
        """
        with self._transaction() as conn:
            stored = store(conn, schedule, replace=replace)
        self._wake_workers()
        return stored

    def schedule(self, name: str) -> Schedule:
        """Return a schedule. Raises NoSuchSchedule, or UnreadableRow."""
        with self._snapshot() as conn:
            return to_schedule(_required(conn, name))

    def schedules(self) -> Scheduled:
        """Return all schedules, ordered by name."""
        found = Scheduled([], [])
        with self._snapshot() as conn:
            for row in conn.execute(SELECT_SCHEDULE + "ORDER BY name"):
                try:
                    found.schedules.append(to_schedule(row))
                except UnreadableRow as error:
                    found.unreadable.append(str(error))
        return found

    def last_ticks(self, name: str, *, at_most: int) -> list[Tick]:
        """Return what became of the last planned times of a schedule, the latest first."""
        with self._snapshot() as conn:
            rows = conn.execute(_TICKS, {"name": name, "at_most": at_most}).fetchall()
        return list(map(_tick, rows))

    def last_ticks_of(self, names: Sequence[str], *, at_most: int) -> dict[str, list[Tick]]:
        """Return the same for each of several schedules, all read at one moment."""
        with self._snapshot() as conn:
            return {
                name: list(map(_tick, conn.execute(_TICKS, {"name": name, "at_most": at_most})))
                for name in names
            }

    def pause_schedule(self, name: str, *, by: str, reason: str | None, now: datetime) -> None:
        """Let a schedule make no more jobs. Raises NoSuchSchedule."""
        with self._transaction() as conn:
            _required(conn, name)
            conn.execute(
                """
                UPDATE schedules
                   SET paused_at = coalesce(paused_at, :now),
                       paused_by = :by,
                       pause_reason = :reason,
                       updated_at = :now
                 WHERE name = :name
                """,
                {"now": to_text(now), "by": by, "reason": reason, "name": name},
            )

    def resume_schedule(self, name: str, *, skip_missed: bool, now: datetime) -> None:
        """Lift the pause of a schedule; its times count as if no worker had been there meanwhile.

        With `skip_missed` no job makes up for them. Raises NoSuchSchedule, or another QueueError if
        the next planned time cannot be computed.
        """
        with self._transaction() as conn:
            schedule = to_schedule(_required(conn, name))
            if skip_missed:
                _skip_missed(conn, schedule, now)
            conn.execute(
                """
                UPDATE schedules
                   SET paused_at = NULL,
                       paused_by = NULL,
                       pause_reason = NULL,
                       updated_at = :now
                 WHERE name = :name
                """,
                {"now": to_text(now), "name": name},
            )
        self._wake_workers()

    def remove_schedule(self, name: str) -> None:
        """Delete a schedule and its history; its jobs stay. Raises NoSuchSchedule."""
        with self._transaction() as conn:
            if not conn.execute("DELETE FROM schedules WHERE name = ?", (name,)).rowcount:
                raise NoSuchSchedule(name)

    def run_schedule(self, name: str, *, force: bool = False, now: datetime) -> str:
        """Make a job of a schedule now, whatever its times; return the id of the job.

        Raises NoSuchSchedule, or StillUnfinished if the schedule does not allow its jobs to
        overlap, which `force` permits.
        """
        with self._transaction() as conn:
            schedule = to_schedule(_required(conn, name))
            times = times_of(schedule.expression, schedule.timezone, schedule.anchor)
            job_id = ticks.make_job(
                conn,
                self._settings(conn),
                schedule,
                read_job(schedule.spec),
                times,
                Due(now, 0),
                result="by-hand",
                overlap="allow" if force else None,
                now=now,
            )
            if not isinstance(job_id, str):
                raise StillUnfinished(name)
        self._wake_workers()
        return job_id

    def tick_schedules(self, *, now: datetime) -> ticks.Ticked:
        """Let all schedules that are due make their jobs, in small transactions."""
        jobs: list[str] = []
        problems: list[tuple[str, str]] = []
        cannot_tick: dict[str, ticks.CannotTick] = {}
        advanced, wakes, is_final = 0, False, False
        while not is_final:
            with self._transaction() as conn:
                ticked = ticks.tick(conn, self._settings(conn), cannot_tick, now=now)
            advanced, is_final = advanced + ticked.advanced, ticked.is_final
            wakes = wakes or ticked.wakes
            jobs += ticked.jobs
            problems += ticked.problems
        if wakes:
            self._wake_workers()
        return ticks.Ticked(advanced, tuple(jobs), wakes, tuple(problems), True)


def store(conn: sqlite3.Connection, schedule: Schedule, *, replace: bool) -> Schedule:
    """Store a schedule within the caller's transaction, as `add_schedule` does."""
    row = _find(conn, schedule.name)
    if row is None:
        conn.execute(INSERT_SCHEDULE, values_of(schedule))
        return schedule
    if not replace:
        raise ScheduleExists(schedule.name)
    schedule = _replacement(row, schedule)
    assignments = ", ".join(f"{name} = :{name}" for name in _REPLACED)
    conn.execute(f"UPDATE schedules SET {assignments} WHERE name = :name", values_of(schedule))
    return schedule


def _tick(row: Sequence[Any]) -> Tick:
    planned_at, result, times, at, *job, locked_at = row
    return Tick._make(
        (from_text(planned_at), result, times, from_text(at), *job, optional_time(locked_at))
    )


def _find(conn: sqlite3.Connection, name: str) -> Any:
    return conn.execute(SELECT_SCHEDULE + "WHERE name = ?", (name,)).fetchone()


def _required(conn: sqlite3.Connection, name: str) -> Sequence[Any]:
    row: Sequence[Any] | None = _find(conn, name)
    if row is None:
        raise NoSuchSchedule(name)
    return row


def _replacement(row: Sequence[Any], new: Schedule) -> Schedule:
    """Return a schedule as it replaces the one of a row."""
    try:
        old = to_schedule(row)
    except UnreadableRow:
        return new
    kept = new._replace(
        created_at=old.created_at,
        paused_at=old.paused_at,
        paused_by=old.paused_by,
        pause_reason=old.pause_reason,
        last_at=old.last_at,
        last_ended=old.last_ended,
        last_success_at=old.last_success_at,
        made=old.made,
        overlapped=old.overlapped,
        missed_count=old.missed_count,
    )
    same = ("expression", "timezone", "until")
    if old.next_at is None or any(getattr(old, name) != getattr(new, name) for name in same):
        return kept
    kept = kept._replace(anchor=old.anchor, next_at=old.next_at)
    return kept._replace(due_at=due_at(kept, old.next_at))


def _skip_missed(conn: sqlite3.Connection, schedule: Schedule, now: datetime) -> None:
    """Leave out all planned times up to now."""
    if schedule.next_at is None or schedule.next_at > now:
        return
    times = times_of(schedule.expression, schedule.timezone, schedule.anchor)
    all_missed: Plan = plan(schedule._replace(missed="skip", jitter=0.0), times, now=now)
    left_out = all_missed.left_out + len(all_missed.made)
    latest = max(
        filter(None, [all_missed.left_out_at, *(due.planned_at for due in all_missed.made)])
    )
    ticks.leave_out(
        conn,
        schedule,
        read_job(schedule.spec),
        ticks.LeftOut("paused", latest, left_out),
        now=now,
    )
    following = with_next(schedule, times, after=latest)
    conn.execute(
        "UPDATE schedules SET next_at = :next_at, due_at = :due_at WHERE name = :name",
        {
            "next_at": optional_text(following.next_at),
            "due_at": optional_text(following.due_at),
            "name": schedule.name,
        },
    )

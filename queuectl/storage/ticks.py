"""Ticks: schedules that are due make their jobs, each planned time once.

A tick is a part of the transaction in which a worker claims a job. The primary key of the table
`ticks` guarantees that a planned time makes one job at most.
"""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime, timedelta
from typing import Mapping

from queuectl.core import cron, schedule_specs
from queuectl.core.errors import QueueError, Reserved, UniqueKeyHeld, UnreadableRow
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.schedule_specs import ScheduledJob
from queuectl.core.schedules import (
    Due,
    Plan,
    Schedule,
    due_at,
    plan,
    unique_key,
    variables,
)
from queuectl.core.settings import Settings
from queuectl.core.times import optional_text, to_text
from queuectl.host.log import log as _log
from queuectl.storage.adding import Adding
from queuectl.storage.base import any_bytes
from queuectl.storage.enqueueing import hook_depth, store_one
from queuectl.storage.schedule_rows import SELECT_SCHEDULE, to_schedule

_SCHEDULES_AT_ONCE = 50
_JOBS_AT_ONCE = 200
"""How many schedules one transaction deals with, and how many jobs it may make before it stops:
some 20 ms for which others wait."""

_TRY_AGAIN = timedelta(minutes=1)
"""The time after which a schedule that could not make its job is tried again: a package may have
been installed."""

_KEPT_TICKS = 1000
_TICKS_PER_TIDYING = 50
"""The number of planned times after which older rows of a schedule are deleted: it costs little."""


class Mark(NamedTuple):
    """The values by which two states of the row of a schedule differ."""

    name: str
    """Its name."""
    due_at: str
    """When it is due."""
    updated_at: str
    """When a user changed it last."""


class CannotTick(NamedTuple):
    """Why and until when this process leaves a schedule alone."""

    mark: Mark
    """The row as it was: if it has changed, it is tried at once."""
    again_at: datetime
    """When it is tried again in any case."""
    why: str
    """The error; one that was logged already is not logged again."""

    def lasts(self, mark: Mark, now: datetime) -> bool:
        """Whether the schedule is still to be left alone."""
        # A clock that was set back must not put the next try off.
        return mark == self.mark and now < self.again_at <= now + _TRY_AGAIN


class Ticked(NamedTuple):
    """The result of one transaction on the schedules that are due."""

    advanced: int
    """How many schedules it dealt with."""
    jobs: tuple[str, ...]
    """The ids of the jobs that were made, or given another planned time."""
    wakes: bool
    """Whether workers have to be woken: there are new jobs, perhaps only those of hooks."""
    problems: tuple[tuple[str, str], ...]
    """Schedules that cannot make their jobs here, with the reason if it was not reported before."""
    is_final: bool
    """False if the rest is left to another transaction."""


def next_due(
    conn: sqlite3.Connection, cannot_tick: Mapping[str, CannotTick], *, now: datetime
) -> str | None:
    """Return when the next schedule is due, without those that this process has to leave alone."""
    with any_bytes(conn):
        rows = conn.execute(
            """
            SELECT name, due_at, updated_at
              FROM schedules
             WHERE paused_at IS NULL
               AND due_at IS NOT NULL
             ORDER BY due_at, name
             LIMIT ?
            """,
            (len(cannot_tick) + 1,),
        ).fetchall()
    for row in rows:
        mark = Mark(*map(str, row))
        known = cannot_tick.get(mark.name)
        if known is None or not known.lasts(mark, now):
            return mark.due_at
    return None


def tick(
    conn: sqlite3.Connection,
    settings: Settings,
    cannot_tick: dict[str, CannotTick],
    *,
    now: datetime,
) -> Ticked:
    """Make the jobs of the schedules that are due, within the transaction of the caller.

    A schedule that cannot be read or planned here is noted in `cannot_tick`, and its row is left as
    it is, so that another process can make its jobs. It holds up nobody.
    """
    at_most = len(cannot_tick) + _SCHEDULES_AT_ONCE
    marks = _due_marks(conn, to_text(now), at_most)
    jobs: list[str] = []
    problems: list[tuple[str, str]] = []
    advanced, wakes, newly_left_alone = 0, False, 0
    for mark in marks:
        known = cannot_tick.get(mark.name)
        if known is not None and known.lasts(mark, now):
            continue
        try:
            schedule, ready = _prepare(conn, mark.name, now)
        except QueueError as error:
            if known is None or known.why != str(error):
                problems.append((mark.name, str(error)))
            newly_left_alone += known is None
            cannot_tick[mark.name] = CannotTick(mark, now + _TRY_AGAIN, str(error))
            continue
        cannot_tick.pop(mark.name, None)
        done = _advance(conn, settings, schedule, ready, now=now)
        advanced += 1
        jobs += done.jobs
        wakes = wakes or done.fired
        if len(jobs) >= _JOBS_AT_ONCE or advanced >= _SCHEDULES_AT_ONCE:
            break
    is_final = advanced < _SCHEDULES_AT_ONCE and len(jobs) < _JOBS_AT_ONCE
    if len(marks) == at_most and newly_left_alone:
        is_final = False  # schedules that cannot tick here must not hide the ones behind them
    return Ticked(advanced, tuple(jobs), wakes or bool(jobs), tuple(problems), is_final)


def _due_marks(conn: sqlite3.Connection, at: str, at_most: int) -> list[Mark]:
    """Return the schedules that are due, without their jobs, which may be large."""
    with any_bytes(conn):
        rows = conn.execute(
            """
            SELECT name, due_at, updated_at
              FROM schedules
             WHERE paused_at IS NULL
               AND due_at IS NOT NULL
               AND due_at <= :now
             ORDER BY due_at, name
             LIMIT :at_most
            """,
            {"now": at, "at_most": at_most},
        ).fetchall()
    return [Mark(*map(str, row)) for row in rows]


def warn(ticked: Ticked) -> None:
    """Log which schedules cannot make their jobs here."""
    for name, why in ticked.problems:
        _log.warning("the schedule %s makes no jobs here: %s", name, why)


class _Ready(NamedTuple):
    """All that a tick needs of a schedule. It is prepared first, so that no tick fails halfway."""

    times: cron.Times
    plan: Plan
    job: ScheduledJob


class _Done(NamedTuple):
    """The result for one schedule."""

    jobs: list[str]
    """The ids of its jobs."""
    fired: bool
    """Whether jobs of hooks were made, which report planned times that were left out."""


class LeftOut(NamedTuple):
    """Planned times that make no job."""

    result: str
    """`missed`, `overlapped` or `paused`."""
    at: datetime
    """The latest of these planned times."""
    times: int = 1
    """The number of these planned times."""


def _prepare(conn: sqlite3.Connection, name: str, now: datetime) -> tuple[Schedule, _Ready]:
    """Read and plan a schedule that is due. Raises QueueError if that is impossible here."""
    with any_bytes(conn):  # the job is read as bytes all the same
        row = conn.execute(SELECT_SCHEDULE + "WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise UnreadableRow("its name cannot be read")
    schedule = to_schedule(row)
    times = cron.times_of(schedule.expression, schedule.timezone, schedule.anchor)
    job = schedule_specs.from_text(schedule.spec)
    return schedule, _Ready(times, plan(schedule, times, now=now), job)


def _advance(
    conn: sqlite3.Connection,
    settings: Settings,
    schedule: Schedule,
    ready: _Ready,
    *,
    now: datetime,
) -> _Done:
    """Make the jobs of a plan and go on to the next planned time."""
    following = ready.plan.next_at
    conn.execute(
        """
        UPDATE schedules
           SET next_at = :next_at,
               due_at = :due_at
         WHERE name = :name
        """,
        {
            "next_at": optional_text(following),
            "due_at": None if following is None else to_text(due_at(schedule, following)),
            "name": schedule.name,
        },
    )
    jobs: list[str] = []
    fired = False
    if ready.plan.left_out_at is not None:
        left_out = LeftOut("missed", ready.plan.left_out_at, ready.plan.left_out)
        fired = leave_out(conn, schedule, ready.job, left_out, now=now)
    for due in ready.plan.made:
        made = make_job(conn, settings, schedule, ready.job, ready.times, due, now=now)
        if isinstance(made, str):
            jobs.append(made)
        elif made is not None:
            fired = leave_out(conn, schedule, ready.job, made, now=now) or fired
    _tidy(conn, schedule, ready.plan, settings, now)
    return _Done(jobs, fired)


def make_job(
    conn: sqlite3.Connection,
    settings: Settings,
    schedule: Schedule,
    job: ScheduledJob,
    times: cron.Times,
    due: Due,
    *,
    result: str = "made",
    overlap: str | None = None,
    now: datetime,
) -> str | LeftOut | None:
    """Make the job of a planned time, and note it; return its id.

    None if the planned time was dealt with already; a LeftOut, for the caller to note, if the job
    of an earlier one has not ended. `overlap` replaces the policy of the schedule.
    """
    planned = to_text(due.planned_at)
    is_first = conn.execute(
        """
        INSERT INTO ticks (schedule, planned_at, result, at)
        VALUES (:schedule, :planned, :result, :now)
            ON CONFLICT DO NOTHING
        """,
        {"schedule": schedule.name, "planned": planned, "result": result, "now": to_text(now)},
    ).rowcount
    if not is_first:
        return None
    overlap = overlap or schedule.overlap
    spec = job.spec._replace(
        env={**job.spec.env, **variables(schedule.name, due, times)},
        unique_key=None if overlap == "allow" else unique_key(schedule.name),
        if_dup="replace" if overlap == "replace" else "error",
    )
    try:
        # A hook may make a job of a schedule, whose hook makes the next one.
        depth = hook_depth(os.environ) if result == "by-hand" else 0
        enqueued = store_one(Adding(conn, now=now), spec, settings, job.captured, hook_depth=depth)
    except (UniqueKeyHeld, Reserved):
        return LeftOut("overlapped", due.planned_at)
    conn.execute(
        "UPDATE jobs SET schedule = :schedule, scheduled_for = :planned WHERE seq = :seq",
        {"schedule": schedule.name, "planned": planned, "seq": enqueued.seq},
    )
    conn.execute(
        """
        UPDATE ticks
           SET job_seq = :seq
         WHERE schedule = :schedule
           AND planned_at = :planned
        """,
        {"seq": enqueued.seq, "schedule": schedule.name, "planned": planned},
    )
    conn.execute(
        "UPDATE schedules SET made = made + 1, last_at = :planned WHERE name = :name",
        {"planned": planned, "name": schedule.name},
    )
    return enqueued.id


def leave_out(
    conn: sqlite3.Connection,
    schedule: Schedule,
    job: ScheduledJob,
    left_out: LeftOut,
    *,
    now: datetime,
) -> bool:
    """Note that planned times make no job; return whether jobs of hooks report it."""
    result, latest, times = left_out
    conn.execute(
        """
        INSERT INTO ticks (schedule, planned_at, result, times, at)
        VALUES (:schedule, :planned, :result, :times, :now)
            ON CONFLICT (schedule, planned_at) DO UPDATE
           SET result = :result,
               times = :times
         WHERE job_seq IS NULL
        """,
        {
            "schedule": schedule.name,
            "planned": to_text(latest),
            "result": result,
            "times": times,
            "now": to_text(now),
        },
    )
    conn.execute(
        """
        UPDATE schedules
           SET overlapped = overlapped + CASE :result WHEN 'overlapped' THEN :times ELSE 0 END,
               missed_count = missed_count + CASE :result WHEN 'missed' THEN :times ELSE 0 END
         WHERE name = :name
        """,
        {"result": result, "times": times, "name": schedule.name},
    )
    if result == "paused" or conn.execute("SELECT 1 FROM hooks LIMIT 1").fetchone() is None:
        return False
    from queuectl.storage.hooks import Missed, fire_missed  # most queues have no hooks

    spec = job.spec
    missed = Missed(schedule.name, spec.queue, spec.label, times, latest, result)
    return fire_missed(conn, missed, now=now)


def _tidy(
    conn: sqlite3.Connection, schedule: Schedule, done: Plan, settings: Settings, now: datetime
) -> None:
    """Now and then delete the oldest rows of a schedule: those after 1,000, and past retention."""
    before = schedule.made + schedule.overlapped + schedule.missed_count
    after = before + len(done.made) + done.left_out
    if before // _TICKS_PER_TIDYING == after // _TICKS_PER_TIDYING:
        return
    conn.execute(
        """
        DELETE FROM ticks
         WHERE schedule = :name
           AND planned_at <= (SELECT planned_at
                                FROM ticks
                               WHERE schedule = :name
                               ORDER BY planned_at DESC
                               LIMIT 1 OFFSET :kept)
        """,
        {"name": schedule.name, "kept": _KEPT_TICKS},
    )
    if settings.retention > 0:
        # The latest is kept in any case: by it `schedule_clock` sees that the clock was wrong.
        oldest = to_text(now - timedelta(seconds=settings.retention))
        conn.execute(
            """
            DELETE FROM ticks
             WHERE schedule = :name
               AND planned_at < :oldest
               AND planned_at < (SELECT max(planned_at) FROM ticks WHERE schedule = :name)
            """,
            {"name": schedule.name, "oldest": oldest},
        )

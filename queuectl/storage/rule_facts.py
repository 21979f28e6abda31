"""The facts about hooks and schedules, for `storage/facts.py`."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Mapping, Sequence

from queuectl.core.errors import QueueError, QueueUnusable
from queuectl.core.facts import HookFacts, Run, ScheduleFacts
from queuectl.core.naming import quoted
from queuectl.core.reasons import short_reason
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import from_text

_RUNS = 20
"""How many of the newest runs of a schedule are looked at."""


def time(text: object) -> datetime | None:
    """Read a time that may be absent, or that another program may have written."""
    try:
        return from_text(text) if isinstance(text, str) else None
    except QueueUnusable:
        return None


def name_of(seq: int, job: str, id_made: int) -> str:
    """Return the name of a job in a command: its number if nobody gave it an id."""
    return f"@{seq}" if id_made else job


def hooks(
    conn: sqlite3.Connection, dead_jobs: Mapping[str, tuple[int, str]]
) -> tuple[HookFacts, ...]:
    """Return the rules, then the hooks of single jobs whose own jobs are dead, by name."""
    found = []
    rest = dict(dead_jobs)
    for name, paused_at, disabled_at, reason, failures, last_at, result in conn.execute(
        """
        SELECT name, paused_at, disabled_at, disabled_reason, failures, last_delivery_at,
               last_result
          FROM hooks
         ORDER BY name
        """
    ):
        jobs, lane = rest.pop(name, (0, None))
        found.append(
            HookFacts(
                name=str(name),
                is_paused=paused_at is not None,
                disabled_at=time(disabled_at),
                disabled_reason=reason,
                failures=failures if isinstance(failures, int) else 0,
                last_at=time(last_at),
                last_result=result,
                dead_jobs=jobs,
                lane=lane,
            )
        )
    found += [
        HookFacts(name, is_rule=False, dead_jobs=jobs, lane=lane)
        for name, (jobs, lane) in sorted(rest.items())
    ]
    return tuple(found)


def schedules(conn: sqlite3.Connection, now: datetime) -> tuple[ScheduleFacts, ...]:
    """Return the schedules, ordered by name."""
    rows = conn.execute(
        """
        SELECT name, expression, timezone, anchor, paused_at, due_at, last_ended,
               (SELECT CASE result WHEN 'overlapped' THEN planned_at END
                  FROM ticks
                 WHERE ticks.schedule = schedules.name
                   AND result <> 'by-hand'
                 ORDER BY planned_at DESC
                 LIMIT 1)
          FROM schedules
         ORDER BY name
        """
    ).fetchall()
    return tuple(_schedule(conn, row, now) for row in rows)


def _schedule(conn: sqlite3.Connection, row: Sequence[str | None], now: datetime) -> ScheduleFacts:
    name, expression, zone, anchor, paused_at, due_at, last_ended, left_out = row
    due = time(due_at)
    problem = remedy = None
    if paused_at is None:
        from queuectl.core.schedules import GRACE  # only where there are schedules

        is_late = due is not None and now - due > GRACE
        problem, remedy = _problem(str(expression), zone, time(anchor) or now, is_late=is_late)
    # Most schedules have neither left out a time nor failed: then their jobs are not asked for.
    runs = []
    if left_out is not None or last_ended == JobState.DEAD.value:
        runs = _runs(conn, str(name))
    return ScheduleFacts(
        name=str(name),
        is_paused=paused_at is not None,
        due_at=due,
        problem=problem,
        remedy=remedy or (f"queuectl schedule show {quoted(str(name))}" if problem else None),
        left_out=time(left_out),
        unfinished=next((run for run in runs if run.state not in FINISHED_STATES), None),
        last_ended=next(
            (run for run in runs if run.state in (JobState.COMPLETED, JobState.DEAD)), None
        ),
    )


def problems(conn: sqlite3.Connection) -> tuple[int, list[tuple[str, str]]]:
    """Return how many schedules there are, and which make no jobs here, with the reason."""
    from queuectl.core.schedule_specs import from_text as read_job  # these two only for doctor
    from queuectl.storage.schedule_rows import SELECT_SCHEDULE, to_schedule

    rows = conn.execute(SELECT_SCHEDULE + "ORDER BY name").fetchall()
    found = []
    for row in rows:
        name, problem = str(row[0]), None
        try:
            schedule = to_schedule(row)
            read_job(schedule.spec)
            missing = _obstacle(schedule.expression, schedule.timezone, schedule.anchor)
            problem = None if missing is None else str(missing)
        except QueueError as error:
            problem = str(error)
            if problem.startswith(f"schedule {name}: "):
                problem = problem[len(f"schedule {name}: ") :]
        if problem is not None:
            found.append((name, problem))
    return len(rows), found


def _problem(
    expression: str, zone: str | None, anchor: datetime, *, is_late: bool
) -> tuple[str | None, str | None]:
    """Return why planned times cannot be computed here, and the command that changes that.

    To import cronsim and the zones takes 30 ms, so that is done only for schedules that are late.
    For the others it is enough that cronsim can be found.
    """
    from importlib.util import find_spec  # these two only where there are schedules

    from queuectl.core.extras import MissingPackage

    if not is_late and find_spec("cronsim") is not None:
        return None, None
    obstacle = _obstacle(expression, zone, anchor)
    if obstacle is None:
        return None, None
    text = str(obstacle).partition(" (")[0]
    if isinstance(obstacle, MissingPackage):
        where = "install it in a checkout of queuectl"
        return f"{text}; {where}", f"pip install '.[{obstacle.extra}]'"
    return text, None


def _obstacle(expression: str, zone: str | None, anchor: datetime) -> QueueError | None:
    """Return the error that keeps planned times from being computed here; None if there is none."""
    from queuectl.core.cron import needs_cronsim, times_of  # only where there are schedules

    try:
        if needs_cronsim(expression):
            times_of(expression, zone, anchor)
    except QueueError as error:
        return error
    return None


def _runs(conn: sqlite3.Connection, schedule: str) -> list[Run]:
    """Return the last jobs that a schedule made, newest first."""
    rows = conn.execute(
        """
        SELECT seq, id, id_made, state, finished_at, last_error
          FROM jobs INDEXED BY jobs_schedule
         WHERE schedule = :schedule
         ORDER BY seq DESC
         LIMIT :most
        """,
        {"schedule": schedule, "most": _RUNS},
    )
    return [
        Run(
            name_of(seq, job, id_made),
            JobState(state),
            time(finished_at),
            short_reason(error) if error else None,
        )
        for seq, job, id_made, state, finished_at, error in rows
    ]


def seconds_of_runs(conn: sqlite3.Connection, schedule: str | None) -> list[float]:
    """Return how long the last attempt of each of the last completed jobs of a schedule took."""
    rows = conn.execute(
        """
        SELECT (SELECT seconds
                  FROM executions
                 WHERE job_seq = runs.seq
                 ORDER BY id DESC
                 LIMIT 1)
          FROM (SELECT seq
                  FROM jobs INDEXED BY jobs_schedule
                 WHERE schedule = :schedule
                   AND state = 'completed'
                 ORDER BY seq DESC
                 LIMIT :most) AS runs
        """,
        {"schedule": schedule, "most": _RUNS},
    )
    return [seconds for (seconds,) in rows if isinstance(seconds, (int, float))]

"""Schedules, with their next and their last planned times, as tables and as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Sequence

from queuectl.cli.colors import bad, strong
from queuectl.cli.json_shapes import masked
from queuectl.cli.output import on_terminal
from queuectl.cli.shown_times import own_retries, relative_time
from queuectl.cli.tables import Cell, Column, Styled, state_cell
from queuectl.core import cron, moments
from queuectl.core.counts import counted
from queuectl.core.schedule_words import explained, job_of, late_by
from queuectl.core.schedules import Schedule, Tick, due_at, local_text
from queuectl.core.sizes import size
from queuectl.core.states import JobState
from queuectl.core.times import format_duration, optional_text, to_text

COLUMNS = (
    Column("NAME", least=10),
    Column("WHEN", least=14),
    Column("NEXT", least=8),
    Column("LAST", least=8),
    Column("RESULT", least=12),
)
TICK_COLUMNS = (
    Column("PLANNED"),
    Column("RESULT", least=10),
    Column("JOB"),
    Column("STATE"),
    Column("TOOK", right=True),
)


def row(schedule: Schedule, last: Tick | None, *, now: datetime) -> list[Cell]:
    """Return what the table shows of a schedule and the last of its planned times."""
    return [
        schedule.name,
        explained(schedule),
        _next(schedule, now),
        relative_time(None if last is None else last.planned_at, now=now),
        "-" if last is None else _result(last, now=now),
    ]


def _next(schedule: Schedule, now: datetime) -> Cell:
    if schedule.paused_at is not None:
        return Styled("paused", strong)
    if schedule.next_at is None or schedule.due_at is None:
        return "ended"
    late = late_by(schedule, now=now)
    if late:
        return Styled(f"late by {moments.span(late)}", bad)
    if not on_terminal():
        return moments.local(schedule.due_at)
    return moments.upcoming(schedule.due_at, now=now, short=True)


def _result(tick: Tick, *, now: datetime) -> Cell:
    if tick.result in ("made", "by-hand"):
        if tick.state is None:
            return "made a job that was deleted" if tick.job is None else "made"
        return _job_state(JobState(tick.state), tick, now)
    if tick.result == "paused":
        return "left out while paused"
    times = f" ({tick.times} times)" if tick.times > 1 else ""
    return Styled(f"{tick.result}{times}", strong)


def _job_state(state: JobState, tick: Tick, now: datetime) -> Cell:
    if state is JobState.PROCESSING and tick.started_at is not None:
        return f"{state.value} {moments.lasting(tick.started_at, now=now)}"
    if state is JobState.COMPLETED and tick.seconds is not None:
        return f"{state.value} in {moments.span(tick.seconds)}"
    return Styled(state.value, bad) if state is JobState.DEAD else state.value


def tick_row(tick: Tick) -> list[Cell]:
    """Return what the table of the last planned times shows of one."""
    times = f", {tick.times} times" if tick.times > 1 else ""
    return [
        moments.local(tick.planned_at),
        f"{tick.result}{times}",
        _job_name(tick),
        "-" if tick.state is None else state_cell(JobState(tick.state)),
        "-" if tick.seconds is None else moments.span(tick.seconds),
    ]


def _job_name(tick: Tick) -> str:
    """Return the short number of the job on a terminal, its id elsewhere."""
    if tick.job is None:
        return "-"
    return f"@{tick.job_seq}" if on_terminal() else tick.job


def fields(schedule: Schedule, *, now: datetime) -> Sequence[tuple[str, object]]:
    """Return what `schedule show` prints of a schedule, as names and values."""
    spec = job_of(schedule).spec
    paused = None
    if schedule.paused_at is not None:
        reason = f": {schedule.pause_reason}" if schedule.pause_reason else ""
        paused = f"by {schedule.paused_by}, {moments.local(schedule.paused_at)}{reason}"
    within = schedule.missed_within
    return [
        ("Name", schedule.name),
        ("When", explained(schedule)),
        ("Expression", schedule.expression),
        ("Time zone", schedule.timezone or "that of the machine"),
        ("Until", schedule.until and moments.local(schedule.until)),
        ("Jitter", format_duration(schedule.jitter) if schedule.jitter else None),
        ("Missed", schedule.missed + (f", within {format_duration(within)}" if within else "")),
        ("Overlap", schedule.overlap),
        ("Paused", paused),
        ("Command", spec.command),
        ("Label", spec.label),
        ("Queue", spec.queue),
        ("Priority", spec.priority or None),
        ("Attempts", None if spec.max_retries is None else f"at most {spec.max_retries}"),
        ("Retries", own_retries(spec.retry_delay, spec.backoff)),
        ("Timeout", None if spec.timeout is None else _timeout(spec.timeout)),
        ("Folder", spec.cwd),
        ("Shell", spec.shell),
        ("Input", None if spec.input is None else size(len(spec.input))),
        ("On success", spec.on_success),
        ("On failure", spec.on_failure),
        ("On finish", spec.on_finish),
        ("Made", counted(schedule.made, "job")),
        ("Left out", _left_out(schedule)),
        ("Added", moments.local_with_distance(schedule.created_at, now=now)),
    ]


def _timeout(seconds: float) -> str:
    return f"{format_duration(seconds)} per attempt" if seconds else "none"


def _left_out(schedule: Schedule) -> str | None:
    parts = []
    if schedule.missed_count:
        parts.append(f"{schedule.missed_count} missed")
    if schedule.overlapped:
        parts.append(f"{schedule.overlapped} overlapped")
    return ", ".join(parts) or None


def planned_json(schedule: Schedule, times: cron.Times, planned: datetime) -> dict[str, str]:
    """Return one of the next planned times as JSON shows it."""
    return {
        "planned_at": to_text(planned),
        "local": local_text(planned, times),
        "due_at": to_text(due_at(schedule, planned)),
    }


def tick_json(tick: Tick) -> dict[str, Any]:
    """Return what became of a planned time as JSON shows it."""
    return {
        "planned_at": to_text(tick.planned_at),
        "result": tick.result,
        "times": tick.times,
        "at": to_text(tick.at),
        "job": tick.job,
        "state": tick.state,
        "seconds": tick.seconds,
    }


def schedule_json(schedule: Schedule, last: Tick | None, *, show_env: bool) -> dict[str, Any]:
    """Return a schedule as JSON shows it; the values of its variables are masked."""
    spec = job_of(schedule).spec
    return {
        "name": schedule.name,
        "expression": schedule.expression,
        "explained": explained(schedule),
        "timezone": schedule.timezone,
        "command": spec.command,
        "queue": spec.queue,
        "label": spec.label,
        "priority": spec.priority,
        "max_retries": spec.max_retries,
        "retry_delay": spec.retry_delay,
        "backoff": spec.backoff,
        "timeout": spec.timeout,
        "cwd": spec.cwd,
        "env": masked(spec.env, show_env=show_env),
        "shell": spec.shell,
        "input_bytes": None if spec.input is None else len(spec.input),
        "on_success": spec.on_success,
        "on_failure": spec.on_failure,
        "on_finish": spec.on_finish,
        "missed": schedule.missed,
        "missed_within": schedule.missed_within,
        "overlap": schedule.overlap,
        "jitter": schedule.jitter,
        "until": optional_text(schedule.until),
        "paused": schedule.paused_at is not None,
        "paused_at": optional_text(schedule.paused_at),
        "paused_by": schedule.paused_by,
        "pause_reason": schedule.pause_reason,
        "next_at": optional_text(schedule.next_at),
        "due_at": optional_text(schedule.due_at),
        "last_at": optional_text(schedule.last_at),
        "last_result": None if last is None else last.result,
        "last_job": None if last is None else last.job,
        "made": schedule.made,
        "overlapped": schedule.overlapped,
        "missed_count": schedule.missed_count,
        "source": schedule.source,
        "created_at": to_text(schedule.created_at),
    }

"""Schedules in words for people: when they make jobs, and which ones."""

from __future__ import annotations

from datetime import datetime

from queuectl.core import cron, moments
from queuectl.core.errors import QueueError
from queuectl.core.schedule_specs import ScheduledJob, from_text
from queuectl.core.schedules import GRACE, Schedule
from queuectl.core.specs import JobSpec


def times_of(schedule: Schedule) -> cron.Times:
    """Return the planned times of a schedule. Raises QueueError if they cannot be computed here."""
    return cron.times_of(schedule.expression, schedule.timezone, schedule.anchor)


def explained(schedule: Schedule) -> str:
    """Return when a schedule makes jobs, in words: `at 02:00 every day, Europe/Berlin`.

    If its expression cannot be explained, the expression itself is returned.
    """
    try:
        text = times_of(schedule).explain()
    except QueueError:
        text = schedule.expression
    is_by_the_clock = cron.needs_cronsim(schedule.expression)
    return f"{text}, {schedule.timezone}" if schedule.timezone and is_by_the_clock else text


def job_of(schedule: Schedule) -> ScheduledJob:
    """Return the job that a schedule makes; one without a command if it cannot be read."""
    try:
        return from_text(schedule.spec)
    except QueueError:
        return ScheduledJob(JobSpec(command=""))


def late_by(schedule: Schedule, *, now: datetime) -> int:
    """Return for how many seconds the next job has been due; 0 if that is not longer than GRACE."""
    if schedule.paused_at is not None or schedule.due_at is None:
        return 0
    late = int((now - schedule.due_at).total_seconds())
    return late if late > GRACE.total_seconds() else 0


def planned_line(planned: datetime, due: datetime, zone_name: str | None, times: cron.Times,
                 *, now: datetime) -> str:  # fmt: skip
    """Return a planned time for people: `Sun 2026-11-29 02:00 Europe/Berlin (in 14 h)`.

    With jitter, it also says when the job is due. In an hour that the clock shows twice, the
    abbreviation of the zone tells which one it is: `02:30 CEST Europe/Berlin`.
    """
    shown = planned.astimezone(times.zone)
    form = "%a %Y-%m-%d %H:%M" if shown.second == 0 else "%a %Y-%m-%d %H:%M:%S"
    zone = f"{_which(shown)} {zone_name}" if zone_name else f" {shown:%Z}"
    later = ""
    if due != planned:
        due_shown = due.astimezone(times.zone)
        later = f", due {due_shown:%H:%M:%S}{_which(due_shown)}"
    return f"{shown:{form}}{zone}{later} ({distance(due, now=now)})"


def _which(shown: datetime) -> str:
    """Return the abbreviation of the zone, after a blank, if the clock shows this time twice."""
    is_doubled = shown.replace(fold=0).utcoffset() != shown.replace(fold=1).utcoffset()
    return f" {shown:%Z}" if is_doubled else ""


def distance(instant: datetime, *, now: datetime) -> str:
    """Return how far an instant is ahead, in two units: `in 14 h 36 min`."""
    seconds = int((instant - now).total_seconds())
    return f"in {moments.span(seconds)}" if seconds > 0 else "now"

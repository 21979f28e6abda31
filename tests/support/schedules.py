"""Schedules that tests add, and the jobs that they make."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import Any, Iterator

from queuectl.core.cron import times_of
from queuectl.core.schedule_specs import ScheduledJob, to_text
from queuectl.core.schedules import Schedule, due_at, first_planned
from queuectl.core.specs import JobSpec
from queuectl.host.files import QueueFiles
from queuectl.storage.schedules import Schedules


@contextmanager
def opened(files: QueueFiles) -> Iterator[Schedules]:
    """The storage of schedules; it is closed in the end."""
    storage = Schedules.open(files, create=True)
    try:
        yield storage
    finally:
        storage.close()


def new_schedule(
    name: str, expression: str = "every 10m", *, now: datetime, job: Any = None, **fields: Any
) -> Schedule:
    """A schedule as `schedule add` makes it; `job` are fields of its job."""
    zone = fields.pop("timezone", "UTC")
    captured = fields.pop("captured", {})
    spec = JobSpec(**{"command": "true", **(job or {})})
    values: dict[str, Any] = {
        **dict.fromkeys(Schedule._fields),
        "name": name,
        "expression": expression,
        "timezone": zone,
        "spec": to_text(ScheduledJob(spec, captured)),
        "missed": "once",
        "overlap": "skip",
        "jitter": 0.0,
        "anchor": now,
        "created_at": now,
        "updated_at": now,
        **dict.fromkeys(("made", "overlapped", "missed_count"), 0),
        **fields,
    }
    schedule = Schedule(**values)
    times = times_of(expression, zone, schedule.anchor)
    first = first_planned(schedule, times, after=now)
    assert first is not None
    schedule = schedule._replace(next_at=first)
    return schedule._replace(due_at=due_at(schedule, first))


def add_schedule(
    files: QueueFiles, name: str, expression: str = "every 10m", *, now: datetime, **fields: Any
) -> Schedule:
    """Store a schedule; return it."""
    schedule = new_schedule(name, expression, now=now, **fields)
    with opened(files) as storage:
        return storage.add_schedule(schedule)

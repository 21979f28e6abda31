"""Schedules that tests add, and the jobs that they make."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import Any, Iterator

from queuectl.core.cron import times_of
from queuectl.core.schedule_specs import ScheduledJob, to_text
from queuectl.core.schedules import Schedule, with_next
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
    text = to_text(ScheduledJob(spec, captured))
    fields = {"anchor": now, "created_at": now, "updated_at": now, **fields}
    schedule = Schedule(name, expression, zone, text, **fields)
    return with_next(schedule, times_of(expression, zone, schedule.anchor), after=now)


def add_schedule(
    files: QueueFiles, name: str, expression: str = "every 10m", *, now: datetime, **fields: Any
) -> Schedule:
    """Store a schedule; return it."""
    schedule = new_schedule(name, expression, now=now, **fields)
    with opened(files) as storage:
        return storage.add_schedule(schedule)

"""Schedules that tests add, and the jobs that they make."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Iterator

from queuectl.core.cron import times_of
from queuectl.core.schedule_specs import ScheduledJob, to_text
from queuectl.core.schedules import Schedule, with_next
from queuectl.core.specs import JobSpec
from queuectl.core.times import parse_duration
from queuectl.host.files import QueueFiles
from queuectl.storage.schedules import Schedules
from support.queue import Queue
from support.rows import sql


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


def assert_each_time_is_accounted_for(queue: Queue) -> int:
    """Check that each planned time up to the last made one job, or is recorded as left out.

    The schedules are `every D`. Returns how many planned times there were.
    """
    jobs = sql(
        queue,
        """
        SELECT schedule, scheduled_for, count(*)
          FROM jobs
         WHERE schedule IS NOT NULL
         GROUP BY 1, 2
         ORDER BY 1, 2
        """,
    )
    made = sql(queue, "SELECT schedule, planned_at FROM ticks WHERE result = 'made' ORDER BY 1, 2")
    assert {count for *_, count in jobs} == {1}
    assert [row[:2] for row in jobs] == made
    times = 0
    with opened(queue.files) as storage:
        for schedule in storage.schedules().schedules:
            step = timedelta(seconds=parse_duration(schedule.expression[len("every ") :]))
            assert schedule.next_at is not None
            planned = (schedule.next_at - schedule.anchor) // step - 1
            left_out = schedule.overlapped + schedule.missed_count
            assert (schedule.name, planned) == (schedule.name, schedule.made + left_out)
            times += planned
    return times

"""Pools make the jobs of schedules: on time, once each, whatever their environment is."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from queuectl.core.times import utcnow
from support.queue import Queue
from support.rows import sql
from support.schedules import add_schedule, assert_each_time_is_accounted_for
from support.waiting import wait_until

SECOND = timedelta(seconds=1)


def _schedule(queue: Queue, name: str, expression: str = "every 1s", **fields: Any) -> None:
    job = {"command": "true", "cwd": str(queue.work), **fields.pop("job", {})}
    now = fields.pop("now", utcnow())
    add_schedule(queue.files, name, expression, now=now, job=job, **fields)


def _made(queue: Queue) -> int:
    return int(sql(queue, "SELECT count(*) FROM ticks WHERE result = 'made'")[0][0])


def test_idle_workers_make_each_planned_time_when_it_is_due(queue: Queue) -> None:
    """A schedule that is added beside them wakes them. Nobody asks them to."""
    queue.start(workers=2)
    _schedule(queue, "s", overlap="allow", missed="all")

    wait_until(lambda: len(queue.jobs()) >= 3, what="three jobs")

    jobs = queue.jobs()[:3]
    planned = [job.scheduled_for for job in jobs]
    assert planned == [planned[0] + n * SECOND for n in range(3)]

    def late() -> list[timedelta]:
        return [job.created_at - job.scheduled_for for job in queue.jobs()]

    # On a busy machine some of them are late.
    wait_until(lambda: min(late()) < SECOND, what="a job that is made in time")
    assert min(late()) >= timedelta(0)


def test_a_drain_makes_what_is_due_and_does_not_wait_for_more(queue: Queue) -> None:
    """So the line of a crontab that drains is all that schedules need."""
    _schedule(queue, "s", "every 1h", now=utcnow() - timedelta(minutes=61))
    _schedule(queue, "later", "every 1h")

    queue.drain()

    assert [(job.schedule, job.state.value) for job in queue.jobs()] == [("s", "completed")]


def test_workers_with_different_zones_plan_the_same_times(queue: Queue) -> None:
    """A schedule without a zone has that of the machine, whatever TZ is for a worker."""
    pytest.importorskip("cronsim")
    for variable in ("Asia/Tokyo", "America/New_York"):
        queue.start(env={"TZ": variable})
    command = 'echo "$QUEUECTL_SCHEDULED_FOR $QUEUECTL_SCHEDULED_LOCAL" >> times'
    # Its last time was up to an hour ago, so it is due at once.
    _schedule(queue, "s", "0 * * * *", now=utcnow() - timedelta(hours=1), timezone=None,
              job={"command": command})  # fmt: skip

    utc, local = queue.text("times").split()

    assert utc[14:16] == local[14:16] == "00"
    (job,) = queue.jobs()
    following = sql(queue, "SELECT next_at FROM schedules")[0][0]
    assert following[14:16] == "00"
    assert job.env["QUEUECTL_SCHEDULED_FOR"] == utc


def test_killed_workers_make_no_time_twice(queue: Queue) -> None:
    """Each planned time between the first and the last is made, or recorded as left out."""
    pool = queue.start(workers=3)
    for name in ("s", "t"):
        _schedule(queue, name, overlap="allow", missed="all")
    for _ in range(8):
        made = _made(queue)
        wait_until(lambda made=made: _made(queue) > made, what="another tick")
        for worker in queue.workers():
            with suppress(ProcessLookupError):
                os.kill(worker["pid"], signal.SIGKILL)
    wait_until(lambda: _made(queue) > 20, what="further ticks")
    pool.terminate()
    pool.wait(30)

    assert assert_each_time_is_accounted_for(queue) > 20


def test_a_schedule_that_cannot_be_made_holds_up_no_worker(queue: Queue) -> None:
    """It is warned of once, although the worker looks again and again."""
    _schedule(queue, "s", now=utcnow() - timedelta(hours=1))
    sql(queue, "UPDATE schedules SET expression = 'x'")
    job = queue.add("true")

    log = queue.drain(workers=2)

    assert queue.state(job) == "completed"
    assert 1 <= log.count("the schedule s makes no jobs here: not a cron expression: 'x'") <= 2

"""SIGKILL at every system call of a process that makes the jobs of schedules."""

from __future__ import annotations

from datetime import timedelta

import pytest

from queuectl.core.times import utcnow
from support.history import assert_sound, keeping_a_ledger
from support.queue import Queue
from support.rows import sql
from support.schedules import add_schedule
from support.tracing import (
    kill_once,
    needs_strace,
    points,
    recording,
    sample,
    strace,
    without_queue,
)

pytestmark = [pytest.mark.on_disk, needs_strace, pytest.mark.timeout(3600)]

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("command", ["schedule tick", "worker start --drain --count 1"])
def test_a_tick_killed_anywhere_makes_each_time_once(queue: Queue, command: str) -> None:
    """Killed before the commit nothing is made, and after it everything: no time is lost or twice.

    Hooks that report what was left out come with it.
    """
    prefix = queue.folder / "trace"
    _start_afresh(queue)
    done = strace(queue, recording(prefix), *command.split())
    assert done.code == 0, done.err
    every = points(prefix, queue)
    assert len(every) > 20
    for point in sample(every, 10):
        _start_afresh(queue)
        kill_once(queue, point, *command.split())
        queue.drain(workers=1)

        assert sql(queue, _ENDS) == [("all", 3, 3), ("once", 1, 1)], point
        assert sql(queue, _TICKS) == [
            ("all", "made", 3),
            ("once", "made", 1),
            ("once", "missed", 2),
        ]
        assert sql(queue, "SELECT count(*) FROM jobs WHERE hook = 'h'") == [(1,)], point
        assert_sound(queue)
        queue.close_storage()


_ENDS = """
    SELECT schedule, count(*), count(DISTINCT scheduled_for)
      FROM jobs
     WHERE schedule IS NOT NULL
       AND state = 'completed'
     GROUP BY schedule
    """
_TICKS = """
    SELECT schedule, result, sum(times)
      FROM ticks
     GROUP BY schedule, result
     ORDER BY schedule, result
    """


def _start_afresh(queue: Queue) -> None:
    """Make a queue with two schedules, each of which has missed three planned times."""
    without_queue(queue)
    (queue.work / "ledger").unlink(missing_ok=True)
    queue.close_storage()
    now = utcnow() - 3 * HOUR - timedelta(minutes=30)
    job = {"command": keeping_a_ledger("true"), "cwd": str(queue.work)}
    add_schedule(queue.files, "once", "every 1h", now=now, job=job)
    add_schedule(queue.files, "all", "every 1h", now=now, job=job, missed="all", overlap="allow")
    sql(
        queue,
        "INSERT INTO hooks (name, events, command, created_at) VALUES ('h', 'missed', 'true', ?)",
        "2026-01-31T12:00:00.000000Z",
    )

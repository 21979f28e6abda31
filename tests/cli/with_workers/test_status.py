"""`status` shows workers."""

from __future__ import annotations

import re

from support.queue import Queue
from support.states import every_state
from support.waiting import wait_until

_ALL = """\
Job Queue Status
==================================================

Jobs by State:
  Pending:          1
  Processing:       1
  Completed:        1
  Failed:           1
  Dead (DLQ):       1
  Scheduled:        1
  Blocked:          1
  Cancelled:        1
--------------------------------------------------
  Total:            8

Completion Rate:
  12.5% (1/8)

Permanent Failures:
  12.5% (1/8)

Active/Pending Work: 2 job(s)
==================================================

Workers: none (start some: queuectl worker start)
Dead jobs: queuectl dlq list
"""


def test_rows_of_states_that_may_be_left_out(queue: Queue) -> None:
    """`scheduled`, `blocked` and `cancelled` have a row only if there are such jobs."""
    every_state(queue)

    assert queue.run("status") == (0, f"{_ALL}Database: {queue.database}\n", "")


def test_each_worker_has_a_line(queue: Queue) -> None:
    """Each living worker has a line with the job that it runs."""
    job = queue.enqueue("sleep 60")
    queue.start("--queue", "default", "--queue", "other")
    queue.until(job, "processing")

    tail = queue.ok("status").rpartition("=\n\n")[2]

    assert re.fullmatch(
        r"Workers: 1\n"
        rf"  [0-9a-f]{{8}}-1 \(pid \d+, default, other\): runs {job}, started [-0-9]+ [:0-9]+\n"
        rf"Database: {re.escape(str(queue.database))}",
        tail,
    ), tail


def test_json_of_workers(queue: Queue) -> None:
    """A worker is the same object here as in `worker list --json`."""
    job = queue.enqueue("sleep 60")
    queue.start()
    wait_until(lambda: queue.workers()[0]["job_pid"], what="the process of the job")

    [worker] = queue.json("status")["workers"]

    assert [worker] == queue.json("worker", "list")
    assert {"id", "pid", "host", "started_at", "queues", "job", "job_pid"} <= set(worker)
    assert (worker["job"], worker["queues"]) == (job, [])
    assert worker["id"] == queue.show(job)["locked_by"]

"""The process of a running job is shown: for strace, py-spy, renice and `kill -USR1`."""

from __future__ import annotations

import os
import re
import signal

from support.held import HELD
from support.processes import linux_only
from support.queue import Queue
from support.waiting import wait_until


def _shown(queue: Queue, job: str) -> int | None:
    attempt: int | None = queue.show(job)["executions"][-1]["pid"]
    return attempt


def test_the_process_of_a_running_job_is_shown(queue: Queue) -> None:
    """Regression: it was shown only after the end. `worker list` and `status` tell it, too."""
    job = queue.add(HELD)
    queue.start()
    pid = queue.pid("running")

    # A worker notes the start of a process, by which it is recognised, after 20 ms.
    wait_until(lambda: _shown(queue, job) == pid)
    assert [worker["job_pid"] for worker in queue.json("worker", "list")] == [pid]
    assert [worker["job_pid"] for worker in queue.json("status")["workers"]] == [pid]
    assert re.search(rf"\nProcess: +{pid}( \([0-9]+ processes\))?\n", queue.ok("show", job))

    queue.let_go()
    queue.until(job, "completed")
    assert _shown(queue, job) == pid
    assert [worker["job_pid"] for worker in queue.json("worker", "list")] == [None]
    assert "Process:" not in queue.ok("show", job)


@linux_only
def test_the_process_of_a_job_whose_worker_died(queue: Queue) -> None:
    """It runs on, and another worker adopts it: the number is the same all the time."""
    job = queue.add(HELD)
    supervisor = queue.start()
    pid = queue.pid("running")
    wait_until(lambda: _shown(queue, job) == pid)
    worker = queue.worker()
    supervisor.kill()
    os.kill(worker["pid"], signal.SIGKILL)
    supervisor.wait()

    assert _shown(queue, job) == pid
    queue.start()
    wait_until(lambda: queue.show(job)["locked_by"] != worker["id"])
    wait_until(lambda: _shown(queue, job) == pid)
    wait_until(lambda: pid in [each["job_pid"] for each in queue.json("worker", "list")])
    queue.let_go()
    queue.until(job, "completed")

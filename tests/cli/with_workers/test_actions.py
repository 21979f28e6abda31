"""Cancelling running jobs."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from support.held import UNTIL_GO
from support.processes import alive
from support.queue import Queue
from support.waiting import wait_until

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux_only
@pytest.mark.parametrize(
    "command",
    [
        "trap '' TERM; (trap '' TERM; echo $$ > pid; sleep 60 & sleep 61) & wait; sleep 62",
        "setsid sh -c 'echo $$ > pid; sleep 60 & exec sleep 61' & sleep 62",
        "setsid sh -c 'trap \"\" TERM; setsid sleep 60 & echo $$ > pid; sleep 61' <&- >&- 2>&- & "
        "sleep 62",
    ],
)
def test_cancel_kills_all_processes_of_a_running_job(queue: Queue, command: str) -> None:
    """Also processes that ignore TERM, left the session, or closed their descriptors."""
    queue.configure(kill_grace="0.3")
    queue.enqueue(command, "--id", "a", "--max-retries", "5")
    pool = queue.start()
    queue.text("pid")
    workers = {pool.pid, *(worker["pid"] for worker in queue.workers())}
    assert queue.ok("cancel", "--reason", "enough", "a") == "a is being cancelled"
    job = queue.until("a", "cancelled")

    assert (job.attempts, job.cancel_reason) == (1, "enough")
    assert queue.outcomes("a") == ["cancelled"]
    left = [pid for pid in queue.pids() if pid not in workers and alive(pid)]
    assert left == []


@linux_only
@pytest.mark.parametrize(("code", "state"), [(0, "completed"), (1, "cancelled")])
def test_an_exit_before_the_worker_saw_the_cancel_counts(
    queue: Queue, code: int, state: str
) -> None:
    """A job that completed is completed; a job that failed is not retried."""
    queue.enqueue(f"echo $$ > pid; {UNTIL_GO}; exit {code}", "--id", "a")
    queue.start()
    pid = queue.pid("pid")
    worker = queue.workers()[0]["pid"]
    os.kill(worker, signal.SIGSTOP)
    queue.let_go()
    wait_until(lambda: not alive(pid), what="the job to exit")
    said = queue.ok("cancel", "a")
    os.kill(worker, signal.SIGCONT)
    job = queue.until("a", "cancelled", "completed", "failed")

    assert said == "a is being cancelled"
    assert (job.state.value, job.exit_code, job.attempts) == (state, code, 1)


def test_an_exit_after_the_worker_saw_the_cancel_does_not_count(queue: Queue) -> None:
    """A job that answers TERM with exit 0 is still cancelled."""
    queue.enqueue("trap 'exit 0' TERM; echo up > up; while :; do sleep 0.02; done", "--id", "a")
    queue.start()
    queue.text("up")
    queue.ok("cancel", "a")

    assert queue.until("a", "cancelled", "completed", "failed").state.value == "cancelled"


def test_a_job_of_a_dead_worker_is_cancelled_by_the_next_worker(queue: Queue) -> None:
    """The worker that recovers the job cancels it, and does not run it again."""
    queue.enqueue("echo run >> runs; sleep 60", "--id", "a")
    pool = queue.start()
    queue.text("runs")
    worker = next(w["pid"] for w in queue.workers())
    pool.kill()
    pool.wait()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not alive(worker), what="the worker to be gone")
    assert queue.ok("cancel", "a") == "a is being cancelled"
    queue.start()

    assert queue.until("a", "cancelled").attempts == 1
    assert queue.text("runs") == "run"

"""A job that waits for another job: it keeps a worker busy that the other one may need."""

from __future__ import annotations

import time

import pytest

from support.held import UNTIL_GO
from support.job_clock import JobClock
from support.queue import Queue
from support.waiting import wait_until

_BUSY = "job outer waits for another job, but {}"
_WORKERS = _BUSY.format("all workers for default are busy (raise queuectl worker start --count)")
_LIMIT = _BUSY.format("the limit of default, 1/1, is used up (raise queuectl queue limit default)")


@pytest.mark.parametrize(
    "command",
    [
        "queuectl enqueue --wait --id inner true",
        "queuectl enqueue -q --wait --id inner true",
        "queuectl enqueue --id inner true; queuectl wait inner",
        "queuectl enqueue --id inner --queue other true; queuectl wait --all --queue other",
    ],
)
def test_a_job_that_no_worker_is_free_for(queue: Queue, job_clock: JobClock, command: str) -> None:
    """Regression: nothing said why both waited until the timeout killed the outer job."""
    queue.add(command, id="outer", timeout=3600, max_retries=1)
    pool = queue.start("--drain")
    said = _WORKERS.replace("default", "other" if "other" in command else "default")
    _until_printed(queue, said)
    job_clock.advance(3600)

    assert pool.wait(60) == 0
    assert (queue.state("outer"), queue.state("inner")) == ("dead", "completed")


def _until_printed(queue: Queue, line: str) -> None:
    wait_until(lambda: line in queue.run("logs", "outer").out.splitlines(), what=line)


def test_a_job_that_the_limit_of_its_queue_keeps_waiting(queue: Queue, job_clock: JobClock) -> None:
    """A second worker does not help then."""
    queue.ok("queue", "limit", "default", "1")
    queue.add("queuectl enqueue --wait --id inner true", id="outer", timeout=3600, max_retries=1)
    pool = queue.start("--drain", workers=2)
    _until_printed(queue, _LIMIT)
    job_clock.advance(3600)

    assert pool.wait(60) == 0
    assert queue.state("inner") == "completed"


def test_nothing_is_said_if_a_worker_is_free(queue: Queue) -> None:
    """The inner job runs on it."""
    queue.start(workers=2)
    queue.add("queuectl enqueue --wait true", id="outer", timeout=50.0, max_retries=1)

    queue.until("outer", "completed", "dead")
    assert (queue.state("outer"), queue.ok("logs", "outer")) == ("completed", "")


def test_nothing_is_said_outside_of_jobs(queue: Queue) -> None:
    """Whoever waits there keeps no worker busy."""
    queue.add(UNTIL_GO, id="busy")
    queue.start()
    queue.until("busy", "processing")
    waiting = queue.spawn("enqueue", "--wait", "true")
    wait_until(lambda: len(queue.jobs()) == 2, what="the second job")
    time.sleep(0.5)  # time in which it would be said
    queue.let_go()

    assert waiting.communicate(timeout=60) == ("", "")
    assert waiting.returncode == 0

"""A job that waits for another job: it keeps a worker busy that the other one may need."""

from __future__ import annotations

import pytest

from support.queue import Queue

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
def test_a_job_that_no_worker_is_free_for(queue: Queue, command: str) -> None:
    """Regression: nothing said why both waited until the timeout killed the outer job."""
    queue.add(command, id="outer", timeout=2.0, max_retries=1)
    queue.drain(workers=1)

    printed = queue.ok("logs", "outer").splitlines()
    assert _WORKERS.replace("default", "other" if "other" in command else "default") in printed
    assert (queue.state("outer"), queue.state("inner")) == ("dead", "completed")


def test_a_job_that_the_limit_of_its_queue_keeps_waiting(queue: Queue) -> None:
    """A second worker does not help then."""
    queue.ok("queue", "limit", "default", "1")
    queue.add("queuectl enqueue --wait --id inner true", id="outer", timeout=2.0, max_retries=1)
    queue.drain(workers=2)

    assert _LIMIT in queue.ok("logs", "outer").splitlines()
    assert queue.state("inner") == "completed"


def test_nothing_is_said_if_a_worker_is_free(queue: Queue) -> None:
    """The inner job runs on it."""
    queue.start(workers=2)
    queue.add("queuectl enqueue --wait true", id="outer", timeout=20.0, max_retries=1)

    queue.until("outer", "completed", "dead")
    assert (queue.state("outer"), queue.ok("logs", "outer")) == ("completed", "")


def test_nothing_is_said_outside_of_jobs(queue: Queue) -> None:
    """Whoever waits there keeps no worker busy."""
    queue.add("sleep 0.5", id="busy")
    queue.start()
    queue.until("busy", "processing")

    assert queue.run("enqueue", "--wait", "true") == (0, "", "")

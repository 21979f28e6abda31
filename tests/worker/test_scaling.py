"""`worker scale`: a running pool gets more workers, or fewer."""

from __future__ import annotations

import os
import signal

import pytest

from support.held import UNTIL_GO
from support.processes import linux_only
from support.queue import Queue
from support.waiting import wait_until


def _count(queue: Queue) -> int:
    return len(queue.workers())


def _supervisor(queue: Queue) -> str:
    supervisor: str = queue.workers()[0]["id"].rpartition("-")[0]
    return supervisor


def test_a_pool_grows_and_takes_more_jobs_at_once(queue: Queue) -> None:
    """The new workers run jobs that waited for a worker, and each slot is used once."""
    queue.start(workers=1)
    queue.add_many(*[f'echo "$QUEUECTL_SLOT" >> slots; {UNTIL_GO}'] * 3)

    assert queue.ok("worker", "scale", "3") == f"{_supervisor(queue)}: 1 -> 3 workers"
    wait_until(lambda: len(queue.text("slots").split()) == 3, what="three jobs at once")
    assert sorted(queue.text("slots").split()) == ["0", "1", "2"]
    queue.let_go()


def test_a_pool_that_shrinks_lets_running_jobs_end(queue: Queue) -> None:
    """A job of a worker that has to leave is finished, and that worker takes no other."""
    queue.start(workers=2)
    held = queue.add_many(*[UNTIL_GO] * 2)
    for job in held:
        queue.until(job, "processing")
    queue.ok("worker", "scale", "1")
    queue.let_go()

    wait_until(lambda: _count(queue) == 1, what="the smaller pool")
    for job in held:
        assert queue.until(job, "completed").attempts == 1
    queue.until(queue.add("true"), "completed")


def test_a_slot_is_not_used_twice_at_once(queue: Queue) -> None:
    """A pool that shrinks and grows again waits for the worker that still has the slot."""
    queue.start(workers=2)
    text = f'mkdir "slot$QUEUECTL_SLOT" && {UNTIL_GO}; rmdir "slot$QUEUECTL_SLOT"'
    first = queue.add_many(text, text)
    for job in first:
        queue.until(job, "processing")
    queue.ok("worker", "scale", "1")
    queue.ok("worker", "scale", "2")
    then = queue.add_many(text, text)
    queue.let_go()

    for job in (*first, *then):
        assert queue.until(job, "completed").attempts == 1
    wait_until(lambda: _count(queue) == 2, what="both workers")


def test_with_several_pools_one_must_be_named(queue: Queue) -> None:
    """The error names them with their queues; a named one is scaled alone."""
    queue.start("--queue", "a")
    first = _supervisor(queue)
    queue.start("--queue", "b,c", workers=2)
    second = next(w["id"].rpartition("-")[0] for w in queue.workers() if first not in w["id"])
    line = queue.fails(1, "worker", "scale", "4")

    shown = {f"{first} (a)", f"{second} (b, c)"}
    assert line in {
        f"queuectl worker scale: 2 pools are running: {', '.join(order)} "
        "(name one: queuectl worker scale 4 POOL)"
        for order in (sorted(shown), sorted(shown, reverse=True))
    }
    assert queue.ok("worker", "scale", "4", first) == f"{first}: 1 -> 4 workers"
    wait_until(lambda: _count(queue) == 6, what="the larger pool")


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        (["2"], 1, "no worker is running"),
        (["2", "0123abcd"], 1, "no such pool is running: 0123abcd"),
        (["0"], 2, "workers must be a whole number from 1 to 1000, not '0'"),
    ],
)
def test_what_cannot_be_scaled_is_refused(
    queue: Queue, args: list[str], code: int, problem: str
) -> None:
    """There is one line that says why."""
    queue.add("true")

    assert queue.fails(code, "worker", "scale", *args) == f"queuectl worker scale: {problem}"


def test_a_worker_is_not_a_pool(queue: Queue) -> None:
    """The error names its pool."""
    queue.start()
    worker = queue.workers()[0]["id"]

    assert queue.fails(1, "worker", "scale", "2", worker) == (
        f"queuectl worker scale: {worker} is one worker of the pool {_supervisor(queue)}"
    )


@linux_only
def test_a_worker_that_dies_in_a_slot_that_is_gone_is_not_replaced(queue: Queue) -> None:
    """But its job is recovered."""
    queue.start(workers=2)
    jobs = queue.add_many(*[UNTIL_GO] * 2)
    for job in jobs:
        queue.until(job, "processing")
    queue.ok("worker", "scale", "1")
    for worker in queue.workers():
        if worker["id"].endswith("-2"):
            os.kill(worker["pid"], signal.SIGKILL)
    queue.let_go()

    for job in jobs:
        assert queue.until(job, "completed").attempts == 1
    wait_until(lambda: _count(queue) == 1, what="the smaller pool")


def test_another_size_of_the_window_changes_nothing(queue: Queue) -> None:
    """The terminal of a pool sends the same signal; no file says a number then."""
    pool = queue.start(workers=2)
    pool.send_signal(signal.SIGWINCH)

    # The supervisor takes its signals in order, so it has taken that one before this one.
    assert " 2 -> 3 workers" in queue.ok("worker", "scale", "3")
    wait_until(lambda: _count(queue) == 3, what="the larger pool")
    assert pool.poll() is None


def test_the_pool_of_a_batch_is_scaled_only_by_name(queue: Queue) -> None:
    """Its size is that of `run -j`, and it leaves soon."""
    queue.start("--queue", "@gzip.1", workers=2)
    batch = _supervisor(queue)
    assert queue.fails(1, "worker", "scale", "3") == "queuectl worker scale: no worker is running"
    queue.start()
    wait_until(lambda: _count(queue) == 3, what="both pools")

    assert " 1 -> 2 workers" in queue.ok("worker", "scale", "2")
    assert queue.ok("worker", "scale", "1", batch) == f"{batch}: 2 -> 1 workers"

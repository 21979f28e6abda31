"""SIGKILL at every system call of those who see to what the dead left, and of who deletes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from queuectl.worker.chores import sweep_logs
from support.calls import COMMAND
from support.held import HELD
from support.history import assert_nothing_lost_nothing_twice, assert_sound, keeping_a_ledger
from support.processes import alive
from support.queue import Queue
from support.tracing import LONG, Tracer, long_only, needs_strace, points, recording, sample, strace
from support.waiting import wait_until

pytestmark = [needs_strace, pytest.mark.timeout(3600)]

_KILL = "signal=SIGKILL"
_PRINTED = "head -c 5000 /dev/zero | tr '\\0' x"
_DRAIN = ("worker", "start", "--drain", "--count", "1")


def _kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, pids)), what="the killed to be gone")


def _held(queue: Queue) -> str:
    """Enqueue a job that runs until it is let go, once; its files of before are gone."""
    for name in ("go", "running", "ledger"):
        (queue.work / name).unlink(missing_ok=True)
    return queue.add(keeping_a_ledger(HELD), max_retries=1)


def _left_by_a_dead_pool(queue: Queue, *, runs_on: bool) -> str:
    """Return a job of a pool that was killed, which runs on, or has ended since."""
    job = _held(queue)
    pool = queue.start()
    running = queue.pid("running")
    worker = queue.worker()
    _kill(pool.pid, worker["pid"])
    pool.wait()
    if not runs_on:
        queue.let_go()
        wait_until(lambda: not alive(running))
    return job


def _settled_under(queue: Queue, options: list[str], job: str) -> None:
    """Trace a whole pool, none of which started the job, until it adopted it or is dead."""
    dead = queue.get(job).locked_by
    log = queue.folder / "kills"
    log.unlink(missing_ok=True)
    tracer = Tracer(queue, [*options, COMMAND, *_DRAIN], log)
    try:
        wait_until(lambda: tracer.is_over or tracer.has_killed or queue.get(job).locked_by != dead)
        queue.let_go()
        wait_until(lambda: tracer.is_over or tracer.has_killed, what="the pool to end")
    finally:
        # One kill is enough: the next heir would come to the same point.
        tracer.detach()


@pytest.mark.parametrize("runs_on", [True, False] if LONG else [True])
def test_heirs_killed_anywhere_lose_nothing(queue: Queue, runs_on: bool) -> None:
    """Each process of a new pool dies at the same step, while it settles what another left.

    The job runs on and is adopted, or has ended and is recorded: it ran once, and its end is known.
    """
    queue.configure(kill_grace="1")
    prefix = queue.folder / "trace"
    job = _left_by_a_dead_pool(queue, runs_on=runs_on)
    _settled_under(queue, recording(prefix), job)
    assert queue.outcomes(job) == ["ok"]
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 1):
        job = _left_by_a_dead_pool(queue, runs_on=runs_on)
        _settled_under(queue, point.inject(_KILL), job)
        queue.drain(workers=1)
        assert (point, queue.outcomes(job)) == (point, ["ok"])
        assert_nothing_lost_nothing_twice(queue, [job])
        wait_until(lambda: not queue.pids(), what="all to have left")
    assert_sound(queue)


def _worker_killed_under(queue: Queue, options: list[str]) -> str:
    """Trace a supervisor from the death of its worker to the end of the adopted job."""
    job = _held(queue)
    pool = queue.start()
    queue.pid("running")
    worker = queue.worker()
    log = queue.folder / "kills"
    log.unlink(missing_ok=True)
    tracer = Tracer(queue, [*options, "-p", str(pool.pid)], log)
    try:
        tracer.attached(pool.pid)
        _kill(worker["pid"])
        wait_until(
            lambda: (
                pool.poll() is not None
                or tracer.has_killed
                or queue.get(job).locked_by not in (None, worker["id"])
            )
        )
        queue.let_go()
        wait_until(
            lambda: pool.poll() is not None or tracer.has_killed or queue.state(job) == "completed"
        )
    finally:
        tracer.detach()
    pool.terminate()
    pool.wait()
    return job


def test_a_supervisor_killed_anywhere_loses_nothing(queue: Queue) -> None:
    """It sees its worker dead, forks the heir, and reaps; it or the heir dies at any step."""
    queue.configure(kill_grace="1")
    prefix = queue.folder / "trace"
    job = _worker_killed_under(queue, recording(prefix))
    assert queue.outcomes(job) == ["ok"]
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 1):
        job = _worker_killed_under(queue, point.inject(_KILL))
        queue.drain(workers=1)
        wait_until(lambda: not queue.pids(), what="all to have left")
        assert (point, queue.outcomes(job)) == (point, ["ok"])
        assert_nothing_lost_nothing_twice(queue, [job])
    assert_sound(queue)


def test_a_bulk_enqueue_killed_anywhere_is_all_or_nothing(queue: Queue) -> None:
    """Of a hundred lines none is there, or all are."""
    lines = queue.work / "lines"
    lines.write_text("true\n" * 100)
    bulk = ("enqueue", "--lines", "--file", str(lines))
    prefix = queue.folder / "trace"
    assert strace(queue, recording(prefix), *bulk).code == 0
    seen = [100]
    for point in sample(points(prefix, queue), 2):
        done = strace(queue, point.inject(_KILL), *bulk)
        seen.append(queue.counts()["pending"])
        assert (point, seen[-1] - seen[-2]) in ((point, 0), (point, 100))
        assert seen[-1] > seen[-2] or done.out == ""
    assert_sound(queue)


@long_only
def test_a_prune_killed_anywhere_can_be_done_again(queue: Queue) -> None:
    """A job is there with all that it printed, or is gone; done again, nothing is left of it."""
    prune = ("prune", "--older-than", "0", "-q")
    prefix = queue.folder / "trace"

    def fill() -> None:
        queue.add_many(*[_PRINTED] * 3, "exit 1", max_retries=1)
        queue.drain("-q")

    fill()
    assert strace(queue, recording(prefix), *prune).code == 0
    for point in sample(points(prefix, queue), 2):
        fill()
        strace(queue, point.inject(_KILL), *prune)
        for job in queue.json("list", "--state", "completed"):
            assert (point, queue.ok("logs", job["id"])) == (point, "x" * 5000)
        queue.ok(*prune)
        sweep_logs(queue.storage)
        assert set(queue.counts()) == {"dead"}
        assert [path.name for path in Path(queue.files.logs).iterdir()] == []
    assert_sound(queue)

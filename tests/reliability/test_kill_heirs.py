"""SIGKILL at every system call of those who see to what the dead left, and of who deletes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from queuectl.worker.chores import sweep_logs
from support.adoption import HELD
from support.history import assert_nothing_lost_nothing_twice, assert_sound, keeping_a_ledger
from support.jobs import Jobs
from support.processes import alive
from support.queue import COMMAND, Queue
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


def _held(queue: Queue, jobs: Jobs) -> str:
    """Enqueue a job that runs until it is let go, once; its files of before are gone."""
    for name in ("go", "running", "ledger"):
        (queue.work / name).unlink(missing_ok=True)
    return jobs.one(keeping_a_ledger(HELD), max_retries=1)


def _left_by_a_dead_pool(queue: Queue, jobs: Jobs, *, runs_on: bool) -> str:
    """Return a job of a pool that was killed, which runs on, or has ended since."""
    job = _held(queue, jobs)
    pool = queue.start()
    running = jobs.pid("running")
    worker = queue.worker()
    _kill(pool.pid, worker["pid"])
    pool.wait()
    if not runs_on:
        (queue.work / "go").touch()
        wait_until(lambda: not alive(running))
    return job


def _settled_under(queue: Queue, jobs: Jobs, options: list[str], job: str) -> None:
    """Trace a whole pool, none of which started the job, until it adopted it or is dead."""
    dead = jobs.get(job).locked_by
    log = queue.folder / "kills"
    log.unlink(missing_ok=True)
    tracer = Tracer(queue, [*options, COMMAND, *_DRAIN], log)
    try:
        wait_until(lambda: tracer.is_over or tracer.has_killed or jobs.get(job).locked_by != dead)
        (queue.work / "go").touch()
        wait_until(lambda: tracer.is_over or tracer.has_killed, what="the pool to end")
    finally:
        # One kill is enough: the next heir would come to the same point.
        tracer.detach()


@pytest.mark.parametrize("runs_on", [True, False] if LONG else [True])
def test_heirs_killed_anywhere_lose_nothing(queue: Queue, jobs: Jobs, runs_on: bool) -> None:
    """Each process of a new pool dies at the same step, while it settles what another left.

    The job runs on and is adopted, or has ended and is recorded: it ran once, and its end is known.
    """
    jobs.configure(kill_grace="1")
    prefix = queue.folder / "trace"
    job = _left_by_a_dead_pool(queue, jobs, runs_on=runs_on)
    _settled_under(queue, jobs, recording(prefix), job)
    assert jobs.outcomes(job) == ["ok"]
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 1):
        job = _left_by_a_dead_pool(queue, jobs, runs_on=runs_on)
        _settled_under(queue, jobs, point.inject(_KILL), job)
        queue.drain(workers=1)
        assert (point, jobs.outcomes(job)) == (point, ["ok"])
        assert_nothing_lost_nothing_twice(queue, jobs, [job])
        wait_until(lambda: not queue.pids(), what="all to have left")
    assert_sound(queue, jobs)


def _worker_killed_under(queue: Queue, jobs: Jobs, options: list[str]) -> str:
    """Trace a supervisor from the death of its worker to the end of the adopted job."""
    job = _held(queue, jobs)
    pool = queue.start()
    jobs.pid("running")
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
                or jobs.get(job).locked_by not in (None, worker["id"])
            )
        )
        (queue.work / "go").touch()
        wait_until(
            lambda: pool.poll() is not None or tracer.has_killed or jobs.state(job) == "completed"
        )
    finally:
        tracer.detach()
    pool.terminate()
    pool.wait()
    return job


def test_a_supervisor_killed_anywhere_loses_nothing(queue: Queue, jobs: Jobs) -> None:
    """It sees its worker dead, forks the heir, and reaps; it or the heir dies at any step."""
    jobs.configure(kill_grace="1")
    prefix = queue.folder / "trace"
    job = _worker_killed_under(queue, jobs, recording(prefix))
    assert jobs.outcomes(job) == ["ok"]
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 1):
        job = _worker_killed_under(queue, jobs, point.inject(_KILL))
        queue.drain(workers=1)
        wait_until(lambda: not queue.pids(), what="all to have left")
        assert (point, jobs.outcomes(job)) == (point, ["ok"])
        assert_nothing_lost_nothing_twice(queue, jobs, [job])
    assert_sound(queue, jobs)


def test_a_bulk_enqueue_killed_anywhere_is_all_or_nothing(queue: Queue, jobs: Jobs) -> None:
    """Of a hundred lines none is there, or all are."""
    lines = queue.work / "lines"
    lines.write_text("true\n" * 100)
    bulk = ("enqueue", "--lines", "--file", str(lines))
    prefix = queue.folder / "trace"
    assert strace(queue, recording(prefix), *bulk).returncode == 0
    seen = [100]
    for point in sample(points(prefix, queue), 2):
        done = strace(queue, point.inject(_KILL), *bulk)
        seen.append(jobs.counts()["pending"])
        assert (point, seen[-1] - seen[-2]) in ((point, 0), (point, 100))
        assert seen[-1] > seen[-2] or done.stdout == ""
    assert_sound(queue, jobs)


@long_only
def test_a_prune_killed_anywhere_can_be_done_again(queue: Queue, jobs: Jobs) -> None:
    """A job is there with all that it printed, or is gone; done again, nothing is left of it."""
    prune = ("prune", "--older-than", "0", "-q")
    prefix = queue.folder / "trace"

    def fill() -> None:
        jobs.add(*[_PRINTED] * 3, "exit 1", max_retries=1)
        queue.drain("-q")

    fill()
    assert strace(queue, recording(prefix), *prune).returncode == 0
    for point in sample(points(prefix, queue), 2):
        fill()
        strace(queue, point.inject(_KILL), *prune)
        for job in queue.json("list", "--state", "completed"):
            assert (point, queue.ok("logs", job["id"])) == (point, "x" * 5000)
        queue.ok(*prune)
        sweep_logs(jobs.storage)
        assert set(jobs.counts()) == {"dead"}
        assert [path.name for path in Path(queue.files.logs).iterdir()] == []
    assert_sound(queue, jobs)

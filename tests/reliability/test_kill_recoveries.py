"""SIGKILL at every system call of a recovery, a bulk enqueue and a prune."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from queuectl.worker.chores import sweep_logs
from support.calls import COMMAND
from support.held import HELD
from support.history import (
    assert_all_counted,
    assert_nothing_lost_nothing_twice,
    assert_sound,
    keeping_a_ledger,
)
from support.processes import alive
from support.queue import Queue
from support.tracing import LONG, Tracer, long_only, needs_strace, points, recording, sample, strace
from support.waiting import wait_until

pytestmark = [pytest.mark.on_disk, needs_strace, pytest.mark.timeout(3600)]

_KILL = "signal=SIGKILL"
_PRINTED = "head -c 5000 /dev/zero | tr '\\0' x"
_DRAIN = ("worker", "start", "--drain", "--count", "1")


def _kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, pids)), what="the killed processes to be gone")


def _held(queue: Queue) -> str:
    """Enqueue a job that runs until the test lets it go; remove the files of an earlier one."""
    for name in ("go", "running", "ledger"):
        (queue.work / name).unlink(missing_ok=True)
    return queue.add(keeping_a_ledger(HELD), max_retries=1)


def _left_by_a_dead_pool(queue: Queue, *, runs_on: bool) -> str:
    """Return the job of a killed pool; with `runs_on` it still runs, else it has ended since."""
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


def _recovered_under(queue: Queue, options: list[str], job: str) -> None:
    """Trace a new pool until it has recovered the job, or one of its processes was killed."""
    dead = queue.get(job).locked_by
    log = queue.folder / "kills"
    log.unlink(missing_ok=True)
    tracer = Tracer(queue, [*options, COMMAND, *_DRAIN], log)
    try:
        wait_until(lambda: tracer.is_over or tracer.has_killed or queue.get(job).locked_by != dead)
        queue.let_go()
        wait_until(lambda: tracer.is_over or tracer.has_killed, what="the pool to end")
    finally:
        # One kill is enough: the next worker would come to the same point.
        tracer.detach()


@pytest.mark.parametrize("runs_on", [True, False] if LONG else [True])
def test_a_recovery_killed_anywhere_loses_nothing(queue: Queue, runs_on: bool) -> None:
    """A process of a new pool is killed while it recovers the job of a dead pool.

    The job still runs and is adopted, or it has ended. Either way it runs once, and its exit status
    is recorded.
    """
    queue.configure(kill_grace="1")
    prefix = queue.folder / "trace"
    job = _left_by_a_dead_pool(queue, runs_on=runs_on)
    _recovered_under(queue, recording(prefix), job)
    assert queue.outcomes(job) == ["ok"]
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 1):
        job = _left_by_a_dead_pool(queue, runs_on=runs_on)
        _recovered_under(queue, point.inject(_KILL), job)
        queue.drain(workers=1)
        assert (point, queue.outcomes(job)) == (point, ["ok"])
        assert_nothing_lost_nothing_twice(queue, [job])
        wait_until(lambda: not queue.pids(), what="all processes to be gone")
    assert_all_counted(queue)
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
    """It is killed, or the replacement that it forks, at any step after the death of a worker."""
    queue.configure(kill_grace="1")
    prefix = queue.folder / "trace"
    job = _worker_killed_under(queue, recording(prefix))
    assert queue.outcomes(job) == ["ok"]
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 1):
        job = _worker_killed_under(queue, point.inject(_KILL))
        queue.drain(workers=1)
        wait_until(lambda: not queue.pids(), what="all processes to be gone")
        assert (point, queue.outcomes(job)) == (point, ["ok"])
        assert_nothing_lost_nothing_twice(queue, [job])
    assert_all_counted(queue)
    assert_sound(queue)


def test_a_bulk_enqueue_killed_anywhere_is_all_or_nothing(queue: Queue) -> None:
    """Either all of a hundred jobs exist afterwards, or none."""
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
    assert_all_counted(queue)
    assert_sound(queue)


@long_only
def test_a_prune_killed_anywhere_can_be_done_again(queue: Queue) -> None:
    """Each job exists with its output, or not at all; a second prune removes the rest."""
    prune = ("prune", "--older-than", "0", "-q")
    prefix = queue.folder / "trace"

    def fill() -> None:
        queue.add_many(*[_PRINTED] * 3, "exit 1", max_retries=1)
        queue.drain("-q")

    fill()
    assert strace(queue, recording(prefix), *prune).code == 0
    some = sample(points(prefix, queue), 2)
    for point in some:
        fill()
        strace(queue, point.inject(_KILL), *prune)
        for job in queue.json("list", "--state", "completed"):
            assert (point, queue.ok("logs", job["id"])) == (point, "x" * 5000)
        queue.ok(*prune)
        sweep_logs(queue.storage)
        assert set(queue.counts()) == {"dead"}
        assert [path.name for path in Path(queue.files.logs).iterdir()] == []
    fills = 1 + len(some)
    counted = {tally.event: tally.times for tally in queue.storage.totals()}
    assert counted == {"enqueued": 4 * fills, "ok": 3 * fills, "exit": fills, "dead": fills}
    assert_sound(queue)

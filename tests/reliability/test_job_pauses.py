"""Workers that die while their job is paused, resumed and paused again."""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path

import pytest

from queuectl.host import processes
from support.forks import in_processes
from support.job_clock import JobClock
from support.processes import kill, linux_only, words_of
from support.queue import Queue
from support.waiting import wait_until

pytestmark = linux_only

# Each process beats all the time, one of them in a session of its own.
_BEAT = "while [ ! -e go ]; do echo >> beats-{0}; sleep 0.02; done"
_JOB = (
    f"echo $$ >> runs; setsid sh -c '{_BEAT.format('far')}' & {_BEAT.format('near')}; wait; "
    "echo done >> runs"
)


@pytest.mark.timeout(300)
def test_a_job_is_stopped_exactly_while_it_is_paused(tmp_path: Path) -> None:
    """Whenever its worker, or the whole pool, dies: it runs once, and its timeout does not fire.

    The timeout is shorter than the pauses together, by the clock of the jobs. Four histories take
    place at the same time, because most of their time they wait.
    """
    queues = []
    for seed in range(4):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        queues.append(Queue(folder))
    try:
        in_processes([partial(_history, queue) for queue in queues], timeout=240)
    finally:
        for queue in queues:
            queue.close()  # a history that hangs is killed, and cannot do it


def _history(queue: Queue) -> None:
    try:
        _pause_again_and_again(queue, random.Random(queue.folder.name))
    finally:
        left = queue.close()
    assert not left, f"left running: {left}"


def _pause_again_and_again(queue: Queue, chance: random.Random) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = JobClock(queue, patch)
        job = queue.add(_JOB, timeout=600)
        queue.start()
        queue.text("runs")
        for _ in range(6):
            queue.ok("pause", job)
            _die(queue, chance)
            still = wait_until(partial(_seen_stopped, queue), what="all processes to stop")
            clock.advance(150)
            time.sleep(chance.uniform(2, 4))
            assert _seen(queue) == still
            queue.ok("resume", job)
            _die(queue, chance)
            wait_until(lambda still=still: _seen(queue) != still, what="the job to go on")
        queue.let_go()
        queue.until(job, "completed")

    assert queue.outcomes(job) == ["ok"]
    runs = queue.text("runs").split()
    assert (len(runs), runs[1]) == (2, "done")


def _die(queue: Queue, chance: random.Random) -> None:
    """Kill the worker, its whole pool, or nobody, at once or a little later."""
    time.sleep(chance.choice([0, 0.002, 0.01, 0.05]))
    victim = chance.choice(["worker", "worker", "pool", "nobody"])
    if victim == "nobody":
        return
    pids = [worker["pid"] for worker in queue.workers()]
    if victim == "pool":
        pool = queue.processes[-1]
        kill(*pids, *([pool.pid] if pool.poll() is None else []))
        pool.wait()
        queue.start()
    else:
        kill(*pids)


def _seen(queue: Queue) -> tuple[list[int], list[int]]:
    """Return the processes of the job, and how often each of its two loops has beaten."""
    pids = sorted(pid for pid in queue.pids() if b"worker" not in words_of(pid))
    files = [queue.work / f"beats-{name}" for name in ("near", "far")]
    return pids, [path.stat().st_size if path.exists() else 0 for path in files]


def _seen_stopped(queue: Queue) -> tuple[list[int], list[int]] | None:
    """Return what is seen if all processes of the job are stopped, at two looks."""
    seen = _seen(queue)
    return seen if all(map(_is_stopped, seen[0])) and _seen(queue) == seen else None


def _is_stopped(pid: int) -> bool:
    """Whether a process is stopped, or a shell waits for a child that was stopped at its start."""
    return processes.is_suspended(pid) or processes.is_uninterruptible(pid)

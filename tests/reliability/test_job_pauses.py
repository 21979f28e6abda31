"""Workers that die while their job is paused, resumed and paused again."""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path

import pytest

from support.forks import in_processes
from support.processes import kill, linux_only
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

    The timeout is shorter than the pauses together. Four histories take place at the same time,
    because most of their time they wait.
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
    job = queue.add(_JOB, timeout=20.0)
    queue.start()
    queue.text("runs")
    paused_seconds = 0.0
    for _ in range(6):
        queue.ok("pause", job)
        _die(queue, chance)
        _until(queue, beating=False)
        began = time.monotonic()
        time.sleep(chance.uniform(2, 4))
        assert not _is_beating(queue)
        paused_seconds += time.monotonic() - began
        queue.ok("resume", job)
        _die(queue, chance)
        _until(queue, beating=True)
    queue.let_go()
    queue.until(job, "completed")

    assert paused_seconds > 12
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


def _is_beating(queue: Queue) -> bool:
    """Whether any process of the job does something within a third of a second."""
    before = _beats(queue)
    time.sleep(0.35)
    return _beats(queue) != before


def _beats(queue: Queue) -> list[int]:
    files = [queue.work / f"beats-{name}" for name in ("near", "far")]
    return [path.stat().st_size if path.exists() else 0 for path in files]


def _until(queue: Queue, *, beating: bool) -> None:
    wait_until(lambda: _is_beating(queue) is beating, what=f"beating: {beating}")

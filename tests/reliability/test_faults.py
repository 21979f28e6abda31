"""System calls that fail: the disk is broken or full, there are no descriptors, a signal came."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from queuectl.worker.chores import sweep_logs
from support.calls import Called
from support.held import UNTIL_GO
from support.history import assert_sound
from support.queue import Queue
from support.tracing import (
    Fault,
    announced,
    enqueue_points,
    faults,
    needs_strace,
    points,
    recording,
    strace,
    without_queue,
)
from support.waiting import wait_until

pytestmark = [pytest.mark.on_disk, pytest.mark.timeout(3600)]


def _assert_one_clear_line(fault: Fault, done: Called) -> None:
    """A command that met a fault has succeeded, or failed with a documented code and one line."""
    assert (fault, done.code in (0, 1, 75)) == (fault, True), done.err
    assert (fault, "Traceback" in done.err) == (fault, False), done.err
    if fault.point.call == "write" and fault.for_good:
        return  # nor can it say anything
    if done.code:
        assert len(done.err.splitlines()) == 1, (fault, done.err)
        assert done.err.startswith("queuectl"), (fault, done.err)


@needs_strace
def test_an_enqueue_that_meets_a_fault_is_done_or_fails_in_a_line(queue: Queue) -> None:
    """Whichever call fails, once or for good: one line and exit 1 or 75, or it succeeds; never half
    done.
    """
    for fault in announced(faults(enqueue_points(queue))):
        without_queue(queue)
        done = strace(queue, fault.options, "enqueue", "--id", "first", "true")
        _assert_one_clear_line(fault, done)
        try:
            queue.add("true", id="second")
            if done.out:
                assert (fault, queue.counts()) == (fault, {"pending": 2})
            assert queue.storage.integrity_errors() == []
            assert queue.storage.miscounts() == []
        finally:
            queue.close_storage()
    queue.drain(workers=1)


@needs_strace
def test_a_prune_that_meets_a_fault_is_done_or_fails_in_a_line(queue: Queue) -> None:
    """Whichever call fails, once or for good: one line and exit 1 or 75, or it succeeds; and again
    it does.
    """
    prune = ("prune", "--older-than", "0", "--queue")
    prefix = queue.folder / "trace"

    def run_two(name: str) -> None:
        queue.add_many("head -c 20000 /dev/zero", "true", queue=name)

    run_two("traced")
    queue.drain()
    assert strace(queue, recording(prefix), *prune, "traced").code == 0
    every = faults(points(prefix, queue))
    for number in range(len(every)):
        run_two(f"q{number}")
    queue.drain(timeout=600)
    for number, fault in enumerate(announced(every)):
        done = strace(queue, fault.options, *prune, f"q{number}")
        _assert_one_clear_line(fault, done)
        queue.ok(*prune, f"q{number}")
        assert (fault, queue.counts().get("completed", 0)) == (fault, 2 * (len(every) - number - 1))
    # What it could not remove is removed later.
    sweep_logs(queue.storage)
    assert os.listdir(queue.files.logs) == []
    assert_sound(queue)


def _fill(disk: Path) -> Path:
    """Leave not a byte free."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as out:
        try:
            while True:
                out.write(b"\0" * 4096)
        except OSError:
            pass
    return ballast


def test_a_full_disk_refuses_an_enqueue_and_keeps_the_rest(small_disk: Path, queue: Queue) -> None:
    """It says that the disk is full and exits 1; what was there is whole, and it goes on later."""
    kept = [queue.enqueue("true")]
    ballast = _fill(small_disk)
    # What is left in files that are there already takes a few more.
    while True:
        done = queue.run("enqueue", "--", "true #" + "x" * 3000)
        if done.code:
            break
        kept.append(done.out.strip())
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == [
        f"queuectl enqueue: cannot write {queue.database}: the disk is full"
    ]
    ballast.unlink()

    assert [job["id"] for job in queue.json("list")] == kept
    kept.append(queue.enqueue("true"))
    queue.drain()
    assert {job["id"]: job["state"] for job in queue.json("list")} == dict.fromkeys(
        kept, "completed"
    )
    assert queue.run("doctor").code in (0, 1)  # so small a disk is a finding of its own


def test_a_full_disk_makes_no_queue(small_disk: Path, queue: Queue) -> None:
    """Nothing half made stands in the way once there is space."""
    ballast = _fill(small_disk)
    line = queue.fails(1, "enqueue", "true")
    assert str(small_disk) in line
    ballast.unlink()

    queue.enqueue("true")
    queue.drain()
    assert queue.counts() == {"completed": 1}


def test_a_result_waits_for_space(small_disk: Path, queue: Queue) -> None:
    """A worker that cannot record goes on trying; the job is not run again."""
    job = queue.enqueue("echo x >> runs; " + UNTIL_GO)
    with (queue.folder / "workers.log").open("w") as log:
        pool = queue.spawn("worker", "start", "--drain", stderr=log, stdout=subprocess.DEVNULL)
    wait_until((queue.work / "runs").exists)
    ballast = _fill(small_disk)
    # Whatever space the log of changes holds already is used up too.
    while queue.run("enqueue", "--delay", "1h", "--", "true #" + "x" * 3000).code == 0:
        pass
    queue.let_go()
    said = queue.folder / "workers.log"
    wait_until(lambda: "the disk is full; trying again" in said.read_text(), what="a warning")
    assert queue.state(job) == "processing"
    ballast.unlink()

    assert queue.until(job, "completed").attempts == 1
    assert (queue.work / "runs").read_text() == "x\n"
    pool.terminate()
    assert pool.wait(timeout=30) == 0

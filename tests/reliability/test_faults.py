"""System calls that fail: the disk is broken or full, there are no descriptors, a signal came."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest
from conftest import Queue, on_small_disk, wait_until
from processes.conftest import Jobs

from reliability.history import assert_nothing_lost_nothing_twice, assert_sound, keeping_a_ledger
from reliability.tracing import (
    Point,
    Tracer,
    enqueue_points,
    needs_strace,
    points,
    recording,
    sample,
    strace,
    without_queue,
)

pytestmark = pytest.mark.timeout(3600)

# What each call can come back with; wait4 and waitid of one's own children cannot fail.
_ERRORS = {
    "openat": ["EMFILE", "EIO", "EINTR"],
    "write": ["ENOSPC", "EIO", "EINTR"],
    "pwrite64": ["ENOSPC", "EIO", "EINTR"],
    "fsync": ["EIO", "ENOSPC"],
    "fdatasync": ["EIO", "ENOSPC"],
    "rename": ["EIO", "ENOSPC"],
    "unlink": ["EIO"],
    "flock": ["EINTR", "ENOLCK"],
    "ftruncate": ["EIO", "EINTR"],
    "mkdir": ["ENOSPC", "EIO"],
    "clone": ["EAGAIN"],
    "clone3": ["EAGAIN"],
    "vfork": ["EAGAIN"],
    "fork": ["EAGAIN"],
}


def _faults(every: List[Point]) -> List[Tuple[Point, str]]:
    """Return each point with each error that it can have, mixed so that a sample has some of all"""
    found = [(point, error) for point in every for error in _ERRORS.get(point.call, [])]
    return sorted(found, key=lambda fault: (fault[0].number, fault[0].call, fault[1]))


def _assert_one_clear_line(
    fault: Tuple[Point, str], done: subprocess.CompletedProcess[str]
) -> None:
    """A command that met a fault has succeeded, or failed with a documented code and one line."""
    assert (fault, done.returncode in (0, 1, 75)) == (fault, True), done.stderr
    assert (fault, "Traceback" in done.stderr) == (fault, False), done.stderr
    if done.returncode:
        assert len(done.stderr.splitlines()) == 1, (fault, done.stderr)
        assert done.stderr.startswith("queuectl"), (fault, done.stderr)


@needs_strace
def test_an_enqueue_that_meets_a_fault_is_done_or_fails_in_a_line(queue: Queue) -> None:
    """Whichever call fails, once: one line and exit 1 or 75, or it succeeds; never half done."""
    for point, error in sample(_faults(enqueue_points(queue)), 14):
        without_queue(queue)
        done = strace(queue, point.inject(f"error={error}"), "enqueue", "--id", "first", "true")
        _assert_one_clear_line((point, error), done)
        jobs = Jobs(queue)
        try:
            jobs.one("true", id="second")
            there = queue.run("show", "first").returncode == 0
            if done.stdout:
                assert (point, error, there) == (point, error, True)
            assert jobs.storage.integrity_errors() == []
            assert jobs.storage.miscounts() == []
        finally:
            jobs.close()
    queue.drain(workers=1)


@needs_strace
def test_a_prune_that_meets_a_fault_is_done_or_fails_in_a_line(queue: Queue, jobs: Jobs) -> None:
    """Whichever call fails, once: one line and exit 1 or 75, or it succeeds; and again it does."""
    prune = ("prune", "--older-than", "0")
    prefix = queue.folder / "trace"
    ran = ["head -c 20000 /dev/zero", "true"]
    jobs.add(*ran)
    queue.drain()
    assert strace(queue, recording(prefix), *prune).returncode == 0
    for fault in sample(_faults(points(prefix, queue)), 8):
        jobs.add(*ran)
        queue.drain()
        done = strace(queue, fault[0].inject(f"error={fault[1]}"), *prune)
        _assert_one_clear_line(fault, done)
        queue.ok(*prune)
        assert jobs.counts() == {}
    assert_sound(queue, jobs)


@needs_strace
def test_a_job_whose_worker_meets_a_fault_ends_well(queue: Queue, jobs: Jobs) -> None:
    """Whichever call of its worker fails, once: it runs, once at a time, in the end.

    The worker goes on or is replaced, and prints no traceback.
    """
    jobs.configure(backoff_base="1", backoff_max="0.05", kill_grace="1")
    prefix = queue.folder / "trace"
    log = queue.folder / "workers.log"
    supervisor = queue.start()
    worker = _trace_one_job(queue, jobs, recording(prefix))
    for point, error in sample(_faults(points(prefix, queue, of=str(worker))), 10):
        _trace_one_job(queue, jobs, point.inject(f"error={error}"))
        assert (point, error, "Traceback" in log.read_text()) == (point, error, False), (
            log.read_text()[-3000:]
        )
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0
    assert_sound(queue, jobs)


def _trace_one_job(queue: Queue, jobs: Jobs, options: List[str]) -> int:
    """Trace the only worker while it runs a job, which must end in good order; return its pid."""
    worker: int = wait_until(lambda: queue.json("worker", "list"), what="a worker")[0]["pid"]
    # Not its job: that would meet the fault again at each attempt.
    tracer = Tracer(queue, [*options, "-p", str(worker)], Path("/dev/null"), follow=False)
    try:
        tracer.attached(worker)
        (queue.work / "ledger").unlink(missing_ok=True)
        job = jobs.one(keeping_a_ledger("echo printed"), max_retries=20)
        jobs.until(job, "completed", "dead")
    finally:
        tracer.detach()
    assert_nothing_lost_nothing_twice(queue, jobs, [job])
    return worker


@pytest.fixture
def small_disk(queue: Queue) -> Iterator[Path]:
    with on_small_disk(queue, "2m") as disk:
        yield disk


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
        if done.returncode:
            break
        kept.append(done.stdout.strip())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"queuectl enqueue: cannot write {queue.database}: the disk is full"
    ]
    ballast.unlink()

    assert [job["id"] for job in queue.json("list")] == kept
    kept.append(queue.enqueue("true"))
    queue.drain()
    assert {job["id"]: job["state"] for job in queue.json("list")} == dict.fromkeys(
        kept, "completed"
    )
    assert queue.run("doctor").returncode in (0, 1)  # so small a disk is a finding of its own


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
    job = queue.enqueue("echo x >> runs; until [ -e go ]; do sleep 0.02; done")
    with (queue.folder / "workers.log").open("w") as log:
        pool = queue.spawn("worker", "start", "--drain", stderr=log, stdout=subprocess.DEVNULL)
    wait_until((queue.work / "runs").exists)
    ballast = _fill(small_disk)
    # Whatever space the log of changes holds already is used up too.
    while queue.run("enqueue", "--delay", "1h", "--", "true #" + "x" * 3000).returncode == 0:
        pass
    (queue.work / "go").touch()
    said = queue.folder / "workers.log"
    wait_until(lambda: "the disk is full; trying again" in said.read_text(), what="a warning")
    assert queue.state(job) == "processing"
    ballast.unlink()

    assert queue.wait_for(job, "completed")["attempts"] == 1
    assert (queue.work / "runs").read_text() == "x\n"
    pool.terminate()
    assert pool.wait(timeout=30) == 0

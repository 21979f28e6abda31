"""System calls of commands that fail: a broken or full disk, no descriptors, a signal."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Sequence

import pytest

from queuectl.worker.chores import sweep_logs
from support.calls import Called
from support.held import UNTIL_GO
from support.history import assert_sound
from support.hooked import assert_each_event_is_reported, report_all
from support.queue import Queue
from support.small_disk import on_small_disk
from support.stages import STAGING, assert_no_stage
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
        return  # then it cannot print an error
    if done.code:
        assert len(done.err.splitlines()) == 1, (fault, done.err)
        assert done.err.startswith("queuectl"), (fault, done.err)


@needs_strace
def test_an_enqueue_that_meets_a_fault_succeeds_or_fails_with_one_line(queue: Queue) -> None:
    """Whichever call fails, once or for good: it succeeds, or exits with 1 or 75 and one line.

    A job whose id was printed is there, and the queue is sound.
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
def test_many_jobs_that_meet_a_fault_are_all_there_or_none(queue: Queue) -> None:
    """Whichever call fails while they are staged: success, or 1 or 75 and one line.

    If it says that they are enqueued, then they are. The next pool clears up.
    """
    path = queue.folder / "many"
    path.write_text("true\n" * 7)
    words = ("enqueue", "--lines", "--file", str(path))
    prefix = queue.folder / "trace"
    queue.enqueue("true")
    assert strace(queue, recording(prefix), *words, before=STAGING).code == 0
    for fault in announced(faults(points(prefix, queue))):
        without_queue(queue)
        queue.enqueue("true")
        done = strace(queue, fault.options, *words, before=STAGING)
        _assert_one_clear_line(fault, done)
        queue.drain(workers=1)
        assert (fault, queue.counts()) in ((fault, {"completed": 1}), (fault, {"completed": 8}))
        if done.code == 0 or "are enqueued" in done.err:
            assert (fault, queue.counts()) == (fault, {"completed": 8})
        assert_no_stage(queue)
        assert_sound(queue)
        queue.close_storage()


@needs_strace
def test_a_cancel_that_meets_a_fault_is_reported_with_what_it_did(queue: Queue) -> None:
    """Whichever call fails, once or for good: the job is cancelled with its hooks, or neither."""
    report_all(queue)
    prefix = queue.folder / "trace"
    queue.add("true", id="traced")
    assert strace(queue, recording(prefix), "cancel", "traced").code == 0
    for number, fault in enumerate(announced(faults(points(prefix, queue)))):
        job = queue.add("true", id=f"j{number}", queue="idle")
        done = strace(queue, fault.options, "cancel", job)
        _assert_one_clear_line(fault, done)
        events = [hook.env["QUEUECTL_EVENT"] for hook in queue.storage.hook_jobs_of(queue.get(job))]
        is_cancelled = queue.state(job) == "cancelled"
        assert (fault, events[:1]) == (fault, ["job.cancelled"] if is_cancelled else [])
        assert (fault, is_cancelled) == (fault, True) or done.code
        queue.close_storage()
    queue.drain(workers=1)
    assert_each_event_is_reported(queue)
    assert_sound(queue)


@needs_strace
def test_a_prune_that_meets_a_fault_succeeds_or_fails_with_one_line(queue: Queue) -> None:
    """Whichever call fails, once or for good: it succeeds, or exits with 1 or 75 and one line.

    The next `prune` succeeds.
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
    # Workers remove log files that `prune` could not remove.
    sweep_logs(queue.storage)
    assert os.listdir(queue.files.logs) == []
    assert_sound(queue)


def _fill(disk: Path) -> Path:
    """Fill the disk to the last byte; return the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as out:
        try:
            while True:
                out.write(b"\0" * 4096)
        except OSError:
            pass
    return ballast


@pytest.mark.parametrize(
    ("outcome", "verb"),
    [(0, ("prune", "--older-than", "0s")), (1, ("dlq", "purge", "--all", "--yes"))],
)
def test_a_full_disk_can_be_freed(
    small_disk: Path, queue: Queue, outcome: int, verb: Sequence[str]
) -> None:
    """Reading needs no space. The outputs of jobs that are deleted are removed first.

    Prevents a bug: nothing that queuectl offers could free a disk that its own logs had filled.
    """
    job = queue.add(f"head -c 400000 /dev/zero; exit {outcome}", max_retries=1)
    queue.drain()
    queue.close_storage()
    _fill(small_disk)
    for command in ("status", "list", "export -", f"show {job}", f"why {job}", "queue list"):
        assert (command, queue.run(*command.split()).code) == (command, 0)
    assert queue.run("wait", job).code == outcome

    assert queue.ok(*verb) == "1 deleted"
    queue.enqueue("true")
    assert os.listdir(queue.files.logs) == []


def test_a_full_disk_that_prune_cannot_free_is_no_riddle(small_disk: Path, queue: Queue) -> None:
    """Regression: `prune` failed, and advised to call `prune`; `worker start` named no file."""
    queue.add("true")
    queue.drain()
    queue.close_storage()
    _fill(small_disk)

    assert queue.fails(1, "prune", "--older-than", "0") == (
        f"queuectl prune: cannot write {queue.database}: the disk is full "
        "(no outputs are left to remove: delete other files first)"
    )
    assert queue.fails(1, "worker", "start") == (
        f"queuectl worker start: cannot write into {queue.files.workers}: No space left on device"
    )


def test_queries_are_answered_on_a_full_disk(small_disk: Path, queue: Queue) -> None:
    """SQLite cannot make the file of shared memory; nobody else has the queue open."""
    queue.enqueue("true")
    _fill(small_disk)

    assert queue.ok("sql", "SELECT count(*) AS jobs FROM job_list").split() == ["jobs", "1"]


def test_an_enqueue_on_a_full_disk_fails_and_harms_nothing(small_disk: Path, queue: Queue) -> None:
    """It exits with 1 and says why; all jobs are kept, and with space the queue works again."""
    kept = [queue.enqueue("true")]
    ballast = _fill(small_disk)
    # There is room for a few more jobs in the existing files.
    while True:
        done = queue.run("enqueue", "--", "true #" + "x" * 3000)
        if done.code:
            break
        kept.append(done.out.strip())
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == [
        f"queuectl enqueue: cannot write {queue.database}: the disk is full "
        "(queuectl prune deletes finished jobs)"
    ]
    ballast.unlink()

    assert [job["id"] for job in queue.json("list")] == kept
    kept.append(queue.enqueue("true"))
    queue.drain()
    assert {job["id"]: job["state"] for job in queue.json("list")} == dict.fromkeys(
        kept, "completed"
    )
    assert queue.run("doctor").code in (0, 1)  # it may complain about so small a disk


def test_many_jobs_that_do_not_fit_on_the_disk_leave_nothing(queue: Queue) -> None:
    """One line says that the disk is full; none of them is there, and fewer of them fit."""
    with on_small_disk(queue, "8m"):
        kept = queue.enqueue("true")
        line = queue.fails(1, "enqueue", "--lines", "-", stdin="true\n" * 100_000)
        assert line == (
            f"queuectl enqueue: cannot write {queue.database}: the disk is full "
            "(queuectl prune deletes finished jobs)"
        )
        assert queue.ids() == [kept]
        queue.ok("enqueue", "--lines", "-q", "-", stdin="true\n" * 2100)

        assert queue.counts() == {"pending": 2101}
        assert_no_stage(queue)


def test_a_queue_can_be_created_after_the_disk_was_full(small_disk: Path, queue: Queue) -> None:
    """The failed attempt leaves nothing behind that would be in the way."""
    ballast = _fill(small_disk)
    line = queue.fails(1, "enqueue", "true")
    assert str(small_disk) in line
    ballast.unlink()

    queue.enqueue("true")
    queue.drain()
    assert queue.counts() == {"completed": 1}


def test_a_result_waits_for_space(small_disk: Path, queue: Queue) -> None:
    """A worker that cannot record a result tries again, and the job is not run again."""
    job = queue.enqueue("echo x >> runs; " + UNTIL_GO)
    with (queue.folder / "workers.log").open("w") as log:
        pool = queue.spawn("worker", "start", "--drain", stderr=log, stdout=subprocess.DEVNULL)
    wait_until((queue.work / "runs").exists)
    ballast = _fill(small_disk)
    # Use up the free space in the existing WAL as well.
    while queue.run("enqueue", "--delay", "1h", "--", "true #" + "x" * 3000).code == 0:
        pass
    queue.let_go()
    said = queue.folder / "workers.log"
    wait_until(
        lambda: (
            "the disk is full (queuectl prune deletes finished jobs); trying again"
            in said.read_text()
        ),
        what="a warning",
    )
    assert queue.state(job) == "processing"
    ballast.unlink()

    assert queue.until(job, "completed").attempts == 1
    assert (queue.work / "runs").read_text() == "x\n"
    pool.terminate()
    assert pool.wait(timeout=30) == 0

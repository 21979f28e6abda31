"""SIGKILL at every system call of an enqueue, a pool and a worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.history import (
    assert_all_counted,
    assert_nothing_lost_nothing_twice,
    assert_sound,
    hiding_its_traces,
    keeping_a_ledger,
)
from support.hooked import assert_each_event_is_reported, report_all
from support.queue import Queue
from support.stages import STAGING, assert_no_stage
from support.tracing import (
    Tracer,
    enqueue_points,
    kill_once,
    needs_strace,
    points,
    recording,
    sample,
    strace,
    without_queue,
)
from support.waiting import wait_until

pytestmark = [pytest.mark.on_disk, needs_strace, pytest.mark.timeout(3600)]

_KILL = "signal=SIGKILL"


def test_an_enqueue_killed_anywhere_did_all_or_nothing(queue: Queue) -> None:
    """An id that was printed is on disk, at whatever step of creating queue and job it is killed.

    What is left never stands in the way of the next enqueue, nor of the worker.
    """
    every = enqueue_points(queue)
    assert len(every) > 50
    for point in sample(every, 8):
        without_queue(queue)
        killed = strace(queue, point.inject(_KILL), "enqueue", "--id", "first", "--", "true")
        try:
            after = queue.add("true", id="second")
            there = [job for job in ("first", after) if queue.run("show", job).code == 0]
            if killed.out or killed.code == 0:
                assert (point, there) == (point, ["first", "second"])
            assert_all_counted(queue)
            assert_sound(queue)
        finally:
            queue.close_storage()
    queue.drain(workers=1)
    assert set(queue.counts()) == {"completed"}


@pytest.mark.parametrize("command", ["enqueue", "import"])
def test_many_jobs_killed_anywhere_are_all_there_or_none(queue: Queue, command: str) -> None:
    """They go through a stage, two at a time. What is left of it is discarded or finished.

    The next pool does that. A file that was imported, or ids that were printed, are there.
    """
    words, ids = _many_jobs(queue, command)
    queue.enqueue("true")  # the queue is there
    prefix = queue.folder / "trace"
    done = strace(queue, recording(prefix), *words, before=STAGING)
    assert done.code == 0, done.err
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 16):
        without_queue(queue)
        (queue.work / "ledger").unlink(missing_ok=True)
        other = queue.enqueue("true", "--id", "other")
        killed = strace(queue, point.inject(_KILL), *words, before=STAGING)
        seen = queue.ids()
        assert set(seen) <= {other, *ids}
        queue.drain(workers=1)
        there = queue.ids()
        assert (point, there) in ((point, [other]), (point, [other, *ids]))
        if killed.out or killed.code == 0 or len(seen) > 1:
            assert (point, there) == (point, [other, *ids])
        assert_nothing_lost_nothing_twice(queue, there[1:])
        assert_no_stage(queue)
        assert_all_counted(queue)
        assert_sound(queue)
        queue.close_storage()


def _many_jobs(queue: Queue, command: str) -> tuple[list[str], list[str]]:
    """Write a file with jobs; return the command that adds them, and their ids."""
    ids = [f"j{number}" for number in range(7)]
    lines: list[dict[str, object]] = [
        {"id": job, "command": keeping_a_ledger("true"), "cwd": str(queue.work)} for job in ids
    ]
    lines[1].update(after=["j5"], **({"state": "blocked"} if command == "import" else {}))
    path = queue.folder / "many.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return (["enqueue", "--file", str(path)] if command == "enqueue" else [command, str(path)]), ids


def _start_afresh(queue: Queue, *, hides: bool = False) -> list[str]:
    (queue.work / "ledger").unlink(missing_ok=True)
    command = keeping_a_ledger("sleep 0.05")
    command = hiding_its_traces(command) if hides else command
    return queue.add_many(*[command] * 2, max_retries=20)


@pytest.mark.parametrize("counts", [False, True])
def test_a_pool_killed_anywhere_loses_nothing(queue: Queue, counts: bool) -> None:
    """Whichever process is killed, at whatever step: both jobs run to their end, once at a time.

    The fault hits each process that comes so far: the supervisor, its worker or the job. Each
    attempt is counted once, also if the worker is killed while it counts.
    """
    if counts:
        code = "from queuectl.worker import chores; chores._COUNT_SECONDS = 0.0"
        queue.env.update(queue.hooked(code))
    queue.configure(backoff_base="1", backoff_max="0.05")
    prefix = queue.folder / "trace"
    acknowledged = _start_afresh(queue)
    pool = ("worker", "start", "--drain", "--count", "1")
    assert strace(queue, recording(prefix), *pool).code == 0
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 8):
        acknowledged = _start_afresh(queue)
        kill_once(queue, point, *pool)
        queue.drain(workers=1)
        assert_nothing_lost_nothing_twice(queue, acknowledged)
        assert_all_counted(queue)
    assert_sound(queue)


def test_a_pool_killed_anywhere_reports_each_result_once(queue: Queue) -> None:
    """Whichever process is killed, at whatever step of recording a result with its hooks.

    There is one job per event and hook, and each of them has run: the result and the job of the
    hook are stored in one transaction.
    """
    queue.configure(backoff_base="1", backoff_max="0.05")
    prefix = queue.folder / "trace"
    report_all(queue)
    acknowledged = _start_afresh(queue)
    pool = ("worker", "start", "--drain", "--count", "1")
    assert strace(queue, recording(prefix), *pool).code == 0
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 8):
        acknowledged = _start_afresh(queue)
        kill_once(queue, point, *pool)
        queue.drain(workers=1)
        assert_nothing_lost_nothing_twice(queue, acknowledged)
        assert_each_event_is_reported(queue)
    assert_sound(queue)


def test_a_cancel_killed_anywhere_is_reported_with_what_it_did(queue: Queue) -> None:
    """The job is cancelled and its hooks are there, or neither."""
    report_all(queue)
    queue.add("true", id="traced")
    prefix = queue.folder / "trace"
    assert strace(queue, recording(prefix), "cancel", "traced").code == 0
    every = points(prefix, queue)
    assert len(every) > 10
    for number, point in enumerate(sample(every, 10)):
        job = queue.add("true", id=f"j{number}", queue="idle", priority=-1)
        strace(queue, point.inject(_KILL), "cancel", job)
        hooks = queue.storage.hook_jobs_of(queue.get(job))
        events = [hook.env["QUEUECTL_EVENT"] for hook in hooks]
        if queue.state(job) == "cancelled":
            assert (point, events[:1]) == (point, ["job.cancelled"])
        else:
            assert (point, events) == (point, [])
        queue.close_storage()
    queue.drain(workers=1)
    assert_each_event_is_reported(queue)
    assert_sound(queue)


@pytest.mark.parametrize("hides", [False, True])
def test_a_worker_killed_anywhere_is_replaced(queue: Queue, hides: bool) -> None:
    """The pool goes on by itself, at whatever step between claim and record it is killed.

    No second attempt runs beside a job that hides all its traces as soon as it begins.
    """
    queue.configure(backoff_base="1", backoff_max="0.05")
    prefix = queue.folder / "trace"
    supervisor = queue.start()
    _life_of_two_jobs(queue, recording(prefix), Path("/dev/null"), hides=hides)
    every = points(prefix, queue)
    assert len(every) > 50
    for point in sample(every, 8):
        log = queue.folder / "kills"
        log.unlink(missing_ok=True)
        _life_of_two_jobs(queue, point.inject(_KILL), log, hides=hides)
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0
    assert_sound(queue)


def _are_over(queue: Queue, ids: list[str]) -> bool:
    return all(queue.state(job) in ("completed", "dead") for job in ids)


def _life_of_two_jobs(queue: Queue, options: list[str], log: Path, *, hides: bool) -> None:
    """Trace the only worker while it runs two jobs; both must end as they should."""
    worker = queue.worker()["pid"]  # not the dead one, whose lock its replacement may still hold
    tracer = Tracer(queue, [*options, "-p", str(worker)], log)
    try:
        tracer.attached(worker)
        acknowledged = _start_afresh(queue, hides=hides)
        wait_until(lambda: tracer.has_killed or _are_over(queue, acknowledged), what="a kill")
    finally:
        # One kill is enough: each attempt of a job would come to the same point.
        tracer.detach()
    wait_until(lambda: _are_over(queue, acknowledged), what="the jobs to end")
    assert_nothing_lost_nothing_twice(queue, acknowledged)
    assert_all_counted(queue)

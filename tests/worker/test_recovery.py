"""Recovering the job of a dead worker: which workers are dead, and what becomes of the job."""

from __future__ import annotations

import builtins
import errno
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from queuectl.core.errors import QueueBusy
from queuectl.core.models import Claim, Worker
from queuectl.core.times import utcnow
from queuectl.host import lockfiles, processes
from queuectl.runner import process_tree
from queuectl.runner.output_log import OutputLog
from queuectl.worker.recovery import AdoptedJob, Recovery
from support.held import HELD
from support.processes import alive, linux_only
from support.queue import Queue
from support.recovery import recovery_by, take_over_missing
from support.waiting import wait_until


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_stopped_worker_is_not_taken_for_dead(queue: Queue) -> None:
    """However long a worker is stopped (SIGSTOP), no other worker takes its job."""
    job = queue.add(HELD)
    queue.start()
    queue.pid("running")
    worker = queue.worker()
    os.kill(worker["pid"], signal.SIGSTOP)
    try:
        _look_for_dead_workers(queue)
        held = queue.get(job)
        assert (held.state.value, held.locked_by) == ("processing", worker["id"])
    finally:
        os.kill(worker["pid"], signal.SIGCONT)
    queue.let_go()
    queue.until(job, "completed")
    assert queue.outcomes(job) == ["ok"]


@linux_only
@pytest.mark.parametrize("lives", [True, False])
def test_a_lock_file_that_was_removed_proves_nothing(queue: Queue, lives: bool) -> None:
    """Without the file the process decides: if it lives it keeps its job, else the job is lost."""
    queue.configure(on_worker_death="kill")
    job = queue.add(HELD)
    supervisor = queue.start()
    running = queue.pid("running")
    worker = queue.worker()
    Path(queue.files.workers, worker["id"] + ".lock").unlink()
    if not lives:
        os.kill(supervisor.pid, signal.SIGKILL)
        supervisor.wait()
        _kill(worker["pid"])
        wait_until(lambda: not alive(worker["pid"]))
    _look_for_dead_workers(queue)

    assert queue.outcomes(job) == [None if lives else "lost"]
    assert alive(running) is lives
    if lives:
        assert queue.get(job).locked_by == worker["id"]
        queue.let_go()
        queue.until(job, "completed")


def _look_for_dead_workers(queue: Queue) -> None:
    """Do everything that finds dead workers: the first look of a worker, and a pool's scan."""
    for _ in range(2):
        queue.drain("--queue", "other")
    assert take_over_missing(_recovery(queue)) == []


def _recovery(queue: Queue, lock: Any = None) -> Recovery:
    return recovery_by("w-1", queue.storage, lock)


@pytest.fixture
def lock(queue: Queue) -> Iterator[lockfiles.ProcessLock]:
    """The lock file of the worker w-1."""
    queue.storage  # noqa: B018 (makes the queue)
    taken = lockfiles.ProcessLock.take(queue.files, "w-1", {})
    yield taken
    taken.remove()


@linux_only
@pytest.mark.parametrize(("boot", "ends"), [("this boot", True), ("another boot", False)])
def test_a_pid_of_another_boot_is_left_alone(queue: Queue, boot: str, ends: bool) -> None:
    """Regression: after a reboot another process may have the same PID and start ticks.

    The job is recorded as lost either way.
    """
    queue.configure(on_worker_death="kill")
    job = queue.add("true")
    boot_id = processes.boot_id() if boot == "this boot" else "0" * 36
    claim = _claim_of_dead_worker(queue, boot_id)
    other = subprocess.Popen(["sleep", "300"], start_new_session=True)
    _leave_lock_file(queue, claim, other.pid)
    try:
        _recovery(queue).take_over("gone-1")
        assert queue.outcomes(job) == ["lost"]
        assert alive(other.pid) is not ends
    finally:
        other.kill()
        other.wait()


def _claim_of_dead_worker(
    queue: Queue, boot_id: str | None, *, host: str = os.uname().nodename
) -> Claim:
    """Return the claim of the worker gone-1, whose process is gone."""
    queue.storage.register_worker(Worker("gone-1", "gone", 1 << 22, 1, boot_id, host, (), utcnow()))
    claim = queue.storage.claim("gone-1", now=utcnow())
    assert claim is not None
    return claim


@linux_only
def test_a_lock_file_of_another_user_does_not_stop_the_other_recoveries(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a file that only another user of a shared queue can open ended every worker."""
    waiting = queue.add_many("true", "true", max_retries=1)
    for dead in ("gone-1", "gone-2"):
        queue.storage.register_worker(Worker(dead, "gone", 1 << 22, 1, "no", "h", (), utcnow()))
        assert queue.storage.claim(dead, now=utcnow()) is not None
    lockfiles.make_stale(queue.storage.files, "gone-1")
    can_open = lockfiles._open
    monkeypatch.setattr(
        lockfiles, "_open", lambda path: None if "gone-1" in path else can_open(path)
    )

    assert take_over_missing(_recovery(queue)) == []
    assert [queue.outcomes(job) for job in waiting] == [[None], ["lost"]]


def _leave_lock_file(queue: Queue, claim: Claim, pid: int) -> None:
    lock = lockfiles.ProcessLock.take(queue.files, "gone-1", {})
    ticks = processes.start_ticks(pid)
    lock.show_job(lockfiles.JobProcess(claim.execution_id, pid, ticks, "gone-1"))
    lock.close()


def _mark(queue: Queue, claim: Claim) -> str:
    return f"{queue.storage.queue_id}/{claim.execution_id}"


def _leader(queue: Queue, claim: Claim, *words: str) -> subprocess.Popen[bytes]:
    """Start a process that has the mark of a claimed job."""
    environ = {"QUEUECTL_EXECUTION": _mark(queue, claim), "PATH": os.defpath}
    return subprocess.Popen(words or ("sleep", "300"), start_new_session=True, env=environ)


@linux_only
@pytest.mark.parametrize("has_lock_file", [True, False])
def test_an_adopted_job_is_watched_though_the_dead_worker_cannot_be_forgotten(
    queue: Queue, lock: lockfiles.ProcessLock, monkeypatch: pytest.MonkeyPatch, has_lock_file: bool
) -> None:
    """Regression: if the queue was busy just then, the worker forgot the job that it adopted."""
    job = queue.add("true")
    claim = _claim_of_dead_worker(queue, processes.boot_id())
    leader = _leader(queue, claim)

    def take_over() -> AdoptedJob | None:
        if has_lock_file:
            return _recovery(queue, lock).take_over("gone-1")
        return next(iter(take_over_missing(_recovery(queue, lock))), None)

    def busy(*_: Any, **__: Any) -> None:
        raise QueueBusy("the queue stayed busy")

    try:
        if has_lock_file:
            _leave_lock_file(queue, claim, leader.pid)
        monkeypatch.setattr(queue.storage, "forget_worker", busy)
        adopted = take_over()
        monkeypatch.undo()
        assert adopted is not None
        assert (adopted.claim.job.id, adopted.leader.pid) == (job, leader.pid)
        assert queue.get(job).locked_by == "w-1"

        # The dead worker is still known, and is forgotten by the next recovery.
        assert _recovery(queue, lock).take_over("gone-1") is None
        assert queue.get(job).locked_by == "w-1"
        assert [one.id for one in queue.storage.workers()] == []
        assert lockfiles.owners(queue.files) == ["w-1"]
    finally:
        leader.kill()
        leader.wait()


@linux_only
@pytest.mark.parametrize("is_noted", [True, False])
def test_a_process_that_a_job_starts_at_once_is_not_taken_for_the_job(
    queue: Queue, lock: lockfiles.ProcessLock, monkeypatch: pytest.MonkeyPatch, is_noted: bool
) -> None:
    """Regression: of several sessions that began in the same clock tick any one was taken.

    If it was not the noted process, the running job was killed and recorded as lost.
    """
    queue.add("true")
    claim = _claim_of_dead_worker(queue, processes.boot_id())
    sessions = "setsid sleep 300 & " * 8
    leader = _leader(queue, claim, "sh", "-c", f"{sessions} echo > {queue.work}/begun; wait")
    queue.text("begun")
    noted = lockfiles.ProcessLock.take(queue.files, "gone-1", {})
    if is_noted:
        noted.show_job(lockfiles.JobProcess(claim.execution_id, leader.pid, None, "gone-1"))
    noted.close()
    living = processes.living
    ticks = processes.start_ticks(leader.pid)
    monkeypatch.setattr(
        processes,
        "living",
        lambda *since: (one._replace(start_ticks=ticks) for one in living(*since)),
    )
    try:
        adopted = _recovery(queue, lock).take_over("gone-1")
        assert adopted is not None
        assert adopted.leader.pid == leader.pid
    finally:
        monkeypatch.undo()
        process_tree.end(
            process_tree.AttemptProcesses(frozenset([_mark(queue, claim)]), leader=leader.pid),
            0.1,
            time.sleep,
        )
        leader.wait()


@linux_only
@pytest.mark.parametrize("is_noted", [True, False])
def test_no_running_job_is_lost_because_no_descriptor_is_free(
    queue: Queue, lock: lockfiles.ProcessLock, monkeypatch: pytest.MonkeyPatch, is_noted: bool
) -> None:
    """Regression: if a file in /proc could not be opened, its process was taken for dead.

    Then the running job was killed and recorded as lost.
    """
    job = queue.add("true")
    claim = _claim_of_dead_worker(queue, processes.boot_id())
    leader = _leader(queue, claim)
    ticks = processes.start_ticks(leader.pid)
    noted = lockfiles.ProcessLock.take(queue.files, "gone-1", {})
    noted.show_job(
        lockfiles.JobProcess(claim.execution_id, leader.pid, ticks if is_noted else None, "gone-1")
    )
    noted.close()
    proc = Path("/proc")
    failing = [proc / "sys/kernel/random/boot_id", proc / f"{leader.pid}/stat"]
    if not is_noted:
        failing = [proc / f"{leader.pid}/stat", proc / f"{leader.pid}/environ"]

    def failing_once(can_open: Any) -> Any:
        def opened(path: Any, *args: Any, **options: Any) -> Any:
            if failing and str(path) == str(failing[0]):
                failing.pop(0)
                raise OSError(errno.ENFILE, "Too many open files in system")
            return can_open(path, *args, **options)

        return opened

    try:
        for module in (builtins, os):
            monkeypatch.setattr(module, "open", failing_once(module.open))
        for _ in range(2):
            with pytest.raises(OSError, match="Too many open files"):
                _recovery(queue, lock).take_over("gone-1")
        adopted = _recovery(queue, lock).take_over("gone-1")
        assert adopted is not None
        assert (adopted.leader.pid, adopted.leader.start_ticks) == (leader.pid, ticks)
        assert queue.outcomes(job) == [None]
        assert alive(leader.pid)
    finally:
        leader.kill()
        leader.wait()


@linux_only
def test_only_one_worker_recovers_a_job_without_a_lock_file(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: two workers took each other for leftover processes of the lost job."""
    job = queue.add("true", max_retries=1)
    _claim_of_dead_worker(queue, processes.boot_id())
    take_over_claim = Recovery._take_over_claim

    def meanwhile(*args: Any) -> AdoptedJob | None:
        monkeypatch.undo()
        assert take_over_missing(_recovery(queue)) == []
        assert queue.outcomes(job) == [None]
        return take_over_claim(*args)

    monkeypatch.setattr(Recovery, "_take_over_claim", meanwhile)
    assert take_over_missing(_recovery(queue)) == []
    assert queue.outcomes(job) == ["lost"]
    assert lockfiles.owners(queue.files) == []


@linux_only
def test_a_job_that_was_never_started_has_printed_nothing(queue: Queue) -> None:
    """The log of its worker holds the output of an earlier job, which `logs` does not show."""
    queue.configure(backoff_base="1", backoff_max="100")
    job = queue.add("true")
    claim = _claim_of_dead_worker(queue, processes.boot_id())
    lock = lockfiles.ProcessLock.take(queue.files, "gone-1", {})
    lock.show_job(lockfiles.JobProcess(claim.execution_id - 1, 1 << 22, 1, "gone-1"))
    Path(queue.files.worker_log("gone-1")).write_text("another's")
    shown = queue.run("logs", job).out
    lock.close()
    _recovery(queue).take_over("gone-1")

    (attempt,) = queue.attempts(job)
    assert attempt.outcome is not None
    assert (attempt.outcome.value, attempt.output.size_bytes) == ("lost", 0)
    assert (shown, queue.run("logs", job).out) == ("", "")


@linux_only
def test_a_job_in_another_container_is_not_run_again(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a job that runs in a container other than ours was recorded as lost."""
    job = queue.add("true", max_retries=1)
    claim = _claim_of_dead_worker(queue, processes.boot_id(), host="another container")
    lock = lockfiles.ProcessLock.take(queue.files, "gone-1", {})
    # No process has this PID here.
    lock.show_job(lockfiles.JobProcess(claim.execution_id, 1 << 22, 1, "gone-1"))
    lock.close()
    log = OutputLog(queue.files.worker_log("gone-1"))
    # It would kill the process that holds the log, which is this test.
    monkeypatch.setattr(process_tree, "end", lambda *_: ())
    assert _recovery(queue).take_over("gone-1") is None
    assert (queue.state(job), queue.outcomes(job)) == ("processing", [None])
    assert lockfiles.owners(queue.files) == ["gone-1"]

    log.close()
    _recovery(queue).take_over("gone-1")
    assert queue.outcomes(job) == ["lost"]
    assert lockfiles.owners(queue.files) == []

"""System calls of workers and supervisors that fail, once or as long as strace is attached."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Callable

import pytest

from queuectl.core.models import Worker
from support.calls import COMMAND
from support.held import HELD
from support.history import assert_nothing_lost_nothing_twice, assert_sound, keeping_a_ledger
from support.hooked import assert_each_event_is_reported, report_all
from support.processes import alive
from support.queue import Queue
from support.tracing import (
    LONG,
    Fault,
    Point,
    Tracer,
    announced,
    faults,
    needs_strace,
    points,
    recording,
    sample,
)
from support.waiting import wait_until

pytestmark = [pytest.mark.on_disk, needs_strace, pytest.mark.timeout(3600)]

_LIMIT_BYTES = 65536
# Outputs that are kept in the row, in a file, and in a file without its middle.
_COMMANDS = ["echo printed", "head -c 20000 /dev/zero", "head -c 100000 /dev/zero; sleep 0.1"]
_FOR_GOOD_TIMES = 3
"""The number of failures after which a lasting fault is removed."""


@pytest.fixture(autouse=True)
def _patience(queue: Queue) -> None:
    queue.configure(
        backoff_base="1", backoff_max="0.05", kill_grace="1", output_limit=str(_LIMIT_BYTES)
    )


def _log(queue: Queue) -> Path:
    return queue.folder / "workers.log"


def _assert_no_crash(queue: Queue, fault: Fault) -> None:
    if fault.point.call == "write":
        return  # then the pipe for signals cannot be written either, and Python prints an error
    text = _log(queue).read_text() if _log(queue).exists() else ""
    assert (fault, "Traceback" in text) == (fault, False), text[-3000:]


def _worker(queue: Queue, job: str) -> Worker:
    """Return the worker of the last attempt of a job."""
    worker = queue.attempts(job)[-1].worker
    return next(one for one in queue.storage.workers() if one.id == worker)


def _are_over(queue: Queue, ids: list[str]) -> bool:
    return all(queue.state(job) in ("completed", "dead") for job in ids)


def _tell_to_leave(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:  # it is gone
        pass


class _Trial:
    """A traced process whose calls are recorded, or fail a number of times."""

    def __init__(
        self, queue: Queue, options: list[str], target: list[str], *, follow: bool, times: int
    ) -> None:
        self._log = queue.folder / "faults"
        self._log.unlink(missing_ok=True)
        log = self._log if times else Path("/dev/null")
        self._times = times
        self.tracer = Tracer(queue, [*options, *target], log, follow=follow)

    def __enter__(self) -> _Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self.tracer.detach()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for the condition, or until the fault has happened often enough."""
        wait_until(lambda: self.is_enough or condition(), what=what)

    @property
    def is_enough(self) -> bool:
        """Whether the fault is to be removed now, or no process is left that it could hit."""
        return self.tracer.is_over or bool(self._times and self.tracer.injected >= self._times)


def _times(fault: Fault) -> int:
    return _FOR_GOOD_TIMES if fault.for_good else 1


def _life(queue: Queue, options: list[str], times: int) -> int:
    """Trace the only worker while it runs three jobs and exits; the jobs must end as they should.

    Returns its PID.
    """
    job = queue.add("true")
    queue.until(job, "completed")
    pid = _worker(queue, job).pid
    # Without its jobs: they would hit the fault again at each attempt.
    with _Trial(queue, options, ["-p", str(pid)], follow=False, times=times) as trial:
        trial.tracer.attached(pid)
        (queue.work / "ledger").unlink(missing_ok=True)
        ids = queue.add_many(*map(keeping_a_ledger, _COMMANDS), max_retries=20)
        trial.until(lambda: _are_over(queue, ids), "the jobs, or a fault")
        if not trial.is_enough:
            _tell_to_leave(pid)
            trial.until(lambda: not alive(pid), "the worker to exit, or a fault")
    wait_until(lambda: _are_over(queue, ids), what="the jobs to end")
    _tell_to_leave(pid)
    wait_until(lambda: not alive(pid), what="the worker to exit")
    assert_nothing_lost_nothing_twice(queue, ids)
    return pid


def test_jobs_whose_worker_meets_a_fault_run_once(queue: Queue) -> None:
    """Whichever call of their worker fails, once or for a while: they run, once at a time.

    The worker goes on or is replaced, and prints no traceback.
    """
    prefix = queue.folder / "trace"
    supervisor = queue.start()
    pid = _life(queue, recording(prefix), 0)
    for fault in announced(faults(points(prefix, queue, of=str(pid)))):
        _log(queue).write_text("")
        _life(queue, fault.options, _times(fault))
        _assert_no_crash(queue, fault)
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0
    assert os.listdir(queue.files.workers) == []
    assert_sound(queue)


def test_a_worker_that_meets_a_fault_loses_no_hook(queue: Queue) -> None:
    """Whichever call fails, once or for a while: each result has its hooks, and these run."""
    report_all(queue)
    prefix = queue.folder / "trace"
    supervisor = queue.start()
    pid = _life(queue, recording(prefix), 0)
    for fault in announced(faults(points(prefix, queue, of=str(pid)))):
        _log(queue).write_text("")
        _life(queue, fault.options, _times(fault))
        _assert_no_crash(queue, fault)
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0
    queue.drain(workers=1)
    assert_each_event_is_reported(queue)
    assert_sound(queue)


@pytest.mark.parametrize("for_good", [False, True])
def test_a_shell_that_cannot_be_started_is_tried_again(queue: Queue, for_good: bool) -> None:
    """Each time that /bin/sh cannot be executed, the job is put back, and no attempt is counted.

    Prevents a bug: a host that was out of processes for a moment used up all attempts of its jobs.
    """
    supervisor = queue.start()
    first = queue.add("true")
    queue.until(first, "completed")
    pid = _worker(queue, first).pid
    texts = [
        ("EAGAIN", "Resource temporarily unavailable"),
        ("EIO", "Input/output error"),
        ("ENOMEM", "Cannot allocate memory"),
    ]
    for error, text in texts if LONG else texts[:1]:
        # The first call of each process that the worker starts.
        fault = Fault(Point("execve", 1), error, for_good)
        options = fault.options
        with _Trial(queue, options, ["-p", str(pid)], follow=True, times=_times(fault)) as trial:
            trial.tracer.attached(pid)
            (queue.work / "ledger").unlink(missing_ok=True)
            job = queue.add(keeping_a_ledger("echo printed"), max_retries=20)
            trial.until(lambda: False, "a fault")
        queue.until(job, "completed", "dead")
        assert_nothing_lost_nothing_twice(queue, [job])
        assert queue.outcomes(job) == ["ok"]
        assert queue.get(job).interruptions == 0
        assert f"cannot start jobs: {text}" in _log(queue).read_text()
        assert "jobs can be started again" in _log(queue).read_text()
        _assert_no_crash(queue, fault)
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0


_HELD_ONCE = f"[ -e go ] || {{ {HELD}; }}"


def _replacement(queue: Queue, supervisor: int, options: list[str], times: int) -> None:
    """Trace the supervisor and what it forks while it replaces a worker that ran a job."""
    for name in ("ledger", "go", "running"):
        (queue.work / name).unlink(missing_ok=True)
    job = queue.add(keeping_a_ledger(_HELD_ONCE), max_retries=20)
    queue.pid("running")
    worker = _worker(queue, job)
    with _Trial(queue, options, ["-p", str(supervisor)], follow=True, times=times) as trial:
        trial.tracer.attached(supervisor)
        os.kill(worker.pid, signal.SIGKILL)
        trial.until(lambda: queue.get(job).locked_by != worker.id, "the adoption, or a fault")
    queue.let_go()
    queue.until(job, "completed", "dead")
    assert_nothing_lost_nothing_twice(queue, [job])
    assert queue.outcomes(job) == ["ok"]


def test_a_recovery_that_meets_a_fault_succeeds_in_the_end(queue: Queue) -> None:
    """Whichever call of the replacement or its supervisor fails: the running job is adopted.

    Regression: if the database could not be opened for writing at that moment, a worker got a
    read-only connection, and tried to write with it for ever.
    """
    prefix = queue.folder / "trace"
    supervisor = queue.start()
    _replacement(queue, supervisor.pid, recording(prefix), 0)
    # The first thing that a worker opens is the database.
    regression = Fault(Point("openat", 1), "EMFILE", for_good=False)
    for fault in announced([regression, *sample(faults(points(prefix, queue)), 2)]):
        _log(queue).write_text("")
        _replacement(queue, supervisor.pid, fault.options, _times(fault))
        _assert_no_crash(queue, fault)
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0
    assert_sound(queue)


def test_a_pool_that_meets_a_fault_starts_or_leaves_its_jobs_to_the_next(queue: Queue) -> None:
    """Whichever call of `worker start` fails: the next one runs the jobs that it did not run."""
    prefix = queue.folder / "trace"
    pool = [COMMAND, "worker", "start", "--drain", "-q", "--log-file", str(_log(queue))]
    acknowledged = queue.add_many(keeping_a_ledger("true"))
    with _Trial(queue, recording(prefix), pool, follow=False, times=0) as trial:
        trial.until(lambda: False, "its end")
    for fault in announced(sample(faults(points(prefix, queue)), 3)):
        _log(queue).unlink(missing_ok=True)
        acknowledged += queue.add_many(keeping_a_ledger("true"), max_retries=20)
        with _Trial(queue, fault.options, pool, follow=False, times=_times(fault)) as trial:
            trial.until(lambda: False, "its end, or a fault")
        wait_until(lambda: not queue.pids(), what="the pool to end")
        if fault.point.call != "openat":  # the file may have been a module of Python
            _assert_no_crash(queue, fault)
    queue.drain(workers=1)
    assert_nothing_lost_nothing_twice(queue, acknowledged)
    assert_sound(queue)

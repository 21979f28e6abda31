"""Workers that live but can run nothing: each command that shows workers says so."""

from __future__ import annotations

import os
from typing import Iterator

import pytest

from queuectl.core.models import Worker
from queuectl.core.times import utcnow
from queuectl.host import lockfiles, processes
from support.queue import Queue

_PROBLEM = "cannot start jobs: Resource temporarily unavailable"


@pytest.fixture
def job(queue: Queue) -> Iterator[str]:
    """A job that waits for a worker whose host cannot start processes."""
    pid = os.getpid()
    job = queue.add("true")
    lock = lockfiles.ProcessLock.take(queue.files, "s-1", {"pid": pid})
    lock.describe({"pid": pid, "problem": _PROBLEM})
    ticks, boot = processes.start_ticks(pid), processes.boot_id()
    queue.storage.register_worker(Worker("s-1", "s", pid, ticks, boot, "h", (), utcnow()))
    yield job
    lock.remove()


@pytest.mark.parametrize("verb", ["why", "worker list", "status", "doctor", "check"])
def test_each_command_tells_why_a_worker_runs_nothing(queue: Queue, job: str, verb: str) -> None:
    """Prevents a bug: a worker that could run nothing seemed to be idle."""
    args = [*verb.split(), job] if verb == "why" else verb.split()
    done = queue.run(*args)

    assert _PROBLEM in done.out
    assert done.code == (verb == "check")


def test_check_warns_and_does_not_count_it(queue: Queue, job: str) -> None:
    """Too few other workers are worse than a warning."""
    assert queue.run("check", "--max-pending", "5").code == 1
    done = queue.run("check", "--min-workers", "1")

    assert done.code == 2
    assert done.out.startswith(
        f"QUEUECTL CRITICAL - 0 workers (at least 1); worker s-1: {_PROBLEM} | "
    )


def test_programs_get_the_problem_as_a_key(queue: Queue, job: str) -> None:
    """It is null for a worker that can run jobs."""
    assert [worker["problem"] for worker in queue.json("worker", "list")] == [_PROBLEM]

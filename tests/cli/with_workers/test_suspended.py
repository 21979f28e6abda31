"""Workers that are stopped by Ctrl+Z or SIGSTOP: alive, but not idle."""

from __future__ import annotations

import os
import signal
import sys
from typing import Iterator

import pytest

from queuectl.host import processes
from queuectl.host.pools import living_pools, living_processes
from support.processes import alive, linux_only
from support.queue import Queue
from support.waiting import wait_until

pytestmark = linux_only


_JOB_CONTROL = """
import os, subprocess, sys
sys.exit(subprocess.Popen(sys.argv[1:], preexec_fn=os.setpgrp).wait())
"""


def _pids(queue: Queue) -> list[int]:
    """Return the PIDs of all supervisors and workers."""
    return [one.pid for one in living_processes(queue.files) if one.pid is not None]


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        os.kill(pid, number)


@pytest.fixture
def stopped(queue: Queue) -> Iterator[int]:
    """The PID of the only worker, which is stopped."""
    queue.start()
    pid = int(queue.worker()["pid"])
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: processes.is_suspended(pid))
    yield pid
    if alive(pid):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("verb", ["why", "worker list", "status", "doctor", "check"])
def test_each_command_tells_that_a_worker_is_stopped(queue: Queue, stopped: int, verb: str) -> None:
    """With what continues it. Prevents a bug: it was called alive and idle."""
    job = queue.add("true")
    done = queue.run(*verb.split(), *([job] if verb == "why" else []))

    assert f"stopped (kill -CONT {stopped})" in done.out
    assert done.code == (verb == "check")


def test_it_counts_as_no_worker(queue: Queue, stopped: int) -> None:
    """`check --min-workers` is critical."""
    assert queue.run("check", "--min-workers", "1").code == 2
    problem = f"stopped (kill -CONT {stopped})"
    assert [worker["problem"] for worker in queue.json("worker", "list")] == [problem]


@pytest.mark.parametrize("which", ["worker", "supervisor", "both"])
@pytest.mark.parametrize("options", [[], ["--now"]])
def test_worker_stop_continues_what_is_stopped(
    queue: Queue, which: str, options: list[str]
) -> None:
    """Prevents a bug: it waited for ever."""
    pool = queue.start()
    queue.worker()
    supervisors = [one.pid for one in living_pools(queue.files) if one.pid is not None]
    chosen = [
        pid
        for pid in _pids(queue)
        if which == "both" or (pid in supervisors) == (which != "worker")
    ]
    _send(chosen, signal.SIGSTOP)
    wait_until(lambda: all(map(processes.is_suspended, chosen)))

    queue.ok("worker", "stop", "--timeout", "20", *options)
    assert pool.wait(timeout=30) in (0, -signal.SIGQUIT)


def test_ctrl_z_at_a_busy_pool_keeps_nobody_from_writing(queue: Queue) -> None:
    """A worker lets go of the write lock before it stops.

    Prevents a bug: one that stopped in a transaction kept all others waiting for 30 s.
    """
    # With job control, as in a terminal: the kernel ignores SIGTSTP in a group that no shell of
    # its session can continue.
    queue.spawn("worker", "start", "-q", before=[sys.executable, "-c", _JOB_CONTROL])
    queue.worker()
    queue.add_many(*["true"] * 3000)
    pids = _pids(queue)
    assert len(pids) == 2
    for _ in range(8):
        _send(pids, signal.SIGTSTP)
        wait_until(lambda: all(map(processes.is_suspended, pids)))
        queue.ok("enqueue", "--priority", "-1", "true")
        _send(pids, signal.SIGCONT)
        wait_until(lambda: not any(map(processes.is_suspended, pids)))

    queue.ok("worker", "stop")

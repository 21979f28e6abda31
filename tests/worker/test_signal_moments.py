"""Signals at difficult moments, to a single worker, and from a terminal that was closed."""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
from contextlib import closing
from datetime import timedelta
from typing import Iterator, Sequence

import pytest

from queuectl.core.times import utcnow
from queuectl.host import wakeup
from queuectl.storage.write_lock import WriteLock
from support.calls import COMMAND
from support.held import HELD
from support.processes import alive, linux_only, waits_for_lock
from support.queue import Queue
from support.waiting import wait_until

pytestmark = linux_only

_HELD = HELD + "; echo x >> runs"
_INT, _TERM, _HUP, _QUIT = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT

# The signals that are sent to the whole foreground group, and the exit code of the supervisor.
_STOPS = [
    ((_INT,), 0),
    ((_TERM,), 0),
    ((_HUP,), 0),
    ((_HUP, _HUP), 0),
    ((_INT, _INT), -_INT),
    ((_TERM, _TERM), -_TERM),
    ((_QUIT,), -_QUIT),
]


@pytest.fixture
def lock(queue: Queue) -> Iterator[WriteLock]:
    """The write lock of the queue, to be held as by another process."""
    made = WriteLock(queue.files.write_lock)
    yield made
    made.close()


def _worker(queue: Queue) -> int:
    return int(queue.worker()["pid"])


def _send(queue: Queue, supervisor: subprocess.Popen[str], signals: Sequence[int]) -> None:
    log = queue.folder / "workers.log"
    for number, each in enumerate(signals):
        os.killpg(supervisor.pid, each)
        if number + 1 < len(signals):
            wait_until(lambda: "stopping" in log.read_text(), what="the first signal to be logged")


@pytest.mark.parametrize(("signals", "code"), _STOPS)
def test_a_signal_during_a_record_loses_no_result(
    queue: Queue, lock: WriteLock, signals: tuple[int, ...], code: int
) -> None:
    """The result of a command is written when the queue is free again, whatever was sent."""
    job = queue.add(_HELD)
    supervisor = queue.start()
    worker, running = _worker(queue), queue.pid("running")
    lock.acquire(30)
    queue.let_go()
    wait_until(lambda: not alive(running) and waits_for_lock(worker), what="the record")
    _send(queue, supervisor, signals)
    lock.release()

    assert supervisor.wait(timeout=60) == code
    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["ok"])
    assert (queue.work / "runs").read_text() == "x\n"
    assert queue.storage.workers() == []


@pytest.mark.parametrize("end", ["failed", "interrupted"])
def test_the_log_names_a_cancel_that_came_at_the_end_of_the_job(
    queue: Queue, lock: WriteLock, end: str
) -> None:
    """Regression: it said that the job runs again, or was put back, though it was cancelled."""
    job = queue.add(_HELD + "; exit 1")
    supervisor = queue.start()
    worker, running = _worker(queue), queue.pid("running")
    lock.acquire(30)
    if end == "failed":
        queue.let_go()
    else:
        supervisor.send_signal(_QUIT)
    wait_until(lambda: not alive(running) and waits_for_lock(worker), what="the record")
    with closing(sqlite3.connect(str(queue.database))) as connection:
        connection.execute("UPDATE jobs SET cancel_requested = 1")
        connection.commit()
    lock.release()
    queue.until(job, "cancelled")
    if end == "failed":
        supervisor.send_signal(_TERM)
    supervisor.wait(timeout=60)
    log = (queue.folder / "workers.log").read_text()

    assert f"{job} was cancelled\n" in log
    assert "runs again" not in log
    assert f"{job} was cut short" not in log


@pytest.mark.parametrize(("signals", "code"), _STOPS)
def test_a_signal_during_a_claim_loses_no_job(
    queue: Queue, lock: WriteLock, signals: tuple[int, ...], code: int
) -> None:
    """Whether or not the claim succeeds, the job runs once to its end, or waits."""
    queue.configure(kill_grace="0.3")
    job = queue.add("true", run_at=utcnow() + timedelta(hours=1))
    supervisor = queue.start()
    worker = _worker(queue)
    lock.acquire(30)
    # We hold the lock, so we may write: the job becomes ready, and its claim waits for the lock.
    with closing(sqlite3.connect(str(queue.database))) as connection:
        connection.execute("UPDATE jobs SET state = 'pending'")
        connection.commit()
    wakeup.wake_up(queue.files)
    wait_until(lambda: waits_for_lock(worker), what="the claim")
    _send(queue, supervisor, signals)
    lock.release()

    assert supervisor.wait(timeout=60) == code
    assert queue.counts().get("processing") is None
    queue.drain()
    assert queue.state(job) == "completed"
    assert queue.outcomes(job).count("ok") == 1
    assert queue.get(job).attempts == 1


@pytest.mark.parametrize("signals", [(_INT,), (_HUP,), (_INT, _INT), (_HUP, _HUP)])
def test_a_worker_ignores_the_signals_of_a_terminal(queue: Queue, signals: tuple[int, ...]) -> None:
    """INT and HUP are for the supervisor only: a worker goes on and claims more."""
    job = queue.add(_HELD)
    supervisor = queue.start()
    queue.pid("running")
    worker = _worker(queue)
    for each in signals:
        os.kill(worker, each)
    later = queue.add("true")
    queue.let_go()
    queue.until(later, "completed")

    assert queue.outcomes(job) == ["ok"]
    assert _worker(queue) == worker
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0


def test_a_worker_that_gets_term_twice_still_finishes_its_job(queue: Queue) -> None:
    """The second TERM changes nothing: the worker is replaced, and no job is lost."""
    job = queue.add(_HELD)
    supervisor = queue.start()
    queue.pid("running")
    worker = _worker(queue)
    os.kill(worker, _TERM)
    os.kill(worker, _TERM)
    queue.let_go()
    later = queue.add("true")
    queue.until(later, "completed")

    assert (queue.outcomes(job), queue.state(job)) == (["ok"], "completed")
    assert _worker(queue) != worker
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0


def test_a_worker_that_gets_quit_puts_its_job_back(queue: Queue) -> None:
    """The job is killed and put back, uncounted, and the worker is replaced.

    Regression: it was not replaced, and a pool of one worker ended without a message.
    """
    queue.configure(kill_grace="0.3")
    job = queue.add(_HELD)
    supervisor = queue.start()
    running = queue.pid("running")
    worker = _worker(queue)
    os.kill(worker, _QUIT)
    wait_until(lambda: not alive(worker) and not alive(running))
    queue.let_go()
    queue.until(job, "completed")

    assert (queue.outcomes(job), queue.get(job).attempts) == (["interrupted", "ok"], 1)
    assert _worker(queue) != worker
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0


def _on_a_terminal(queue: Queue, *words: str) -> tuple[int, int]:
    """Start a command as the session leader of a terminal; return its pid and our side of it.

    It forks, so no SQLite connection may be open in the test.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(queue.work)
        os.execve("/usr/bin/env", ["env", *words], dict(queue.env))
    return pid, terminal


def test_workers_finish_their_jobs_when_their_terminal_is_closed(queue: Queue) -> None:
    """The kernel sends HUP, and stderr is gone: the job is finished, and the exit code is 0.

    Regression: a log line that could not be written to the terminal made that exit 1.
    """
    job = queue.enqueue(_HELD)
    pid, terminal = _on_a_terminal(queue, COMMAND, "worker", "start")
    running = queue.pid("running")
    os.close(terminal)
    assert alive(running)
    queue.let_go()

    assert os.waitpid(pid, 0)[1] == 0
    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["ok"])


def test_workers_under_nohup_outlive_their_terminal(queue: Queue) -> None:
    """`nohup queuectl worker start` goes on when the terminal is closed; TERM stops it."""
    first = queue.enqueue("true")
    pid, terminal = _on_a_terminal(queue, "nohup", COMMAND, "worker", "start")
    queue.until(first, "completed")
    os.close(terminal)
    later = queue.add("true")
    queue.until(later, "completed")
    os.kill(pid, _TERM)

    assert os.waitpid(pid, 0)[1] == 0
    assert queue.outcomes(later) == ["ok"]

"""What is found of a job when its worker died near the job's own end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from queuectl.storage.write_lock import WriteLock
from support.adoption import NOTED, ledger, orphan, until_adopted
from support.held import HELD
from support.processes import alive, kill, linux_only
from support.queue import Queue
from support.waiting import wait_until

pytestmark = linux_only


@pytest.mark.parametrize("command", [NOTED + "exit 7", f"exec sh -c '{NOTED} exit 7'"])
def test_a_job_that_ends_before_its_heir_is_there(queue: Queue, command: str) -> None:
    """The supervisor stands still while worker and job end; then it says what it reaped."""
    job = queue.add(command, max_retries=1)
    supervisor = queue.start()
    running = queue.pid("running")
    os.kill(supervisor.pid, signal.SIGSTOP)
    kill(queue.worker()["pid"])
    queue.let_go()
    wait_until(lambda: not alive(running))
    os.kill(supervisor.pid, signal.SIGCONT)
    queue.until(job, "dead")

    assert (queue.outcomes(job), queue.get(job).exit_code) == (["exit"], 7)
    assert ledger(queue) == ["begin", "end"]


def test_adoption_leaves_no_file_behind(queue: Queue) -> None:
    """After the end of adopted jobs only the files of living processes are there."""
    job = queue.add(HELD)
    dead = orphan(queue, job, "all")
    queue.let_go()
    queue.until(job, "completed")
    queue.ok("worker", "stop")

    left = sorted(os.listdir(queue.files.workers) + os.listdir(queue.files.logs))
    assert left == [], f"the worker that was killed was {dead}"


@pytest.mark.parametrize("noted", ["", "sleep 0.5; "])
def test_what_a_job_left_running_is_not_taken_for_the_job(queue: Queue, noted: str) -> None:
    """Regression: of a job that had ended before its worker could note it, its daemon was adopted,
    ended by the timeout of the job, and the job run again.
    """
    queue.configure(backoff_base="1")
    job = queue.add(
        f"setsid sleep 300 & echo $! > daemon; {noted}echo run >> ledger; kill -9 $PPID; exit 3",
        max_retries=1,
        timeout=2.0,
    )
    queue.start()
    queue.until(job, "dead")
    daemon = queue.pid("daemon")
    lives = alive(daemon)
    kill(daemon)

    assert (queue.outcomes(job), queue.get(job).exit_code) == (["exit"], 3)
    assert lives


def test_what_an_adopted_job_leaves_running_is_its_own_affair(queue: Queue) -> None:
    """As with a living worker: it is kept, and `show` says so; key leftovers = kill ends it."""
    job = queue.add(f"setsid sleep 300 & echo $! > child; {HELD}")
    orphan(queue, job, "worker")
    queue.let_go()
    queue.until(job, "completed")
    child = queue.pid("child")

    assert [(one.outcome and one.outcome.value, one.leftovers) for one in queue.attempts(job)] == [
        ("ok", True)
    ]
    assert alive(child)
    os.kill(child, signal.SIGKILL)


def _is_waiting_for_a_lock(pid: int) -> bool:
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and str(pid) in line.split() for line in lines)


@pytest.mark.parametrize(("size", "limit"), [(100, "1MiB"), (20_000, "1MiB"), (200_000, "65536")])
def test_what_a_job_printed_is_kept_though_its_worker_dies_before_it_records(
    queue: Queue, size: int, limit: str
) -> None:
    """Regression: the worker had taken the output, and its heir found an empty file."""
    queue.configure(output_limit=limit)
    job = queue.add(f"{HELD}; head -c {size} /dev/zero | tr '\\0' x")
    queue.start()
    leader, worker = queue.pid("running"), queue.worker()
    lock = WriteLock(queue.files.write_lock)
    lock.acquire(10)
    try:
        queue.let_go()
        wait_until(lambda: not alive(leader), what="the job's end")
        wait_until(lambda: _is_waiting_for_a_lock(worker["pid"]), what="the record to be tried")
        kill(worker["pid"])
    finally:
        lock.close()
    queue.until(job, "completed")

    (attempt,) = queue.attempts(job)
    assert attempt.output.size_bytes == size
    assert attempt.output.truncated is (size > 100_000)
    printed = queue.run("logs", job).out
    if attempt.output.truncated:
        gap = f"\n[queuectl: {size - 65536} bytes not kept]\n"
        assert printed == "x" * 32768 + gap + "x" * 32768
    else:
        assert printed == "x" * size


def test_what_a_job_printed_that_ended_alone_is_kept_whole(queue: Queue) -> None:
    """Regression: of what nobody had watched, an heir kept 4 KiB."""
    job = queue.add(f"{HELD}; head -c 20000 /dev/zero | tr '\\0' x")
    orphan(queue, job, "all", restart=False)
    leader = queue.pid("running")
    queue.let_go()
    wait_until(lambda: not alive(leader), what="the job's end")
    queue.drain()

    (attempt,) = queue.attempts(job)
    assert (attempt.output.size_bytes, attempt.output.truncated) == (20_000, False)
    assert queue.run("logs", job).out == "x" * 20_000


def test_what_a_job_left_that_ended_before_its_heir_came_is_ended_too(queue: Queue) -> None:
    """Regression: key leftovers = kill was forgotten when the heir found only the job's word."""
    queue.configure(leftovers="kill")
    job = queue.add(f"setsid sleep 300 & echo $! > child; {HELD}")
    orphan(queue, job, "all", restart=False)
    leader, child = queue.pid("running"), queue.pid("child")
    queue.let_go()
    wait_until(lambda: not alive(leader), what="the job's end")
    assert alive(child)
    queue.drain()

    assert queue.outcomes(job) == ["ok"]
    assert queue.attempts(job)[0].leftovers is False
    assert not alive(child)


def test_what_only_other_containers_see_is_left_to_them(queue: Queue) -> None:
    """Regression: with the same host name, a job of another container was lost, and run again."""
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*apart, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no process namespace can be made here")
    job = queue.add(NOTED + "exit 3", max_retries=1)
    orphan(queue, job, "all", restart=False)
    pool = queue.start("--max-runtime", "2", before=apart)
    assert pool.wait(30) == 0
    assert queue.outcomes(job) == [None]
    queue.let_go()
    queue.start()
    queue.until(job, "dead")

    assert (queue.outcomes(job), ledger(queue)) == (["exit"], ["begin", "end"])


def test_a_status_that_cannot_be_written_ends_nobody(queue: Queue) -> None:
    """A planted folder in place of the status file costs the word, never the worker or the job."""
    job = queue.add(NOTED + "exit 7", max_retries=1)
    supervisor = queue.start()
    queue.pid("running")
    worker = queue.worker()
    status = Path(queue.files.worker_status(worker["id"]))
    status.unlink()
    status.mkdir()
    kill(worker["pid"])
    until_adopted(queue, job, worker["id"])
    queue.let_go()
    queue.until(job, "dead")

    # The supervisor reaped it and could not say so.
    assert queue.outcomes(job) == ["lost"]
    assert supervisor.poll() is None

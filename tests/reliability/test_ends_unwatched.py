"""What is found of a job when its worker died near the job's own end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from queuectl.storage.write_lock import WriteLock
from support.adoption import HELD, NOTED, ledger, orphan, until_adopted
from support.jobs import Jobs
from support.processes import alive, kill, linux_only
from support.queue import Queue
from support.shells import start_with
from support.waiting import wait_until

pytestmark = linux_only


@pytest.mark.parametrize("command", [NOTED + "exit 7", f"exec sh -c '{NOTED} exit 7'"])
def test_a_job_that_ends_before_its_heir_is_there(queue: Queue, jobs: Jobs, command: str) -> None:
    """The supervisor stands still while worker and job end; then it says what it reaped."""
    job = jobs.one(command, max_retries=1)
    supervisor = queue.start()
    running = jobs.pid("running")
    os.kill(supervisor.pid, signal.SIGSTOP)
    kill(queue.worker()["pid"])
    (queue.work / "go").touch()
    wait_until(lambda: not alive(running))
    os.kill(supervisor.pid, signal.SIGCONT)
    jobs.until(job, "dead")

    assert (jobs.outcomes(job), jobs.get(job).exit_code) == (["exit"], 7)
    assert ledger(queue) == ["begin", "end"]


def test_adoption_leaves_no_file_behind(queue: Queue, jobs: Jobs) -> None:
    """After the end of adopted jobs only the files of living processes are there."""
    job = jobs.one(HELD)
    dead = orphan(queue, jobs, job, "all")
    (queue.work / "go").touch()
    jobs.until(job, "completed")
    queue.ok("worker", "stop")

    left = sorted(os.listdir(queue.files.workers) + os.listdir(queue.files.logs))
    assert left == [], f"the worker that was killed was {dead}"


@pytest.mark.parametrize("noted", ["", "sleep 0.5; "])
def test_what_a_job_left_running_is_not_taken_for_the_job(
    queue: Queue, jobs: Jobs, noted: str
) -> None:
    """Regression: of a job that had ended before its worker could note it, its daemon was adopted,
    ended by the timeout of the job, and the job run again.
    """
    jobs.configure(backoff_base="1")
    job = jobs.one(
        f"setsid sleep 300 & echo $! > daemon; {noted}echo run >> ledger; kill -9 $PPID; exit 3",
        max_retries=1,
        timeout=2.0,
    )
    queue.start()
    jobs.until(job, "dead")
    daemon = jobs.pid("daemon")
    lives = alive(daemon)
    kill(daemon)

    assert (jobs.outcomes(job), jobs.get(job).exit_code) == (["exit"], 3)
    assert lives


def test_what_an_adopted_job_leaves_running_is_its_own_affair(queue: Queue, jobs: Jobs) -> None:
    """As with a living worker: it is kept, and `show` says so; key leftovers = kill ends it."""
    job = jobs.one(f"setsid sleep 300 & echo $! > child; {HELD}")
    orphan(queue, jobs, job, "worker")
    (queue.work / "go").touch()
    jobs.until(job, "completed")
    child = jobs.pid("child")

    assert [(one.outcome and one.outcome.value, one.leftovers) for one in jobs.attempts(job)] == [
        ("ok", True)
    ]
    assert alive(child)
    os.kill(child, signal.SIGKILL)


def _is_waiting_for_a_lock(pid: int) -> bool:
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and str(pid) in line.split() for line in lines)


@pytest.mark.parametrize(("size", "limit"), [(100, "1MiB"), (20_000, "1MiB"), (200_000, "65536")])
def test_what_a_job_printed_is_kept_though_its_worker_dies_before_it_records(
    queue: Queue, jobs: Jobs, size: int, limit: str
) -> None:
    """Regression: the worker had taken the output, and its heir found an empty file."""
    jobs.configure(output_limit=limit)
    job = jobs.one(f"{HELD}; head -c {size} /dev/zero | tr '\\0' x")
    queue.start()
    leader, worker = jobs.pid("running"), queue.worker()
    lock = WriteLock(queue.files.write_lock)
    lock.acquire(10)
    try:
        (queue.work / "go").touch()
        wait_until(lambda: not alive(leader), what="the job's end")
        wait_until(lambda: _is_waiting_for_a_lock(worker["pid"]), what="the record to be tried")
        kill(worker["pid"])
    finally:
        lock.close()
    jobs.until(job, "completed")

    (attempt,) = jobs.attempts(job)
    assert attempt.output.size_bytes == size
    assert attempt.output.truncated is (size > 100_000)
    printed = queue.run("logs", job).stdout
    if attempt.output.truncated:
        gap = f"\n[queuectl: {size - 65536} bytes not kept]\n"
        assert printed == "x" * 32768 + gap + "x" * 32768
    else:
        assert printed == "x" * size


def test_what_a_job_printed_that_ended_alone_is_kept_whole(queue: Queue, jobs: Jobs) -> None:
    """Regression: of what nobody had watched, an heir kept 4 KiB."""
    job = jobs.one(f"{HELD}; head -c 20000 /dev/zero | tr '\\0' x")
    orphan(queue, jobs, job, "all", restart=False)
    leader = jobs.pid("running")
    (queue.work / "go").touch()
    wait_until(lambda: not alive(leader), what="the job's end")
    queue.drain()

    (attempt,) = jobs.attempts(job)
    assert (attempt.output.size_bytes, attempt.output.truncated) == (20_000, False)
    assert queue.run("logs", job).stdout == "x" * 20_000


def test_what_a_job_left_that_ended_before_its_heir_came_is_ended_too(
    queue: Queue, jobs: Jobs
) -> None:
    """Regression: key leftovers = kill was forgotten when the heir found only the job's word."""
    jobs.configure(leftovers="kill")
    job = jobs.one(f"setsid sleep 300 & echo $! > child; {HELD}")
    orphan(queue, jobs, job, "all", restart=False)
    leader, child = jobs.pid("running"), jobs.pid("child")
    (queue.work / "go").touch()
    wait_until(lambda: not alive(leader), what="the job's end")
    assert alive(child)
    queue.drain()

    assert jobs.outcomes(job) == ["ok"]
    assert jobs.attempts(job)[0].leftovers is False
    assert not alive(child)


def test_what_only_other_containers_see_is_left_to_them(queue: Queue, jobs: Jobs) -> None:
    """Regression: with the same host name, a job of another container was lost, and run again."""
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*apart, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no process namespace can be made here")
    job = jobs.one(NOTED + "exit 3", max_retries=1)
    orphan(queue, jobs, job, "all", restart=False)
    pool = start_with(queue, apart, "--max-runtime", "2")
    assert pool.wait(30) == 0
    assert jobs.outcomes(job) == [None]
    (queue.work / "go").touch()
    queue.start()
    jobs.until(job, "dead")

    assert (jobs.outcomes(job), ledger(queue)) == (["exit"], ["begin", "end"])


def test_a_status_that_cannot_be_written_ends_nobody(queue: Queue, jobs: Jobs) -> None:
    """A planted folder in place of the status file costs the word, never the worker or the job."""
    job = jobs.one(NOTED + "exit 7", max_retries=1)
    supervisor = queue.start()
    jobs.pid("running")
    worker = queue.worker()
    status = Path(queue.files.worker_status(worker["id"]))
    status.unlink()
    status.mkdir()
    kill(worker["pid"])
    until_adopted(queue, jobs, job, worker["id"])
    (queue.work / "go").touch()
    jobs.until(job, "dead")

    # The supervisor reaped it and could not say so.
    assert jobs.outcomes(job) == ["lost"]
    assert supervisor.poll() is None

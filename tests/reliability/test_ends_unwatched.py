"""Jobs that end when no worker watches them, because their worker died shortly before."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from queuectl.storage.write_lock import WriteLock
from support.adoption import NOTED, ledger, orphan, until_adopted, until_noted
from support.held import HELD
from support.processes import alive, kill, linux_only, waits_for_lock
from support.queue import Queue
from support.waiting import wait_until

pytestmark = linux_only


@pytest.mark.parametrize("command", [NOTED + "exit 7", f"exec sh -c '{NOTED} exit 7'"])
def test_a_job_that_ends_before_its_adoption(queue: Queue, command: str) -> None:
    """The supervisor is stopped while worker and job end; then it reports the exit status."""
    job = queue.add(command, max_retries=1)
    supervisor = queue.start()
    running, worker = queue.pid("running"), queue.worker()
    until_noted(queue, worker["id"])
    os.kill(supervisor.pid, signal.SIGSTOP)
    kill(worker["pid"])
    queue.let_go()
    wait_until(lambda: not alive(running))
    os.kill(supervisor.pid, signal.SIGCONT)
    queue.until(job, "dead")

    assert (queue.outcomes(job), queue.get(job).exit_code) == (["exit"], 7)
    assert ledger(queue) == ["begin", "end"]


def test_adoption_leaves_no_file_behind(queue: Queue) -> None:
    """After the end of adopted jobs only files of living processes are left."""
    job = queue.add(HELD)
    dead = orphan(queue, job, "all")
    queue.let_go()
    queue.until(job, "completed")
    queue.ok("worker", "stop")

    left = sorted(os.listdir(queue.files.workers) + os.listdir(queue.files.logs))
    assert left == [], f"the worker that was killed was {dead}"


@pytest.mark.parametrize("noted", ["", "sleep 0.5; "])
def test_a_leftover_process_is_not_taken_for_the_job(queue: Queue, noted: str) -> None:
    """Regression: if a job ended before its worker could note it, its daemon was adopted.

    The timeout of the job killed the daemon, and the job was run again.
    """
    queue.configure(backoff_base="1")
    job = queue.add(
        f"setsid sleep 300 & echo $! > daemon; {noted}echo run >> ledger; kill -9 $PPID; exit 3",
        max_retries=1,
        timeout=40.0,
    )
    queue.start()
    queue.until(job, "dead")
    daemon = queue.pid("daemon")
    lives = alive(daemon)
    kill(daemon)

    assert (queue.outcomes(job), queue.get(job).exit_code) == (["exit"], 3)
    assert lives


def test_leftover_processes_of_an_adopted_job_are_not_killed(queue: Queue) -> None:
    """As with a living worker: they run on, and the attempt says so."""
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


@pytest.mark.parametrize(("size", "limit"), [(100, "1MiB"), (20_000, "1MiB"), (200_000, "65536")])
def test_the_output_is_kept_if_the_worker_dies_before_it_records(
    queue: Queue, size: int, limit: str
) -> None:
    """Regression: the worker had collected the output, and its replacement found an empty file."""
    queue.configure(output_limit=limit)
    job = queue.add(f"{HELD}; head -c {size} /dev/zero | tr '\\0' x")
    queue.start()
    leader, worker = queue.pid("running"), queue.worker()
    lock = WriteLock(queue.files.write_lock)
    lock.acquire(30)
    try:
        queue.let_go()
        wait_until(lambda: not alive(leader), what="the end of the job")
        wait_until(lambda: waits_for_lock(worker["pid"]), what="the record")
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


def test_the_output_of_a_job_that_ended_alone_is_kept_completely(queue: Queue) -> None:
    """Regression: only 4 KiB were kept if no worker had watched the job."""
    job = queue.add(f"{HELD}; head -c 20000 /dev/zero | tr '\\0' x")
    orphan(queue, job, "all", restart=False)
    leader = queue.pid("running")
    queue.let_go()
    wait_until(lambda: not alive(leader), what="the end of the job")
    queue.drain()

    (attempt,) = queue.attempts(job)
    assert (attempt.output.size_bytes, attempt.output.truncated) == (20_000, False)
    assert queue.run("logs", job).out == "x" * 20_000


def test_leftovers_of_a_job_that_ended_alone_are_killed_if_configured(queue: Queue) -> None:
    """Regression: the key leftovers = kill had no effect on a job that ended without a worker."""
    queue.configure(leftovers="kill")
    job = queue.add(f"setsid sleep 300 & echo $! > child; {HELD}")
    orphan(queue, job, "all", restart=False)
    leader, child = queue.pid("running"), queue.pid("child")
    queue.let_go()
    wait_until(lambda: not alive(leader), what="the end of the job")
    assert alive(child)
    queue.drain()

    assert queue.outcomes(job) == ["ok"]
    assert queue.attempts(job)[0].leftovers is False
    assert not alive(child)


def test_a_job_of_another_container_is_left_to_that(queue: Queue) -> None:
    """Regression: with the same host name, a job in another container was lost and run again."""
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*apart, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no process namespace can be made here")
    job = queue.add(NOTED + "exit 3", max_retries=1)
    orphan(queue, job, "all", restart=False)
    pool = queue.spawn("worker", "start", "--max-runtime", "2", before=apart)
    assert pool.wait(30) == 0
    assert queue.outcomes(job) == [None]
    queue.let_go()
    queue.start()
    queue.until(job, "dead")

    assert (queue.outcomes(job), ledger(queue)) == (["exit"], ["begin", "end"])


@pytest.mark.parametrize(("content", "outcome"), [([], "exit"), (["file"], "lost")])
def test_a_folder_in_place_of_the_status_file_ends_no_process(
    queue: Queue, content: list[str], outcome: str
) -> None:
    """The supervisor replaces an empty one; a full one costs the exit status, and nothing else."""
    job = queue.add(NOTED + "exit 7", max_retries=1)
    supervisor = queue.start()
    queue.pid("running")
    worker = queue.worker()
    status = Path(queue.files.worker_status(worker["id"]))
    status.unlink()
    status.mkdir()
    for name in content:
        (status / name).touch()
    kill(worker["pid"])
    until_adopted(queue, job, worker["id"])
    queue.let_go()
    queue.until(job, "dead")

    assert queue.outcomes(job) == [outcome]
    assert supervisor.poll() is None

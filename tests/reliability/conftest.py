"""What the tests of reliability share: jobs that are held, and other shells."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Iterator, Mapping, Sequence

import pytest
from conftest import COMMAND, Queue, alive, on_small_disk, wait_until
from processes.conftest import Jobs, jobs, linux_only

from queuectl.host import lockfiles

__all__ = ["Jobs", "jobs", "linux_only"]

HELD = "echo $$ > running; until [ -e go ]; do sleep 0.02; done"
"""Runs until the file `go` is there."""


def own_shell() -> str:
    """Return the name of the shell that /bin/sh is on this machine."""
    return Path("/bin/sh").resolve().name


def in_shell(shell: str) -> list[str]:
    """Return what to put before a command so that its /bin/sh is another shell; skip if that
    cannot be had.
    """
    if own_shell() == shell:
        return []
    there = shutil.which(shell)
    if there is None or sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip(f"/bin/sh is {own_shell()}, and cannot be made {shell} for a test")
    swap = f'mount --bind {there} {Path("/bin/sh").resolve()} && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", swap, "-"]
    if subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    return words


def start_with(
    queue: Queue,
    before: Sequence[str],
    *args: str,
    workers: int = 1,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Run `BEFORE queuectl worker start ARGS`; return once its workers are there."""
    known = {worker["id"] for worker in queue.workers()}
    with (queue.folder / "workers.log").open("a") as log:
        process = subprocess.Popen(
            [*before, COMMAND, "worker", "start", "--count", str(workers), *args],
            env={**queue.env, **(env or {})},
            cwd=str(queue.work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            text=True,
        )
    queue.processes.append(process)
    wait_until(
        lambda: len({worker["id"] for worker in queue.workers()} - known) >= workers,
        what="the workers",
    )
    return process


NOTED = "echo begin >> ledger; " + HELD + "; echo end >> ledger; "
"""It notes that it began and that it ended, so that a second run or a cut one shows."""


def kill(*pids: int) -> None:
    """Kill processes, and wait until they are gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, pids)), what="the killed to be gone")


def ledger(queue: Queue) -> list[str]:
    """Return what the jobs noted."""
    return (queue.work / "ledger").read_text().split()


def until_adopted(queue: Queue, jobs: Jobs, job: str, dead: str) -> str:
    """Wait until another living worker answers for a job; return its id."""

    def heir() -> str:
        holder = jobs.get(job).locked_by
        if holder in (None, dead):
            return ""
        return str(holder) if lockfiles.is_alive(queue.files, str(holder)) else ""

    return wait_until(heir, what=f"an heir of {dead}")


def orphan(
    queue: Queue, jobs: Jobs, job: str, dies: str, shell: str = "", *, restart: bool = True
) -> str:
    """Start a pool, kill so much of it while a job runs, start another if need be.

    Returns the id of the worker that was killed; unless there is none, an heir has the job then.
    """
    before = in_shell(shell) if shell else []
    supervisor = start_with(queue, before)
    running = jobs.pid("running")
    worker = queue.worker()

    def has_noted() -> bool:
        seen = lockfiles.job_process(queue.files, worker["id"])
        return seen is not None and seen.start_ticks is not None

    # A job is there before its worker has noted all of it.
    wait_until(has_noted, what="the worker to note its job")
    if dies == "all":
        kill(supervisor.pid, worker["pid"])
        supervisor.wait()
        if restart:
            start_with(queue, before)
    else:
        kill(worker["pid"])
    if restart:
        until_adopted(queue, jobs, job, worker["id"])
    assert alive(running), "the job was not left alone"
    return str(worker["id"])


@pytest.fixture
def small_disk(queue: Queue) -> Iterator[Path]:
    """Put the queue on a file system of 2 MiB."""
    with on_small_disk(queue, "2m") as disk:
        yield disk

"""Running jobs whose worker was killed."""

from __future__ import annotations

import subprocess

from queuectl.host import lockfiles
from support.held import HELD
from support.processes import alive, kill
from support.queue import Queue
from support.shells import in_shell
from support.waiting import wait_until

NOTED = "echo begin >> ledger; " + HELD + "; echo end >> ledger; "
"""Writes its begin and its end into `ledger`, which shows a second attempt, or a killed one."""


def ledger(queue: Queue) -> list[str]:
    """Return what the jobs have written into `ledger`."""
    return (queue.work / "ledger").read_text().split()


def until_adopted(queue: Queue, job: str, dead: str) -> str:
    """Wait until a living worker other than `dead` has the job; return its id."""

    def adopter() -> str:
        holder = queue.get(job).locked_by
        if holder in (None, dead):
            return ""
        return str(holder) if lockfiles.is_alive(queue.files, str(holder)) else ""

    return wait_until(adopter, what=f"the adoption of the job of {dead}")


def until_noted(queue: Queue, worker: str) -> None:
    """Wait until a worker has noted its job completely: the job runs a little before that."""

    def has_noted() -> bool:
        seen = lockfiles.job_process(queue.files, worker)
        return seen is not None and seen.start_ticks is not None

    wait_until(has_noted, what="the worker to note its job")


def orphan(
    queue: Queue,
    job: str,
    dies: str,
    shell: str = "",
    *,
    restart: bool = True,
    started: subprocess.Popen[str] | None = None,
) -> str:
    """Start a pool and kill its worker while a job runs; return the id of that worker.

    With `started`, that pool is used and none started.

    If `dies` is "all" its supervisor is killed as well, and another pool started. Unless that is
    prevented by `restart`, the job has been adopted when this returns.
    """
    before = in_shell(shell) if shell else []
    supervisor = started or queue.start(before=before)
    running = queue.pid("running")
    worker = queue.worker()
    until_noted(queue, worker["id"])
    if dies == "all":
        kill(supervisor.pid, worker["pid"])
        supervisor.wait()
        if restart:
            queue.start(before=before)
    else:
        kill(worker["pid"])
    if restart:
        until_adopted(queue, job, worker["id"])
    assert alive(running), "the job was killed"
    return str(worker["id"])

"""Running jobs whose worker was killed."""

from __future__ import annotations

from queuectl.host import lockfiles
from support.held import HELD
from support.processes import alive, kill
from support.queue import Queue
from support.shells import in_shell
from support.waiting import wait_until

NOTED = "echo begin >> ledger; " + HELD + "; echo end >> ledger; "
"""It notes that it began and that it ended, so that a second run or a cut one shows."""


def ledger(queue: Queue) -> list[str]:
    """Return what the jobs noted."""
    return (queue.work / "ledger").read_text().split()


def until_adopted(queue: Queue, job: str, dead: str) -> str:
    """Wait until another living worker answers for a job; return its id."""

    def heir() -> str:
        holder = queue.get(job).locked_by
        if holder in (None, dead):
            return ""
        return str(holder) if lockfiles.is_alive(queue.files, str(holder)) else ""

    return wait_until(heir, what=f"an heir of {dead}")


def orphan(queue: Queue, job: str, dies: str, shell: str = "", *, restart: bool = True) -> str:
    """Start a pool, kill so much of it while a job runs, start another if need be.

    Returns the id of the worker that was killed; unless there is none, an heir has the job then.
    """
    before = in_shell(shell) if shell else []
    supervisor = queue.start(before=before)
    running = queue.pid("running")
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
            queue.start(before=before)
    else:
        kill(worker["pid"])
    if restart:
        until_adopted(queue, job, worker["id"])
    assert alive(running), "the job was not left alone"
    return str(worker["id"])

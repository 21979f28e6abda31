"""Reaping processes whose worker is dead, so that the exit status of their job is not lost."""

from __future__ import annotations

import os
from typing import Iterable

from queuectl.core.errors import QueueError
from queuectl.host import lockfiles, processes
from queuectl.host.files import QueueFiles, log_owner
from queuectl.host.filesystem import make_folder, remove_quietly
from queuectl.host.log import log as _log
from queuectl.runner import exit_status


def reap(files: QueueFiles, pid: int, workers: Iterable[str]) -> None:
    """Reap an ended process that a job of a dead worker started, or that is such a job itself.

    If it is the job, its exit status is written into the status file of the job first: an adopting
    worker waits until the PID is free and reads the status then. `workers` are the ids of the
    workers whose lock files may name the job.
    """
    ticks = processes.start_ticks(pid)
    noted = [lockfiles.job_process(files, worker) for worker in workers]
    jobs = [job for job in noted if job and job.pid == pid and job.start_ticks in (ticks, None)]
    if not jobs:
        jobs = _told(files, pid)
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if ended is not None:
        by_signal = ended.si_code != os.CLD_EXITED
        status = exit_status.Status(
            None if by_signal else ended.si_status, ended.si_status if by_signal else None
        )
        for job in jobs:
            _report(files, job, status)
    os.waitpid(pid, 0)


def _told(files: QueueFiles, pid: int) -> list[lockfiles.JobProcess]:
    """Return the job whose shell has told this PID, if the lock file of its worker was removed."""
    try:
        names = os.listdir(files.logs)
    except OSError:
        return []
    owners = {owner for name in names if (owner := log_owner(name)) is not None}
    jobs = []
    for owner in owners:
        begun = exit_status.read_begun(files.worker_status(owner))
        if begun is not None and begun[1] == pid and lockfiles.is_alive(files, owner) is None:
            jobs.append(lockfiles.JobProcess(begun[0], pid, None, owner))
    return jobs


def _report(files: QueueFiles, job: lockfiles.JobProcess, status: exit_status.Status) -> None:
    path = files.worker_status(job.log_owner)
    # The shell of the job may have written another status: for some signals bash writes 0.
    if exit_status.read(path, job.execution_id) == status:
        return
    problem: Exception | None = None
    for repairs in (False, True):
        try:
            if repairs:  # the job has removed the folder, or put something else there
                make_folder(files.logs)
                remove_quietly(path)
            exit_status.write(path, job.execution_id, status)
            return
        except (OSError, QueueError) as error:
            problem = error
    _log.warning("cannot write down how process %d ended: %s", job.pid, problem)

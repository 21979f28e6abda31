"""The resources that a running attempt has used so far: processes, CPU, memory and output."""

from __future__ import annotations

import os

from queuectl.core.models import Execution
from queuectl.core.named_tuples import NamedTuple
from queuectl.host import lockfiles, processes
from queuectl.host.files import QueueFiles
from queuectl.runner import process_tree
from queuectl.runner.output_reader import open_running


class Usage(NamedTuple):
    """The resources that an attempt has used at a moment; a number that cannot be known is None."""

    pid: int
    """The process id of the attempt's shell."""
    processes: int
    """How many processes it has."""
    cpu_seconds: float | None
    """The CPU time of its processes, and of those that have ended and were waited for."""
    memory_bytes: int | None
    """The memory of all its processes together; what they share counts for each of them."""
    output_bytes: int | None
    """How much it has printed, including what was not kept."""


def so_far(files: QueueFiles, execution: Execution, worker: str) -> Usage | None:
    """Return what a running attempt has used; None if its process is not seen here.

    `worker` answers for it: the one that started it, or has adopted it.
    """
    job = lockfiles.job_process(files, worker)
    if job is None or lockfiles.seen_job_pid(files, worker, execution.id) is None:
        return None
    log = process_tree.identity(files.worker_log(execution.worker))
    attempt = process_tree.AttemptProcesses(frozenset(), log, job.pid, job.start_ticks)
    pids = {job.pid, *(pid for pid, _ in process_tree.living(attempt))}
    used = [one for one in map(processes.usage, pids) if one is not None]
    return Usage(
        job.pid,
        len(pids),
        sum(one.cpu_seconds for one in used) if used else None,
        sum(one.memory_bytes for one in used) if used else None,
        _output_bytes(files, execution),
    )


def _output_bytes(files: QueueFiles, execution: Execution) -> int | None:
    descriptor = open_running(files, execution)
    if descriptor is None:
        return None
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)

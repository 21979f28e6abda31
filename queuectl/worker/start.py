"""The steps of `worker start` before it becomes a pool: limits, log, detaching, lock file."""

from __future__ import annotations

import os
import resource
import select
import signal
from typing import NoReturn

from queuectl import POOL_VARIABLE
from queuectl.core.errors import QueueError
from queuectl.host import lockfiles, processes, signals
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import own_mode, without_umask
from queuectl.host.pools import are_served, none_starts
from queuectl.host.program import called_as
from queuectl.storage.database import WAIT_SECONDS
from queuectl.storage.wal import largest_file
from queuectl.storage.write_lock import WriteLock
from queuectl.worker.plan import Launch, Plan

_DESCRIPTORS = 24
"""The number of files that a worker has open at most, and a few more."""


def refuse_low_limits(files: QueueFiles, plan: Plan) -> None:
    """Raise QueueError if a limit on this process would keep workers from working.

    Else they would try again for ever: a process cannot get rid of its limits.
    """
    # The supervisor has a pipe to each worker.
    descriptors = _DESCRIPTORS + plan.workers
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed != resource.RLIM_INFINITY and allowed < descriptors:
        raise QueueError(f"the limit of {allowed} open files is too low (ulimit -n {descriptors})")
    largest = largest_file(files.database)
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if allowed != resource.RLIM_INFINITY and allowed < largest:
        raise QueueError(
            f"the limit on the size of files is too low: {allowed >> 10} KiB, and workers need "
            f"{(largest >> 10) + 1} KiB (ulimit -f)"
        )


def start_pool(
    files: QueueFiles,
    plan: Plan,
    *,
    log_file: str | None = None,
    detach: bool = False,
    unless_running: bool = False,
    quiet: bool = False,
    colored: bool | None = None,
) -> str | None:
    """Become a pool; with `detach`, start one in the background and wait until it is ready.

    Returns the id of the supervisor if detached. Returns None if there was nothing to do, because
    with `unless_running` the queues are served already. Without `log_file`, the log goes to stderr,
    and that of a detached pool into the private folder of the queue.
    """
    _check_write_lock(files)
    announce = None
    if detach:
        log_file = log_file or files.detached_log
    if log_file is not None:
        log = _open_log(log_file, ours=log_file == files.detached_log)
        if detach:
            reader, announce = os.pipe()
            if os.fork():
                os.close(announce)
                return _detached_id(reader, log_file)
            os.close(reader)
            _leave_terminal()
        os.dup2(log, 2)
        os.close(log)
    opened = open_pool(files, plan, unless_running=unless_running)
    if opened is None:
        if announce is not None:
            os.write(announce, b"\n")
        return None
    supervisor_id, lock = opened
    try:
        _become(Launch(files, supervisor_id, plan, quiet, lock.fileno(), announce, colored))
    finally:
        lock.remove()


def _check_write_lock(files: QueueFiles) -> None:
    """Create the file of the write lock; QueueUnusable if something else has its name."""
    lock = WriteLock(files.write_lock)
    lock.open()
    lock.close()


def _open_log(path: str, *, ours: bool) -> int:
    # Never through a link that somebody put where our own log belongs. O_NONBLOCK: the open of a
    # FIFO without a reader fails at once.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        with without_umask():
            log = os.open(
                path, flags | (os.O_NOFOLLOW if ours else 0), own_mode(path) if ours else 0o600
            )
    except OSError as error:
        raise QueueError(f"cannot write {path}: {error.strerror}") from None
    os.set_blocking(log, True)
    return log


def _detached_id(reader: int, log_file: str) -> str | None:
    """Wait for the line of a detached pool; return the id of its supervisor.

    None if the line is empty: the pool had nothing to do.
    """
    if not select.select([reader], [], [], WAIT_SECONDS)[0]:
        raise QueueError(f"the workers are not ready yet (see {log_file})")
    with os.fdopen(reader, "r", encoding="ascii") as pipe:
        line = pipe.readline()
    if not line:
        raise QueueError(f"the workers did not start (see {log_file})")
    return line.strip() or None


def _leave_terminal() -> None:
    """Go on in a session of our own, with nothing of the caller's at stdin and stdout."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    os.close(null)


def open_pool(
    files: QueueFiles, plan: Plan, *, unless_running: bool
) -> tuple[str, lockfiles.ProcessLock] | None:
    """Choose the id of a supervisor and take its lock file.

    None if `unless_running` and its queues are served already. That is decided under a lock, so
    that only one of several pools that start at the same time goes on.
    """
    with none_starts(files):
        if unless_running and are_served(files, plan.queues):
            return None
        supervisor_id = os.urandom(4).hex()
        pid = os.getpid()
        # As soon as the lock file exists, `worker stop` may signal this process. The signal is
        # blocked until the supervisor can receive it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signals.STOP_SIGNAL])
        about = {
            "pid": pid,
            "start_ticks": processes.start_ticks(pid),
            "queues": plan.queues,
            "count": plan.workers,
        }
        return supervisor_id, lockfiles.ProcessLock.take(files, supervisor_id, about)


def _become(launch: Launch) -> NoReturn:
    """Replace this process by that of the pool, which has never imported the command line.

    So neither the supervisor nor its workers carry what only the command line needs: 3 MB each.
    Raises QueueError if it cannot be started.
    """
    for descriptor in (launch.lock, launch.announce):
        if descriptor is not None:
            os.set_inheritable(descriptor, True)
    # A pool that a job starts is no part of that job: a retry of the job must not end it.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")
    }
    # The process keeps its PID. A process that inherits the variable by accident has another one.
    variables = {**inherited, POOL_VARIABLE: f"{os.getpid()} {launch.to_text()}"}
    words = called_as()
    # A signal that comes before the supervisor has its handlers waits until it has them.
    mask = signals.block_all()
    try:
        os.execve(words[0], words, variables)
    except OSError as error:
        signals.restore(mask)
        raise QueueError(f"cannot start {words[0]}: {error.strerror}") from None

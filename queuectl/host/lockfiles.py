"""The lock files that prove which processes live: the kernel drops a lock when its owner ends."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from typing import Any, Mapping

from queuectl.core.errors import QueueUnusable
from queuectl.core.named_tuples import NamedTuple
from queuectl.host import processes
from queuectl.host.files import QueueFiles, is_unfinished, lock_owner
from queuectl.host.filesystem import make, open_private, open_to_read, unlink_quietly
from queuectl.host.processes import is_pid, user

_JOB_BYTES = 64
"""A lock file begins with a line of this width, which names the running job process. JSON that
describes the owner follows."""


class JobProcess(NamedTuple):
    """The process of a job that a worker started."""

    execution_id: int
    """The attempt that it runs."""
    pid: int
    """Its PID, which is also its process group and its session."""
    start_ticks: int | None
    """When it started, in clock ticks since boot; None if the kernel does not tell, and for a
    moment after the spawn."""
    log_owner: str
    """The worker that started it, by whose id the files of the running job are named."""


class ProcessLock:
    """The lock file of this process, locked for as long as the process lives."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def keep(self, files: QueueFiles, owner: str) -> bool:
        """Create the file again if somebody removed it; return whether that was so.

        Programs that clean up /tmp do that, and then nobody can find this process. Raises OSError.
        """
        if os.fstat(self._descriptor).st_nlink:
            return False
        content = os.pread(self._descriptor, 1 << 20, 0)
        unfinished = files.unfinished_process_lock(owner)
        while True:
            descriptor = make(unfinished)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                os.pwrite(descriptor, content, 0)
                os.rename(unfinished, self.path)
                # The number stays the same for those who know it.
                os.dup2(descriptor, self._descriptor, inheritable=False)
                return True
            except FileNotFoundError:  # as in `take`
                pass
            finally:
                os.close(descriptor)

    @classmethod
    def take(cls, files: QueueFiles, owner: str, about: Mapping[str, Any]) -> ProcessLock:
        """Create the lock file of `owner`, which is locked before others can see it.

        Raises QueueUnusable if that fails.
        """
        try:
            return cls._take(files, owner, about)
        except OSError as error:
            raise _unwritable(files, error) from None

    @classmethod
    def _take(cls, files: QueueFiles, owner: str, about: Mapping[str, Any]) -> ProcessLock:
        path, unfinished = files.process_lock(owner), files.unfinished_process_lock(owner)
        while True:
            descriptor = make(unfinished)
            lock = cls(path, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                lock.show_job(None)
                os.pwrite(descriptor, json.dumps(about).encode() + b"\n", _JOB_BYTES)
                os.rename(unfinished, path)
                return lock
            except FileNotFoundError:  # `remove_unfinished` came between our open and our lock
                os.close(descriptor)
            except BaseException:
                unlink_quietly(unfinished)
                os.close(descriptor)
                raise

    @classmethod
    def inherited(cls, files: QueueFiles, owner: str, descriptor: int) -> ProcessLock:
        """Return the lock that this process took before it replaced its program (exec)."""
        return cls(files.process_lock(owner), descriptor)

    def fileno(self) -> int:
        """Return the descriptor that holds the lock."""
        return self._descriptor

    def show_job(self, job: JobProcess | None) -> None:
        """Write down which job process this worker runs, for the worker that may have to adopt it.

        No fsync: after a power cut there is no process left to find.
        """
        text = ""
        if job is not None:
            ticks = "-" if job.start_ticks is None else job.start_ticks
            text = f"{job.execution_id} {job.pid} {ticks} {job.log_owner}"
        os.pwrite(self._descriptor, text.ljust(_JOB_BYTES - 1).encode() + b"\n", 0)

    def describe(self, about: Mapping[str, Any]) -> None:
        """Change what the file says about this process; see `about`."""
        written = json.dumps(about).encode() + b"\n"
        try:
            # Padded to its old length: it is never cut while somebody reads it.
            length = os.fstat(self._descriptor).st_size - _JOB_BYTES
            os.pwrite(self._descriptor, written.ljust(length), _JOB_BYTES)
        except OSError:  # a full disk; what is written there helps people only
            pass

    def close(self) -> None:
        """Close the descriptor and leave the file.

        A forked child must do this, or the lock would outlive the process that took it.
        """
        os.close(self._descriptor)

    def remove(self) -> None:
        """Remove the file and release the lock."""
        unlink_quietly(self.path)
        os.close(self._descriptor)


class StaleLock:
    """The lock file of a dead process, locked by us: only one process at a time recovers it."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @property
    def job(self) -> JobProcess | None:
        """The job process that the dead worker started last, if it started any."""
        return _read_job(self._descriptor)

    def remove(self) -> None:
        """Remove the file: nothing is left to recover."""
        unlink_quietly(self.path)
        os.close(self._descriptor)

    def close(self) -> None:
        """Release the lock and leave the file, for another process to recover."""
        os.close(self._descriptor)


def is_alive(files: QueueFiles, owner: str) -> bool | None:
    """Whether a process lives: True if its lock is held, False if its owner is dead.

    None if that is unknown: there is no file, or it cannot be opened. None also if the dead owner
    was another user, whose job we must not touch.
    """
    descriptor = _open(files.process_lock(owner))
    if descriptor is None:
        return None
    try:
        locked = _is_locked(descriptor)
        return None if locked is False and _is_of_another_user(descriptor) else locked
    finally:
        os.close(descriptor)


def take_stale(files: QueueFiles, owner: str) -> StaleLock | None:
    """Lock the file of a dead process, to recover what that process left.

    None if the owner lives, has no file, was another user, or is being recovered already. Raises
    QueueUnusable if the file cannot be opened: to take it for gone would leave a job behind.
    """
    path = files.process_lock(owner)
    descriptor = _open_existing(path)
    return None if descriptor is None else _take_stale(path, descriptor)


def make_stale(files: QueueFiles, owner: str) -> None:
    """Create a lock file, held by nobody, for a dead process whose own file is missing."""
    try:
        os.close(make(files.process_lock(owner)))
    except FileExistsError:  # another process has just done the same
        pass
    except OSError as error:
        raise _unwritable(files, error) from None


def _unwritable(files: QueueFiles, error: OSError) -> QueueUnusable:
    return QueueUnusable(f"cannot write into {files.workers}: {error.strerror}")


def remove_unfinished(files: QueueFiles) -> None:
    """Remove the files of processes that were killed before their lock file had its name."""
    for name in os.listdir(files.workers):
        if is_unfinished(name):
            path = os.path.join(files.workers, name)
            descriptor = _open(path)
            lock = None if descriptor is None else _take_stale(path, descriptor)
            if lock is not None:
                lock.remove()


def owners(files: QueueFiles) -> list[str]:
    """Return the ids of all processes that have a lock file, dead or alive, sorted."""
    try:
        names = os.listdir(files.workers)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise QueueUnusable(f"cannot look into {files.workers}: {error.strerror}") from None
    return sorted(filter(None, map(lock_owner, names)))


def description(files: QueueFiles, owner: str) -> tuple[int | None, dict[str, Any]]:
    """Return the user of a lock file, and what its owner wrote when it took the lock.

    That is empty if it cannot be read, and the user None if there is no file.
    """
    descriptor = _open(files.process_lock(owner))
    if descriptor is None:
        return None, {}
    try:
        owner_id = os.fstat(descriptor).st_uid
        written = json.loads(os.pread(descriptor, 1 << 20, _JOB_BYTES) or b"{}")
    except (ValueError, RecursionError):
        return owner_id, {}
    finally:
        os.close(descriptor)
    return owner_id, written if isinstance(written, dict) else {}


def about(files: QueueFiles, owner: str) -> dict[str, Any]:
    """Return what a process wrote about itself when it took its lock; empty if that is gone."""
    return description(files, owner)[1]


def is_supervisor(owner: str) -> bool:
    """Whether the owner of a lock file is a supervisor. Its workers are named ID-1, ID-2, …"""
    return "-" not in owner


def job_process(files: QueueFiles, owner: str) -> JobProcess | None:
    """Return the job process that a worker, dead or alive, started last.

    None if there is none, or if the lock file cannot be opened.
    """
    try:
        return known_job_process(files, owner)
    except QueueUnusable:
        return None


def known_job_process(files: QueueFiles, owner: str) -> JobProcess | None:
    """Return the job process that a worker, dead or alive, started last; None if there is none.

    Raises QueueUnusable if the lock file cannot be opened.
    """
    descriptor = _open_existing(files.process_lock(owner))
    if descriptor is None:
        return None
    try:
        return _read_job(descriptor)
    finally:
        os.close(descriptor)


def seen_job_pid(files: QueueFiles, owner: str, execution_id: int | None = None) -> int | None:
    """Return the PID of the job process that a worker started last, if it runs and is seen here.

    With `execution_id`, only if it is the process of that attempt.
    """
    job = job_process(files, owner)
    if job is None or execution_id not in (None, job.execution_id):
        return None
    try:
        seen = processes.same_process(job.pid, job.start_ticks, processes.boot_id())
    except OSError:
        return None
    return job.pid if seen else None


def try_hold(path: str) -> int | None:
    """Lock a file, which is created if needed; None if another process holds it.

    Returns a descriptor for `let_go`. Raises QueueUnusable.
    """
    descriptor = open_private(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise QueueUnusable(f"cannot lock {path}: {error.strerror}") from None
    return descriptor


def is_held(path: str) -> bool:
    """Whether a process holds the lock of a file, which need not exist."""
    descriptor = _open(path)
    if descriptor is None:
        return False
    try:
        return _is_locked(descriptor) is not False
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool | None:
    """Whether another process holds the lock of an open file; None if that cannot be told."""
    try:
        # A shared lock, or two processes that ask at the same time would each take the other for
        # the owner.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def let_go(descriptor: int) -> None:
    """Release a lock that `try_hold` took; the file stays."""
    os.close(descriptor)


def _open_existing(path: str) -> int | None:
    """Open a lock file; None if there is none. Raises QueueUnusable if it cannot be opened."""
    descriptor = _open(path)
    if descriptor is None and os.path.isfile(path) and not os.path.islink(path):
        raise QueueUnusable(f"cannot open {path}")
    return descriptor


def _open(path: str) -> int | None:
    """Open a lock file; None if there is none, or if it cannot be opened."""
    try:
        # Only for reading: on a file system that became read-only, a living worker must not seem
        # dead.
        return open_to_read(path)
    except OSError:
        return None


def _take_stale(path: str, descriptor: int) -> StaleLock | None:
    """Lock the open file of a dead process; None, with the file closed, if that is impossible."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have recovered and removed it between our open and our lock.
        same = os.stat(path).st_ino == os.fstat(descriptor).st_ino
        if same and not _is_of_another_user(descriptor):
            return StaleLock(path, descriptor)
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _is_of_another_user(descriptor: int) -> bool:
    """Whether another user of a shared queue created the file: we could not end their jobs."""
    return os.geteuid() not in (0, os.fstat(descriptor).st_uid)


def _read_job(descriptor: int) -> JobProcess | None:
    try:
        execution_id, pid, ticks, log_owner = os.pread(descriptor, _JOB_BYTES, 0).split()
        start = None if ticks == b"-" else int(ticks)
        job = JobProcess(int(execution_id), int(pid), start, log_owner.decode("ascii"))
    except ValueError:  # nothing runs, or a crash of the machine left something else there
        return None
    if not is_pid(job.pid) or "/" in job.log_owner:
        return None
    # Root recovers the jobs of other users, who could name any process in their lock files.
    owner = os.fstat(descriptor).st_uid
    if sys.platform == "linux" and owner != os.geteuid() and user(job.pid) not in (owner, None):
        return None
    return job

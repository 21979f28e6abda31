"""The lock files that prove who is alive: the kernel drops a lock when its process ends."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from typing import Any, Mapping, NamedTuple, Sequence

from queuectl.core.errors import QueueUnusable
from queuectl.host.files import own_mode, unlink_quietly, without_umask

_SUFFIX = ".lock"
_UNFINISHED = ".new"
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_RUNNING_BYTES = 64
"""The file begins with a line of this width: what the worker runs. After it stands JSON."""


class Running(NamedTuple):
    """The job process that a worker started.

    `start_ticks` is None where the kernel tells none, and in the first moments.
    """

    execution_id: int
    pid: int
    start_ticks: int | None
    log_owner: str
    """The worker by whose id the files of the job are named: the one that started it."""


class RunningPool(NamedTuple):
    """A supervisor that is alive, as its lock file tells."""

    id: str
    pid: int
    start_ticks: int | None
    queues: tuple[str, ...]

    def serves(self, queues: Sequence[str]) -> bool:
        """Whether it works on all of these queues (none named: on all there are)."""
        return not self.queues or (bool(queues) and set(queues) <= set(self.queues))


class LifeLock:
    """A lock file held for as long as this process lives."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: str, owner: str, about: Mapping[str, Any]) -> LifeLock:
        """Make `folder`/`owner`.lock, locked from the first moment that others can see it."""
        path = os.path.join(folder, owner + _SUFFIX)
        unfinished = os.path.join(folder, f".{owner}{_UNFINISHED}")
        while True:
            with without_umask():
                descriptor = os.open(unfinished, _NEW_FILE, own_mode(unfinished))
            lock = cls(path, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                lock.show_running(None)
                os.pwrite(descriptor, json.dumps(about).encode() + b"\n", _RUNNING_BYTES)
                os.rename(unfinished, path)
                return lock
            except FileNotFoundError:  # swept between our open and our lock
                os.close(descriptor)
            except BaseException:
                unlink_quietly(unfinished)
                os.close(descriptor)
                raise

    @classmethod
    def inherited(cls, folder: str, owner: str, descriptor: int) -> LifeLock:
        """Return the lock that this process held under another program."""
        return cls(os.path.join(folder, owner + _SUFFIX), descriptor)

    def fileno(self) -> int:
        """Return the descriptor that holds the lock."""
        return self._descriptor

    def show_running(self, running: Running | None) -> None:
        """Say which process this worker runs, so that an heir can find it. No fsync: after a power
        cut there is no process left to find.
        """
        text = ""
        if running is not None:
            execution_id, pid, ticks, owner = running
            text = f"{execution_id} {pid} {'-' if ticks is None else ticks} {owner}"
        os.pwrite(self._descriptor, text.ljust(_RUNNING_BYTES - 1).encode() + b"\n", 0)

    def abandon(self) -> None:
        """Close the descriptor in a forked child, where the lock would outlive its owner."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Take the file away and let go."""
        unlink_quietly(self.path)
        os.close(self._descriptor)


class Remains:
    """The lock file of a process that is dead, held by us so that only one settles it."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @property
    def running(self) -> Running | None:
        """The last job process that the dead worker started, if any."""
        return _read_running(os.pread(self._descriptor, _RUNNING_BYTES, 0))

    def remove(self) -> None:
        """Take the file away: nothing is left to settle."""
        unlink_quietly(self.path)
        os.close(self._descriptor)

    def close(self) -> None:
        """Let go and leave the file for another to settle."""
        os.close(self._descriptor)


def is_alive(folder: str, owner: str) -> bool | None:
    """Whether the owner's lock is held; None when there is no file, or it cannot be asked just now,
    which proves nothing, and of a dead owner who was another user: he is not ours to settle.
    """
    descriptor = _open(os.path.join(folder, owner + _SUFFIX))
    if descriptor is None:
        return None
    try:
        # Shared: two that ask at once must not take each other for the owner.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return None if _is_of_another_user(descriptor) else False
    finally:
        os.close(descriptor)


def seize(folder: str, owner: str) -> Remains | None:
    """Take over the lock file of a dead owner; None if it lives, is gone, is being settled or was
    another user.

    QueueUnusable if that cannot be known: whoever took it for gone would leave a job behind.
    """
    path = os.path.join(folder, owner + _SUFFIX)
    descriptor = _open(path)
    if descriptor is not None:
        return _take_over(path, descriptor)
    if os.path.isfile(path) and not os.path.islink(path):
        raise QueueUnusable(f"cannot open {path}")
    return None


def leave_remains(folder: str, owner: str) -> None:
    """Make the lock file of a dead owner whose own is not there any more."""
    try:
        path = os.path.join(folder, owner + _SUFFIX)
        with without_umask():
            os.close(os.open(path, _NEW_FILE, own_mode(path)))
    except FileExistsError:  # another does the same
        pass
    except OSError as error:
        raise QueueUnusable(f"cannot write into {folder}: {error.strerror}") from None


def sweep(folder: str) -> None:
    """Remove what those left that were killed before their lock file had its name."""
    for name in os.listdir(folder):
        if name.endswith(_UNFINISHED):
            path = os.path.join(folder, name)
            descriptor = _open(path)
            remains = None if descriptor is None else _take_over(path, descriptor)
            if remains is not None:
                remains.remove()


def owners(folder: str) -> list[str]:
    """Return the ids that have a lock file, dead or alive, sorted."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise QueueUnusable(f"cannot look into {folder}: {error.strerror}") from None
    return sorted(name[: -len(_SUFFIX)] for name in names if name.endswith(_SUFFIX))


def about(folder: str, owner: str) -> dict[str, Any]:
    """Return what the owner wrote about itself when it took its lock; empty if that is gone."""
    descriptor = _open(os.path.join(folder, owner + _SUFFIX))
    if descriptor is None:
        return {}
    try:
        written = json.loads(os.pread(descriptor, 1 << 20, _RUNNING_BYTES) or b"{}")
    except ValueError:
        return {}
    finally:
        os.close(descriptor)
    return written if isinstance(written, dict) else {}


def running_pools(folder: str) -> list[RunningPool]:
    """Return the supervisors that are alive."""
    pools = []
    for owner in owners(folder):
        if is_supervisor(owner) and is_alive(folder, owner):
            written = about(folder, owner)
            if written:
                pid, ticks = written["pid"], written.get("start_ticks")
                pools.append(RunningPool(owner, pid, ticks, tuple(written["queues"])))
    return pools


def is_supervisor(owner: str) -> bool:
    """Whether the owner of a lock file is a supervisor; its workers are named ID-1, ID-2, …"""
    return "-" not in owner


def running(folder: str, owner: str) -> Running | None:
    """Return the job process that a worker, dead or alive, started last; None if it did none."""
    descriptor = _open(os.path.join(folder, owner + _SUFFIX))
    if descriptor is None:
        return None
    try:
        return _read_running(os.pread(descriptor, _RUNNING_BYTES, 0))
    finally:
        os.close(descriptor)


def _open(path: str) -> int | None:
    try:
        # Not blocking, should somebody have put a FIFO there.
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def _take_over(path: str, descriptor: int) -> Remains | None:
    """Lock the file of somebody dead; None, and closed, if it is another's to keep or to settle."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another may have settled and removed it between our open and our lock.
        same = os.stat(path).st_ino == os.fstat(descriptor).st_ino
        if same and not _is_of_another_user(descriptor):
            return Remains(path, descriptor)
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _is_of_another_user(descriptor: int) -> bool:
    """Whether another user, in a shared queue, made it: what his workers ran we could not end."""
    return os.geteuid() not in (0, os.fstat(descriptor).st_uid)


def _read_running(line: bytes) -> Running | None:
    try:
        execution_id, pid, ticks, owner = line.split()
        start = None if ticks == b"-" else int(ticks)
        return Running(int(execution_id), int(pid), start, owner.decode("ascii"))
    except ValueError:  # nothing runs, or a crash of the machine left something else there
        return None

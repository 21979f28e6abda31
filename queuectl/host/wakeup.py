"""Waking workers: a FIFO for each, into which whoever changed something writes a byte."""

from __future__ import annotations

import os
import stat

from queuectl.host.files import own_mode, unlink_quietly, without_umask

_SUFFIX = ".bell"
_FLAGS = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class WakeUpFifo:
    """The FIFO of one worker. A FIFO that several share wakes only about one of them."""

    def __init__(self, folder: str, worker_id: str) -> None:
        self.path = os.path.join(folder, worker_id + _SUFFIX)
        with without_umask():
            os.mkfifo(self.path, own_mode(self.path))
        self._reader = os.open(self.path, os.O_RDONLY | _FLAGS)
        # A writer of our own: without any, the reader would be readable for ever (end of file).
        self._writer = os.open(self.path, os.O_WRONLY | _FLAGS)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the bell was rung."""
        return self._reader

    def drain(self) -> None:
        """Forget the rings so far."""
        try:
            while len(os.read(self._reader, 65536)) == 65536:
                pass
        except BlockingIOError:
            pass

    def remove(self) -> None:
        """Take the FIFO away."""
        unlink_quietly(self.path)
        os.close(self._reader)
        os.close(self._writer)


def wake_up(folder: str, worker_id: str | None = None) -> None:
    """Wake all workers, or one. Never waits and never fails: a bell without a reader is stale.

    Python ignores SIGPIPE, which a reader that leaves right now would raise; this relies on it.
    """
    if worker_id is not None:
        _wake(os.path.join(folder, worker_id + _SUFFIX))
        return
    try:
        all_of_them = owners(folder)
    except OSError:
        return
    for owner in all_of_them:
        _wake(os.path.join(folder, owner + _SUFFIX))


def owners(folder: str) -> set[str]:
    """Return the ids that have a bell, dead or alive; OSError if that cannot be known."""
    return {name[: -len(_SUFFIX)] for name in os.listdir(folder) if name.endswith(_SUFFIX)}


def remove(folder: str, worker_id: str) -> None:
    """Take away the bell of a dead worker."""
    unlink_quietly(os.path.join(folder, worker_id + _SUFFIX))


def _wake(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | _FLAGS)
    except OSError:  # ENXIO: no reader; ENOENT: just removed
        return
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.write(descriptor, b"!")
    except OSError:  # EAGAIN: rung already; EPIPE: the reader just left
        pass
    finally:
        os.close(descriptor)

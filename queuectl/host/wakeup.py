"""Waking workers: each has a FIFO, into which a process that changed something writes a byte."""

from __future__ import annotations

import os
import stat

from queuectl.host.files import QueueFiles, fifo_owner
from queuectl.host.filesystem import make_fifo, unlink_quietly

_FLAGS = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class WakeUpFifo:
    """The FIFO of one worker. A FIFO that several workers share would wake only about one."""

    def __init__(self, files: QueueFiles, worker_id: str) -> None:
        self.path = files.wakeup_fifo(worker_id)
        make_fifo(self.path)
        self._reader = os.open(self.path, os.O_RDONLY | _FLAGS)
        # Keep a writer of our own: a FIFO that nobody has open for writing is always readable (end
        # of file).
        self._writer = os.open(self.path, os.O_WRONLY | _FLAGS)

    def keep(self) -> None:
        """Create the FIFO again if somebody removed it. Raises OSError."""
        if os.fstat(self._reader).st_nlink:
            return
        make_fifo(self.path)
        # The numbers stay the same: a loop polls them.
        for flags, number in ((os.O_RDONLY, self._reader), (os.O_WRONLY, self._writer)):
            descriptor = os.open(self.path, flags | _FLAGS)
            os.dup2(descriptor, number, inheritable=False)
            os.close(descriptor)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when somebody wakes this worker."""
        return self._reader

    def drain(self) -> None:
        """Read away all wake-ups so far."""
        try:
            while len(os.read(self._reader, 65536)) == 65536:
                pass
        except BlockingIOError:
            pass

    def remove(self) -> None:
        """Remove the FIFO."""
        unlink_quietly(self.path)
        os.close(self._reader)
        os.close(self._writer)


def wake_up(files: QueueFiles, worker_id: str | None = None) -> None:
    """Wake one worker, or all. Never waits and never fails; a FIFO that nobody reads is skipped.

    Python must ignore SIGPIPE, as it does by default: the reader may leave while we write.
    """
    if worker_id is not None:
        _wake(files.wakeup_fifo(worker_id))
        return
    try:
        worker_ids = owners(files)
    except OSError:
        return
    for worker_id in worker_ids:
        _wake(files.wakeup_fifo(worker_id))


def owners(files: QueueFiles) -> set[str]:
    """Return the ids of the workers that have a FIFO, dead or alive; OSError if it is unknown."""
    return set(filter(None, map(fifo_owner, os.listdir(files.workers))))


def remove(files: QueueFiles, worker_id: str) -> None:
    """Remove the FIFO of a dead worker."""
    unlink_quietly(files.wakeup_fifo(worker_id))


def _wake(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | _FLAGS)
    except OSError:  # ENXIO: no reader; ENOENT: just removed
        return
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.write(descriptor, b"!")
    except OSError:  # EAGAIN: full of wake-ups already; EPIPE: the reader has just left
        pass
    finally:
        os.close(descriptor)

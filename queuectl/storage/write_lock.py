"""The flock that orders all writers of a queue, in the order they came."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from types import FrameType

from queuectl.core.errors import QueueBusy, QueueUnusable
from queuectl.host.files import turn_of
from queuectl.host.filesystem import open_private

_NAG_SECONDS = 0.05
_POLL_SECONDS = 0.002
_TURN_SECONDS = 0.2
"""How long a writer lets others go first; a stopped one at the head of them stops nobody else."""


class _Alarm(BaseException):
    """Ends a blocking flock: nothing but an exception gets out of it (PEP 475)."""


class WriteLock:
    """An exclusive flock on a file of its own, taken around every write transaction.

    SQLite's own busy handler sleeps and polls, so it starves: one of 8 saturated writers got 1 of
    8,322 commits. The kernel wakes those that block in flock, but whoever has just released would
    have it again before they run (one of 8 got a tenth of the mean on a fast disk). So a second
    flock says whose turn is next: only its holder waits for the lock itself.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._turn: int | None = None
        self._waiting = False

    def open(self) -> None:
        """Make its files if need be; QueueUnusable if they cannot be used."""
        if self._descriptor is None:
            self._descriptor = open_private(self._path)
        if self._turn is None:
            self._turn = open_private(turn_of(self._path))

    def acquire(self, wait_seconds: float) -> None:
        """Take the lock; QueueBusy, naming the holder, if it is not to be had in time."""
        self.open()
        assert self._descriptor is not None
        assert self._turn is not None
        began = time.monotonic()
        try:
            self._take(self._turn, min(wait_seconds, _TURN_SECONDS))
        except QueueBusy:
            # A courtesy, no right: the time that is left goes into the lock.
            pass
        try:
            self._take(self._descriptor, max(0.0, began + wait_seconds - time.monotonic()))
        except QueueBusy:
            raise self._busy(wait_seconds) from None
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        # Fixed width, so that a shorter number leaves nothing of a longer one behind.
        try:
            os.pwrite(self._descriptor, b"%-20d\n" % os.getpid(), 0)
        except OSError:
            # A full disk: the lock is ours all the same, only our name is missing from it.
            pass

    def release(self) -> None:
        """Give the lock to whoever waits."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Forget the file; the lock, if held, goes with it."""
        for descriptor in (self._descriptor, self._turn):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._turn = None

    def _take(self, descriptor: int, wait_seconds: float) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if threading.current_thread() is threading.main_thread():
                self._block(descriptor, wait_seconds)
            else:
                self._poll(descriptor, wait_seconds)
        except OSError as error:
            raise QueueUnusable(f"cannot lock {self._path}: {error.strerror}") from None

    def _block(self, descriptor: int, wait_seconds: float) -> None:
        """Wait inside the kernel until a timer interrupts; main thread only."""
        previous = signal.signal(signal.SIGALRM, self._on_alarm)
        # Held back by whoever started us, the alarm would end nothing.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        self._waiting = True
        try:
            # The timer goes on ringing: a first alarm that falls just before flock begins to block
            # would be lost.
            signal.setitimer(signal.ITIMER_REAL, max(wait_seconds, 0.001), _NAG_SECONDS)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._waiting = False
        except _Alarm:
            # It may have been granted in the same moment.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            raise self._busy(wait_seconds) from None
        except BaseException:
            self._waiting = False
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._waiting:
            self._waiting = False
            raise _Alarm

    def _poll(self, descriptor: int, wait_seconds: float) -> None:
        """Ask again and again: off the main thread no signal can end a blocking flock."""
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise self._busy(wait_seconds) from None
            time.sleep(_POLL_SECONDS)

    def _busy(self, wait_seconds: float) -> QueueBusy:
        assert self._descriptor is not None
        holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        return QueueBusy(
            f"the queue stayed busy for {wait_seconds:.0f} s: queuectl process {holder} is writing"
            " (try again)"
        )

"""The lock that orders all writers of a queue by the time at which they ask for it."""

from __future__ import annotations

import _signal as signal  # as in `cli/__init__.py`
import fcntl
import os
import time
from types import FrameType

from queuectl.core.errors import QueueBusy, QueueUnusable
from queuectl.host.files import turn_of
from queuectl.host.filesystem import open_private

_REPEAT_SECONDS = 0.05
_POLL_SECONDS = 0.002
_TURN_SECONDS = 0.2
"""How long a writer waits for its turn; then it tries the lock itself. So a process that is stopped
while it is first in line does not block the others."""


class _Alarm(BaseException):
    """Ends a blocking flock. Only an exception from a signal handler can (PEP 475)."""


class WriteLock:
    """An exclusive flock on a file of its own, taken around every write transaction.

    SQLite's own busy handler sleeps and polls, so it can starve a writer: one of 8 saturated
    writers got 1 of 8,322 commits. The kernel wakes processes that block in flock, but a process
    that has just released the lock could take it again before they run (one of 8 writers got a
    tenth of the mean on a fast disk). So a second flock says whose turn is next: only its holder
    waits for the lock itself.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._turn: int | None = None
        self._holder = b""
        self._waiting = False
        self._is_deferring = False
        self.defers_suspension = False
        """Whether Ctrl+Z (SIGTSTP) waits while this process holds the lock. That takes two system
        calls per transaction, so workers choose the moment themselves."""

    def open(self) -> None:
        """Open its files, and create them if needed; QueueUnusable if they cannot be used."""
        if self._descriptor is None:
            self._descriptor = open_private(self._path)
            # Use a fixed width, so that a shorter number overwrites all of a longer one.
            self._holder = b"%-20d\n" % os.getpid()
        if self._turn is None:
            self._turn = open_private(turn_of(self._path))

    def acquire(self, wait_seconds: float) -> None:
        """Take the lock; QueueBusy, naming its holder, if that takes longer than `wait_seconds`."""
        self.open()
        assert self._descriptor is not None
        assert self._turn is not None
        began = time.monotonic()
        try:
            self._take(self._turn, min(wait_seconds, _TURN_SECONDS))
        except QueueBusy:
            # Taking turns is optional: spend the rest of the time on the lock itself.
            pass
        try:
            self._take(self._descriptor, max(0.0, began + wait_seconds - time.monotonic()))
        except QueueBusy:
            raise self._busy(wait_seconds) from None
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        if self.defers_suspension:
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
            self._is_deferring = signal.SIGTSTP not in blocked
        try:
            os.pwrite(self._descriptor, self._holder, 0)
        except OSError:
            # The disk is full. We hold the lock anyway; only our process id is missing from it.
            pass

    def renew(self) -> None:
        """Open its files anew if somebody removed them; call it while the lock is not held.

        Other processes would take the lock on the files that they find.
        """
        opened = [one for one in (self._descriptor, self._turn) if one is not None]
        if not all(os.fstat(one).st_nlink for one in opened):
            self.close()

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        if self._is_deferring:
            self._is_deferring = False
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])

    def close(self) -> None:
        """Close the files; that also releases the lock."""
        for descriptor in (self._descriptor, self._turn):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._turn = None

    def _take(self, descriptor: int, wait_seconds: float) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._block(descriptor, wait_seconds)
        except OSError as error:
            raise QueueUnusable(f"cannot lock {self._path}: {error.strerror}") from None

    def _block(self, descriptor: int, wait_seconds: float) -> None:
        """Wait inside the kernel until a timer interrupts; in another thread, poll."""
        try:
            previous = signal.signal(signal.SIGALRM, self._on_alarm)
        except ValueError:
            # Not the main thread. It is not asked for: to load `threading` takes 1 ms of a command,
            # and 0.15 MB of the memory of each worker.
            self._poll(descriptor, wait_seconds)
            return
        # Our parent may have blocked this signal; then the timer would not interrupt anything.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        self._waiting = True
        try:
            # Repeat the alarm: one that comes just before flock begins to block would be lost.
            signal.setitimer(signal.ITIMER_REAL, max(wait_seconds, 0.001), _REPEAT_SECONDS)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._waiting = False
        except _Alarm:
            # The lock may have been granted at the same moment.
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
        """Try again and again: in another thread no signal can end a blocking flock."""
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

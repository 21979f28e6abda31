"""Signals as data for a loop to read: handlers do nothing, a descriptor becomes readable."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Iterable

LEAVE_SIGNAL = signal.SIGUSR1
"""Tells one worker to finish its job and leave for good; after TERM it is replaced. Tells a
supervisor to leave with its workers at once, and their running jobs alone."""

KILL_SIGNAL = signal.SIGUSR2
"""What QUIT means, to a supervisor or a worker that may have been started with QUIT ignored, as a
shell script's `&` does."""

STOP_SIGNAL = signal.SIGURG
"""Tells a supervisor what its first TERM does, however often it comes: `worker stop` asked twice
must not kill. By default it does nothing."""

_NEVER_IGNORED = frozenset((signal.SIGCHLD, LEAVE_SIGNAL, KILL_SIGNAL, STOP_SIGNAL))


def nothing(_number: int, _frame: FrameType | None) -> None:
    """Be there: an ignored signal would stay ignored in jobs, and would not wake the loop."""


class SignalStream:
    """The signals that arrived, read in a loop's own time.

    One that was ignored when the process started stays ignored (nohup), our own orders apart.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._reader, self._writer = (
            os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _nonblocking_pipe()
        )
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN or number in _NEVER_IGNORED:
                signal.signal(number, nothing)
                # What comes while a system call waits must end the wait only where we ask.
                signal.siginterrupt(number, False)
        # Whoever started us may have held back what we live by.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a signal arrived."""
        return self._reader

    def read(self) -> list[int]:
        """Return the numbers of the signals since the last call, in their order."""
        try:
            return list(os.read(self._reader, 4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Stop listening; the handlers stay."""
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)


def _nonblocking_pipe() -> list[int]:
    ends = list(os.pipe())
    for end in ends:
        os.set_blocking(end, False)
    return ends


def block_all() -> set[signal.Signals]:
    """Hold all signals back, around a fork; return the mask to go back to."""
    return signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())  # type: ignore[return-value]


def restore(mask: Iterable[int]) -> None:
    """Go back to a mask that `block_all` returned."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def die_by(number: int) -> None:
    """End this process by a signal, as if it had never been caught, so that a caller sees it."""
    if number == signal.SIGQUIT:
        import resource  # only here

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)

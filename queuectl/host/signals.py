"""Signals that a loop reads as data: the handlers do nothing, a descriptor becomes readable."""

from __future__ import annotations

import _signal as signal  # the usual module makes enums of all: 0.06 MB of each worker
import os
from contextlib import contextmanager
from types import FrameType
from typing import Iterable, Iterator

LEAVE_SIGNAL: int = signal.SIGUSR1
"""Tells a worker to finish its job and exit for good (after TERM it is replaced). Tells a
supervisor to exit at once, with its workers, and to leave their running jobs alone."""

KILL_SIGNAL: int = signal.SIGUSR2
"""Means the same as QUIT. A supervisor or worker may have been started with QUIT ignored, as `&` in
a shell script does."""

STOP_SIGNAL: int = signal.SIGURG
"""Tells a supervisor to stop as its first TERM does, however often it is sent: a second `worker
stop` must not kill the jobs. A process without a handler ignores this signal."""

SCALE_SIGNAL: int = signal.SIGWINCH
"""Tells a supervisor to read how many workers it is to have. The terminal of a pool sends it as
well, when its window gets another size; then there is nothing to read."""

_NEVER_IGNORED = frozenset((signal.SIGCHLD, LEAVE_SIGNAL, KILL_SIGNAL, STOP_SIGNAL, SCALE_SIGNAL))


def do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal by doing nothing.

    An ignored signal would stay ignored in jobs, and would not wake the loop.
    """


class SignalStream:
    """The signals that arrived, kept until a loop reads them.

    A signal that was ignored when the process started stays ignored (nohup), except our own orders.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._reader, self._writer = (
            os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _nonblocking_pipe()
        )
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN or number in _NEVER_IGNORED:
                signal.signal(number, do_nothing)
                # A signal must not interrupt system calls; it ends only the waits that poll for it.
                signal.siginterrupt(number, False)
        # Our parent may have blocked signals that we depend on.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a signal arrives."""
        return self._reader

    def read(self) -> list[int]:
        """Return the numbers of the signals that arrived since the last call, oldest first."""
        try:
            return list(os.read(self._reader, 4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Stop collecting signals; the handlers stay installed."""
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)


def _nonblocking_pipe() -> list[int]:
    ends = list(os.pipe())
    for end in ends:
        os.set_blocking(end, False)
    return ends


def block_all() -> set[int]:
    """Block all signals, around a fork; return the mask for `restore`."""
    mask: set[int] = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    return mask


def restore(mask: Iterable[int]) -> None:
    """Restore a mask that `block_all` returned."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Ended(BaseException):
    """A signal that ends this process arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def cleaned_up() -> Iterator[None]:
    """Let INT, TERM and HUP end what runs inside by an exception, then the process by that signal.

    So partial files are removed. A signal that was ignored at the start stays ignored.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    before = {
        number: signal.signal(number, end)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    except Ended as ended:
        die_by(ended.number)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def suspend() -> None:
    """Stop this process as SIGTSTP (Ctrl+Z) does by default; return when it is continued.

    With a handler of our own for SIGTSTP we choose the moment: a process that is stopped while it
    holds the write lock keeps all others from writing.
    """
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)
    signal.siginterrupt(signal.SIGTSTP, False)


def die_by(number: int) -> None:
    """End this process by a signal with its default action, so that the parent sees that signal."""
    if number == signal.SIGQUIT:
        import resource  # only when it is needed

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)

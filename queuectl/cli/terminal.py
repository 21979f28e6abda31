"""A display that is redrawn in place, and a line that is; both restore the terminal at the end."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Callable, Iterator

from queuectl.cli import output
from queuectl.cli.status_line import StatusLine
from queuectl.host.signals import SignalStream, die_by

_EVERY_SECONDS = 1.0
_SHARE = 20
"""An update that takes long is made less often: at most one part in this many of a core is used.

What counts is CPU time: on a busy machine a display must not stand still for minutes.
"""

# Control sequences of ECMA-48 and xterm. Enter: alternate screen, hide the cursor.
_ENTER = "\x1b[?1049h\x1b[?25l"
_SHOW_CURSOR = "\x1b[?25h"
_LEAVE = _SHOW_CURSOR + "\x1b[?1049l"
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Cursor to the top left; erase the rest of a line; begin the next; erase everything below.
_HOME, _LINE_END, _NEXT_LINE, _BELOW = "\x1b[H", "\x1b[K", "\r\n", "\x1b[J"
_LINE_EVERY_SECONDS = 0.5
# The places in what `termios.tcgetattr` returns.
_LOCAL_FLAGS, _CHARACTERS = 3, 6


class _Left(BaseException):
    """A signal asked the display to end."""


class _Keys:
    """The keys that somebody presses: while they are taken, they come at once, without an echo.

    They are taken only in the foreground: the kernel stops a process in the background that reads
    from its terminal, or changes the mode of it.
    """

    def __init__(self) -> None:
        self._mode: list[Any] | None = None
        """The mode of the terminal before; None while the keys are not taken."""
        self._is_open = sys.stdin.isatty()

    def take(self) -> list[int]:
        """Take the keys, if they are not taken; return the descriptors to wait for.

        To be called again and again: a shell gives the terminal its own mode when it stops us.
        """
        if not self._is_open or not _is_in_foreground():
            return []
        try:
            mode = termios.tcgetattr(0)
        except termios.error:  # the terminal is gone
            return []
        if mode[_LOCAL_FLAGS] & termios.ICANON:
            self._mode = mode
            flags = mode[_LOCAL_FLAGS] & ~(termios.ICANON | termios.ECHO)
            # As long as it waits for lines, VMIN and VTIME hold other settings on some systems.
            characters = [*mode[_CHARACTERS]]
            characters[termios.VMIN], characters[termios.VTIME] = 1, 0
            own = [*mode[:_LOCAL_FLAGS], flags, *mode[_LOCAL_FLAGS + 1 : _CHARACTERS], characters]
            termios.tcsetattr(0, termios.TCSANOW, own)
        return [0]

    def read(self) -> bytes:
        """Return what was typed."""
        typed = os.read(0, 1024)
        self._is_open = bool(typed)
        return typed

    def give_back(self) -> None:
        """Give the terminal its mode again."""
        mode, self._mode = self._mode, None
        if mode is not None and _is_in_foreground():
            with suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(0, termios.TCSANOW, mode)


def _is_in_foreground() -> bool:
    """Whether we may change the mode of the terminal that is stdin: in the background we may not.

    If stdin is not our controlling terminal, nobody else decides about it, and we may.
    """
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True


def watch_lines(lines: Callable[[int, int], list[str]]) -> None:
    """Show what `lines` returns for a width and a height, until somebody presses q.

    A signal also ends it, and the process. It is updated once a second, and when the window gets
    another size. Each update is written over the last one in a single write, so nothing flickers.
    Ctrl+Z leaves the display meanwhile.
    """
    ended_by: signal.Signals | None = None
    keys = _Keys()

    def leave(number: int, _frame: object) -> None:
        nonlocal ended_by
        ended_by = signal.Signals(number)
        raise _Left

    def suspend(number: int, _frame: object) -> None:
        keys.give_back()
        os.write(out.fileno(), _LEAVE.encode("ascii"))
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # returns when we are continued
        signal.signal(number, suspend)
        os.write(out.fileno(), _ENTER.encode("ascii"))

    out = sys.stdout
    stream = SignalStream((signal.SIGWINCH, signal.SIGCONT))
    for number in _ENDING_SIGNALS:
        signal.signal(number, leave)
    if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, suspend)
    try:
        out.write(_ENTER)
        while True:
            began = time.process_time()
            width, height = _size()
            # In the last column of a line, erasing the rest of the line would erase what is there.
            shown = map(output.for_terminal, lines(max(1, width - 1), max(1, height)))
            out.write(_HOME + (_LINE_END + _NEXT_LINE).join(shown) + _LINE_END + _BELOW)
            out.flush()
            pause = max(_EVERY_SECONDS, _SHARE * (time.process_time() - began))
            waiting: list[SignalStream | int] = [stream, *keys.take()]
            ready = select.select(waiting, [], [], pause)[0]
            stream.read()
            if 0 in ready and b"q" in keys.read().lower():
                break
    except _Left:
        pass
    finally:
        for number in _ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt this
        keys.give_back()
        out.write(_LEAVE)
        out.flush()
    if ended_by is not None:
        die_by(ended_by)


class ProgressLine:
    """A line on stderr that is kept up to date."""

    def __init__(self) -> None:
        self._line = StatusLine()
        self._next_at = 0.0

    def show(self, text: Callable[[int], str]) -> None:
        """Show what `text` returns for a width; call this as often as there may be news.

        That is done twice a second, or less often if it takes long.
        """
        if time.monotonic() < self._next_at:
            return
        began = time.process_time()
        self._line.show_styled(text(self._line.width))
        pause = max(_LINE_EVERY_SECONDS, _SHARE * (time.process_time() - began))
        self._next_at = time.monotonic() + pause

    def clear(self) -> None:
        """Erase the line, so that something else can be printed in its place."""
        self._line.clear()


@contextmanager
def progress_line() -> Iterator[ProgressLine]:
    """Yield a line on stderr, and erase it at the end.

    The cursor stays visible, so that even a killed process leaves a good terminal.
    """
    line = ProgressLine()

    def leave(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):
            os.write(2, f"\r{_LINE_END}".encode("ascii"))
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        else:
            die_by(number)

    before = {number: signal.getsignal(number) for number in _ENDING_SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        yield line
    finally:
        line.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


class ProgressBar:
    """A progress bar on stderr."""

    def __init__(self, line: ProgressLine, length: int, label: str) -> None:
        self._line = line
        self._length = length
        self._label = label
        self._done = 0

    def advance(self, more: int) -> None:
        """Call this when so many more are done."""
        self._done += more
        self._line.show(self._text)

    def clear(self) -> None:
        """Erase it until it advances, so that something else can be printed in its place."""
        self._line.clear()

    def _text(self, width: int) -> str:
        from queuectl.cli.progress import bar

        counted = f"{self._done} of {self._length}"
        room = width - len(self._label) - len(counted) - 4
        return f"{self._label}  {bar(self._done, 0, self._length, room)}  {counted}"


@contextmanager
def progress(length: int, label: str) -> Iterator[ProgressBar]:
    """Draw a progress bar on stderr, and erase it at the end."""
    with progress_line() as line:
        yield ProgressBar(line, length, label)


def _size() -> tuple[int, int]:
    import shutil  # only when it is needed

    size = shutil.get_terminal_size()
    # A terminal that does not know its size says 0; Python before 3.11 passes that on.
    return size.columns or 80, size.lines or 24

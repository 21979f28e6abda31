"""A display that is redrawn in place, and a line that is; both restore the terminal at the end."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Callable, Iterator, NoReturn

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


class _Left(BaseException):
    """A signal asked the display to end."""


def watch_lines(lines: Callable[[int, int], list[str]]) -> NoReturn:
    """Show what `lines` returns for a width and a height, until a signal ends the process.

    It is updated once a second, and when the window gets another size. Each update is written over
    the last one in a single write, so nothing flickers. Ctrl+Z leaves the display meanwhile.
    """
    ended_by = signal.SIGINT

    def leave(number: int, _frame: object) -> None:
        nonlocal ended_by
        ended_by = signal.Signals(number)
        raise _Left

    def suspend(number: int, _frame: object) -> None:
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
            select.select([stream], [], [], pause)
            stream.read()
    except _Left:
        pass
    finally:
        for number in _ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt this
        out.write(_LEAVE)
        out.flush()
    die_by(ended_by)
    raise AssertionError


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

"""A display that is redrawn in place, and a progress bar; both restore the terminal at the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import Callable, Iterator, NoReturn

import click

from queuectl.core.cells import cut
from queuectl.core.escaping import escape
from queuectl.host.signals import die_by

_EVERY_SECONDS = 1.0
# Control sequences of ECMA-48 and xterm. Enter: alternate screen, hide the cursor.
_ENTER = "\x1b[?1049h\x1b[?25l"
_SHOW_CURSOR = "\x1b[?25h"
_LEAVE = _SHOW_CURSOR + "\x1b[?1049l"
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Cursor to the top left; erase the rest of a line and begin the next; erase everything below.
_HOME, _LINE_END, _BELOW = "\x1b[H", "\x1b[K\r\n", "\x1b[J"


class _Left(BaseException):
    """A signal asked the display to end."""


def watch_lines(lines: Callable[[], list[str]]) -> NoReturn:
    """Show what `lines` returns, updated once a second, until a signal ends the process.

    Each update is written over the last one in a single write, so nothing flickers.
    """
    ended_by = signal.SIGINT

    def leave(number: int, _frame: object) -> None:
        nonlocal ended_by
        ended_by = signal.Signals(number)
        raise _Left

    for number in _ENDING_SIGNALS:
        signal.signal(number, leave)
    out = sys.stdout
    try:
        out.write(_ENTER)
        while True:
            began = time.monotonic()
            width, height = _size()
            # A line that wraps would push the first lines off the screen.
            fitting = _fitting(lines(), max(1, height - 1))
            shown = [cut(escape(line), max(1, width)) for line in fitting]
            out.write(_HOME + "".join(line + _LINE_END for line in shown) + _BELOW)
            out.flush()
            time.sleep(max(0.0, _EVERY_SECONDS - (time.monotonic() - began)))
    except _Left:
        pass
    finally:
        out.write(_LEAVE)
        out.flush()
    die_by(ended_by)
    raise AssertionError


@contextmanager
def progress(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """Draw a progress bar on stderr. Yields a function that is told how many more are done.

    click hides the cursor meanwhile, so a signal that ends us must show it again first.
    """

    def leave(number: int, _frame: object) -> None:
        os.write(2, f"{_SHOW_CURSOR}\n".encode("ascii"))
        die_by(number)

    before = {number: signal.getsignal(number) for number in _ENDING_SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        with click.progressbar(length=length, label=label, file=sys.stderr, show_eta=False) as bar:
            yield bar.update
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fitting(lines: list[str], height: int) -> list[str]:
    """Return as many lines as there is room for; the last of them says how many are missing."""
    if len(lines) <= height:
        return lines
    return [*lines[: height - 1], f"… {len(lines) - height + 1} more lines: enlarge the window"]


def _size() -> tuple[int, int]:
    import shutil  # only here

    size = shutil.get_terminal_size()
    return size.columns, size.lines

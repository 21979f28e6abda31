"""The log of this process: one line per message on stderr."""

from __future__ import annotations

import sys
import time
from typing import Callable

from queuectl.core.escaping import escape

INFO, WARNING, ERROR = 20, 30, 40
"""The levels of messages, with the numbers that the module logging gives them."""


class Log:
    """Writes each message as one line, whatever names are in it; a traceback keeps its lines.

    At first it writes only warnings and errors, without the time.

    The module logging would take 0.3 MB of the memory of each worker, and 0.6 MB of one that loads
    it in the middle of its work: it brings threading, traceback, tokenize and weakref with it.
    """

    def __init__(self) -> None:
        self._least = WARNING
        self._before = self._times = ""
        self._write: Callable[[int, str], object] | None = None

    def begin(self, times: str, *, before: str = "", quiet: bool) -> None:
        """Write the time in this form, and `before`, before each message from now on.

        With `quiet`, only warnings and errors are written.
        """
        self._times, self._before = times, before
        self._least = WARNING if quiet else INFO

    def send_to(self, write: Callable[[int, str], object] | None) -> None:
        """Call a function with the level and the text of each message; None: write to stderr."""
        self._write = write

    def writes_info(self) -> bool:
        """Whether messages that are neither warnings nor errors are written."""
        return self._least <= INFO

    def info(self, message: str, *values: object) -> None:
        """Log that something went as planned. The values fill the `%s` of a message."""
        self._log(INFO, message, values)

    def warning(self, message: str, *values: object) -> None:
        """Log what somebody should know."""
        self._log(WARNING, message, values)

    def error(self, message: str, *values: object) -> None:
        """Log what went wrong."""
        self._log(ERROR, message, values)

    def exception(self, message: str, *values: object) -> None:
        """Log what went wrong, with the traceback of the exception that is being handled."""
        error = sys.exc_info()[1]
        try:
            import traceback  # only when it is needed

            more = f"\n{traceback.format_exc().rstrip()}"
        except (ImportError, OSError):  # no file can be opened, which may be what went wrong
            self._log(ERROR, f"{message}: %s: %s", (*values, type(error).__name__, error))
        else:
            self._log(ERROR, message, values, more=more)

    def _log(self, level: int, message: str, values: tuple[object, ...], *, more: str = "") -> None:
        if self._write is None and level < self._least:
            return
        text = escape(message % values if values else message) + more
        if self._write is not None:
            self._write(level, text)
            return
        when = time.strftime(self._times) + " " if self._times else ""
        try:
            sys.stderr.write(f"{self._before}{when}{text}\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            # On a full disk, or without stderr, a line is lost; it must not end the process.
            pass


log = Log()
"""The log of this process."""

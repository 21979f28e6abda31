"""One line at the bottom of a terminal that tells how far something has come."""

from __future__ import annotations

import os
import sys

from queuectl.cli import output
from queuectl.core.cells import cut

# ECMA-48: back to the first column, erase the line.
_ERASE = "\r\x1b[K"


class StatusLine:
    """A line on stderr that is redrawn in place; nothing is shown where stderr cannot redraw."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._can_draw = wanted and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = ""

    def show(self, text: str) -> None:
        """Replace the line by a text without control characters, cut to the width."""
        if not self._can_draw:
            return
        # A line of the full width would make some terminals scroll.
        text = cut(text, (output.line_width(of_stderr=True) or 80) - 1)
        if text != self._shown:
            self._write(_ERASE + text)
            self._shown = text

    def clear(self) -> None:
        """Erase the line, so that something else can be printed in its place."""
        if self._shown:
            self._write(_ERASE)
            self._shown = ""

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # the terminal is gone, or the command has lost its access to it
            self._can_draw = False

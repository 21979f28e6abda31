"""One line at the bottom of a terminal that tells how far something has come."""

from __future__ import annotations

import os
import sys

from queuectl.cli import output
from queuectl.core.cells import cut

BAR_FROM = 1000
"""The least number of jobs that take long enough for a progress bar."""

# ECMA-48: back to the first column, erase the line.
_ERASE = "\r\x1b[K"


class StatusLine:
    """A line on stderr that is redrawn in place; nothing is shown where stderr cannot redraw."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._can_draw = wanted and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = ""

    def show(self, text: str) -> None:
        """Replace the line by a text without control characters, cut to the width."""
        self.show_styled(cut(text, self.width))

    @property
    def width(self) -> int:
        """How many cells the line has."""
        # A line of the full width would make some terminals scroll.
        return max(1, (output.line_width(of_stderr=True) or 80) - 1)

    def show_styled(self, text: str) -> None:
        """Replace the line by a text that fits into its width and may have styles."""
        if self._can_draw and text != self._shown:
            self._write(_ERASE + output.for_terminal(text))
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

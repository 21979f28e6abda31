"""Storing many jobs: how far it is, and what became of them if a signal ends the command."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from typing import Callable, Iterator

from queuectl.cli import output
from queuectl.cli.status_line import BAR_FROM
from queuectl.host.signals import Ended, cleaned_up
from queuectl.storage.enqueueing import MOST_AT_ONCE

_STEP = 1000


class Storing:
    """How far it is: first each job is added, then it is certain, then all are made visible."""

    def __init__(self, count: int) -> None:
        self.is_certain = False
        """Whether the jobs are part of the queue."""
        self._count = count
        self._bars = ExitStack()
        self._advance: Callable[[int], None] | None = None
        self._added = 0
        on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shows_bar = on_terminal and count >= BAR_FROM
        self._has_two_bars = count > MOST_AT_ONCE
        self._begin("preparing" if self._has_two_bars else "enqueueing")

    def added(self, _job: object = None) -> None:
        """Call this for each job, with any argument."""
        self._added += 1
        if self._advance is not None and self._added % _STEP == 0:
            self._advance(_STEP)

    def moved(self, jobs: int) -> None:
        """Call this when the jobs are part of the queue, and when more of them are visible."""
        if self._has_two_bars and not self.is_certain:
            self._begin("enqueueing")
        self.is_certain = True
        if self._has_two_bars and self._advance is not None:
            self._advance(jobs)

    def end(self) -> None:
        """Erase the bar."""
        self._advance = None
        self._bars.close()

    def _begin(self, label: str) -> None:
        self.end()
        if self._shows_bar:
            from queuectl.cli.terminal import progress  # only when it is needed

            self._advance = self._bars.enter_context(progress(self._count, label)).advance


@contextmanager
def storing(count: int, *, hint: str | None = None) -> Iterator[Storing]:
    """Show on a terminal how far the storing of some jobs is.

    If a signal ends it, say whether they are stored. All of them are, or none. `hint` is what to do
    if they are.
    """
    with cleaned_up():
        state = Storing(count)
        try:
            yield state
        except Ended:
            state.end()
            output.message(
                f"interrupted; the {count} jobs are stored, and workers make them visible"
                if state.is_certain
                else "interrupted; nothing was stored"
            )
            if state.is_certain and hint is not None:
                output.message(hint)
            raise
        finally:
            state.end()

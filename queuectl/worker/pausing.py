"""The pause of a worker while the host cannot start processes."""

from __future__ import annotations

import time
from typing import Callable

from queuectl.host.log import log as _log

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 60.0


class Pause:
    """How long a worker claims nothing, because it could not start its last job.

    It grows with each failure, 1, 2, 4 … 60 seconds, until a job could be started.
    """

    def __init__(self, show: Callable[[str | None], None]) -> None:
        """`show` lets others see the reason for the pause; None when it is over."""
        self._show = show
        self._seconds = 0.0
        self._until = 0.0

    def begin(self, reason: str) -> None:
        """Pause now: a job could not be started."""
        if not self._seconds:
            _log.warning("cannot start jobs: %s; they wait, no attempt is counted", reason)
            self._show(f"cannot start jobs: {reason}")
        self._seconds = min(max(2 * self._seconds, _FIRST_SECONDS), _LONGEST_SECONDS)
        self._until = time.monotonic() + self._seconds

    def end(self) -> None:
        """A job could be started: the next pause is the shortest again."""
        if self._seconds:
            self._seconds = 0.0
            _log.warning("jobs can be started again")
            self._show(None)

    def left_seconds(self) -> float:
        """Return how much of the pause is left; 0 if nothing is."""
        return max(0.0, self._until - time.monotonic()) if self._seconds else 0.0

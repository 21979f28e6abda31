"""Chores by the clock: pruning what is old, sweeping what the killed have left."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import Callable, TypeVar

from queuectl.core.errors import QueueError, QueueUpgraded
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage.for_workers import WorkerStorage

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_PERIOD_SECONDS = 60.0
_MORE_SECONDS = 1.0
"""The pause between two portions of a chore that has more to do."""

_SWEEP_SECONDS = 3600.0
"""It looks at each log that is kept; only what is killed at a bad moment leaves any to sweep."""

PRUNED_AT_ONCE = 2000
"""At most so many jobs a call: it holds up what its caller does next."""


class Chores:
    """What each worker does for the queue every minute, and when it is due."""

    def __init__(self, storage: WorkerStorage, *, phase: float) -> None:
        """`phase` is the share of the period until the first, so that workers take turns."""
        self._storage = storage
        self._next = time.monotonic() + phase * _PERIOD_SECONDS
        self._next_sweep = 0.0

    def are_due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self._next

    def begin(self) -> None:
        """Count the time until the next from now."""
        self._next = time.monotonic() + _PERIOD_SECONDS

    def tidy(self) -> None:
        """Prune and sweep; soon again where a portion leaves more."""
        pruned = self.attempt(lambda: prune(self._storage, now=utcnow()))
        if pruned == PRUNED_AT_ONCE:
            self._next = time.monotonic() + _MORE_SECONDS
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + _SWEEP_SECONDS
            self.attempt(self._storage.sweep_logs)

    def attempt(self, do: Callable[[], _Result]) -> _Result | None:
        """Do what can as well be done next time; None, with a warning, if it cannot be done now."""
        try:
            return do()
        except QueueUpgraded:
            raise
        except QueueError as error:
            _log.warning("housekeeping: %s", error)
            return None


def prune(storage: WorkerStorage, *, now: datetime) -> int:
    """Delete jobs that finished longer ago than the key retention says; never dead ones.

    Returns how many; after PRUNED_AT_ONCE of them there may be more.
    """
    retention = storage.settings().retention
    if retention <= 0:
        return 0
    return storage.prune(
        states=(JobState.COMPLETED, JobState.CANCELLED),
        before=now - timedelta(seconds=retention),
        at_most=PRUNED_AT_ONCE,
    )

"""Writes that a worker tries again until they succeed, because giving up would lose a result."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

from queuectl.core.errors import (
    DiskFailure,
    QueueBusy,
    QueueError,
    QueueLost,
    QueueUnusable,
)
from queuectl.host.log import log as _log
from queuectl.storage.for_workers import WorkerStorage
from queuectl.worker.events import WorkerEvents

_Result = TypeVar("_Result")

FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0


class Writer:
    """Writes to the queue on behalf of one worker, for as long as the disk is full or it is busy.

    Once the worker was told to exit, it gives up after kill-grace and raises the error: the next
    worker then recovers the job.
    """

    def __init__(self, storage: WorkerStorage, events: WorkerEvents) -> None:
        self._storage = storage
        self._events = events

    def until_written(self, write: Callable[[], _Result], *, first: bool = False) -> _Result:
        """Call `write` until it succeeds; return its result.

        `first` says that this connection has not written anything yet, so an error that will never
        go away is raised at once. QueueLost is always raised at once.
        """
        pause, warned = FIRST_PAUSE_SECONDS, False
        patience: Patience | None = None
        while True:
            try:
                return write()
            except QueueLost:
                raise
            except QueueError as error:
                if first and _is_permanent(error):
                    raise
                if not warned and not isinstance(error, QueueBusy):
                    _log.warning("%s; trying again until it works", error)
                    warned = True
                patience = patience or self.patience()
                if patience.is_over():
                    raise
            self._events.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def patience(self) -> Patience:
        """Return how long to keep trying something, counted from now."""
        return Patience(self._events, self._grace_seconds)

    def _grace_seconds(self) -> float:
        try:
            return self._storage.settings().kill_grace
        except QueueError:
            return _LONGEST_PAUSE_SECONDS


class Patience:
    """How long a worker keeps trying: without end, but for kill-grace once it is told to exit."""

    def __init__(self, events: WorkerEvents, grace_seconds: Callable[[], float]) -> None:
        self._events = events
        self._grace_seconds = grace_seconds
        self._until = float("inf")

    def is_over(self) -> bool:
        """Whether to give up now."""
        if self._events.leaving is not None:
            self._until = min(self._until, time.monotonic() + self._grace_seconds())
        return time.monotonic() >= self._until


def _is_permanent(error: QueueError) -> bool:
    """Whether a connection that has not written anything yet will never be able to.

    SQLite opens a file read-only if it cannot open it for writing at that moment, for example
    because the process has no descriptor left. The connection stays read-only then.
    """
    return isinstance(error, QueueUnusable) and not isinstance(error, DiskFailure)

"""Chores by the clock: pruning what is old."""

from __future__ import annotations

from datetime import datetime, timedelta

from queuectl.states import JobState
from queuectl.storage.serving import Serving

_PRUNED_AT_ONCE = 2000


def prune(storage: Serving, *, now: datetime) -> int:
    """Delete jobs that finished longer ago than the key retention says; never dead ones.

    A bounded number a call; returns how many.
    """
    retention = storage.settings().retention
    if retention <= 0:
        return 0
    return storage.prune(
        states=(JobState.COMPLETED, JobState.CANCELLED),
        before=now - timedelta(seconds=retention),
        at_most=_PRUNED_AT_ONCE,
    )

"""Chores by the clock: pruning what is old."""

from __future__ import annotations

from datetime import datetime, timedelta

from queuectl.states import JobState
from queuectl.storage.serving import Serving

PRUNED_AT_ONCE = 2000
"""At most so many jobs a call: it holds up what its caller does next."""


def prune(storage: Serving, *, now: datetime) -> int:
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

"""The states of a job, and the groups of them that share a meaning."""

from __future__ import annotations

from enum import Enum


class JobState(str, Enum):
    """Where a job stands. `pending` always means: may be claimed now."""

    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"


FINISHED_STATES = (JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED)
WAITING_STATES = (JobState.BLOCKED, JobState.SCHEDULED, JobState.PENDING, JobState.FAILED)
UNFINISHED_STATES = tuple(state for state in JobState if state not in FINISHED_STATES)

"""The states of a job, and groups of states with a common meaning."""

from __future__ import annotations

from enum import Enum
from typing import Mapping


class JobState(str, Enum):
    """The state of a job."""

    BLOCKED = "blocked"
    """It waits for other jobs (--after, --after-any)."""
    SCHEDULED = "scheduled"
    """It waits for its time (--delay, --at)."""
    PENDING = "pending"
    """It can be claimed now."""
    PROCESSING = "processing"
    """An attempt is running."""
    COMPLETED = "completed"
    """Its last attempt exited with 0."""
    FAILED = "failed"
    """Its last attempt failed, and it waits for its retry."""
    DEAD = "dead"
    """All its attempts failed: it is in the DLQ."""
    CANCELLED = "cancelled"
    """It was cancelled."""


FINISHED_STATES = (JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED)
"""A job in one of these states does not run again unless a user retries it."""
WAITING_STATES = (JobState.BLOCKED, JobState.SCHEDULED, JobState.PENDING, JobState.FAILED)
"""A job in one of these states runs later."""
UNFINISHED_STATES = tuple(state for state in JobState if state not in FINISHED_STATES)
"""The waiting states and PROCESSING."""

SIGNS: Mapping[JobState, str] = {
    JobState.BLOCKED: "◌",
    JobState.SCHEDULED: "◷",
    JobState.PENDING: "◦",
    JobState.PROCESSING: "▸",
    JobState.COMPLETED: "✓",
    JobState.FAILED: "↻",
    JobState.DEAD: "✗",
    JobState.CANCELLED: "⊘",
}
"""The sign of each state. All take one cell, also on terminals for East Asian languages."""

CALLED: Mapping[str, tuple[JobState, ...]] = {
    **dict.fromkeys(("running", "active"), (JobState.PROCESSING,)),
    **dict.fromkeys(("queued", "ready"), (JobState.PENDING,)),
    **dict.fromkeys(("done", "success", "succeeded", "successful"), (JobState.COMPLETED,)),
    **dict.fromkeys(("canceled", "aborted"), (JobState.CANCELLED,)),
    **dict.fromkeys(("delayed",), (JobState.SCHEDULED,)),
    **dict.fromkeys(("retrying",), (JobState.FAILED,)),
    **dict.fromkeys(("waiting",), WAITING_STATES),
    **dict.fromkeys(("finished", "ended"), FINISHED_STATES),
    **dict.fromkeys(("unfinished",), UNFINISHED_STATES),
}
"""Other names by which people call a state, or several states."""

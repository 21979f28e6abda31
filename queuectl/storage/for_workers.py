"""The methods that workers need. The others would cost each worker process memory."""

from __future__ import annotations

from queuectl.storage.attempts import Attempts
from queuectl.storage.contents import Contents
from queuectl.storage.counting import Counting
from queuectl.storage.job_counts import JobCounts
from queuectl.storage.retention import Retention
from queuectl.storage.retries import Retries
from queuectl.storage.schedule_clock import ScheduleClock
from queuectl.storage.stages import Stages
from queuectl.storage.workers import Workers


class WorkerStorage(
    Attempts, Workers, JobCounts, Retention, Retries, ScheduleClock, Contents, Stages, Counting
):
    """One open queue of one worker, with the methods that a worker needs."""

    of_worker = True
    """A command must not run with other characters than its bytes."""

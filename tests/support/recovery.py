"""The recovery of dead workers' jobs, in the process of a test."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, cast

from queuectl.core.errors import QueueError
from queuectl.core.models import Claim, Outcome, Verdict
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.worker.commands import CommandBuilder, inherited_environ
from queuectl.worker.events import WorkerEvents
from queuectl.worker.recovery import AdoptedJob, Recovery
from queuectl.worker.reporting import Reporter
from queuectl.worker.writing import Writer


class _Events:
    """The events of a worker to which nothing happens."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


def recovery_by(worker: str, storage: Any, lock: Any = None) -> Recovery:
    """Return the recovery of a worker with this lock file; without one it cannot adopt a job.

    A job that has ended is dead afterwards, however it ended.
    """
    events = cast(WorkerEvents, _Events())

    def record(claim: Claim, outcome: Outcome) -> None:
        verdict = Verdict(JobState.DEAD, last_error=outcome.reason)
        storage.record(claim, outcome, verdict, now=utcnow())

    commands = CommandBuilder(
        storage.files, storage.queue_id, 0, storage.find_content, inherited_environ()
    )
    writer = Writer(storage, events)
    return Recovery(storage, worker, lock, commands, events, writer, record, Reporter())


def take_over_missing(recovery: Recovery) -> list[AdoptedJob]:
    """Recover the dead workers whose lock file is missing; return the jobs that were adopted.

    A supervisor forks a worker for each, whose error ends only that worker.
    """
    adopted = []
    for dead in recovery.show_missing():
        with suppress(QueueError):
            adopted.append(recovery.take_over(dead))
    return [job for job in adopted if job is not None]

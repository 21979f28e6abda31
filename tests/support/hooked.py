"""A hook that notes each event which it reports, and what must be true of any history."""

from __future__ import annotations

from collections import Counter

from queuectl.core.hooks import NewHook, parse_events
from queuectl.core.models import OutcomeKind, Selection
from queuectl.core.times import utcnow
from support.queue import Queue

_ALL = Selection()
_FAILURES = {
    OutcomeKind.EXIT, OutcomeKind.SIGNAL, OutcomeKind.TIMEOUT, OutcomeKind.LOST,
    OutcomeKind.SPAWN_ERROR,
}  # fmt: skip


def report_all(queue: Queue) -> None:
    """Add a hook that writes a line to the file `told` for each event of a job."""
    command = 'echo "$QUEUECTL_EVENT_ID $QUEUECTL_EVENT $QUEUECTL_PARENT_ID" >>told'
    new = NewHook(
        "teller",
        parse_events("finished,failed,drained"),
        command=command,
        cwd=str(queue.work),
        max_retries=1000,
    )
    with queue.opened() as storage:
        storage.add_hook(new, replace=True, now=utcnow())


def assert_each_event_is_reported(queue: Queue) -> None:
    """Check for a drained queue that there is one job per event, and that each has been run.

    No event is without a job, and no job is without an event.
    """
    with queue.opened() as storage:
        jobs = list(storage.jobs(_ALL))
        recorded = {
            job.id: Counter(
                execution.outcome for execution in storage.executions(job) if execution.outcome
            )
            for job in jobs
            if job.hook is None
        }
    reports = [job for job in jobs if job.hook is not None]
    assert {job.state.value for job in reports} <= {"completed"}
    ids = [job.event_id for job in reports]
    assert max(Counter(ids).values(), default=1) == 1, "an event has two jobs"
    path = queue.work / "told"
    told = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    assert {job.event_id for job in reports} == {line[0] for line in told}
    reported = Counter(
        (job.env["QUEUECTL_PARENT_ID"], job.env["QUEUECTL_EVENT"]) for job in reports
    )
    for job_id, outcomes in recorded.items():
        failures = sum(outcomes[kind] for kind in _FAILURES)
        told_failures = reported[job_id, "job.failed"] + reported[job_id, "job.dead"]
        assert (job_id, reported[job_id, "job.completed"]) == (job_id, outcomes[OutcomeKind.OK])
        assert (job_id, told_failures) == (job_id, failures)

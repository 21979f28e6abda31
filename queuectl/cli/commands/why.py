"""The command `why`: one plain sentence about where a job stands."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, json_option, open_storage
from queuectl.cli.selection import job_argument, the_job
from queuectl.core.escaping import escape
from queuectl.core.models import Job, QueueStatus
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import format_duration, from_text, to_text, utcnow
from queuectl.host import lockfiles
from queuectl.storage import Storage


class Explanation(NamedTuple):
    """A reason as one word for programs, and as a sentence for people."""

    reason: str
    message: str


@click.command("why", cls=QueueCommand)
@job_argument
@json_option
def why(job: str | None, as_json: bool) -> None:
    """Say in one sentence why a job is where it is.

    Example: queuectl why nightly-backup
    """
    storage = open_storage()
    found = the_job(storage, job)
    explanation = explain(storage, found)
    if as_json:
        output.print_json(
            {
                "id": found.id,
                "state": found.state.value,
                "reason": explanation.reason,
                "message": explanation.message,
            }
        )
    else:
        output.print_data(escape(f"{found.id} {explanation.message}"))


def explain(storage: Storage, job: Job) -> Explanation:
    """Return why a job is where it is."""
    if job.state in FINISHED_STATES:
        return _ended(job)
    if job.state is JobState.PROCESSING:
        since = "" if job.locked_at is None else f" since {_when(job.locked_at)}"
        ending = ", and is being cancelled" if job.cancel_requested else ""
        where = f"is running{since} on worker {job.locked_by}{ending}"
        if lockfiles.is_alive(storage.files, str(job.locked_by)) is False:
            # No end is recorded, no timeout kept, no cancel heeded meanwhile.
            return Explanation(
                "unattended",
                f"{where}, which is gone: the next worker answers for it (queuectl worker start)",
            )
        return Explanation("running", where)
    if job.state is JobState.BLOCKED:
        return _blocked(storage, job)
    if job.run_at is not None and job.run_at <= utcnow():
        return _pending(storage, job)  # due: the next claim makes it pending
    if job.state is JobState.SCHEDULED and job.run_at is not None:
        return Explanation("scheduled", f"waits until {_when(job.run_at)}")
    if job.state is JobState.FAILED and job.run_at is not None:
        return Explanation(
            "retry",
            f"waits for its retry: attempt {job.attempts} of {job.max_retries} failed "
            f"({job.last_error}), the next is at {_when(job.run_at)}",
        )
    return _pending(storage, job)


def _ended(job: Job) -> Explanation:
    assert job.finished_at is not None  # a constraint of the table
    when = _when(job.finished_at)
    if job.state is JobState.COMPLETED:
        runs = f", on attempt {job.attempts}" if job.attempts > 1 else ""
        return Explanation("completed", f"completed at {when}{runs}")
    if job.state is JobState.CANCELLED:
        reason = f": {job.cancel_reason}" if job.cancel_reason else ""
        return Explanation("cancelled", f"was cancelled at {when}{reason}")
    return Explanation(
        "dead",
        f"is dead since {when}: attempt {job.attempts} of {job.max_retries} failed "
        f"({job.last_error}); queuectl dlq retry {job.id} runs it again",
    )


def _blocked(storage: Storage, job: Job) -> Explanation:
    needs = storage.needs(job)
    for need in needs:
        if need.job.state in FINISHED_STATES and not need.however:
            return Explanation(
                "blocked-for-good",
                f"is blocked by {need.job.id}, which is {need.job.state.value} "
                f"(queuectl retry {need.job.id})",
            )
    named = [f"{need.job.id}, which is {need.job.state.value}" for need in needs[:3]]
    more = f" and {len(needs) - 3} more" if len(needs) > 3 else ""
    return Explanation("blocked", f"is blocked by {'; by '.join(named)}{more}")


def _pending(storage: Storage, job: Job) -> Explanation:
    queue = next((queue for queue in storage.queues() if queue.name == job.queue), None)
    if queue is not None and queue.paused:
        return _paused(queue)
    if queue is not None and queue.limit is not None:
        running = storage.running_in(job.queue)
        if len(running) >= queue.limit:
            return Explanation(
                "limit",
                f"waits: the limit of its queue, {len(running)}/{queue.limit}, is used by "
                f"{_listed(running)}",
            )
    workers = storage.living_workers()
    if not workers:
        seen = storage.meta().get("last_worker_at")
        last = f", the last one was seen at {_when(from_text(seen))}" if seen else ""
        return Explanation("no-worker", f"waits: no worker is running{last} "
                                        "(queuectl worker start)")  # fmt: skip
    serving = [worker for worker in workers if not worker.queues or job.queue in worker.queues]
    if not serving:
        return Explanation(
            "not-served",
            f"waits: no worker serves its queue {job.queue} "
            f"(queuectl worker start --queue {job.queue})",
        )
    ahead = storage.ahead_of(job)
    busy = [worker.job for worker in serving if worker.job is not None]
    doing = f"; {len(busy)} of {len(serving)} workers are busy" if busy else ""
    jobs = f"{ahead} job{' is' if ahead == 1 else 's are'} ahead of it in {job.queue}"
    return Explanation("ahead" if ahead else "next", f"waits for a worker: {jobs}{doing}")


def _paused(queue: QueueStatus) -> Explanation:
    reason = f": {queue.pause_reason}" if queue.pause_reason else ""
    when = "" if queue.paused_at is None else f" at {_when(queue.paused_at)}"
    return Explanation(
        "paused",
        f"waits: its queue {queue.name} was paused by {queue.paused_by}{when}{reason}",
    )


def _listed(names: list[str]) -> str:
    shown = names[:5]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (" and ".join(shown) if len(shown) < 3 else ", ".join(shown)) + more


def _when(instant: datetime) -> str:
    """Return a time: for people local and with the distance, else as ISO-8601."""
    if not output.on_terminal():
        return to_text(instant)
    seconds = (instant - utcnow()).total_seconds()
    distance = format_duration(abs(seconds))
    words = f"in {distance}" if seconds > 0 else f"{distance} ago"
    try:
        face = f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):  # the local calendar has no such time: it ends in 9999
        face = to_text(instant)
    return f"{face} ({words})"

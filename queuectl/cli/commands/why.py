"""The command `why`: one sentence about where a job stands."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Collection, NamedTuple, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, json_option, open_storage
from queuectl.cli.looking import Looking, looking_options, shown_name
from queuectl.cli.shown_times import local_time
from queuectl.core import retry
from queuectl.core.batches import serves, start_command
from queuectl.core.cells import cut_middle, wrap
from queuectl.core.escaping import escape
from queuectl.core.models import Job, OutcomeKind, Selection
from queuectl.core.naming import number, title
from queuectl.core.reasons import short_reason
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import from_text, utcnow
from queuectl.host import lockfiles
from queuectl.runner.output_reader import last_line
from queuectl.storage import Storage

_TITLE_CELLS = 48
_LAST_LINE_CELLS = 60
_USUAL_WIDTH = 80
_CLOCK_WAS_AHEAD = "; the clock was ahead when it {} ({})"


class Explanation(NamedTuple):
    """Why a job stands where it does: one word for programs, a sentence for people."""

    reason: str
    message: str


@click.command("why", cls=QueueCommand)
@looking_options
@json_option
def why(jobs: Sequence[str], queues: Sequence[str], states: Sequence[Any], as_json: bool) -> int:
    """Explain in one sentence per job where it stands, and why.

    On a terminal the default is the job that was enqueued last. With --json, several jobs make a
    list.

    \b
    Examples:
      queuectl why @17
      queuectl why nightly-backup
      queuectl why --state blocked
    """
    looking = Looking(jobs, queues, states)
    storage = open_storage()
    found = looking.jobs(storage)
    if not as_json:
        for job in found:
            _print(job, explain(storage, job, now=utcnow()))
    elif looking.is_several:
        shapes = (_json(job, explain(storage, job, now=utcnow())) for job in found)
        output.print_json_array(shapes)
    else:
        job = looking.one(storage)
        output.print_json(_json(job, explain(storage, job, now=utcnow())))
    return looking.code


def _json(job: Job, explanation: Explanation) -> dict[str, str]:
    return {
        "id": job.id,
        "state": job.state.value,
        "reason": explanation.reason,
        "message": explanation.message,
    }


def _print(job: Job, explanation: Explanation) -> None:
    """Print the sentence; on a terminal the job has its number and its title, elsewhere its id."""
    if not output.on_terminal():
        output.print_line(f"{job.id} {explanation.message}")
        return
    id_given = "" if job.id_made else f" {job.id}"
    named = f"{number(job)}{id_given} ({title(job, cells=_TITLE_CELLS)})"
    sentence = escape(f"{named} {explanation.message}")
    for line in wrap(sentence, output.line_width() or _USUAL_WIDTH):
        output.print_line(line)


def explain(storage: Storage, job: Job, *, now: datetime) -> Explanation:
    """Return why a job stands where it does."""
    if job.state in FINISHED_STATES:
        return _finished(storage, job, now)
    if job.state is JobState.PROCESSING:
        return _running(storage, job, now)
    if job.paused_at is not None:
        return Explanation("job-paused", f"waits: it {_was_paused(job, now)}")
    if job.state is JobState.BLOCKED:
        return _blocked(storage, job)
    if job.run_at is None or job.run_at <= now:
        # If its time has come, the next claim makes it pending.
        return _pending(storage, job, now)
    run_at = local_time(job.run_at, now=now)
    if job.state is JobState.SCHEDULED:
        return Explanation("scheduled", f"waits until {run_at}{_wrong_start(job, now)}")
    if job.state is JobState.FAILED and _was_interrupted(storage, job):
        return Explanation(
            "retry",
            f"was put back: {job.last_error}; no attempt was counted, the next is at {run_at}",
        )
    if job.state is JobState.FAILED:
        return Explanation(
            "retry",
            f"waits for its retry: {_failure(storage, job)}; the next is at {run_at}"
            f"{_wrong_retry(storage, job, now)}",
        )
    return _pending(storage, job, now)


def _wrong_start(job: Job, now: datetime) -> str:
    """Return that the clock was ahead when a job was enqueued, and how to start the job now."""
    if job.created_at <= now + retry.CLOCK_TOLERANCE:
        return ""
    return _CLOCK_WAS_AHEAD.format(
        "was enqueued", f"queuectl edit --delay 0 {shown_name(job)} starts it"
    )


def _wrong_retry(storage: Storage, job: Job, now: datetime) -> str:
    """Return that a clock which was ahead has set a job's retry, and what corrects it."""
    assert job.run_at is not None  # a constraint of the table
    settings = storage.settings()
    moved = retry.corrected_retry(job.updated_at, job.run_at, settings, job.retry_delay, now=now)
    if moved is None:
        return ""
    return _CLOCK_WAS_AHEAD.format(
        "failed", f"a running worker corrects this, or queuectl retry {shown_name(job)}"
    )


def _was_interrupted(storage: Storage, job: Job) -> bool:
    last = storage.last_execution(job)
    return last is not None and last.outcome is OutcomeKind.INTERRUPTED


def _finished(storage: Storage, job: Job, now: datetime) -> Explanation:
    assert job.finished_at is not None  # a constraint of the table
    when = local_time(job.finished_at, now=now)
    if job.state is JobState.COMPLETED:
        attempt = f", on attempt {job.attempts}" if job.attempts > 1 else ""
        return Explanation("completed", f"completed at {when}{attempt}")
    if job.state is JobState.CANCELLED:
        reason = f": {job.cancel_reason}" if job.cancel_reason else ""
        return Explanation("cancelled", f"was cancelled at {when}{reason}")
    interrupted = _was_interrupted(storage, job)
    cause = job.last_error if interrupted else _failure(storage, job)
    again = f"queuectl dlq retry {shown_name(job)} runs it again"
    return Explanation("dead", f"died at {when}: {cause}; {again}")


def _failure(storage: Storage, job: Job) -> str:
    """Return how the last attempt failed, with the last line that it printed."""
    last = storage.last_execution(job)
    line = None if last is None else last_line(last.output)
    printed = "" if line is None else f" and printed last: {cut_middle(line, _LAST_LINE_CELLS)}"
    reason = short_reason(job.last_error or "unknown").replace(" (", ": ").rstrip(")")
    return f"attempt {job.attempts} of {job.max_retries} failed ({reason}){printed}"


def _running(storage: Storage, job: Job, now: datetime) -> Explanation:
    running = "is running"
    if job.locked_at is not None:
        running = f"has been running since {local_time(job.locked_at, now=now)}"
    ending = ", and is being cancelled" if job.cancel_requested else ""
    sentence = f"{running} on worker {job.locked_by}{ending}"
    if lockfiles.is_alive(storage.files, str(job.locked_by)) is False:
        # Until another worker recovers it, nobody records its end, ends it at its timeout, or
        # carries out a cancellation.
        return Explanation(
            "unattended",
            f"{sentence}, which is gone: the next worker recovers it (queuectl worker start)",
        )
    if job.paused_at is not None:
        return Explanation("job-paused", f"{sentence}, but {_was_paused(job, now)}")
    return Explanation("running", sentence)


def _was_paused(job: Job, now: datetime) -> str:
    when = "" if job.paused_at is None else f" at {local_time(job.paused_at, now=now)}"
    return f"was paused{when} (queuectl resume {shown_name(job)})"


def _standing(job: Job) -> str:
    return f"{job.state.value}{'' if job.paused_at is None else ' and paused'}"


def _blocked(storage: Storage, job: Job) -> Explanation:
    needs = storage.needs(job)
    for need in needs:
        if need.job.state in FINISHED_STATES and not need.any_outcome:
            return Explanation(
                "blocked-for-good",
                f"is blocked by {shown_name(need.job)}, which is {need.job.state.value} "
                f"(queuectl retry {shown_name(need.job)})",
            )
    named = [f"{shown_name(need.job)}, which is {_standing(need.job)}" for need in needs[:3]]
    more = f" and {len(needs) - 3} more" if len(needs) > 3 else ""
    return Explanation("blocked", f"is blocked by {'; by '.join(named)}{more}")


def _pending(storage: Storage, job: Job, now: datetime) -> Explanation:
    reason, message = _why_pending(storage, job, now)
    if job.interruptions:
        times = "once" if job.interruptions == 1 else f"{job.interruptions} times"
        message += f"; it was interrupted {times}"
    return Explanation(reason, message)


def _why_pending(storage: Storage, job: Job, now: datetime) -> Explanation:
    held_back = _held_back(storage, job, now)
    if held_back is not None:
        return held_back
    workers = storage.living_workers()
    if not workers:
        seen = storage.meta().get("last_worker_at")
        last = f", the last one was seen at {local_time(from_text(seen), now=now)}" if seen else ""
        return Explanation(
            "no-worker", f"waits: no worker is running{last} ({start_command([job.queue])})"
        )
    serving = [worker for worker in workers if serves(worker.queues, job.queue)]
    if not serving:
        return Explanation(
            "not-served",
            f"waits: no worker serves its queue {job.queue} "
            f"(queuectl worker start --queue {job.queue})",
        )
    able = [worker for worker in serving if worker.problem is None]
    if not able:
        return Explanation("worker-problem", f"waits: worker {serving[0].id}: {serving[0].problem}")
    serving = able
    ahead = storage.ahead_of(job)
    jobs = f"{ahead:,} job{' is' if ahead == 1 else 's are'} ahead of it in {job.queue}"
    if not ahead:
        jobs = f"it is the next in {job.queue}"
    doing = _busy(sum(worker.job is not None for worker in serving), len(serving))
    doing += _with_paused_jobs(storage, {worker.id for worker in serving})
    return Explanation("ahead" if ahead else "next", f"waits for a worker: {jobs}{doing}")


def _busy(busy: int, workers: int) -> str:
    if not busy:
        return ""
    if workers == 1:
        return "; the only worker is busy"
    return f"; {'all' if busy == workers else f'{busy} of'} {workers} workers are busy"


def _with_paused_jobs(storage: Storage, workers: Collection[str]) -> str:
    """Return which of these workers' jobs are paused: they keep their workers busy."""
    paused = [
        shown_name(job)
        for job in storage.jobs(Selection(states=(JobState.PROCESSING,), paused=True))
        if job.locked_by in workers
    ]
    if not paused:
        return ""
    are = "is" if len(paused) == 1 else "are"
    again = f"queuectl resume {paused[0]}" if len(paused) == 1 else "queuectl resume --all"
    return f", and {_listed(paused)} {are} paused ({again})"


def _held_back(storage: Storage, job: Job, now: datetime) -> Explanation | None:
    """Return how the job's queue keeps it from running, if it does."""
    queue = next((queue for queue in storage.queues() if queue.name == job.queue), None)
    if queue is None:
        return None
    if queue.paused:
        when = "" if queue.paused_at is None else f" at {local_time(queue.paused_at, now=now)}"
        reason = f": {queue.pause_reason}" if queue.pause_reason else ""
        # One pause may hold all queues; `resume` without a name lifts every pause.
        name = "" if storage.all_paused() else f" {queue.name}"
        return Explanation(
            "paused",
            f"waits: its queue {queue.name} was paused by {queue.paused_by}{when}{reason} "
            f"(queuectl queue resume{name})",
        )
    if queue.limit is not None:
        running = [
            shown_name(one) + ("" if one.paused_at is None else " (paused)")
            for one in storage.running_in(job.queue)
        ]
        if len(running) >= queue.limit:
            return Explanation(
                "limit",
                f"waits: the limit of its queue, {len(running)}/{queue.limit}, is used by "
                f"{_listed(running)} (queuectl queue limit {job.queue} N changes it)",
            )
    return None


def _listed(ids: list[str]) -> str:
    shown = ids[:5]
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return (" and ".join(shown) if len(shown) < 3 else ", ".join(shown)) + more

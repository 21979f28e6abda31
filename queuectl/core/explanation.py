"""Why a job stands where it does: in one word, and in one sentence."""

from __future__ import annotations

from datetime import datetime
from typing import Callable, Collection, Iterable, Mapping, Protocol, Sequence

from queuectl.core import retry
from queuectl.core.batches import owner_of, serves, start_command
from queuectl.core.cells import cut_middle
from queuectl.core.counts import and_more, counted
from queuectl.core.errors import QueueUnusable
from queuectl.core.models import (
    Execution,
    Job,
    JobKey,
    Need,
    OutcomeKind,
    Output,
    QueueStatus,
    Selection,
    Worker,
)
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.naming import quoted
from queuectl.core.reasons import short_reason
from queuectl.core.settings import Settings
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import optional_time

_LAST_LINE_CELLS = 60
_CLOCK_WAS_AHEAD = "; the clock was ahead when it {} ({})"


class Explanation(NamedTuple):
    """Why a job stands where it does: one word for programs, a sentence for people."""

    reason: str
    message: str


class Words(NamedTuple):
    """How an explanation calls things, which depends on where people read it."""

    time: Callable[[datetime], str]
    """Writes an instant."""
    name: Callable[[Job | JobKey], str]
    """Returns the name of a job."""
    last_line: Callable[[Output], str | None]
    """Returns the last line of an output; None if it has none."""


class _Queue(Protocol):
    """The methods that an explanation needs; a Storage has them."""

    def last_execution(self, job: Job) -> Execution | None: ...
    def settings(self) -> Settings: ...
    def needs(self, job: Job) -> Sequence[Need]: ...
    def living_workers(self) -> Sequence[Worker]: ...
    def is_worker_alive(self, worker_id: str) -> bool | None: ...
    def meta(self) -> Mapping[str, str]: ...
    def queues(self) -> Sequence[QueueStatus]: ...
    def all_paused(self) -> bool: ...
    def running_in(self, queue: str) -> Sequence[Job]: ...
    def ahead_of(self, job: Job) -> int: ...
    def jobs(self, selection: Selection) -> Iterable[Job]: ...


def explain(queue: _Queue, job: Job, *, now: datetime, words: Words) -> Explanation:
    """Return why a job stands where it does."""
    return _Explaining(queue, now, words).explain(job)


class _Explaining:
    """Explains jobs of one queue at one moment."""

    def __init__(self, queue: _Queue, now: datetime, words: Words) -> None:
        self._queue = queue
        self._now = now
        self._words = words

    def explain(self, job: Job) -> Explanation:
        """Return why a job stands where it does."""
        if job.state in FINISHED_STATES:
            return self._finished(job)
        if job.state is JobState.PROCESSING:
            return self._running(job)
        if job.paused_at is not None:
            return Explanation("job-paused", f"waits: it {self._was_paused(job)}")
        if job.state is JobState.BLOCKED:
            return self._blocked(job)
        if job.run_at is None or job.run_at <= self._now:
            # If its time has come, the next claim makes it pending.
            return self._pending(job)
        run_at = self._words.time(job.run_at)
        if job.state is JobState.SCHEDULED:
            return Explanation("scheduled", f"waits until {run_at}{self._wrong_start(job)}")
        if job.state is JobState.FAILED and self._was_interrupted(job):
            return Explanation(
                "retry",
                f"was put back: {job.last_error}; no attempt was counted, the next is at {run_at}",
            )
        if job.state is JobState.FAILED:
            return Explanation(
                "retry",
                f"waits for its retry: {self._failure(job)}; the next is at {run_at}"
                f"{self._wrong_retry(job)}",
            )
        return self._pending(job)

    def _wrong_start(self, job: Job) -> str:
        """Return that the clock was ahead when a job was enqueued, and how to start the job now."""
        if job.created_at <= self._now + retry.CLOCK_TOLERANCE:
            return ""
        return _CLOCK_WAS_AHEAD.format(
            "was enqueued", f"queuectl edit --delay 0 {self._in_command(job)} starts it"
        )

    def _wrong_retry(self, job: Job) -> str:
        """Return that a clock which was ahead has set a job's retry, and what corrects it."""
        assert job.run_at is not None  # a constraint of the table
        settings = self._queue.settings()
        moved = retry.corrected_retry(
            job.updated_at, job.run_at, settings, job.retry_delay, now=self._now
        )
        if moved is None:
            return ""
        return _CLOCK_WAS_AHEAD.format(
            "failed", f"a running worker corrects this, or queuectl retry {self._in_command(job)}"
        )

    def _was_interrupted(self, job: Job) -> bool:
        last = self._queue.last_execution(job)
        return last is not None and last.outcome is OutcomeKind.INTERRUPTED

    def _finished(self, job: Job) -> Explanation:
        assert job.finished_at is not None  # a constraint of the table
        when = self._words.time(job.finished_at)
        if job.state is JobState.COMPLETED:
            attempt = f", on attempt {job.attempts}" if job.attempts > 1 else ""
            return Explanation("completed", f"completed at {when}{attempt}")
        if job.state is JobState.CANCELLED:
            reason = f": {job.cancel_reason}" if job.cancel_reason else ""
            return Explanation("cancelled", f"was cancelled at {when}{reason}")
        interrupted = self._was_interrupted(job)
        cause = job.last_error if interrupted else self._failure(job)
        again = f"queuectl dlq retry {self._in_command(job)} runs it again"
        return Explanation("dead", f"died at {when}: {cause}; {again}")

    def _failure(self, job: Job) -> str:
        """Return how the last attempt failed, with the last line that it printed."""
        last = self._queue.last_execution(job)
        line = None if last is None else self._words.last_line(last.output)
        printed = "" if line is None else f" and printed last: {cut_middle(line, _LAST_LINE_CELLS)}"
        reason = short_reason(job.last_error or "unknown").replace(" (", ": ").rstrip(")")
        return f"attempt {job.attempts} of {job.max_retries} failed ({reason}){printed}"

    def _running(self, job: Job) -> Explanation:
        running = "is running"
        if job.locked_at is not None:
            running = f"has been running since {self._words.time(job.locked_at)}"
        ending = ", and is being cancelled" if job.cancel_requested else ""
        sentence = f"{running} on worker {job.locked_by}{ending}"
        if self._queue.is_worker_alive(str(job.locked_by)) is False:
            # Until another worker recovers it, nobody records its end, ends it at its timeout, or
            # carries out a cancellation.
            return Explanation(
                "unattended",
                f"{sentence}, which is gone: the next worker recovers it (queuectl worker start)",
            )
        if job.paused_at is not None:
            return Explanation("job-paused", f"{sentence}, but {self._was_paused(job)}")
        return Explanation("running", sentence)

    def _was_paused(self, job: Job) -> str:
        when = "" if job.paused_at is None else f" at {self._words.time(job.paused_at)}"
        return f"was paused{when} (queuectl resume {self._in_command(job)})"

    def _blocked(self, job: Job) -> Explanation:
        needs = self._queue.needs(job)
        for need in needs:
            if need.job.state in FINISHED_STATES and not need.any_outcome:
                return Explanation(
                    "blocked-for-good",
                    f"is blocked by {self._words.name(need.job)}, which is {need.job.state.value} "
                    f"(queuectl retry {self._in_command(need.job)})",
                )
        named = [
            f"{self._words.name(need.job)}, which is {_standing(need.job)}" for need in needs[:3]
        ]
        listed = "; by ".join(named) + and_more(len(needs) - 3)
        return Explanation("blocked", f"is blocked by {listed}")

    def _pending(self, job: Job) -> Explanation:
        reason, message = self._why_pending(job)
        if job.interruptions:
            times = "once" if job.interruptions == 1 else f"{job.interruptions} times"
            message += f"; it was interrupted {times}"
        return Explanation(reason, message)

    def _last_worker_at(self) -> datetime | None:
        """Return when the last worker was seen; None if there was none, or nobody knows."""
        try:
            return optional_time(self._queue.meta().get("last_worker_at"))
        except QueueUnusable:  # another program wrote it
            return None

    def _why_pending(self, job: Job) -> Explanation:
        held_back = self._held_back(job)
        if held_back is not None:
            return held_back
        workers = self._queue.living_workers()
        if not workers:
            seen = self._last_worker_at()
            last = "" if seen is None else f", the last one was seen at {self._words.time(seen)}"
            return Explanation(
                "no-worker", f"waits: no worker is running{last} ({start_command([job.queue])})"
            )
        serving = [worker for worker in workers if serves(worker.queues, job.queue)]
        if not serving:
            return Explanation(
                "not-served",
                f"waits: no worker serves its queue {job.queue} "
                f"(queuectl worker start --queue {quoted(owner_of(job.queue))})",
            )
        able = [worker for worker in serving if worker.problem is None]
        if not able:
            return Explanation(
                "worker-problem", f"waits: worker {serving[0].id}: {serving[0].problem}"
            )
        serving = able
        ahead = self._queue.ahead_of(job)
        jobs = f"{counted(ahead, 'job', 'is', 'are')} ahead of it in {job.queue}"
        if not ahead:
            jobs = f"it is the next in {job.queue}"
        doing = _busy(sum(worker.job is not None for worker in serving), len(serving))
        doing += self._with_paused_jobs({worker.id for worker in serving})
        return Explanation("ahead" if ahead else "next", f"waits for a worker: {jobs}{doing}")

    def _in_command(self, job: Job) -> str:
        return quoted(self._words.name(job))

    def _with_paused_jobs(self, workers: Collection[str]) -> str:
        """Return which of these workers' jobs are paused: they keep their workers busy."""
        paused = [
            self._words.name(job)
            for job in self._queue.jobs(Selection(states=(JobState.PROCESSING,), paused=True))
            if job.locked_by in workers
        ]
        if not paused:
            return ""
        are = "is" if len(paused) == 1 else "are"
        again = (
            f"queuectl resume {quoted(paused[0])}" if len(paused) == 1 else "queuectl resume --all"
        )
        return f", and {_listed(paused)} {are} paused ({again})"

    def _held_back(self, job: Job) -> Explanation | None:
        """Return how the job's queue keeps it from running, if it does."""
        queue = next((queue for queue in self._queue.queues() if queue.name == job.queue), None)
        if queue is None:
            return None
        if queue.paused:
            when = "" if queue.paused_at is None else f" at {self._words.time(queue.paused_at)}"
            reason = f": {queue.pause_reason}" if queue.pause_reason else ""
            # One pause may hold all queues; `resume` without a name lifts every pause.
            name = "" if self._queue.all_paused() else f" {quoted(queue.name)}"
            return Explanation(
                "paused",
                f"waits: its queue {queue.name} was paused by {queue.paused_by}{when}{reason} "
                f"(queuectl queue resume{name})",
            )
        if queue.limit is not None:
            running = [
                self._words.name(one) + ("" if one.paused_at is None else " (paused)")
                for one in self._queue.running_in(job.queue)
            ]
            if len(running) >= queue.limit:
                return Explanation(
                    "limit",
                    f"waits: the limit of its queue, {len(running)}/{queue.limit}, is used by "
                    f"{_listed(running)} (queuectl queue limit {quoted(job.queue)} N changes it)",
                )
        return None


def _standing(job: Job) -> str:
    return f"{job.state.value}{'' if job.paused_at is None else ' and paused'}"


def _busy(busy: int, workers: int) -> str:
    if not busy:
        return ""
    if workers == 1:
        return "; the only worker is busy"
    return f"; {'all' if busy == workers else f'{busy} of'} {workers} workers are busy"


def _listed(ids: list[str]) -> str:
    shown = ids[:5]
    listed = " and ".join(shown) if len(shown) < 3 else ", ".join(shown)
    return listed + and_more(len(ids) - 5)

"""The loop of one worker process: claim, run, decide, record."""

from __future__ import annotations

import logging
import os
import time
from typing import Callable, TypeVar

from queuectl.core import retry
from queuectl.core.errors import (
    DiskFailure,
    QueueBusy,
    QueueError,
    QueueReplaced,
    QueueUnusable,
    QueueUpgraded,
)
from queuectl.core.models import Claim, Outcome, OutcomeKind, Recorded, Verdict, Worker
from queuectl.core.states import JobState
from queuectl.core.times import format_duration, to_text, utcnow
from queuectl.host import lockfiles, processes
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import open_private, unlink_quietly
from queuectl.host.wakeup import WakeUpFifo, wake_up
from queuectl.runner import process_tree
from queuectl.runner.adopted import take_over
from queuectl.runner.attempt import Command
from queuectl.runner.output_log import OutputLog
from queuectl.runner.run import run as run_command
from queuectl.storage.for_workers import WorkerStorage
from queuectl.worker import chores, recovery
from queuectl.worker.assignment import Assignment, WorkerExit
from queuectl.worker.events import JobEvents, Patience, WorkerEvents

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_LOCK_WAIT_SECONDS = 1.0
"""A slice: between two waits for the write lock the worker looks at its orders."""

_IDLE_SECONDS = 1.0
_CANCEL_LOOK_SECONDS = 1.0
_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 2.0


def work(files: QueueFiles, assignment: Assignment) -> WorkerExit:
    """Serve the queue until there is a reason to leave. Runs in a forked process of its own."""
    events = WorkerEvents(assignment.orders)
    try:
        storage = WorkerStorage.open(files, write=True, wait_seconds=_LOCK_WAIT_SECONDS)
    except QueueError as error:
        _log.error("%s", error)
        return WorkerExit.FAILED
    try:
        return _Worker(storage, assignment, events).run()
    except QueueReplaced as error:
        _log.error("%s: start the workers again", error)
        return WorkerExit.QUEUE_CHANGED
    except QueueUpgraded as error:
        _log.error("%s", error)
        return WorkerExit.QUEUE_CHANGED
    except QueueError as error:
        _log.error("%s", error)
        return WorkerExit.FAILED
    except OSError as error:
        # A broken disk, or no descriptors: whoever comes next settles what this one leaves.
        _log.error("a worker cannot go on: %s", error)
        return WorkerExit.FAILED
    finally:
        storage.close()


class _JobLeft(BaseException):
    """Leave the running job alone, unrecorded: the next workers adopt it."""


class _Worker:
    """One worker with all that it holds."""

    def __init__(
        self, storage: WorkerStorage, assignment: Assignment, events: WorkerEvents
    ) -> None:
        self._storage = storage
        self._assignment = assignment
        self._events = events
        self._files = storage.files
        self._queue_id = storage.queue_id
        self._left = assignment.max_jobs
        self._chores = chores.Chores(storage, phase=_chance())
        self._next_cancel_look = 0.0
        self._settling = False
        self._told: str | None = None
        self._claim: Claim | None = None
        self._environ = {
            name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")
        }
        self._folder = _current_folder()
        about = {
            "pid": os.getpid(),
            "pid_namespace": processes.pid_namespace(),
            "supervisor": assignment.supervisor,
        }
        self._life = lockfiles.ProcessLock.take(self._files, self.id, about)
        self._output_log = OutputLog(self._files.worker_log(self.id))
        # Not left to the first job, whose umask might leave one that no other can write.
        os.close(open_private(self._files.worker_status(self.id)))

    def run(self) -> WorkerExit:
        """Work until there is a reason to leave; then leave nothing behind."""
        self._retry_until_written(self._register, first=True)
        # Last: by its bell the supervisor knows that a worker is there for all to see.
        fifo = WakeUpFifo(self._files, self.id)
        self._events.listen_to(fifo)
        try:
            if self._assignment.recovers is not None:
                self._recover(self._assignment.recovers)
            if not self._assignment.recovers_only:
                self._serve()
        except _JobLeft:
            # The lock file stays and tells the heir what runs.
            return WorkerExit.DONE
        self._leave(fifo)
        return self._events.leaving or WorkerExit.DONE

    def _serve(self) -> None:
        while True:
            claim = self._claim or self._next_claim()
            self._claim = None
            if claim is None:
                return
            outcome = self._execute(claim)
            self.finish(claim, outcome)
            self._output_log.clear()

    def _recover(self, dead: str) -> None:
        """Settle a dead worker, however long the queue stays busy; once a stop was asked for, the
        next pool does what cannot be done within kill-grace.
        """
        self._settling = True
        patience = Patience(self._events, self._grace)
        while True:
            try:
                adopted = recovery.recover(self._storage, dead, self, now=utcnow)
                break
            except QueueBusy:
                if patience.is_over():
                    raise
                self.pause(_FIRST_RETRY_SECONDS)
        if adopted is not None:
            self._attend(adopted)
        self._settling = False

    def _attend(self, adopted: recovery.Adopted) -> None:
        """See an adopted job through to its end."""
        claim = adopted.claim
        log = OutputLog(self._files.worker_log(claim.log_owner), adopted=True)
        try:
            log.begin(claim.settings.output_limit)
            outcome = take_over(
                self.command(claim),
                adopted.leader,
                log,
                self._files.execution_log(claim.execution_id),
                JobEvents(self._events, lambda: self._cut_short(claim)),
            )
        finally:
            log.close()
        self.finish(claim, outcome)
        recovery.remove_files(self._storage, claim.log_owner)

    @property
    def id(self) -> str:
        """Its id."""
        return self._assignment.worker

    def show_running(self, running: lockfiles.JobProcess) -> None:
        """Show in the lock file what it answers for."""
        self._life.show_job(running)

    def pause(self, seconds: float) -> None:
        """Sleep so long, or less."""
        self._events.wait(seconds)

    def _register(self) -> None:
        pid = os.getpid()
        self._storage.register_worker(
            Worker(
                id=self.id,
                supervisor=self._assignment.supervisor,
                pid=pid,
                start_ticks=processes.start_ticks(pid),
                boot_id=processes.boot_id(),
                host=os.uname().nodename,
                queues=self._assignment.queues,
                started_at=utcnow(),
            )
        )

    def _leave(self, fifo: WakeUpFifo) -> None:
        self._retry_until_written(
            lambda: self._storage.forget_worker(self.id, seen_at=to_text(utcnow()))
        )
        self._output_log.remove()
        unlink_quietly(self._files.worker_status(self.id))
        fifo.remove()
        self._life.remove()
        if self._assignment.drain:
            # The others of the pool may be waiting for the same end.
            wake_up(self._files)

    def _wants_more(self) -> bool:
        until = self._assignment.until
        return (
            self._events.leaving is None
            and not self._settling
            and self._left != 0
            and (until is None or time.monotonic() < until)
        )

    def _next_claim(self) -> Claim | None:
        """Wait for a job and claim it; None when it is time to leave."""
        queues = self._assignment.queues
        self._events.unmute()
        while True:
            self._do_chores()
            # Orders first: a bell or a job must not hide them.
            self._events.wait(0)
            if not self._wants_more():
                return None
            self._storage.refuse_replaced()
            try:
                ready, claim = self._storage.ready(queues, now=utcnow()), None
                if ready.now:
                    claim = self._storage.claim(self.id, queues, now=utcnow())
                self._told = None
                if claim is not None:
                    return claim
                if ready.now:
                    # Another was faster, or what became due is not for us: look again.
                    continue
                if self._assignment.drain and not any(self._storage.unfinished(queues).values()):
                    return None
            except QueueUpgraded:
                raise
            except QueueError as error:
                # Once: a queue that stays damaged must not fill the disk with it.
                if str(error) != self._told:
                    self._told = str(error)
                    _log.warning("cannot claim: %s; trying again", error)
                self._events.wait(_IDLE_SECONDS)
                continue
            pause = _IDLE_SECONDS
            if ready.next_due is not None:
                pause = min(pause, max(0.0, (ready.next_due - utcnow()).total_seconds()))
            self._events.wait(pause)

    def _execute(self, claim: Claim) -> Outcome:
        job, settings = claim.job, claim.settings
        self._storage.set_durability(settings)
        _log.info("%s started (attempt %d of %d)", job.id, job.attempts, job.max_retries)
        if claim.earlier:
            self._end_earlier(claim)
        kept_log = self._files.execution_log(claim.execution_id)
        # A file that was removed, or put back from a copy, counts its attempts once more.
        unlink_quietly(kept_log)
        self._output_log.begin(settings.output_limit)
        self._next_cancel_look = time.monotonic() + _CANCEL_LOOK_SECONDS
        return run_command(
            self.command(claim),
            self._output_log,
            kept_log,
            JobEvents(self._events, lambda: self._cut_short(claim)),
            lambda pid, ticks: self._life.show_job(
                lockfiles.JobProcess(claim.execution_id, pid, ticks, self.id)
            ),
        )

    def command(self, claim: Claim) -> Command:
        """Return the command of a claim with its bounds."""
        job, settings = claim.job, claim.settings
        return Command(
            shell_text=job.command,
            mark=self._mark(claim.execution_id),
            environ={
                **self._environ,
                **job.env,
                "QUEUECTL_JOB_ID": job.id,
                "QUEUECTL_ATTEMPT": str(job.attempts),
                "QUEUECTL_QUEUE": job.queue,
                "QUEUECTL_SLOT": str(self._assignment.slot),
                "QUEUECTL_DB": self._files.database,
            },
            cwd=self._folder if job.cwd is None else job.cwd,
            status_path=self._files.worker_status(claim.log_owner),
            timeout_seconds=job.timeout,
            grace_seconds=settings.kill_grace,
            kills_leftovers=settings.leftovers == "kill",
        )

    def _end_earlier(self, claim: Claim) -> None:
        """Before a retry nothing of the attempts before it may be left."""
        logs = (
            process_tree.identity(self._files.execution_log(number)) for number in claim.earlier
        )
        earlier = process_tree.AttemptProcesses(
            frozenset(self._mark(number) for number in claim.earlier), frozenset().union(*logs)
        )
        process_tree.end(earlier, claim.settings.kill_grace, self._events.wait)

    def _mark(self, execution_id: int) -> str:
        return f"{self._queue_id}/{execution_id}"

    def _cut_short(self, claim: Claim) -> OutcomeKind | None:
        if self._events.leaves_job:
            raise _JobLeft
        if self._events.killing:
            return OutcomeKind.INTERRUPTED
        now = time.monotonic()
        if self._events.woken or now >= self._next_cancel_look:
            self._events.mute()
            self._next_cancel_look = now + _CANCEL_LOOK_SECONDS
            try:
                if self._storage.cancel_requested(claim):
                    return OutcomeKind.CANCELLED
            except QueueError as error:
                _log.warning("cannot look for a cancel of %s: %s", claim.job.id, error)
        return None

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        """Record the end of an attempt, and claim the next job with it if one is wanted."""
        job = claim.job
        counts = not self._settling and outcome.kind is not OutcomeKind.INTERRUPTED
        if self._left is not None and counts:
            self._left -= 1
        if outcome.kind is OutcomeKind.INTERRUPTED:
            recorded = self._retry_until_written(
                lambda: self._storage.release(claim, outcome, now=utcnow())
            )
            if recorded is Recorded.DONE:
                _log.warning("%s was cut short and put back, uncounted", job.id)
        else:
            recorded = self._decide_and_record(claim, outcome)
        if recorded is Recorded.SUPERSEDED:
            _log.warning("%s was given up meanwhile: its result is dropped", job.id)
        elif recorded is Recorded.CANCELLED:
            _log.info("%s was cancelled", job.id)

    def _decide_and_record(self, claim: Claim, outcome: Outcome) -> Recorded:
        if outcome.kind is OutcomeKind.OK:
            settings = claim.settings
        else:
            settings = self._retry_until_written(self._storage.settings)
        verdict = retry.decide(claim.job, outcome, settings, now=utcnow(), chance=_chance())
        recorded = self._retry_until_written(lambda: self._record(claim, outcome, verdict))
        if recorded is Recorded.DONE:
            _log_end(claim, outcome, verdict)
        return recorded

    def _record(self, claim: Claim, outcome: Outcome, verdict: Verdict) -> Recorded:
        queues = self._assignment.queues
        if outcome.kind is OutcomeKind.SPAWN_ERROR:
            # Nothing was waited for, so nothing was heard: a chain of such jobs would go on.
            self._events.wait(0)
        # Chores are done before a claim: a queue that never runs empty must not keep them waiting.
        if self._chores.are_due() or not self._wants_more():
            return self._storage.record(claim, outcome, verdict, now=utcnow())
        try:
            recorded, self._claim = self._storage.record_and_claim(
                claim, outcome, verdict, self.id, queues, now=utcnow()
            )
        except QueueUpgraded as error:
            recorded = self._storage.record(claim, outcome, verdict, now=utcnow())
            _log.warning("%s", error)
            self._events.leaving = WorkerExit.QUEUE_CHANGED
        return recorded

    def _retry_until_written(self, write: Callable[[], _Result], *, first: bool = False) -> _Result:
        """Do what must not be given up because the disk is full or the queue is busy.

        `first`: nothing was written yet, so that a connection which cannot write shows itself.
        Once a stop was asked for, it is given up after kill-grace: the heir settles it.
        """
        pause, told = _FIRST_RETRY_SECONDS, False
        patience = Patience(self._events, self._grace)
        while True:
            try:
                return write()
            except QueueUpgraded:
                raise
            except QueueError as error:
                if first and _is_for_good(error):
                    raise
                if not told and not isinstance(error, QueueBusy):
                    _log.warning("%s; trying again until it works", error)
                    told = True
                if patience.is_over():
                    raise
            self._events.wait(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    def _grace(self) -> float:
        try:
            return self._storage.settings().kill_grace
        except QueueError:
            return _LONGEST_RETRY_SECONDS

    def _do_chores(self) -> None:
        if not self._chores.are_due():
            return
        self._chores.begin()
        # Nothing is claimed with what is recorded here: the caller is about to claim.
        self._settling = True
        missing = recovery.recover_missing(self._storage, self, now=utcnow)
        adopted = self._chores.attempt(lambda: next(missing, None))
        while adopted is not None:
            self._attend(adopted)
            adopted = self._chores.attempt(lambda: next(missing, None))
        self._chores.tidy()
        self._settling = False


def _is_for_good(error: QueueError) -> bool:
    """Whether a connection that has never written never will.

    SQLite opens read-only what it may not open for writing just then, for want of a descriptor say.
    """
    return isinstance(error, QueueUnusable) and not isinstance(error, DiskFailure)


def _chance() -> float:
    """Return a random number from 0 to 1; the module `random` would be 0.1 MB of each worker, and
    would have to be told of each fork.
    """
    return int.from_bytes(os.urandom(4), "big") / (1 << 32)


def _current_folder() -> str | None:
    """Return where `worker start` was called: jobs without a folder run there."""
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return None


def _log_end(claim: Claim, outcome: Outcome, verdict: Verdict) -> None:
    job_id = claim.job.id
    what = outcome.reason or ""
    if outcome.kind is OutcomeKind.TIMEOUT:
        what += " (enqueue --timeout, or config set job-timeout; 0 = none)"
    if verdict.state is JobState.COMPLETED:
        if not _log.isEnabledFor(logging.INFO):
            return
        _log.info(
            "%s completed%s (%d bytes: queuectl logs %s)",
            job_id,
            "" if outcome.seconds is None else f" in {format_duration(outcome.seconds)}",
            outcome.output.size_bytes,
            job_id,
        )
    elif verdict.run_at is not None:
        # No warning: nobody has to do anything yet, and a crontab would send a mail of it.
        _log.info(
            "%s failed: %s; attempt %d of %d, runs again in %s",
            job_id,
            what,
            claim.job.attempts,
            claim.job.max_retries,
            format_duration(max(0.0, (verdict.run_at - utcnow()).total_seconds())),
        )
    else:
        _log.warning(
            "%s is dead: %s; attempt %d of %d (queuectl dlq retry %s)",
            job_id,
            what,
            claim.job.attempts,
            claim.job.max_retries,
            job_id,
        )

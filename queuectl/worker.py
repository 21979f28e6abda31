"""The loop of one worker process: claim, run, decide, record."""

from __future__ import annotations

import gc
import logging
import os
import random
import select
import signal
import socket
import time
from typing import Callable, Dict, Optional, TypeVar

from queuectl import liveness, maintenance, processtree, retry, runner
from queuectl.bell import Bell, ring
from queuectl.errors import QueueBusy, QueueError, QueueUpgraded
from queuectl.files import QueueFiles
from queuectl.joblog import JobLog
from queuectl.models import (
    Assignment,
    Claim,
    JobState,
    Order,
    Outcome,
    OutcomeKind,
    Recorded,
    Verdict,
    Worker,
    WorkerExit,
)
from queuectl.signals import KILL_SIGNAL, LEAVE_SIGNAL, SignalStream
from queuectl.storage import Storage
from queuectl.times import format_duration, to_text, utcnow

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_LOCK_WAIT_SECONDS = 1.0
"""A slice: between two waits for the write lock the worker looks at its orders."""

_IDLE_SECONDS = 1.0
_DEAF_SECONDS = 0.05
_CANCEL_LOOK_SECONDS = 1.0
_CHORE_SECONDS = 60.0
_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 2.0


def work(files: QueueFiles, assignment: Assignment) -> WorkerExit:
    """Serve the queue until there is a reason to leave. Runs in a forked process of its own."""
    random.seed()
    attention = _Attention(assignment.orders)
    try:
        storage = Storage.open(files, write=True, wait_seconds=_LOCK_WAIT_SECONDS)
    except QueueError as error:
        _log.error("%s", error)
        return WorkerExit.FAILED
    try:
        if assignment.heir_of is not None:
            _settle(storage, assignment.heir_of, attention)
        if assignment.settles_only:
            return WorkerExit.DONE
        return _Worker(storage, assignment, attention).run()
    except QueueUpgraded as error:
        _log.error("%s", error)
        return WorkerExit.UPGRADED
    except QueueError as error:
        _log.error("%s", error)
        return WorkerExit.FAILED
    finally:
        storage.close()


def _settle(storage: Storage, dead: str, attention: _Attention) -> None:
    """Settle a dead worker, however long the queue stays busy, unless a stop is asked for."""
    while True:
        try:
            maintenance.settle(storage, dead, now=utcnow, pause=attention.wait)
            return
        except QueueBusy:
            attention.wait(_FIRST_RETRY_SECONDS)
            if attention.leaving is not None:
                raise


class _Attention:
    """What wakes a worker: signals, its supervisor's orders, and its bell."""

    def __init__(self, orders: int) -> None:
        # INT and HUP of a terminal reach the whole group; what they mean, the supervisor says.
        self._signals = SignalStream(
            (
                signal.SIGINT,
                signal.SIGHUP,
                signal.SIGTERM,
                signal.SIGQUIT,
                signal.SIGCHLD,
                LEAVE_SIGNAL,
                KILL_SIGNAL,
            )
        )
        self._orders = orders
        self._bell: Optional[Bell] = None
        self._deaf_until = 0.0
        self._poll = select.poll()
        self._deaf_poll = select.poll()
        for poll in (self._poll, self._deaf_poll):
            poll.register(self._signals.fileno(), select.POLLIN)
            poll.register(orders, select.POLLIN)
        self.leaving: Optional[WorkerExit] = None
        self.killing = False
        self.rung = False

    def hear(self, bell: Bell) -> None:
        """Listen to this bell from now on."""
        self._bell = bell
        self._poll.register(bell.fileno(), select.POLLIN)

    def be_deaf(self) -> None:
        """Leave the bell alone for a moment: a busy worker must not run for every new job."""
        self.rung = False
        self._deaf_until = time.monotonic() + _DEAF_SECONDS

    def listen(self) -> None:
        """Hear the bell at once again."""
        self._deaf_until = 0.0

    def wait(self, seconds: float) -> None:
        """Sleep until something happened, at most so long; may return early."""
        poll = self._poll
        if self._deaf_until:
            left = self._deaf_until - time.monotonic()
            if left > 0:
                poll, seconds = self._deaf_poll, min(seconds, left)
            else:
                self._deaf_until = 0.0
        # Rounded up: a wait that ends just before its time would spin.
        for descriptor, _event in poll.poll(max(0, int(seconds * 1000 + 0.999))):
            if descriptor == self._orders:
                self._read_orders()
            elif descriptor == self._signals.fileno():
                self._read_signals()
            elif self._bell is not None:
                self._bell.hush()
                self.rung = True

    def _read_orders(self) -> None:
        orders = os.read(self._orders, 64)
        if not orders:
            for poll in (self._poll, self._deaf_poll):
                poll.unregister(self._orders)
            if self.leaving is None:
                _log.warning("the supervisor is gone: leaving after the running job")
        if Order.KILL.value in orders:
            self.killing = True
        self.leaving = WorkerExit.DONE

    def _read_signals(self) -> None:
        for number in self._signals.read():
            if number == signal.SIGTERM and self.leaving is None:
                self.leaving = WorkerExit.REPLACE_ME
            elif number == LEAVE_SIGNAL:
                self.leaving = WorkerExit.DONE
            elif number in (signal.SIGQUIT, KILL_SIGNAL):
                self.leaving = WorkerExit.DONE
                self.killing = True


class _Worker:
    """One worker with all that it holds."""

    def __init__(self, storage: Storage, assignment: Assignment, attention: _Attention) -> None:
        self._storage = storage
        self._assignment = assignment
        self._attention = attention
        self._files = storage.files
        self._queue_id = storage.queue_id
        self._id = assignment.worker
        self._left = assignment.max_jobs
        self._next_chore = time.monotonic() + random.uniform(0, _CHORE_SECONDS)  # noqa: S311
        self._next_cancel_look = 0.0
        self._claim: Optional[Claim] = None
        self._environ = {
            name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")
        }
        self._folder = _current_folder()
        about = {"pid": os.getpid(), "supervisor": assignment.supervisor}
        self._life = liveness.LifeLock.take(self._files.workers, self._id, about)
        self._bell = Bell(self._files.workers, self._id)
        self._joblog = JobLog(self._files.worker_log(self._id))
        attention.hear(self._bell)

    def run(self) -> WorkerExit:
        """Work until there is a reason to leave; then leave nothing behind."""
        self._until_it_lands(self._register)
        gc.collect()
        gc.freeze()
        while True:
            claim = self._claim or self._next_claim()
            self._claim = None
            if claim is None:
                break
            outcome = self._execute(claim)
            self._finish(claim, outcome)
        self._leave()
        return self._attention.leaving or WorkerExit.DONE

    def _register(self) -> None:
        pid = os.getpid()
        self._storage.register_worker(
            Worker(
                id=self._id,
                supervisor=self._assignment.supervisor,
                pid=pid,
                start_ticks=liveness.start_ticks(pid),
                boot_id=liveness.boot_id(),
                host=socket.gethostname(),
                queues=self._assignment.queues,
                started_at=utcnow(),
            )
        )

    def _leave(self) -> None:
        self._until_it_lands(
            lambda: self._storage.forget_worker(self._id, seen_at=to_text(utcnow()))
        )
        self._joblog.remove()
        self._bell.remove()
        self._life.remove()
        if self._assignment.drain:
            # The others of the pool may be waiting for the same end.
            ring(self._files.workers)

    def _wants_more(self) -> bool:
        until = self._assignment.until
        return (
            self._attention.leaving is None
            and self._left != 0
            and (until is None or time.monotonic() < until)
        )

    def _next_claim(self) -> Optional[Claim]:
        """Wait for a job and claim it; None when it is time to leave."""
        queues = self._assignment.queues
        self._attention.listen()
        while True:
            self._do_chores()
            # Orders first: a bell or a job must not hide them.
            self._attention.wait(0)
            if not self._wants_more():
                return None
            try:
                ready = self._storage.ready(queues, now=utcnow())
                if ready.now:
                    claim = self._storage.claim(self._id, queues, now=utcnow())
                    if claim is not None:
                        return claim
                    # Another was faster, or what became due is not for us: look again.
                    continue
                if self._assignment.drain and not any(self._storage.unfinished(queues).values()):
                    return None
            except QueueUpgraded:
                raise
            except QueueError as error:
                _log.warning("cannot claim: %s", error)
                self._attention.wait(_IDLE_SECONDS)
                continue
            pause = _IDLE_SECONDS
            if ready.next_due is not None:
                pause = min(pause, max(0.0, (ready.next_due - utcnow()).total_seconds()))
            self._attention.wait(pause)

    def _execute(self, claim: Claim) -> Outcome:
        job, settings = claim.job, claim.settings
        _log.info("%s started (attempt %d of %d)", job.id, job.attempts, job.max_retries)
        if claim.earlier:
            self._end_earlier(claim)
        command = runner.Command(
            shell_text=job.command,
            mark=self._mark(claim.execution_id),
            environ=self._job_environ(claim),
            cwd=self._folder if job.cwd is None else job.cwd,
            timeout_seconds=job.timeout,
            grace_seconds=settings.kill_grace,
            kills_leftovers=settings.leftovers == "kill",
        )
        self._joblog.begin(settings.output_limit)
        self._next_cancel_look = time.monotonic() + _CANCEL_LOOK_SECONDS
        return runner.run(
            command,
            self._joblog,
            self._files.execution_log(claim.execution_id),
            _JobAttention(self._attention, lambda: self._cut_short(claim)),
            lambda pid: self._life.show_running(
                liveness.Running(claim.execution_id, pid, liveness.start_ticks(pid))
            ),
        )

    def _end_earlier(self, claim: Claim) -> None:
        """Before a retry nothing of the attempts before it may be left."""
        logs = (processtree.identity(self._files.execution_log(number)) for number in claim.earlier)
        earlier = processtree.Attempt(
            frozenset(self._mark(number) for number in claim.earlier), frozenset().union(*logs)
        )
        processtree.end(earlier, claim.settings.kill_grace, self._attention.wait)

    def _mark(self, execution_id: int) -> str:
        return f"{self._queue_id}/{execution_id}"

    def _job_environ(self, claim: Claim) -> Dict[str, str]:
        return {
            **self._environ,
            **claim.job.env,
            "QUEUECTL_JOB_ID": claim.job.id,
            "QUEUECTL_ATTEMPT": str(claim.job.attempts),
            "QUEUECTL_QUEUE": claim.job.queue,
            "QUEUECTL_SLOT": str(self._assignment.slot),
            "QUEUECTL_DB": self._files.database,
        }

    def _cut_short(self, claim: Claim) -> Optional[OutcomeKind]:
        if self._attention.killing:
            return OutcomeKind.INTERRUPTED
        now = time.monotonic()
        if self._attention.rung or now >= self._next_cancel_look:
            self._attention.be_deaf()
            self._next_cancel_look = now + _CANCEL_LOOK_SECONDS
            try:
                if self._storage.cancel_requested(claim):
                    return OutcomeKind.CANCELLED
            except QueueError as error:
                _log.warning("cannot look for a cancel of %s: %s", claim.job.id, error)
        return None

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        """Record the end of an attempt, and claim the next job with it if one is wanted."""
        job = claim.job
        if self._left is not None and outcome.kind is not OutcomeKind.INTERRUPTED:
            self._left -= 1
        if outcome.kind is OutcomeKind.INTERRUPTED:
            self._until_it_lands(lambda: self._storage.release(claim, outcome, now=utcnow()))
            _log.warning("%s was cut short and put back, uncounted", job.id)
            return
        if outcome.kind is OutcomeKind.OK:
            settings = claim.settings
        else:
            settings = self._until_it_lands(self._storage.settings)
        now = utcnow()
        verdict = retry.decide(job, outcome, settings, now=now, chance=random.random())  # noqa: S311
        recorded = self._until_it_lands(lambda: self._record(claim, outcome, verdict))
        if recorded is Recorded.SUPERSEDED:
            _log.warning("%s was given up meanwhile: its result is dropped", job.id)
        else:
            _log_end(job.id, claim, outcome, verdict)

    def _record(self, claim: Claim, outcome: Outcome, verdict: Verdict) -> Recorded:
        queues = self._assignment.queues
        if not self._wants_more():
            return self._storage.record(claim, outcome, verdict, now=utcnow())
        try:
            recorded, self._claim = self._storage.record_and_claim(
                claim, outcome, verdict, self._id, queues, now=utcnow()
            )
        except QueueUpgraded as error:
            recorded = self._storage.record(claim, outcome, verdict, now=utcnow())
            _log.warning("%s", error)
            self._attention.leaving = WorkerExit.UPGRADED
        return recorded

    def _until_it_lands(self, write: Callable[[], _Result]) -> _Result:
        """Do what must not be given up because the disk is full or the queue is busy.

        Once a stop was asked for, it is given up after kill-grace: the heir settles it.
        """
        pause, give_up, told = _FIRST_RETRY_SECONDS, float("inf"), False
        while True:
            try:
                return write()
            except QueueUpgraded:
                raise
            except QueueError as error:
                if not told and not isinstance(error, QueueBusy):
                    _log.warning("%s; trying again until it works", error)
                    told = True
                if self._attention.leaving is not None:
                    give_up = min(give_up, time.monotonic() + self._grace())
                if time.monotonic() >= give_up:
                    raise
            self._attention.wait(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    def _grace(self) -> float:
        try:
            return self._storage.settings().kill_grace
        except QueueError:
            return _LONGEST_RETRY_SECONDS

    def _do_chores(self) -> None:
        if time.monotonic() < self._next_chore:
            return
        self._next_chore = time.monotonic() + _CHORE_SECONDS
        try:
            maintenance.settle_missing(self._storage, now=utcnow, pause=self._attention.wait)
            maintenance.prune(self._storage, now=utcnow())
            self._storage.sweep_logs()
        except QueueUpgraded:
            raise
        except QueueError as error:
            _log.warning("housekeeping: %s", error)


def _current_folder() -> Optional[str]:
    """Return where `worker start` was called: jobs without a folder run there."""
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return None


class _JobAttention:
    """What a worker attends to while a job runs."""

    def __init__(
        self, attention: _Attention, cut_short: Callable[[], Optional[OutcomeKind]]
    ) -> None:
        self.wait = attention.wait
        self.cut_short = cut_short


def _log_end(job_id: str, claim: Claim, outcome: Outcome, verdict: Verdict) -> None:
    what = outcome.reason or ""
    if outcome.kind is OutcomeKind.TIMEOUT:
        what += " (enqueue --timeout, or config set job-timeout; 0 = none)"
    if verdict.state is JobState.COMPLETED:
        _log.info(
            "%s completed in %s (%d bytes: queuectl logs %s)",
            job_id,
            format_duration(outcome.seconds),
            outcome.output.size_bytes,
            job_id,
        )
    elif verdict.run_at is not None:
        _log.warning(
            "%s failed: %s; attempt %d of %d, runs again in %s",
            job_id,
            what,
            claim.job.attempts,
            claim.job.max_retries,
            format_duration((verdict.run_at - utcnow()).total_seconds()),
        )
    elif verdict.state is JobState.CANCELLED:
        _log.info("%s was cancelled", job_id)
    else:
        _log.warning(
            "%s is dead: %s; attempt %d of %d (queuectl dlq retry %s)",
            job_id,
            what,
            claim.job.attempts,
            claim.job.max_retries,
            job_id,
        )

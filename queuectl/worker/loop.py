"""The loop of one worker process: claim, run, decide, record."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime
from typing import Mapping

from queuectl.core import retry
from queuectl.core.batches import serves
from queuectl.core.errors import NoQueue, QueueDamaged, QueueError, QueueLost, QueueUpgraded
from queuectl.core.models import Claim, Outcome, OutcomeKind, Recorded, Verdict, Worker
from queuectl.core.states import JobState
from queuectl.core.times import to_text, utcnow
from queuectl.host import lockfiles, processes
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import open_private, remove_quietly
from queuectl.host.log import log as _log
from queuectl.host.wakeup import WakeUpFifo, wake_up
from queuectl.runner import process_tree
from queuectl.runner.attempt import describe_unended, with_left
from queuectl.runner.children import Children, ProcessName
from queuectl.runner.output_log import OutputLog
from queuectl.runner.run import HostCannotStart
from queuectl.runner.run import run as run_command
from queuectl.storage.for_workers import WorkerStorage
from queuectl.storage.sqlite_errors import READING_ERRORS
from queuectl.worker.assignment import Assignment, WorkerExit
from queuectl.worker.chores import Chores
from queuectl.worker.commands import CommandBuilder
from queuectl.worker.events import JobEvents, JobLeft, WorkerEvents
from queuectl.worker.pausing import Pause
from queuectl.worker.presence import Presence
from queuectl.worker.recovery import Recovery
from queuectl.worker.reporting import Reporter
from queuectl.worker.tally import Left
from queuectl.worker.writing import Writer

_LOCK_WAIT_SECONDS = 1.0
"""How long one try to get the write lock may take; the worker reads its orders between two."""

_IDLE_SECONDS = 1.0

_COUNT_SECONDS = 2.0
"""How often the supervisor is told how many jobs are left, if it wants to know."""

_TERMINATED = 128 + signal.SIGTERM
"""The exit code of many programs that handle TERM."""

_MOST_MISSES = 100
"""How often in a row a worker looks again at once for a job that it could not claim."""


def work(
    files: QueueFiles, assignment: Assignment, environ: Mapping[str, str], reporter: Reporter
) -> WorkerExit:
    """Serve the queue until there is a reason to exit. Runs in a forked process of its own.

    `environ` is what `commands.inherited_environ` returned.
    """
    events = WorkerEvents(assignment.orders)
    try:
        storage = WorkerStorage.open(files, write=True, wait_seconds=_LOCK_WAIT_SECONDS)
        try:
            storage.refuse_copy()
            return _Worker(storage, assignment, events, environ, reporter).run()
        finally:
            storage.close()
    except (NoQueue, QueueLost, *READING_ERRORS) as error:
        # An error of SQLite that is not translated: another program wrote what no constraint
        # allows, such as a wrong count of jobs.
        return _exit_for(error)
    except (QueueError, OSError) as error:
        # An OSError: the disk is broken, or no descriptor is left. The next worker recovers the
        # job of this one.
        _log.error("the worker cannot go on: %s", error)
        return WorkerExit.FAILED


class _Worker:
    """One worker with everything that it holds."""

    def __init__(
        self,
        storage: WorkerStorage,
        assignment: Assignment,
        events: WorkerEvents,
        environ: Mapping[str, str],
        reporter: Reporter,
    ) -> None:
        self._storage = storage
        self._assignment = assignment
        self._events = events
        self._reporter = reporter
        # Not at once: before the first claim, nothing runs.
        self._next_count = time.monotonic() + 1.0
        self._files = storage.files
        self._id = assignment.worker
        self._jobs_left = assignment.max_jobs
        self._chores = Chores(storage, phase=_chance())
        self._claim_error: str | None = None
        """The error of the last claim that failed, which was logged; None after a success."""
        self._writer = Writer(storage, events)
        self._commands = CommandBuilder(
            self._files, storage.queue_id, assignment.slot, storage.find_content, environ
        )
        pid = os.getpid()
        about = {
            "pid": pid,
            "start_ticks": processes.start_ticks(pid),
            "pid_namespace": processes.pid_namespace(),
            "supervisor": assignment.supervisor,
            "queues": assignment.queues,
        }
        self._lock = lock = lockfiles.ProcessLock.take(self._files, self._id, about)
        self._pause = Pause(lambda problem: lock.describe({**about, "problem": problem}))
        self._children = Children(adopts_orphans=processes.become_subreaper())
        self._output_log = OutputLog(self._files.worker_log(self._id))
        # Made here and not by the first job, whose umask might make it unwritable for the others.
        os.close(open_private(self._files.worker_status(self._id)))
        self._recovery = Recovery(
            storage,
            self._id,
            self._lock,
            self._commands,
            events,
            self._writer,
            lambda claim, outcome: self._record(claim, outcome, claim_next=False),
            reporter,
        )

    def run(self) -> WorkerExit:
        """Work until there is a reason to exit; then remove everything of this worker."""
        self._writer.until_written(self._register, first=True)
        # Made last: when the FIFO is there, the supervisor counts this worker as ready.
        fifo = WakeUpFifo(self._files, self._id)
        self._events.listen_to(fifo)
        presence = Presence(self._storage, self._id, self._lock, fifo)
        self._events.each_second(lambda: self._look(presence))
        try:
            if self._assignment.recovers is not None:
                self._recovery.recover(self._assignment.recovers)
            if not self._assignment.recovers_only:
                self._serve()
        except JobLeft:
            # The lock file stays and names the running job for the worker that adopts it.
            return WorkerExit.DONE
        self._leave(fifo)
        return self._events.leaving or WorkerExit.DONE

    def _serve(self) -> None:
        if self._assignment.slot == 0:
            # One worker per pool looks at once; the others wait for their chores.
            self._recovery.show_missing()
            self._chores.begin_work()
        claim = self._wait_for_claim()
        while claim is not None:
            try:
                outcome = self._run(claim)
            except HostCannotStart as error:
                self._unclaim(claim, str(error))
                following = None
            else:
                following = self._record(claim, outcome, claim_next=True)
            claim = following or self._wait_for_claim()

    def _register(self) -> None:
        pid = os.getpid()
        self._storage.register_worker(
            Worker(
                id=self._id,
                supervisor=self._assignment.supervisor,
                pid=pid,
                start_ticks=processes.start_ticks(pid),
                boot_id=processes.boot_id(),
                host=processes.host_name(),
                queues=self._assignment.queues,
                started_at=utcnow(),
            )
        )

    def _leave(self, fifo: WakeUpFifo) -> None:
        self._writer.until_written(
            lambda: self._storage.forget_worker(self._id, seen_at=to_text(utcnow()))
        )
        self._output_log.remove()
        remove_quietly(self._files.worker_status(self._id))
        fifo.remove()
        self._lock.remove()
        self._tell_counts()
        if self._assignment.drain:
            # The other workers of the pool may be waiting for the same end.
            wake_up(self._files)

    def _look(self, presence: Presence) -> None:
        """Do what is done about once a second, busy or idle."""
        presence.keep()
        self._reporter.look()
        # One worker per pool is enough.
        if self._assignment.slot == 0 and time.monotonic() >= self._next_count:
            self._next_count = time.monotonic() + _COUNT_SECONDS
            self._tell_counts()

    def _tell_counts(self) -> None:
        """Tell the supervisor, if it wants to know, how many jobs are left."""
        if self._reporter.tally is None:
            return
        try:
            counts = self._storage.counts()
        except QueueError:  # it is told the next time
            return
        queues = self._assignment.queues
        served = [one for one in counts if serves(queues, one.queue)]
        states = (JobState.PROCESSING, JobState.PENDING, JobState.FAILED)
        left = (sum(one.jobs for one in served if one.state is state) for state in states)
        self._reporter.left(Left(*left))

    def _wants_more(self) -> bool:
        until = self._assignment.until
        return (
            self._events.leaving is None
            and self._jobs_left != 0
            and (until is None or time.monotonic() < until)
        )

    def _wait_for_claim(self) -> Claim | None:
        """Wait for a job and claim it; None when it is time to exit."""
        queues = self._assignment.queues
        self._events.unmute()
        misses = 0
        while True:
            self._do_chores()
            # Read the orders before a job is claimed.
            self._events.wait(0)
            if not self._wants_more():
                return None
            if (pause_seconds := self._pause.left_seconds()) > 0:
                self._events.wait(min(pause_seconds, _IDLE_SECONDS))
                continue
            self._storage.refuse_replaced()
            try:
                ready, claim = self._storage.ready(queues, now=utcnow()), None
                if ready.now:
                    claim = self._storage.claim(self._id, queues, now=utcnow())
                self._claim_error = None
                if claim is not None:
                    return claim
                if not ready.now and self._assignment.drain and self._is_drained():
                    return None
            except QueueLost:
                raise
            except QueueError as error:
                self._warn_once(error)
                self._events.wait(_IDLE_SECONDS)
                continue
            # If a job was ready but not claimed, another worker was faster, or the job that became
            # due is not for this worker: look again at once.
            # If that happens again and again, the file is damaged.
            misses = misses + 1 if ready.now else 0
            if misses > _MOST_MISSES:
                self._events.wait(_IDLE_SECONDS)
            elif not ready.now:
                self._events.wait(_idle_seconds(ready.next_due))

    def _is_drained(self) -> bool:
        # Asked first: the jobs of a stage are moved, and counted, before it is removed.
        if self._storage.has_decided_stage():
            self._chores.finish_stage()  # if its process is dead, nobody else may come by
            return False
        return not any(self._storage.unfinished(self._assignment.queues).values())

    def _warn_once(self, error: QueueError) -> None:
        """Log an error, unless the try before failed in the same way.

        A queue that stays damaged would otherwise fill the disk with log lines.
        """
        if str(error) != self._claim_error:
            self._claim_error = str(error)
            _log.warning("cannot claim: %s; trying again", error)

    def _do_chores(self) -> None:
        self._chores.count()
        if self._chores.is_minute_over():
            self._chores.begin()
            self._recovery.show_missing()
            self._chores.tidy()

    def _run(self, claim: Claim) -> Outcome:
        """Run the job of a claim to its end; return what happened.

        Raises HostCannotStart if no job could be started now.
        """
        self._reporter.started(claim)
        kept_log = self._files.execution_log(claim.execution_id)
        try:
            unended = self._prepare(claim, kept_log)
        except OSError as error:
            raise HostCannotStart(error.strerror) from None
        if unended:
            # It may still do what the next attempt would do beside it.
            reason = f"an earlier attempt still runs: {describe_unended(unended)}"
            return with_left(Outcome(OutcomeKind.INTERRUPTED, reason=reason), (), unended)
        outcome = run_command(
            self._commands.build(claim),
            self._output_log,
            kept_log,
            JobEvents(self._events, self._storage, claim, self._reporter),
            lambda pid, ticks: self._note_job(
                lockfiles.JobProcess(claim.execution_id, pid, ticks, self._id)
            ),
            self._children,
        )
        if self._jobs_left is not None and outcome.kind is not OutcomeKind.INTERRUPTED:
            self._jobs_left -= 1
        return outcome

    def _prepare(self, claim: Claim, kept_log: str) -> tuple[ProcessName, ...]:
        """Do what has to be done before the job of a claim is started.

        Returns the processes of earlier attempts that cannot be ended.

        Raises OSError if that is impossible now, for example because no descriptor is left.
        """
        self._storage.set_durability(claim.settings)
        unended = self._end_earlier(claim) if claim.earlier else ()
        # The database may have been removed or restored from a copy: then it numbers attempts from
        # a lower number again, and an older attempt may have left a log of this name. Usually there
        # is none, and an unlink that fails takes three times as long as this look.
        if os.access(kept_log, os.F_OK):
            remove_quietly(kept_log)
        self._output_log.begin(claim.settings.output_limit)
        return unended

    def _note_job(self, job: lockfiles.JobProcess) -> None:
        """Write down a job process that was started."""
        self._lock.show_job(job)
        self._pause.end()

    def _unclaim(self, claim: Claim, reason: str) -> None:
        """Put a job back that could not be started through no fault of its own, and pause."""
        self._writer.until_written(lambda: self._storage.unclaim(claim, now=utcnow()))
        self._reporter.not_started()
        self._pause.begin(reason)

    def _end_earlier(self, claim: Claim) -> tuple[ProcessName, ...]:
        """End what the earlier attempts of the job left running, before it is retried.

        Returns the processes that cannot be ended.
        """
        boot = processes.boot_id()
        logs = (
            process_tree.identity(self._files.execution_log(number)) for number in claim.earlier
        )
        earlier = process_tree.AttemptProcesses(
            frozenset(self._commands.mark(number) for number in claim.earlier),
            frozenset().union(*logs),
            names=frozenset(left[:2] for left in claim.left_processes if left.boot_id == boot),
        )
        return process_tree.end(earlier, claim.settings.kill_grace, self._events.wait)

    def _record(self, claim: Claim, outcome: Outcome, *, claim_next: bool) -> Claim | None:
        """Record the end of an attempt and what becomes of its job.

        With `claim_next` the next job is claimed in the same transaction, if this worker wants one;
        returns that claim, or None.
        """
        following = None
        if self._is_of_shutdown(outcome):
            outcome = outcome._replace(kind=OutcomeKind.INTERRUPTED, reason=None)
        verdict = self._decide(claim, outcome)
        if outcome.kind is OutcomeKind.INTERRUPTED:
            recorded = self._writer.until_written(
                lambda: self._storage.release(claim, outcome, verdict, now=utcnow())
            )
            self._reporter.released(claim, verdict, recorded)
        else:
            recorded, following = self._writer.until_written(
                lambda: self._write_end(claim, outcome, verdict, claim_next=claim_next)
            )
            self._reporter.ended(claim, outcome, verdict, recorded)
        self._output_log.clear()
        return following

    def _is_of_shutdown(self, outcome: Outcome) -> bool:
        """Whether a job was ended by a TERM that its workers have got, too.

        A shutdown of the machine does that. The attempt must not count: the job did not fail.
        """
        is_terminated = (
            outcome.kind is OutcomeKind.SIGNAL and outcome.signal == signal.SIGTERM
        ) or (outcome.kind is OutcomeKind.EXIT and outcome.exit_code == _TERMINATED)
        if is_terminated:
            self._events.read_signals()  # ours may have come first
        return is_terminated and self._events.leaving is not None

    def _decide(self, claim: Claim, outcome: Outcome) -> Verdict:
        if outcome.kind is OutcomeKind.OK:
            # Neither the configuration nor time nor chance matters: not to ask for them saves 3 us.
            return retry.COMPLETED
        # They may have changed while the job ran.
        settings = self._writer.until_written(self._storage.settings)
        return retry.decide(claim.job, outcome, settings, now=utcnow(), chance=_chance())

    def _write_end(
        self, claim: Claim, outcome: Outcome, verdict: Verdict, *, claim_next: bool
    ) -> tuple[Recorded, Claim | None]:
        if outcome.kind is OutcomeKind.SPAWN_ERROR:
            # A job that could not be started has never waited for events. Read them here, or a
            # series of such jobs would not notice a stop.
            self._events.wait(0)
        # A signal that came before the job ended counts, even if this process has not run since.
        self._events.read_signals()
        # Chores come before the next claim: a queue that is never empty must not put them off.
        if not claim_next or self._chores.are_due() or not self._wants_more():
            return self._storage.record(claim, outcome, verdict, now=utcnow()), None
        try:
            return self._storage.record_and_claim(
                claim, outcome, verdict, self._id, self._assignment.queues, now=utcnow()
            )
        except (QueueLost, *READING_ERRORS) as error:
            # Perhaps only the next job cannot be claimed.
            recorded = self._storage.record(claim, outcome, verdict, now=utcnow())
            self._events.leaving = _exit_for(error)
            return recorded, None


def _exit_for(error: Exception) -> WorkerExit:
    """Return how a worker exits that cannot go on because of its queue."""
    if isinstance(error, QueueUpgraded):
        return WorkerExit.QUEUE_UPGRADED
    if isinstance(error, (QueueDamaged, *READING_ERRORS)):
        return WorkerExit.QUEUE_DAMAGED
    return WorkerExit.QUEUE_REPLACED


def _idle_seconds(next_due: datetime | None) -> float:
    """Return how long an idle worker may sleep."""
    if next_due is None:
        return _IDLE_SECONDS
    return min(_IDLE_SECONDS, max(0.0, (next_due - utcnow()).total_seconds()))


def _chance() -> float:
    """Return a random number from 0 to 1.

    The module `random` would take 0.1 MB of each worker, and would have to be seeded after each
    fork.
    """
    return int.from_bytes(os.urandom(4), "big") / (1 << 32)

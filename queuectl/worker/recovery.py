"""Recovering the job of a dead worker: it is adopted if it still runs, else recorded, or lost."""

from __future__ import annotations

from typing import Callable, Sequence

from queuectl.core.errors import QueueBusy, QueueError, QueueLost, UnreadableRow
from queuectl.core.models import Claim, Outcome, OutcomeKind, Output, Worker
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import to_text, utcnow
from queuectl.host import lockfiles, processes, wakeup
from queuectl.host.filesystem import remove_quietly
from queuectl.host.log import log as _log
from queuectl.runner import adopted, exit_status, process_tree
from queuectl.runner.attempt import Command, describe_end, end_processes, with_left
from queuectl.runner.children import ProcessName
from queuectl.runner.output_log import OutputLog
from queuectl.storage.for_workers import WorkerStorage
from queuectl.worker.commands import CommandBuilder
from queuectl.worker.events import JobEvents, WorkerEvents
from queuectl.worker.reporting import Reporter
from queuectl.worker.writing import FIRST_PAUSE_SECONDS, Writer

_LOST_GRACE_SECONDS = 2.0
"""The time between TERM and KILL for what is left of a lost attempt: nobody waits for its end."""


class _OutOfSight(Exception):
    """A process of the job lives but cannot be seen from here: perhaps in another container."""


class AdoptedJob(NamedTuple):
    """A running job of a dead worker for which this worker is responsible from now on."""

    claim: Claim
    """The claim, which is now held by this worker."""

    command: Command
    """The command of the job."""

    log: OutputLog
    """The open file into which it prints."""

    leader: lockfiles.JobProcess
    """Its own process: the shell that the dead worker started."""


class _UnfinishedJob(NamedTuple):
    """A job that a dead worker held, with everything that is known about it."""

    claim: Claim
    """The claim, which is still held by the dead worker."""

    command: Command
    """The command that the dead worker ran, or was about to run."""

    log: OutputLog
    """The open file into which the job prints, or would have printed."""

    noted: lockfiles.JobProcess | None
    """The process that the lock file of the dead worker names; None if it names none.

    A worker notes the process after it has started it, so a job without a note may run, too.
    """

    worker: Worker | None
    """The row of the dead worker; None if it is gone already."""


class Recovery:
    """Deals with the jobs of dead workers, on behalf of one living worker."""

    def __init__(
        self,
        storage: WorkerStorage,
        worker_id: str,
        lock: lockfiles.ProcessLock,
        commands: CommandBuilder,
        events: WorkerEvents,
        writer: Writer,
        record: Callable[[Claim, Outcome], object],
        reporter: Reporter,
    ) -> None:
        """`record` decides what an outcome means for the job, and records that."""
        self._storage = storage
        self._files = storage.files
        self._worker_id = worker_id
        self._lock = lock
        self._commands = commands
        self._events = events
        self._writer = writer
        self._record = record
        self._reporter = reporter

    def recover(self, dead: str) -> None:
        """Deal with the job of a dead worker; if it still runs, watch it to its end.

        Tries again while the queue is busy. Once this worker was told to exit, it gives up after
        kill-grace and raises QueueBusy: the next pool does it.
        """
        patience = self._writer.patience()
        while True:
            try:
                job = self.take_over(dead)
                break
            except QueueBusy:
                if patience.is_over():
                    raise
                self._events.wait(FIRST_PAUSE_SECONDS)
        if job is not None:
            self._watch(job)

    def take_over(self, dead: str) -> AdoptedJob | None:
        """Recover the job of a dead worker and forget that worker.

        Returns the job if it still runs and was adopted. Does nothing if the worker is alive after
        all, if another worker recovers its job already, or if the job can only be seen from
        elsewhere. If this is killed at any point it can be done again: the lock file is removed
        last.
        """
        lock = lockfiles.take_stale(self._files, dead)
        if lock is None:
            return None
        job = None
        try:
            job = self._take_over_claim(dead, lock.job)
            self._forget(dead)
        except _OutOfSight:
            lock.close()
        except QueueError:
            lock.close()
            if job is None:
                raise
            # This worker is responsible for the job already. The dead worker is still known, and is
            # forgotten by the next one that looks for dead workers.
        except BaseException:
            lock.close()
            raise
        else:
            lock.remove()
        return job

    def show_missing(self) -> list[str]:
        """Make the dead workers visible whose lock file is missing; return their ids.

        Each gets a lock file that nobody holds. The supervisors find it as that of any other dead
        worker, and fork an extra worker for each: one worker that watched the jobs of several dead
        ones, one after the other, would leave the others unwatched and claim nothing meanwhile.
        Jobs of owners that cannot be workers are ended here. Errors of the queue are logged: the
        next call tries again.
        """
        try:
            ownerless = self._storage.set_aside_ownerless(now=utcnow())
            if ownerless:
                self._end_set_aside(ownerless)
            missing = self._dead_without_lock_file()
            for dead in missing:
                lockfiles.make_stale(self._files, dead)
        except QueueLost:
            raise
        except QueueError as error:
            _log.warning("cannot look for dead workers: %s", error)
            return []
        return missing

    def _dead_without_lock_file(self) -> list[str]:
        """Return the ids of dead workers whose lock file is missing.

        A missing file proves nothing: a worker is dead if its process is gone as well, or if it
        holds a claim though no such worker is known.
        """
        files = self._files
        missing = [
            worker.id
            for worker in self._storage.workers()
            if lockfiles.is_alive(files, worker.id) is None and not _is_running(worker)
        ]
        unknown = [
            worker
            for worker in self._storage.orphans()
            if lockfiles.is_alive(files, worker) is None
        ]
        return missing + unknown

    def _take_over_claim(self, dead: str, noted: lockfiles.JobProcess | None) -> AdoptedJob | None:
        """Adopt what a dead worker was running, or record how it ended; None if not adopted."""
        try:
            claim = self._storage.held_by(dead)
        except UnreadableRow:
            self._end_set_aside(self._storage.set_aside_held_by(dead, now=utcnow()))
            return None
        if claim is None:
            return None
        if noted is not None and noted.execution_id != claim.execution_id:
            noted = None  # an earlier job: the worker died between its claim and the spawn
        worker = next((one for one in self._storage.workers() if one.id == dead), None)
        command = self._commands.build(claim)
        if noted is None:
            # The worker died just after the spawn, if there was one, before it noted the process.
            pid = exit_status.read_pid(command.status_path, claim.execution_id)
            if pid is not None:
                noted = lockfiles.JobProcess(claim.execution_id, pid, None, claim.log_owner)
        log = OutputLog(self._files.worker_log(claim.log_owner), adopted=True)
        job = _UnfinishedJob(claim, command, log, noted, worker)
        is_adopted = False
        try:
            leader = _living_leader(job)
            if leader is not None and claim.settings.on_worker_death == "adopt":
                is_adopted = self._adopt(job, leader)
                return AdoptedJob(claim, command, log, leader) if is_adopted else None
            outcome = self._end(dead, job, leader)
        finally:
            if not is_adopted:
                log.close()
        self._record(claim, outcome)
        if claim.log_owner != dead:
            # The dead worker had adopted the job itself. The worker that started it was forgotten
            # long ago, so nobody else removes its files.
            self._remove_files(claim.log_owner)
        return None

    def _end_set_aside(self, attempts: Sequence[int]) -> None:
        """End what is left of attempts whose job was set aside because it cannot be read."""
        marks = frozenset(map(self._commands.mark, attempts))
        left = process_tree.AttemptProcesses(marks, frozenset())
        process_tree.end(left, _LOST_GRACE_SECONDS, self._events.wait)

    def _adopt(self, job: _UnfinishedJob, leader: lockfiles.JobProcess) -> bool:
        """Take a running job over; False if its attempt was ended or adopted meanwhile."""
        claim = job.claim
        # The lock file comes first: the worker that the database names must always name the process
        # in its lock file, so that the next worker finds the job if this one is killed now.
        self._lock.show_job(leader)
        if not self._storage.adopt(claim, self._worker_id, now=utcnow()):
            return False
        _log.warning("%s runs on; its worker %s is dead", claim.job.id, claim.job.locked_by)
        return True

    def _end(self, dead: str, job: _UnfinishedJob, leader: lockfiles.JobProcess | None) -> Outcome:
        """End what is left of a job that is not adopted; return its outcome with its output.

        Raises _OutOfSight if the job may still run in another container, where it cannot be ended.
        """
        outcome = _outcome(job, leader, self._events.wait)
        # Where processes are not visible, one that was started but not noted cannot be found.
        unseen = self._was_elsewhere(dead, job) or (
            job.noted is None and not processes.are_visible()
        )
        if outcome.kind is OutcomeKind.LOST and unseen and job.log.is_held():
            raise _OutOfSight
        if (leader or job.noted) is None and outcome.kind is OutcomeKind.LOST:
            # It was never started: the content of the file is the output of an earlier job.
            return outcome._replace(output=Output(), leftovers=False)
        job.log.begin(job.claim.settings.output_limit)
        return job.log.add_to(outcome, self._files.execution_log(job.claim.execution_id))

    def _was_elsewhere(self, dead: str, job: _UnfinishedJob) -> bool:
        """Whether a dead worker ran in another container, whose processes we do not see."""
        namespace = lockfiles.about(self._files, dead).get("pid_namespace")
        if namespace not in (None, processes.pid_namespace()):
            return True
        return job.worker is not None and job.worker.host != processes.host_name()

    def _watch(self, job: AdoptedJob) -> None:
        """Watch an adopted job to its end and record that."""
        claim = job.claim
        try:
            job.log.begin(claim.settings.output_limit)
            outcome = adopted.take_over(
                job.command,
                job.leader,
                job.log,
                self._files.execution_log(claim.execution_id),
                JobEvents(self._events, self._storage, claim, self._reporter, adopted=True),
            )
        finally:
            job.log.close()
        self._record(claim, outcome)
        self._remove_files(claim.log_owner)

    def _forget(self, dead: str) -> None:
        self._storage.forget_worker(dead, seen_at=to_text(utcnow()))
        self._remove_files(dead)
        wakeup.remove(self._files, dead)

    def _remove_files(self, owner: str) -> None:
        """Remove the log and status files of a worker that is gone, unless its job runs on."""
        if self._storage.owns_running_log(owner):
            return
        remove_quietly(self._files.worker_log(owner))
        remove_quietly(self._files.worker_status(owner))


def _is_running(worker: Worker) -> bool:
    try:
        return processes.same_process(worker.pid, worker.start_ticks, worker.boot_id)
    except OSError:  # unknown just now: look again the next time
        return True


def _living_leader(job: _UnfinishedJob) -> lockfiles.JobProcess | None:
    """Return the job's own process if it is alive."""
    claim, noted = job.claim, job.noted
    if noted is None or (noted.start_ticks is None and processes.are_visible()):
        # The worker died before it could note the process with its start.
        if exit_status.read(job.command.status_path, claim.execution_id) is not None:
            return None  # the job has ended: processes that still carry its mark are leftovers
        leader = process_tree.session_leader(job.command.mark, noted and noted.pid)
        if leader is None and noted is not None:
            leader = _unmarked_leader(noted.pid, job.worker)
        if leader is None:
            return None
        return lockfiles.JobProcess(claim.execution_id, *leader, claim.log_owner)
    if noted.start_ticks is None:
        return noted if job.log.is_held() else None
    # Its PID may belong to another process by now. PID, start and boot together are unique.
    boot = processes.boot_id() if job.worker is None else job.worker.boot_id
    return noted if processes.same_process(noted.pid, noted.start_ticks, boot) else None


def _unmarked_leader(pid: int, worker: Worker | None) -> ProcessName | None:
    """Return PID and start of a job that has removed the mark from its environment (`env -i`).

    It leads a session of its own, and started after its worker.
    """
    process = processes.describe(pid)
    if process is None or process.session != pid or worker is None:
        return None
    began = worker.start_ticks
    is_later = began is not None and process.start_ticks >= began
    return (
        (pid, process.start_ticks) if is_later and worker.boot_id == processes.boot_id() else None
    )


def _outcome(
    job: _UnfinishedJob, leader: lockfiles.JobProcess | None, wait: Callable[[float], None]
) -> Outcome:
    """Return how a job ended that is not adopted; end everything that is left of it if it is lost.

    The outcome has no output yet.
    """
    claim, command = job.claim, job.command
    if leader is None:
        ended = job.noted or lockfiles.JobProcess(claim.execution_id, 0, None, claim.log_owner)
        outcome = adopted.reported_outcome(command, ended, None, wait)
        succeeded = outcome.kind is OutcomeKind.OK
        is_lost = outcome.kind is OutcomeKind.LOST
        if not is_lost and not command.ends_leftovers(succeeded=succeeded):
            return outcome
    else:
        outcome = describe_end(
            OutcomeKind.LOST,
            exit_status.Status(None, None),
            command,
            pid=leader.pid,
            seconds=adopted.age_seconds(leader),
        )
    grace_seconds = min(command.grace_seconds, _LOST_GRACE_SECONDS)
    command = command._replace(grace_seconds=grace_seconds)
    started = leader or _noted_in_this_boot(job)
    unended = end_processes(
        command, job.log, wait, started and started.pid, started and started.start_ticks
    )
    return with_left(outcome, unended)


def _noted_in_this_boot(job: _UnfinishedJob) -> lockfiles.JobProcess | None:
    """Return the process that the dead worker noted, unless its PID is one of another boot."""
    boot = processes.boot_id() if job.worker is None else job.worker.boot_id
    is_known = job.noted is not None and job.noted.start_ticks is not None
    return job.noted if is_known and boot == processes.boot_id() else None

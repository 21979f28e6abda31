"""Settling what dead workers left: a running job finds an heir, an ended one its result."""

from __future__ import annotations

import logging
import os
import sys
from datetime import datetime
from typing import Callable, Iterator, NamedTuple, Protocol

from queuectl.core.errors import QueueError, QueueUnusable, QueueUpgraded
from queuectl.core.models import Claim, Outcome, OutcomeKind, Output, Worker
from queuectl.core.times import to_text
from queuectl.host import lockfiles, processes, wakeup
from queuectl.host.filesystem import unlink_quietly
from queuectl.runner import adopted, attempt, exit_status, process_tree
from queuectl.runner.output_log import OutputLog
from queuectl.storage.for_workers import WorkerStorage

_log = logging.getLogger(__name__)

_LOST_GRACE_SECONDS = 2.0
"""Between TERM and KILL of what is left of a lost attempt: nobody waits for its answer."""


class Heir(Protocol):
    """What settling needs of the worker that does it."""

    @property
    def id(self) -> str:
        """Its id."""

    def command(self, claim: Claim) -> attempt.Command:
        """Return the command of a claim with its bounds."""

    def show_running(self, running: lockfiles.JobProcess) -> None:
        """Show in its own lock file what it answers for."""

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        """Decide and record, until it lands."""

    def pause(self, seconds: float) -> None:
        """Sleep so long, or less."""


class _OutOfSight(Exception):
    """Something of the job lives that cannot be seen from here, in another container perhaps."""


class Adopted(NamedTuple):
    """A running job that an heir answers for from now on."""

    claim: Claim
    leader: lockfiles.JobProcess


def recover(
    storage: WorkerStorage, dead: str, heir: Heir, *, now: Callable[[], datetime]
) -> Adopted | None:
    """Settle a dead worker and forget it; return its job if that runs on and was adopted.

    Nothing happens if it lives after all, another settles it already, or its job can only be seen
    from elsewhere. Killed at any point, it can be done again: the lock file goes last.
    """
    lock = lockfiles.take_stale(storage.files, dead)
    if lock is None:
        return None
    adopted = None
    try:
        adopted = _recover_claim(storage, dead, lock.job, heir, now)
        _forget(storage, dead, now)
    except _OutOfSight:
        lock.close()
    except QueueError:
        lock.close()
        if adopted is None:
            raise
        # The job has its heir; the dead worker is forgotten by whoever comes next.
    except BaseException:
        lock.close()
        raise
    else:
        lock.remove()
    return adopted


def recover_missing(
    storage: WorkerStorage, heir: Heir, *, now: Callable[[], datetime]
) -> Iterator[Adopted]:
    """Settle workers whose lock file is not there, which proves nothing: their process decides.

    Yields the jobs that were adopted, each to be attended to at once.
    """
    files = storage.files
    missing = [
        worker.id
        for worker in storage.workers()
        if lockfiles.is_alive(files, worker.id) is None and not _still_works(worker)
    ]
    unknown = [worker for worker in storage.orphans() if lockfiles.is_alive(files, worker) is None]
    for dead in missing + unknown:
        try:
            # With a file there is something that only one can seize.
            lockfiles.make_stale(files, dead)
            adopted = recover(storage, dead, heir, now=now)
        except QueueUpgraded:
            raise
        except QueueUnusable as error:  # another user's, in a shared queue
            _log.warning("cannot settle %s: %s", dead, error)
            continue
        if adopted is not None:
            yield adopted


def _still_works(worker: Worker) -> bool:
    try:
        return processes.same_process(worker.pid, worker.start_ticks, worker.boot_id)
    except OSError:  # ask again
        return True


def _recover_claim(
    storage: WorkerStorage,
    dead: str,
    running: lockfiles.JobProcess | None,
    heir: Heir,
    now: Callable[[], datetime],
) -> Adopted | None:
    claim = storage.held_by(dead)
    if claim is None:
        return None
    if running is not None and running.execution_id != claim.execution_id:
        running = None  # what it ran before; it died between its claim and its spawn
    command = heir.command(claim)
    log = OutputLog(storage.files.worker_log(claim.log_owner), adopted=True)
    try:
        leader = _leader(storage, dead, claim, running, command, log)
        if leader is not None and claim.settings.on_worker_death == "adopt":
            heir.show_running(leader)
            if not storage.adopt(claim, heir.id, now=now()):
                return None
            _log.warning("%s runs on; its worker %s is dead", claim.job.id, dead)
            return Adopted(claim, leader)
        outcome = _outcome_of_ended(claim, command, leader, running, log, heir)
        # Elsewhere than on Linux what a worker started and had no time to note cannot be found.
        unseen = _was_elsewhere(storage, dead) or (sys.platform != "linux" and running is None)
        if outcome.kind is OutcomeKind.LOST and unseen and log.is_held():
            raise _OutOfSight
        if (leader or running) is None and outcome.kind is OutcomeKind.LOST:
            # It was never started: what is in the file is of the job before.
            output, leftovers = Output(), False
        else:
            log.begin(claim.settings.output_limit)
            output, leftovers = log.collect(storage.files.execution_log(claim.execution_id))
    finally:
        log.close()
    heir.finish(claim, outcome._replace(output=output, leftovers=leftovers))
    if claim.log_owner != dead:  # who was only its heir; whoever started it is long forgotten
        remove_files(storage, claim.log_owner)
    return None


def _leader(
    storage: WorkerStorage,
    dead: str,
    claim: Claim,
    running: lockfiles.JobProcess | None,
    command: attempt.Command,
    log: OutputLog,
) -> lockfiles.JobProcess | None:
    """Return the job's own process if it lives."""
    if running is None or (running.start_ticks is None and sys.platform == "linux"):
        # The worker died just after the spawn, if there was one, before it could say more.
        if exit_status.read(command.status_path, claim.execution_id) is not None:
            return None  # it has ended: what bears its mark still it left running
        leader = process_tree.session_leader(command.mark, running and running.pid)
        if leader is None:
            return None
        return lockfiles.JobProcess(claim.execution_id, *leader, claim.log_owner)
    if running.start_ticks is None:
        return running if log.is_held() else None
    # Its number may be another's by now; its number and its start, in one boot, may not.
    boot = next((w.boot_id for w in storage.workers() if w.id == dead), processes.boot_id())
    lives = processes.same_process(running.pid, running.start_ticks, boot)
    return running if lives else None


def _was_elsewhere(storage: WorkerStorage, dead: str) -> bool:
    """Whether a worker was in another container, whose processes we do not see."""
    namespace = lockfiles.about(storage.files, dead).get("pid_namespace")
    if namespace not in (None, processes.pid_namespace()):
        return True
    here = os.uname().nodename
    return any(worker.id == dead and worker.host != here for worker in storage.workers())


def _outcome_of_ended(
    claim: Claim,
    command: attempt.Command,
    leader: lockfiles.JobProcess | None,
    running: lockfiles.JobProcess | None,
    log: OutputLog,
    heir: Heir,
) -> Outcome:
    """Return how a job ended that is not adopted, and end what is left of it if it is lost."""
    if leader is None:
        gone = running or lockfiles.JobProcess(claim.execution_id, 0, None, claim.log_owner)
        outcome = adopted.reported_outcome(command, gone, None, heir.pause)
        if outcome.kind is not OutcomeKind.LOST and not command.kills_leftovers:
            return outcome
    else:
        nobody_knows = exit_status.Status(None, None)
        outcome = attempt.describe_end(
            OutcomeKind.LOST,
            nobody_knows,
            command,
            pid=leader.pid,
            seconds=adopted.age_seconds(leader),
        )
    found_by = process_tree.AttemptProcesses(
        frozenset([command.mark]),
        frozenset([log.identity]),
        None if leader is None else leader.pid,
        None if leader is None else leader.start_ticks,
    )
    process_tree.end(found_by, min(command.grace_seconds, _LOST_GRACE_SECONDS), heir.pause)
    return outcome


def _forget(storage: WorkerStorage, dead: str, now: Callable[[], datetime]) -> None:
    storage.forget_worker(dead, seen_at=to_text(now()))
    remove_files(storage, dead)
    wakeup.remove(storage.files, dead)


def remove_files(storage: WorkerStorage, owner: str) -> None:
    """Take away the log and status files of a worker that is gone, unless its job runs on."""
    if storage.owns_running_log(owner):
        return
    unlink_quietly(storage.files.worker_log(owner))
    unlink_quietly(storage.files.worker_status(owner))

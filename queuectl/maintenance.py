"""Chores by the clock: settling what dead workers left, and pruning what is old."""

from __future__ import annotations

import logging
import os
import random
from datetime import datetime, timedelta
from typing import Callable, Optional

from queuectl import bell, liveness, processtree, retry
from queuectl.joblog import JobLog
from queuectl.models import Claim, JobState, Outcome, OutcomeKind
from queuectl.storage import Storage
from queuectl.times import to_text

_log = logging.getLogger(__name__)

_LOST_GRACE_SECONDS = 2.0
"""Between TERM and KILL of what a dead worker left running: nobody waits for its answer."""

_PRUNED_AT_ONCE = 2000


def settle(
    storage: Storage, worker_id: str, *, now: Callable[[], datetime], pause: Callable[[float], None]
) -> bool:
    """End and record what a dead worker was running, and forget the worker.

    False if it lives after all, or another settles it already.
    """
    files = storage.files
    remains = liveness.seize(files.workers, worker_id)
    if remains is None:
        return False
    try:
        claim = storage.held_by(worker_id)
        if claim is not None:
            _record_lost(storage, claim, worker_id, remains.running, now, pause)
        storage.forget_worker(worker_id, seen_at=to_text(now()))
    except BaseException:
        remains.close()
        raise
    liveness.unlink_quietly(files.worker_log(worker_id))
    bell.remove(files.workers, worker_id)
    remains.remove()
    return True


def settle_missing(
    storage: Storage, *, now: Callable[[], datetime], pause: Callable[[float], None]
) -> None:
    """Settle workers whose lock file is not there, which proves nothing: their process decides."""
    folder = storage.files.workers
    for worker in storage.workers():
        if liveness.is_alive(folder, worker.id) is not None:
            continue
        if worker.boot_id is not None and liveness.same_process(
            worker.pid, worker.start_ticks, worker.boot_id
        ):
            continue
        _settle_without_lock(storage, worker.id, now, pause)
    for worker_id in storage.orphans():
        if liveness.is_alive(folder, worker_id) is None:
            _settle_without_lock(storage, worker_id, now, pause)


def prune(storage: Storage, *, now: datetime) -> int:
    """Delete jobs that finished longer ago than the key retention says; never dead ones.

    A bounded number a call; returns how many.
    """
    retention = storage.settings().retention
    if retention <= 0:
        return 0
    return storage.prune(
        states=(JobState.COMPLETED, JobState.CANCELLED),
        before=now - timedelta(seconds=retention),
        at_most=_PRUNED_AT_ONCE,
    )


def _settle_without_lock(
    storage: Storage, worker_id: str, now: Callable[[], datetime], pause: Callable[[float], None]
) -> None:
    claim = storage.held_by(worker_id)
    if claim is not None:
        _record_lost(storage, claim, worker_id, None, now, pause)
    storage.forget_worker(worker_id, seen_at=to_text(now()))
    liveness.unlink_quietly(storage.files.worker_log(worker_id))
    bell.remove(storage.files.workers, worker_id)


def _record_lost(
    storage: Storage,
    claim: Claim,
    worker_id: str,
    running: Optional[liveness.Running],
    now: Callable[[], datetime],
    pause: Callable[[float], None],
) -> None:
    files, settings = storage.files, storage.settings()
    log_path = files.worker_log(worker_id)
    leader = None
    if running is not None and running.execution_id == claim.execution_id:
        # Its number may be another's by now; its number and its start, in one boot, may not.
        if running.start_ticks is not None:
            boot = next((w.boot_id for w in storage.workers() if w.id == worker_id), None)
            there = boot == liveness.boot_id()
            there = there and liveness.start_ticks(running.pid) == running.start_ticks
            leader = running.pid if there else None
        elif os.path.exists(log_path):
            leader = running.pid
    attempt = processtree.Attempt(
        frozenset([f"{storage.queue_id}/{claim.execution_id}"]),
        processtree.identity(log_path),
        leader,
    )
    processtree.end(attempt, min(settings.kill_grace, _LOST_GRACE_SECONDS), pause)
    log = JobLog(log_path)
    log.begin(settings.output_limit)
    output, _ = log.collect(files.execution_log(claim.execution_id))
    log.remove()
    outcome = Outcome(
        kind=OutcomeKind.LOST,
        reason=f"lost with worker {worker_id}",
        pid=running.pid if running is not None else None,
        seconds=max(0.0, (now() - (claim.job.locked_at or now())).total_seconds()),
        output=output,
    )
    verdict = retry.decide(
        claim.job,
        outcome,
        settings,
        now=now(),
        chance=random.random(),  # noqa: S311 (jitter)
    )
    storage.record(claim, outcome, verdict, now=now())
    _log.warning(
        "%s was lost with worker %s: %s",
        claim.job.id,
        worker_id,
        "dead (queuectl dlq list)" if verdict.state is JobState.DEAD else verdict.state.value,
    )

"""The chores that each worker does now and then: counting, pruning, corrections, sweeping."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from itertools import islice
from typing import Callable, Sequence, TypeVar

from queuectl.core import retry
from queuectl.core.errors import QueueError, QueueLost
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.host.files import is_unfinished, log_owner, logged_execution
from queuectl.host.filesystem import unlink_quietly
from queuectl.host.lockfiles import is_alive
from queuectl.host.log import log as _log
from queuectl.storage.for_workers import WorkerStorage

_Result = TypeVar("_Result")

_PERIOD_SECONDS = 60.0
_MORE_SECONDS = 1.0
"""The time until the next portion, if there is more to prune, or to move from a stage."""

_STAGE_SECONDS = 1.0
"""How long a worker moves jobs from a stage; it cannot run jobs meanwhile."""

_COUNT_SECONDS = 10.0
"""How often the ends of attempts are counted. Whoever reads the counters has to read all attempts
that are not counted yet: 2 us for each."""

_MOST_PORTIONS = 20
"""How many transactions one call counts or deletes in, at most: its caller cannot run jobs then."""

_SWEEP_SECONDS = 3600.0
"""A sweep looks at every kept log, and only a process that was killed at a bad moment leaves stray
files. So it is done less often."""

PRUNED_AT_ONCE = 2000
"""The number of jobs that one call prunes at most: its caller cannot run jobs meanwhile."""

_SWEPT_AT_ONCE = 500
"""The number of files that one query of the database is about."""


class Chores:
    """The chores of one worker, and when they are due."""

    def __init__(self, storage: WorkerStorage, *, phase: float) -> None:
        """`phase`, from 0 to 1, is the part of a minute until the first time.

        It differs from worker to worker, so that they do not all begin at the same time.
        """
        self._storage = storage
        self._next = time.monotonic() + phase * _PERIOD_SECONDS
        self._next_count = time.monotonic() + phase * _COUNT_SECONDS
        self._next_sweep = 0.0

    def are_due(self) -> bool:
        """Whether the chores, or the count of attempts, are to be done now."""
        now = time.monotonic()
        return now >= self._next_count or now >= self._next

    def is_minute_over(self) -> bool:
        """Whether all chores are to be done now."""
        return time.monotonic() >= self._next

    def begin(self) -> None:
        """Let the next minute begin now."""
        self._next = time.monotonic() + _PERIOD_SECONDS

    def count(self) -> None:
        """Count the ends of attempts, if that is due."""
        if time.monotonic() >= self._next_count:
            done = _in_portions(self._storage.count_attempts)
            # A failure is logged; so try again less often.
            self._next_count = time.monotonic() + (_COUNT_SECONDS if done else _PERIOD_SECONDS)

    def begin_work(self) -> None:
        """Do at once what must not wait for the first minute."""
        for key in _unless_failed(self._storage.unreadable_settings) or ():
            _log.warning("the value of %s cannot be read: its default is used", key)
        _unless_failed(lambda: self._storage.set_aside_undue(now=utcnow()))
        _unless_failed(lambda: correct_retries(self._storage, now=utcnow()))
        _unless_failed(lambda: correct_schedules(self._storage, now=utcnow()))
        # For a host on which each pool is short-lived, because cron starts a drain each minute.
        _in_portions(self._storage.count_attempts)
        self._expire()
        self.finish_stage()

    def finish_stage(self) -> None:
        """Finish a bulk enqueue or import whose process is dead, or a part of it."""
        if _unless_failed(
            lambda: self._storage.finish_dead_stage(now=utcnow(), seconds=_STAGE_SECONDS)
        ):
            self._next = time.monotonic() + _MORE_SECONDS

    def tidy(self) -> None:
        """Prune, correct what a wrong clock has set, finish a stage, sweep.

        If there is more to prune, the next call is due soon.
        """
        pruned = _unless_failed(lambda: prune(self._storage, now=utcnow()))
        if pruned == PRUNED_AT_ONCE:
            self._next = time.monotonic() + _MORE_SECONDS
        self._expire()
        _unless_failed(lambda: correct_retries(self._storage, now=utcnow()))
        _unless_failed(lambda: correct_schedules(self._storage, now=utcnow()))
        self.finish_stage()
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + _SWEEP_SECONDS
            _unless_failed(lambda: self._storage.set_aside_undue(now=utcnow()))
            _unless_failed(lambda: sweep_logs(self._storage))

    def _expire(self) -> None:
        """Delete old counters of activity."""
        _in_portions(lambda: self._storage.expire_activity(now=utcnow()))


def _in_portions(chore: Callable[[], bool]) -> bool:
    """Call a chore until it says that nothing is left to do, at most _MOST_PORTIONS times.

    Returns False if it failed.
    """
    for _ in range(_MOST_PORTIONS):
        is_more = _unless_failed(chore)
        if not is_more:
            return is_more is not None
    return True


def _unless_failed(chore: Callable[[], _Result]) -> _Result | None:
    """Return the result of a chore; None, with a warning, if it has to wait until the next time."""
    try:
        return chore()
    except QueueLost:
        raise
    except QueueError as error:
        _log.warning("housekeeping: %s", error)
        return None


def prune(storage: WorkerStorage, *, now: datetime) -> int:
    """Delete jobs that completed or were cancelled longer ago than the key `retention` says.

    Returns the number of deleted jobs. If it is PRUNED_AT_ONCE, there may be more.
    """
    retention = storage.settings().retention
    if retention <= 0:
        return 0
    return storage.prune(
        states=(JobState.COMPLETED, JobState.CANCELLED),
        before=now - timedelta(seconds=retention),
        at_most=PRUNED_AT_ONCE,
    )


def correct_retries(storage: WorkerStorage, *, now: datetime) -> int:
    """Retry failed jobs in time whose retry was set by a clock that was ahead; return how many.

    Otherwise a clock that was wrong for a minute could put a retry off by years.
    """
    moved, settings = 0, storage.settings()
    for wrong in storage.retries_after(now + retry.CLOCK_TOLERANCE):
        run_at = retry.corrected_retry(
            wrong.failed_at, wrong.run_at, settings, wrong.delay, now=now
        )
        if run_at is not None:
            moved += storage.move_retry(wrong, run_at, now=now)
    if moved:
        _log.warning("the clock was ahead when %d jobs failed: their retries were moved", moved)
    return moved


def correct_schedules(storage: WorkerStorage, *, now: datetime) -> int:
    """Correct the next times of schedules that a wrong clock has put off; return how many."""
    moved = storage.correct_schedules(changed_after=now + retry.CLOCK_TOLERANCE, now=now)
    if moved:
        _log.warning("the clock was ahead: the next times of %d schedules were moved", moved)
    return moved


def sweep_logs(storage: WorkerStorage) -> int:
    """Remove log files of attempts and workers that are gone; return how many.

    A process that is killed between a commit and the removal of a file, or while it rewrites a
    log, leaves such files.
    """
    removed = 0
    try:
        with os.scandir(storage.files.logs) as entries:
            while True:
                names = [entry.name for entry in islice(entries, _SWEPT_AT_ONCE)]
                if not names:
                    return removed
                for name in _stray_files(storage, names):
                    unlink_quietly(os.path.join(storage.files.logs, name))
                    removed += 1
    except OSError:  # the next sweep tries again
        return removed


def _stray_files(storage: WorkerStorage, names: Sequence[str]) -> list[str]:
    """Return those of these files in the logs folder that nothing uses any more."""
    kept = [(name, number) for name in names if (number := logged_execution(name)) is not None]
    owned = [(name, owner) for name in names if (owner := log_owner(name)) is not None]
    ended = storage.ended_attempts(sorted({number for _, number in kept}))
    writers = storage.log_writers()
    strays = [
        name
        for name, number in kept
        if number not in ended or (is_unfinished(name) and ended[number])
    ]
    # A new worker makes its lock file first, then its log, and registers last.
    return strays + [
        name
        for name, owner in owned
        if owner not in writers and is_alive(storage.files, owner) is None
    ]

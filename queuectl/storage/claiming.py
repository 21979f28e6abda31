"""Choosing the next job and claiming it: pending -> processing."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING, Any, Sequence

from queuectl.core.errors import QueueUnusable, UnreadableRow
from queuectl.core.models import Claim, Job
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import Settings, effective
from queuectl.core.states import JobState
from queuectl.core.times import optional_time, to_text
from queuectl.storage import heads
from queuectl.storage.base import Base, any_bytes
from queuectl.storage.database import Database
from queuectl.storage.loading import loading
from queuectl.storage.rows import PLAIN_VALUES, SELECT_JOB, left_processes, to_job, to_plain_job
from queuectl.storage.sqlite_errors import READING_ERRORS, is_undecodable

if TYPE_CHECKING:
    from queuectl.storage.ticks import CannotTick

_PROMOTED_AT_ONCE = 1000
"""How many due jobs one transaction makes claimable: some 5 ms for which others wait."""

NEWEST_ATTEMPTS = 16
"""Starting an attempt kills the leftover processes of earlier attempts. So only attempts since the
last one that was started can have any, and the newest 16 are enough."""


_NEXT_DUE = """
    SELECT (SELECT run_at
              FROM jobs
             WHERE state = 'scheduled' OR state = 'failed'
             ORDER BY run_at, seq
             LIMIT 1),
           (SELECT due_at
              FROM schedules
             WHERE paused_at IS NULL
               AND due_at IS NOT NULL
             ORDER BY due_at, name
             LIMIT 1)
    """


# Most queues have no settings of their own. Then the claim needs no statement that reads them.
# 21 values: Python 3.11 keeps up to 2,000 tuples of 20 values that nobody needs any more, and does
# not use them again. They would take 0.4 MB of each worker, after as many jobs.
_CLAIM_VALUES = f"EXISTS (SELECT 1 FROM config), {PLAIN_VALUES}, NULL"

_PROCESSING = JobState.PROCESSING
_STATE, _ATTEMPTS, _LOCKED_BY, _LOCKED_AT, _UPDATED_AT = map(
    Job._fields.index, ("state", "attempts", "locked_by", "locked_at", "updated_at")
)


class Ready(NamedTuple):
    """The result of the look of an idle worker at the queue."""

    now: bool
    """Whether a claim may succeed now."""
    next_due: datetime | None
    """When the next scheduled or failed job, or the next schedule, is due; None without any."""


class _Brought(NamedTuple):
    """The result of the work before a claim: on jobs and schedules that are due."""

    any: bool = False
    """Whether anything was done, so that another job may be the next one."""
    is_final: bool = True
    """False if the rest is left to another transaction."""
    wakes: bool = False
    """Whether other workers have to be woken, because schedules made jobs."""


class Claiming(Base):
    """Claiming jobs for workers."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._cannot_tick: dict[str, CannotTick] = {}
        """The schedules whose jobs this process cannot make, by name; others may be able to."""
        self._captured_id: int | None = None
        """The row that holds the variables which the last claimed job took over; None if it took
        none. The next job usually has the same, and to read some KB again takes 5 us."""
        self._captured: str | None = None
        """These variables."""
        self._defaults = effective((), shared=self.files.allow_shared)

    def ready(self, queues: Sequence[str], *, now: datetime) -> Ready:
        """Look, without the write lock, whether a claim is worth the effort."""
        with self._snapshot() as conn:
            run_at, tick_at = conn.execute(_NEXT_DUE).fetchone()
            if tick_at is not None and self._cannot_tick:
                from queuectl.storage import ticks  # almost never needed

                tick_at = ticks.next_due(conn, self._cannot_tick, now=now)
            # Compared as text, as the claim does: it sets a job aside whose time cannot be read.
            due = min((str(at) for at in (run_at, tick_at) if at is not None), default=None)
            next_due = None if due is None else _readable_time(due)
            if due is not None and due <= to_text(now):
                return Ready(True, next_due)
            return Ready(heads.is_any(conn, queues), next_due)

    def claim(self, worker: str, queues: Sequence[str] = (), *, now: datetime) -> Claim | None:
        """Claim the next job of these queues (of all but batches, if none is named).

        The job changes from pending to processing, and the attempt is counted. Returns None if no
        job can be claimed.
        """
        while True:
            with self._transaction() as conn:
                claim, is_final, wakes = self._claim(conn, worker, queues, now=now)
            if wakes:
                self._wake_workers()
            if is_final:
                return claim

    def _claim(
        self,
        conn: sqlite3.Connection,
        worker: str,
        queues: Sequence[str],
        *,
        now: datetime,
        last: Job | None = None,
    ) -> tuple[Claim | None, bool, bool]:
        """Claim the next job; None if there is none.

        Also returns whether that is final: if so much had to be put right that nothing was claimed,
        the rest is left to another transaction. Jobs that cannot be read are set aside. The last
        value tells whether other workers have to be woken: schedules that were due have made jobs,
        or the death of a job that cannot be read has.

        `last` is the job that this worker had before. What it took over is known to be committed.
        """
        at = to_text(now)
        wakes = False
        # 0 for None, as in `_end_attempt`.
        known = last.captured_id or 0 if last and last.captured_id == self._captured_id else 0
        while True:
            try:
                found = heads.find(conn, queues, _CLAIM_VALUES, at, (known,))
                if found.are_due or found.are_ticks_due or found.row is None:
                    brought = self._bring_due(conn, found, at, now=now)
                    wakes = wakes or brought.wakes
                    if not brought.is_final:
                        return None, False, wakes
                    if brought.any:
                        continue
                if found.row is None or not found.is_final:
                    return None, found.is_final, wakes
                has_settings, *values, _ = found.row
                job = self._to_job(conn, values, known)
            except (UnreadableRow, *READING_ERRORS) as error:
                if not isinstance(error, UnreadableRow) and not is_undecodable(error):
                    raise
                if heads.mend(conn):
                    continue
                from queuectl.storage import unreadable  # almost never needed

                with any_bytes(conn):
                    firsts = heads.first_jobs(conn, queues, at)
                odd = next((seq for seq in firsts if not unreadable.can_be_read(conn, seq)), None)
                if odd is None:
                    raise
                wakes = unreadable.set_aside(conn, odd, now=now) or wakes
            else:
                attempts = newest_attempts(conn, job.seq) if found.has_run else ()
                settings = self._settings(conn) if has_settings else self._defaults
                return self._take(conn, job, attempts, settings, worker, now=now), True, wakes

    def _bring_due(
        self, conn: sqlite3.Connection, found: heads.Found, at: str, *, now: datetime
    ) -> _Brought:
        """Make due jobs claimable, else let due schedules make theirs."""
        # Which due job is the best one is known only when all of them are pending.
        promoted = _promote(conn, at, now=now) if found.are_due or found.row is None else 0
        if promoted:
            return _Brought(any=True, is_final=promoted < _PROMOTED_AT_ONCE)
        if not (found.are_ticks_due or _are_ticks_due(conn, at)):
            return _Brought()
        with loading():
            from queuectl.storage import ticks  # with what it imports 1 MB, only where it is needed

        # What cannot be read there is no reason to set a job aside.
        with any_bytes(conn):
            ticked = ticks.tick(conn, self._settings(conn), self._cannot_tick, now=now)
        ticks.warn(ticked)
        return _Brought(ticked.advanced > 0, ticked.is_final, wakes=ticked.wakes)

    def _to_job(self, conn: sqlite3.Connection, row: Sequence[Any], known: int) -> Job:
        """Build the job of a row of PLAIN_VALUES; what is stored as `known` was not read."""
        is_plain, *values = row
        if not is_plain:
            return to_job(conn.execute(SELECT_JOB + "WHERE seq = ?", (values[0],)).fetchone())
        captured_id, captured = values[-2:]
        if captured is not None:
            self._captured_id, self._captured = captured_id, captured
        is_known = captured_id is not None and captured_id == known
        return to_plain_job(values, self._captured if is_known else None)

    def _take(
        self,
        conn: sqlite3.Connection,
        job: Job,
        attempts: Sequence[tuple[int, str, str | None]],
        settings: Settings,
        worker: str,
        *,
        now: datetime,
    ) -> Claim:
        """Claim a job that has these attempts: count one more, and note its worker."""
        at = to_text(now)
        execution_id = conn.execute(
            """
            INSERT INTO executions (job_seq, attempt, worker, started_at, queue, waited_seconds)
            VALUES (:job, :attempt, :worker, :now, :queue, :waited)
            """,
            {
                "job": job.seq,
                "attempt": job.attempts + 1,
                "worker": worker,
                "now": at,
                "queue": job.queue,
                "waited": _waited_seconds(job, now),
            },
        ).lastrowid
        assert execution_id is not None
        conn.execute(
            """
            UPDATE jobs
               SET state = 'processing',
                   attempts = attempts + 1,
                   locked_by = :worker,
                   locked_at = :now,
                   execution_id = :execution,
                   updated_at = :now
             WHERE seq = :job
               AND state = 'pending'
            """,
            {"worker": worker, "now": at, "execution": execution_id, "job": job.seq},
        )
        return Claim(
            _claimed(job, worker, now),
            execution_id,
            settings,
            worker,
            tuple(number for number, _, _ in attempts),
            tuple(left for _, _, text in attempts if text for left in left_processes(text)),
        )


def _are_ticks_due(conn: sqlite3.Connection, at: str) -> bool:
    row = conn.execute(
        "SELECT 1 FROM schedules WHERE paused_at IS NULL AND due_at <= ? LIMIT 1", (at,)
    ).fetchone()
    return row is not None


def _readable_time(text: str) -> datetime | None:
    try:
        return optional_time(text)
    except QueueUnusable:  # another program wrote it
        return None


def _waited_seconds(job: Job, now: datetime) -> float:
    """Return how long a pending job has waited since it could start; a clock may have been set."""
    since = job.updated_at
    # If its time passed while no worker lived, it was made pending only now. If it was put back
    # after that time, it waits since then.
    if job.run_at is not None and not job.interruptions:
        since = job.run_at
    return max(0.0, (now - since).total_seconds())


def _claimed(job: Job, worker: str, now: datetime) -> Job:
    # Not by `_replace`, which takes four times as long: it looks for each field by its name.
    values: list[Any] = list(job)
    values[_STATE], values[_ATTEMPTS] = _PROCESSING, job.attempts + 1
    values[_LOCKED_BY], values[_LOCKED_AT], values[_UPDATED_AT] = worker, now, now
    return Job._make(values)


def _promote(conn: sqlite3.Connection, at: str, *, now: datetime) -> int:
    """Make due jobs claimable, or set them aside if they cannot be; return how many were due."""
    try:
        return promote(conn, at)
    except sqlite3.IntegrityError:
        from queuectl.storage.unreadable import set_aside_due  # almost never needed

        odd = set_aside_due(conn, at, most=_PROMOTED_AT_ONCE, now=now)
        if not odd:
            raise
        return odd


def promote(conn: sqlite3.Connection, at: str) -> int:
    """Make due jobs claimable, scheduled and failed -> pending; return how many, at most 1,000."""
    return conn.execute(
        """
        UPDATE jobs
           SET state = 'pending',
               updated_at = :now
         WHERE seq IN (SELECT seq
                         FROM jobs
                        WHERE (state = 'scheduled' OR state = 'failed')
                          AND run_at <= :now
                        ORDER BY run_at, seq
                        LIMIT :most)
        """,
        {"now": at, "most": _PROMOTED_AT_ONCE},
    ).rowcount


def newest_attempts(
    conn: sqlite3.Connection, job_seq: int, at_most: int = NEWEST_ATTEMPTS
) -> Sequence[tuple[int, str, str | None]]:
    """Return the last attempts of a job, newest first: execution id, worker, processes left."""
    with any_bytes(conn):  # odd text in an earlier attempt must not keep the job from running
        return conn.execute(
            """
            SELECT id, worker, left_processes
              FROM executions
             WHERE job_seq = :job
             ORDER BY id DESC
             LIMIT :at_most
            """,
            {"job": job_seq, "at_most": at_most},
        ).fetchall()

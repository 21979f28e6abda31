"""The attempts of claimed jobs: recording, releasing and adopting them."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, Sequence

from queuectl.core.errors import QueueUnusable, UnreadableRow
from queuectl.core.models import Claim, Job, Outcome, OutcomeKind, Recorded, Verdict
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import Settings, unreadable_keys
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import to_text
from queuectl.storage.claiming import NEWEST_ATTEMPTS, Claiming, newest_attempts
from queuectl.storage.dependencies import release_dependants
from queuectl.storage.loading import loading
from queuectl.storage.rows import IS_WORKER_ID, SELECT_JOB, left_processes_text, to_job

_PUT_BACK = Verdict(JobState.PENDING)
_ENDED_BY_ITSELF = frozenset(OutcomeKind) - {
    OutcomeKind.INTERRUPTED,
    OutcomeKind.CANCELLED,
    OutcomeKind.LOST,
}

# For each of these names Python 3.11 would call a function of the enum, 900 instructions.
_COMPLETED, _CANCELLED = JobState.COMPLETED, JobState.CANCELLED
_FINAL_STATES = (_COMPLETED, _CANCELLED)
_INTERRUPTED = OutcomeKind.INTERRUPTED
_DONE = Recorded.DONE


class Requests(NamedTuple):
    """The wishes of users for a running attempt."""

    is_cancelled: bool
    """Whether to end it, because the job is cancelled or the attempt is superseded."""
    is_paused: bool = False
    """Whether to stop its processes until the job is resumed."""
    paused_seconds: float = 0.0
    """How long its earlier pauses took together."""


class Attempts(Claiming):
    """Claiming jobs, and recording or releasing their attempts."""

    def record(
        self, claim: Claim, outcome: Outcome, verdict: Verdict, *, now: datetime
    ) -> Recorded:
        """Write the end of an attempt, processing -> completed, failed, dead or cancelled.

        Returns SUPERSEDED, and changes nothing, if this attempt was given up meanwhile. A job whose
        row breaks a constraint is set aside as dead, and SUPERSEDED returned as well.
        """
        with self._transaction(finishing=True) as conn:
            recorded, freed = _end_attempt(conn, claim, outcome, verdict, now=now)
        if freed:
            self._wake_workers()
        return recorded

    def record_and_claim(
        self,
        claim: Claim,
        outcome: Outcome,
        verdict: Verdict,
        worker: str,
        queues: Sequence[str] = (),
        *,
        now: datetime,
    ) -> tuple[Recorded, Claim | None]:
        """Record, then claim the next job in the same transaction: one fsync per job.

        If much has to be put right first, none is claimed: the next call of `claim` does it.
        """
        claimed, wakes = None, False
        with self._transaction() as conn:
            recorded, freed = _end_attempt(conn, claim, outcome, verdict, now=now)
            try:
                claimed, _, wakes = self._claim(conn, worker, queues, now=now, last=claim.job)
            except QueueUnusable:  # that job cannot be read; `claim` will report it
                claimed = None
        if freed or wakes:
            self._wake_workers()
        return recorded, claimed

    def release(
        self,
        claim: Claim,
        outcome: Outcome,
        verdict: Verdict = _PUT_BACK,
        *,
        now: datetime,
    ) -> Recorded:
        """Put a job back whose attempt was interrupted, without counting the attempt.

        The verdict may also let it wait, or end it: processing -> pending, failed or dead. If a
        cancel was asked for, the job is cancelled instead. SUPERSEDED as in `record`.
        """
        with self._transaction(finishing=True) as conn:
            if verdict.state is JobState.PENDING:
                recorded = _put_back(conn, claim, outcome, now=now)
            else:
                recorded, _ = _end_attempt(conn, claim, outcome, verdict, now=now)
        self._wake_workers()
        return recorded

    def unclaim(self, claim: Claim, *, now: datetime) -> Recorded:
        """Undo a claim whose attempt could not begin: processing -> pending, as if never claimed.

        If a cancel was asked for, the job is cancelled instead. SUPERSEDED as in `record`. Wakes
        nobody for the job itself: what kept this worker from starting it may keep the others, too.
        """
        with self._transaction(finishing=True) as conn:
            if _undo_claim(conn, claim, interruptions=0, now=now):
                conn.execute("DELETE FROM executions WHERE id = ?", (claim.execution_id,))
                return Recorded.DONE
            cancelled = Verdict(JobState.CANCELLED, last_error="cancelled")
            outcome = Outcome(OutcomeKind.CANCELLED, reason="cancelled")
            recorded, freed = _end_attempt(conn, claim, outcome, cancelled, now=now)
        if freed:
            self._wake_workers()
        return recorded

    def adopt(self, claim: Claim, worker: str, *, now: datetime) -> bool:
        """Let a worker take over the running attempt of a dead worker, under the same fence.

        Returns False if the attempt was ended or adopted by another worker meanwhile.
        """
        with self._transaction(finishing=True) as conn:
            adopted = conn.execute(
                """
                UPDATE jobs
                   SET locked_by = :worker,
                       updated_at = :now
                 WHERE seq = :job
                   AND state = 'processing'
                   AND execution_id = :execution
                   AND locked_by = :dead
                """,
                {
                    "worker": worker,
                    "now": to_text(now),
                    "job": claim.job.seq,
                    "execution": claim.execution_id,
                    "dead": claim.job.locked_by,
                },
            ).rowcount
        return adopted == 1

    def owns_running_log(self, worker: str) -> bool:
        """Whether this worker started a job that still runs; another may have adopted the job."""
        with self._snapshot() as conn:
            row = conn.execute(
                """
                SELECT 1
                  FROM jobs
                  JOIN executions ON executions.id = jobs.execution_id
                 WHERE jobs.state = 'processing'
                   AND executions.worker = ?
                """,
                (worker,),
            ).fetchone()
        return row is not None

    def held_by(self, worker: str) -> Claim | None:
        """Return the claim that a worker, alive or dead, has not ended; None if there is none."""
        with self._snapshot() as conn:
            row = conn.execute(
                SELECT_JOB + "WHERE state = 'processing' AND locked_by = ? ORDER BY seq", (worker,)
            ).fetchone()
            if row is None:
                return None
            job = to_job(row)
            attempts = newest_attempts(conn, job.seq, 1 + NEWEST_ATTEMPTS)
            (running,) = conn.execute(
                "SELECT execution_id FROM jobs WHERE seq = ?", (job.seq,)
            ).fetchone()
            if not attempts or attempts[0][0] != running:
                raise UnreadableRow(f"job {job.id}: its running attempt {running} is missing")
            (own, owner, _), *earlier = attempts
            if not _is_worker_id(owner):  # files have its name
                raise UnreadableRow(f"job {job.id}: its attempt {own} has the worker {owner!r:.60}")
            numbers = tuple(number for number, _, _ in earlier)
            return Claim(job, own, self._settings(conn), owner, numbers)

    def set_aside_held_by(self, worker: str, *, now: datetime) -> list[int]:
        """Make the running jobs of a worker dead that cannot be read; return their attempts."""
        with self._transaction(finishing=True) as conn:
            held = conn.execute(
                """
                SELECT seq, execution_id
                  FROM jobs
                 WHERE state = 'processing'
                   AND locked_by = ?
                 ORDER BY seq
                """,
                (worker,),
            ).fetchall()
            ended = _set_aside_running(conn, held, now=now)
        self._wake_workers()
        return ended

    def set_aside_ownerless(self, *, now: datetime) -> list[int]:
        """Make the running jobs dead that no worker can hold; return their attempts.

        Another program wrote something else than the id of a worker, so no lock file can tell
        whether that worker is alive, and nobody would ever end the job.
        """
        query = f"""
            SELECT seq, execution_id
              FROM jobs
             WHERE state = 'processing'
               AND NOT ({IS_WORKER_ID.format("locked_by")})
             ORDER BY seq
            """
        with self._snapshot() as conn:
            if not conn.execute(query).fetchall():
                return []
        with self._transaction(finishing=True) as conn:
            ended = _set_aside_running(conn, conn.execute(query).fetchall(), now=now)
        self._wake_workers()
        return ended

    def requests(self, claim: Claim) -> Requests:
        """Return what users want of the running attempt."""
        with self._snapshot() as conn:
            row = conn.execute(
                """
                SELECT jobs.cancel_requested,
                       jobs.paused_at IS NOT NULL,
                       coalesce(executions.paused_seconds, 0) + 0.0
                  FROM jobs
                  LEFT JOIN executions ON executions.id = jobs.execution_id
                 WHERE jobs.seq = :job
                   AND jobs.state = 'processing'
                   AND jobs.execution_id = :execution
                """,
                {"job": claim.job.seq, "execution": claim.execution_id},
            ).fetchone()
        if row is None:
            return Requests(is_cancelled=True)
        return Requests(bool(row[0]), bool(row[1]), row[2])

    def settings(self) -> Settings:
        """Return the configuration in force."""
        with self._snapshot() as conn:
            return self._settings(conn)

    def unreadable_settings(self) -> list[str]:
        """Return the keys whose stored values cannot be read: their defaults are in force."""
        with self._snapshot() as conn:
            return unreadable_keys(self._stored_settings(conn))


def _set_aside_running(
    conn: sqlite3.Connection, running: Sequence[tuple[int, int]], *, now: datetime
) -> list[int]:
    """Make running jobs dead, given the seq and the attempt of each; return their attempts."""
    from queuectl.storage.unreadable import set_aside  # almost never needed

    for seq, execution_id in running:
        set_aside(conn, seq, now=now)
        _end_execution(conn, execution_id, Outcome(OutcomeKind.LOST), to_text(now))
    return [execution_id for _, execution_id in running]


def _set_aside_ended(
    conn: sqlite3.Connection, claim: Claim, outcome: Outcome, *, now: datetime
) -> tuple[Recorded, bool]:
    """Write the end of an attempt whose job's row breaks a constraint; return as `_end_attempt`."""
    from queuectl.storage.unreadable import set_aside  # almost never needed

    freed = set_aside(conn, claim.job.seq, now=now)
    _end_execution(conn, claim.execution_id, outcome, to_text(now))
    return Recorded.SUPERSEDED, freed


def _put_back(
    conn: sqlite3.Connection, claim: Claim, outcome: Outcome, *, now: datetime
) -> Recorded:
    """Make a job pending again whose attempt was interrupted, as if it had not been claimed."""
    if not _undo_claim(conn, claim, interruptions=1, now=now):
        cancelled = Verdict(JobState.CANCELLED, last_error=outcome.reason)
        return _end_attempt(conn, claim, outcome, cancelled, now=now)[0]
    _end_execution(conn, claim.execution_id, outcome, to_text(now))
    return Recorded.DONE


def _undo_claim(
    conn: sqlite3.Connection, claim: Claim, *, interruptions: int, now: datetime
) -> bool:
    """Make a claimed job pending again without counting its attempt; add to its interruptions.

    Returns False, and changes nothing, if the claim was superseded or a cancel was asked for, or if
    the row breaks a constraint.
    """
    try:
        changed = conn.execute(
            """
            UPDATE jobs
               SET state = 'pending',
                   attempts = attempts - 1,
                   interruptions = interruptions + :interruptions,
                   execution_id = NULL,
                   locked_by = NULL,
                   locked_at = NULL,
                   updated_at = :now
             WHERE seq = :job
               AND state = 'processing'
               AND execution_id = :execution
               AND cancel_requested = 0
            """,
            {
                "interruptions": interruptions,
                "now": to_text(now),
                "job": claim.job.seq,
                "execution": claim.execution_id,
            },
        ).rowcount
    except sqlite3.IntegrityError:  # as in `_end_attempt`, which is called next
        return False
    return changed == 1


def _end_attempt(
    conn: sqlite3.Connection,
    claim: Claim,
    outcome: Outcome,
    verdict: Verdict,
    *,
    now: datetime,
) -> tuple[Recorded, bool]:
    """Write the end of an attempt.

    Returns what was recorded, and whether that made another job claimable.
    """
    at = to_text(now)
    finished = verdict.state in FINISHED_STATES
    # A cancel that came too late to stop the command still prevents its retry.
    is_final = verdict.state in _FINAL_STATES
    is_uncounted = outcome.kind is _INTERRUPTED and not is_final
    # The module sqlite3 takes 300 instructions for a number or a text, and 3,300 for None or bytes.
    # So 0 and an empty text stand for NULL where that is usual.
    parameters: dict[str, Any] = {
        "state": verdict.state.value,
        "now": at,
        "finished_at": at if finished else None,
        "run_at": "" if verdict.run_at is None else to_text(verdict.run_at),
        "exit_code": outcome.exit_code,
        "signal": outcome.signal or 0,
        "last_error": verdict.last_error or "",
        "job": claim.job.seq,
        "execution": claim.execution_id,
        "is_final": int(is_final),
        "uncounted": int(is_uncounted),
        "ended_by_itself": int(outcome.kind in _ENDED_BY_ITSELF),
    }
    try:
        changed = conn.execute(
            """
            UPDATE jobs
               SET state = :state,
                   attempts = attempts - :uncounted,
                   interruptions = CASE WHEN :ended_by_itself THEN 0
                                        ELSE interruptions + :uncounted END,
                   run_at = coalesce(nullif(:run_at, ''), run_at),
                   updated_at = :now,
                   finished_at = :finished_at,
                   paused_at = CASE WHEN :finished_at IS NULL THEN paused_at END,
                   locked_by = NULL,
                   locked_at = NULL,
                   execution_id = NULL,
                   exit_code = :exit_code,
                   signal = nullif(:signal, 0),
                   last_error = nullif(:last_error, '')
             WHERE seq = :job
               AND state = 'processing'
               AND execution_id = :execution
               AND (cancel_requested = 0 OR :is_final = 1)
            """,
            parameters,
        ).rowcount
    except sqlite3.IntegrityError:  # another program wrote into the row
        return _set_aside_ended(conn, claim, outcome, now=now)
    if not changed:
        if is_final or not _still_holds(conn, claim):
            return Recorded.SUPERSEDED, False
        cancelled = Verdict(JobState.CANCELLED, last_error=verdict.last_error)
        return _end_attempt(conn, claim, outcome, cancelled, now=now)
    _end_execution(conn, claim.execution_id, outcome, at)
    is_needed, is_limited, are_rules = conn.execute(
        """
        SELECT EXISTS (SELECT 1 FROM dependencies WHERE needs_seq = :job),
               EXISTS (SELECT 1 FROM queues WHERE name = :queue AND job_limit IS NOT NULL),
               EXISTS (SELECT 1 FROM hooks)
        """,
        {"job": claim.job.seq, "queue": claim.job.queue},
    ).fetchone()
    freed = bool(is_limited)
    if finished and is_needed:
        completed = verdict.state is _COMPLETED
        freed = release_dependants(conn, claim.job.seq, completed=completed, now=now) or freed
    if are_rules or claim.job.hook or _has_hooks(claim.job):
        with loading():
            from queuectl.storage.hooks import attempt_ended  # most queues have no hooks

        after = _after(claim.job, outcome, verdict, now)
        if is_uncounted:
            after = after._replace(attempts=after.attempts - 1)
        freed = attempt_ended(conn, claim, after, outcome, now=now) or freed
    if finished and claim.job.schedule is not None:  # after the hooks, which ask how it was before
        with loading():
            from queuectl.storage.schedule_ends import note_end  # most queues have no schedules

        note_end(conn, claim.job.schedule, verdict.state, now)
    recorded = Recorded.CANCELLED if verdict.state is _CANCELLED else _DONE
    return recorded, freed


def _has_hooks(job: Job) -> bool:
    """Whether a job brings hooks of its own along."""
    return bool(job.on_success or job.on_failure or job.on_finish)


def _after(job: Job, outcome: Outcome, verdict: Verdict, now: datetime) -> Job:
    """Return a job as it is after an attempt of it has ended, as if the attempt was counted."""
    return job._replace(
        state=verdict.state,
        run_at=verdict.run_at or job.run_at,
        updated_at=now,
        finished_at=now if verdict.state in FINISHED_STATES else None,
        locked_by=None,
        locked_at=None,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        last_error=verdict.last_error,
    )


def _is_worker_id(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.replace("-", "").isalnum()


def _still_holds(conn: sqlite3.Connection, claim: Claim) -> bool:
    row = conn.execute(
        """
        SELECT 1
          FROM jobs
         WHERE seq = :job
           AND state = 'processing'
           AND execution_id = :execution
        """,
        {"job": claim.job.seq, "execution": claim.execution_id},
    ).fetchone()
    return row is not None


def _end_execution(conn: sqlite3.Connection, execution_id: int, outcome: Outcome, at: str) -> None:
    output = outcome.output
    conn.execute(
        """
        UPDATE executions
           SET finished_at = :now,
               outcome = :outcome,
               exit_code = :exit_code,
               signal = nullif(:signal, 0),
               pid = :pid,
               seconds = :seconds,
               cpu_seconds = :cpu_seconds,
               max_rss_bytes = :max_rss_bytes,
               leftovers = :leftovers,
               left_processes = nullif(:left_processes, ''),
               output_bytes = :output_bytes,
               output_truncated = :output_truncated,
               output_in_file = :output_in_file,
               output_tail = :output_tail
         WHERE id = :execution
           AND outcome IS NULL
        """,
        {
            "now": at,
            "outcome": outcome.kind.value,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal or 0,
            "pid": outcome.pid,
            "seconds": outcome.seconds,
            "cpu_seconds": outcome.cpu_seconds,
            "max_rss_bytes": outcome.max_rss_bytes,
            "leftovers": int(outcome.leftovers),
            "left_processes": left_processes_text(outcome.left_processes) or "",
            "output_bytes": output.size_bytes,
            "output_truncated": int(output.truncated),
            "output_in_file": int(output.in_file),
            "output_tail": bytearray(output.tail),
            "execution": execution_id,
        },
    )

"""Actions of users on jobs: retry, cancel and edit."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from types import MappingProxyType
from typing import Any, Mapping, Sequence

from queuectl.core.counts import counted
from queuectl.core.errors import JobDeleted, QueueError, UniqueKeyHeld, WrongState
from queuectl.core.models import Job, JobKey
from queuectl.core.specs import RETRY_FIELDS
from queuectl.core.states import FINISHED_STATES, WAITING_STATES, JobState
from queuectl.core.times import optional_text, to_text
from queuectl.host import wakeup
from queuectl.storage.adding import count_enqueued, key_holder, staged_key_holder
from queuectl.storage.base import Base
from queuectl.storage.contents import intern
from queuectl.storage.dependencies import release_dependants
from queuectl.storage.hook_rules import may_have_hooks
from queuectl.storage.ids import last_seq
from queuectl.storage.loading import loading
from queuectl.storage.needs import add_needs, refuse_cycles
from queuectl.storage.rows import SELECT_JOB, to_job

RETRYABLE_STATES = (JobState.FAILED, *FINISHED_STATES)
_SET_BY_RETRY = {"run_at", "after", "after_any"}
"""The fields that a retry of a finished job sets anew."""
_EDITABLE = (
    "command", "queue", "priority", "max_retries", "timeout", "cwd", "label", "run_at",
    "retry_delay", "backoff", "shell", "on_success", "on_failure", "on_finish",
)  # fmt: skip


class Actions(Base):
    """The methods that act on one job."""

    def retry(
        self,
        job: Job | JobKey,
        changes: Mapping[str, Any] = MappingProxyType({}),
        *,
        now: datetime,
        states: Sequence[JobState] = RETRYABLE_STATES,
        hook_depth: int = 0,
    ) -> JobState:
        """Make a job pending: a failed one keeps its attempts, a finished one starts anew.

        A finished job keeps its place and its history, and a paused one stays paused. `changes` are
        those of `edit`, made in the same transaction, so that no worker takes the job without them;
        with a time or jobs to wait for, the job becomes scheduled or blocked. Returns the state
        afterwards. `hook_depth` is how many hooks led to the retry.

        Raises WrongState if its state is not among `states`, UniqueKeyHeld if another job has taken
        its unique key, JobDeleted if it was deleted, and the errors of `edit`.
        """
        with self._transaction() as conn:
            current = current_job(conn, job)
            if current.state not in states:
                only = states[0].value if len(states) == 1 else None
                raise WrongState(job.id, current.state.value, "retry", only)
            if current.unique_key is not None and current.state in FINISHED_STATES:
                _refuse_held_key(conn, current.unique_key, refused=job.id)
            conn.execute(
                """
                UPDATE jobs
                   SET state = 'pending',
                       attempts = CASE WHEN state = 'failed' THEN attempts ELSE 0 END,
                       interruptions = 0,
                       run_at = NULL,
                       paused_at = CASE WHEN state = 'failed' THEN paused_at END,
                       finished_at = NULL,
                       last_error = NULL,
                       cancel_requested = 0,
                       cancel_reason = NULL,
                       hook_depth = :hook_depth,
                       updated_at = :now
                 WHERE seq = :seq
                   AND state = :state
                """,
                {
                    "hook_depth": current.hook_depth if current.hook else hook_depth,
                    "now": to_text(now),
                    "seq": job.seq,
                    "state": current.state.value,
                },
            )
            state, queue = JobState.PENDING, current.queue
            if changes:
                edited = _edit(conn, job, changes, verb="retry", now=now)
                state, queue = edited.state, edited.queue
            if current.state in FINISHED_STATES:
                count_enqueued(conn, {queue: 1}, to_text(now))
        self._wake_workers()
        return state

    def cancel(self, job: Job | JobKey, *, reason: str | None = None, now: datetime) -> JobState:
        """Cancel a job: a waiting one at once, a running one by asking its worker to end it.

        Returns the state afterwards: CANCELLED, or PROCESSING until the worker has ended the job.
        A cancelled job stays as it is. Raises WrongState if the job is completed or dead,
        JobDeleted if it was deleted.
        """
        with self._transaction() as conn:
            current = current_job(conn, job)
            if current.state is JobState.CANCELLED:
                return JobState.CANCELLED
            if current.state in FINISHED_STATES:
                raise WrongState(job.id, current.state.value, "cancel")
            if current.state is JobState.PROCESSING:
                _request_cancel(conn, current, reason, now)
                freed = False
            else:
                freed = _cancel_waiting(conn, current, reason, now)
        if current.state is JobState.PROCESSING:
            self._after_commit(wakeup.wake_up, self.files, current.locked_by)
            return JobState.PROCESSING
        if freed:
            self._wake_workers()
        return JobState.CANCELLED

    def edit(self, job: Job, changes: Mapping[str, Any], *, now: datetime) -> Job:
        """Change fields of a waiting or dead job, given by the names of JobSpec; return the job.

        A job whose new time is in the future waits for it. `after` and `after_any` replace what it
        waits for in that way; a job that waits for no other any more is not blocked. A dead job
        stays dead, and has the changes when it is retried.

        Raises WrongState if the job is running, completed or cancelled, JobDeleted if it was
        deleted, QueueError if it has had as many attempts already as the new maximum allows, or if
        it is dead and the change is about when it starts. Raises NoSuchJob or AmbiguousJob for a
        job to wait for, and InvalidInput if it would wait for itself, perhaps through others.
        """
        with self._transaction() as conn:
            edited = _edit(conn, job, changes, verb="edit", now=now)
        self._wake_workers()
        return edited


def _refuse_held_key(conn: sqlite3.Connection, key: str, *, refused: str) -> None:
    """Raise UniqueKeyHeld if an unfinished job, or one that is staged, has a unique key."""
    holder = key_holder(conn, key)
    if holder is not None:
        raise UniqueKeyHeld(key, holder.id, refused=refused)
    staged = staged_key_holder(conn, key)
    if staged is not None:
        raise UniqueKeyHeld(key, staged.id, "is being enqueued", refused=refused)


def _edit(
    conn: sqlite3.Connection,
    job: Job | JobKey,
    changes: Mapping[str, Any],
    *,
    verb: str,
    now: datetime,
) -> Job:
    """Change fields of a job; return it as it is then. Errors name the `verb`."""
    current = current_job(conn, job)
    _refuse_edit(current, changes, verb)
    merged: dict[str, Any] = {name: changes.get(name, getattr(current, name)) for name in _EDITABLE}
    if RETRY_FIELDS & changes.keys():  # one of them replaces the other
        merged.update({name: changes.get(name) for name in RETRY_FIELDS})
    merged.update(_input(conn, current, changes))
    run_at = merged["run_at"]
    state = current.state
    if state in (JobState.PENDING, JobState.SCHEDULED) and "run_at" in changes:
        state = JobState.SCHEDULED if run_at > now else JobState.PENDING
    conn.execute(
        """
        UPDATE jobs
           SET command = :command,
               queue = :queue,
               priority = :priority,
               max_retries = :max_retries,
               timeout = :timeout,
               cwd = :cwd,
               label = :label,
               retry_delay = :retry_delay,
               backoff = :backoff,
               shell = :shell,
               on_success = :on_success,
               on_failure = :on_failure,
               on_finish = :on_finish,
               input_id = :input_id,
               input_bytes = :input_bytes,
               env = :env,
               run_at = :run_at,
               state = :new_state,
               updated_at = :now
         WHERE seq = :seq
           AND state = :state
        """,
        {
            **merged,
            "env": json.dumps({**current.own_env(), **changes.get("env", {})}),
            "run_at": optional_text(run_at),
            "new_state": state.value,
            "now": to_text(now),
            "seq": job.seq,
            "state": current.state.value,
        },
    )
    if "after" in changes or "after_any" in changes:
        _change_needs(conn, job, changes, now)
    return current_job(conn, job)


def _refuse_edit(job: Job, changes: Mapping[str, Any], verb: str) -> None:
    """Raise WrongState or QueueError if a job cannot be changed in this way."""
    if job.state is JobState.DEAD:
        if _SET_BY_RETRY & changes.keys():
            raise QueueError(
                f"cannot edit when {job.id} starts: it is dead (give the option to queuectl retry)"
            )
        return
    if job.state not in WAITING_STATES:
        raise WrongState(job.id, job.state.value, verb)
    if changes.get("max_retries", job.attempts + 1) <= job.attempts:
        had = counted(job.attempts, "attempt")
        raise QueueError(f"cannot {verb} {job.id}: it has had {had} already (allow more)")


def _input(conn: sqlite3.Connection, job: Job, changes: Mapping[str, Any]) -> dict[str, int | None]:
    """Return where the stdin of an edited job is, and how long it is."""
    if "input" not in changes:
        return {"input_id": job.input_id, "input_bytes": job.input_bytes}
    content = changes["input"]
    if content is None:
        return {"input_id": None, "input_bytes": None}
    return {"input_id": intern(conn, content), "input_bytes": len(content)}


def _change_needs(
    conn: sqlite3.Connection, job: Job | JobKey, changes: Mapping[str, Any], now: datetime
) -> None:
    """Make a waiting job wait for other jobs than before; those of the other kind are kept."""
    kept: dict[bool, list[str]] = {False: [], True: []}
    for job_id, any_outcome in conn.execute(
        """
        SELECT jobs.id, dependencies.however
          FROM dependencies
          JOIN jobs ON jobs.seq = dependencies.needs_seq
         WHERE dependencies.job_seq = ?
         ORDER BY jobs.seq
        """,
        (job.seq,),
    ):
        kept[bool(any_outcome)].append(job_id)
    conn.execute("DELETE FROM dependencies WHERE job_seq = ?", (job.seq,))
    add_needs(
        conn,
        job.seq,
        changes.get("after", kept[False]),
        changes.get("after_any", kept[True]),
        up_to=last_seq(conn),
        now=now,
    )
    conn.execute(
        """
        UPDATE jobs
           SET state = 'blocked'
         WHERE seq = :job
           AND (state = 'pending' OR state = 'scheduled' OR state = 'failed')
           AND EXISTS (SELECT 1 FROM dependencies WHERE job_seq = :job)
        """,
        {"job": job.seq},
    )
    refuse_cycles(conn, [job.seq])


def _request_cancel(conn: sqlite3.Connection, job: Job, reason: str | None, now: datetime) -> None:
    """Ask the worker of a running job to end it."""
    conn.execute(
        """
        UPDATE jobs
           SET cancel_requested = 1,
               cancel_reason = :reason,
               updated_at = :now
         WHERE seq = :seq
           AND state = 'processing'
        """,
        {"reason": reason, "now": to_text(now), "seq": job.seq},
    )


def _cancel_waiting(conn: sqlite3.Connection, job: Job, reason: str | None, now: datetime) -> bool:
    """Cancel a job that does not run; return whether that made another job claimable."""
    conn.execute(
        """
        UPDATE jobs
           SET state = 'cancelled',
               cancel_requested = 1,
               cancel_reason = :reason,
               last_error = :error,
               paused_at = NULL,
               finished_at = :now,
               updated_at = :now
         WHERE seq = :seq
           AND state = :state
        """,
        {
            "reason": reason,
            "error": "cancelled" if reason is None else f"cancelled: {reason}",
            "now": to_text(now),
            "seq": job.seq,
            "state": job.state.value,
        },
    )
    conn.execute("DELETE FROM dependencies WHERE job_seq = ?", (job.seq,))
    freed = release_dependants(conn, job.seq, completed=False, now=now)
    if not may_have_hooks(conn, job):
        return freed
    with loading():
        from queuectl.storage.hooks import fire  # most queues have no hooks

    return fire(conn, current_job(conn, job), job.state, now=now) or freed


def current_job(conn: sqlite3.Connection, job: Job | JobKey) -> Job:
    """Return a job as it is in this transaction. Raises JobDeleted."""
    row = conn.execute(SELECT_JOB + "WHERE seq = ?", (job.seq,)).fetchone()
    if row is None:
        raise JobDeleted(job.id)
    return to_job(row)

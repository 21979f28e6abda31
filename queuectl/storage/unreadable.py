"""Jobs whose row another program wrote and that cannot be read: they are set aside as dead."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, Iterable, Mapping, Sequence

from queuectl.core.errors import QueueUnusable, UnreadableRow
from queuectl.core.escaping import storable
from queuectl.core.models import Job
from queuectl.core.settings import effective
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import from_text, to_text
from queuectl.host.log import log as _log
from queuectl.storage.base import any_bytes
from queuectl.storage.dependencies import release_dependants
from queuectl.storage.hooks import fire, note_result
from queuectl.storage.rows import (
    IS_WORKER_ID,
    JOB_TYPES,
    NEVER,
    SELECT_JOB,
    is_readable,
    out_of_place,
    to_job,
)
from queuectl.storage.schedule_ends import note_end
from queuectl.storage.sqlite_errors import READING_ERRORS

_KEPT = frozenset(
    ("seq", "state", "locked_by", "locked_at", "execution_id", "finished_at", "updated_at")
)
"""Columns that are not repaired: setting the job aside gives them new values, except `seq`."""


def can_be_read(conn: sqlite3.Connection, seq: int) -> bool:
    """Whether a worker can read a job: then whatever cannot be read is something else."""
    try:
        to_job(conn.execute(SELECT_JOB + "WHERE seq = ?", (seq,)).fetchone())
    except (UnreadableRow, *READING_ERRORS):
        return False
    return True


def set_aside_due(conn: sqlite3.Connection, at: str, *, most: int, now: datetime) -> int:
    """Make those due jobs dead whose rows break a constraint, so that they cannot become pending.

    At most `most` due jobs are looked at. Returns how many were set aside.
    """
    with any_bytes(conn):
        due = conn.execute(
            """
            SELECT seq, execution_id IS NOT NULL
              FROM jobs
             WHERE (state = 'scheduled' OR state = 'failed')
               AND run_at <= :now
             ORDER BY run_at, seq
             LIMIT :most
            """,
            {"now": at, "most": most},
        ).fetchall()
    odd = [seq for seq, has_attempt in due if has_attempt or not can_be_read(conn, seq)]
    for seq in odd:
        set_aside(conn, seq, now=now)
    return len(odd)


def set_aside(conn: sqlite3.Connection, seq: int, *, now: datetime) -> bool:
    """Make a job dead, whose row cannot be read, and replace the values that cannot; log why.

    Otherwise it would stay at the head of its queue, and no job behind it would ever run; and no
    command could list the jobs. Returns whether that made another job claimable.
    """
    unreadable = {**_unreadable(_lossless_values(conn, seq)), **_of_nobody(conn, seq)}
    defaults = _defaults(seq, now)
    repaired = {
        name: _repair(name, value, defaults)
        for name, value in unreadable.items()
        if name not in _KEPT
    }
    why = _why(unreadable)
    assignments = "".join(f"{name} = :{name}, " for name in repaired if name != "last_error")
    conn.execute(
        f"""
        UPDATE jobs
           SET {assignments}
               state = 'dead',
               locked_by = NULL,
               locked_at = NULL,
               execution_id = NULL,
               paused_at = NULL,
               last_error = :why,
               finished_at = :now,
               updated_at = :now
         WHERE seq = :job
        """,
        {**repaired, "why": why, "now": to_text(now), "job": seq},
    )
    freed = release_dependants(conn, seq, completed=False, now=now)
    job = to_job(conn.execute(SELECT_JOB + "WHERE seq = ?", (seq,)).fetchone())
    _log.warning("%s is set aside as dead: %s", job.id, why)
    if job.hook is not None:
        note_result(conn, job, now=now)
    # It is not known whether it was waiting or running; a wrong word would be neither.
    freed = fire(conn, job, JobState.PENDING, now=now) or freed
    if job.schedule is not None:
        note_end(conn, job.schedule, JobState.DEAD, now)
    return freed


def legible(row: Sequence[Any]) -> Job:
    """Build a job for people from a row of SELECT_JOB that `to_job` cannot read.

    It has the values of `_defaults` in the place of those that cannot be read. One that neither
    runs nor has finished is dead, as it will be when a worker sets it aside.
    """
    values = dict(zip(Job._fields, row))
    unreadable = _unreadable(values)
    known = values["updated_at"] if is_readable("updated_at", values["updated_at"]) else NEVER
    defaults = {**_defaults(values["seq"], from_text(known)), "state": JobState.DEAD.value}
    values.update((name, _repair(name, values[name], defaults)) for name in unreadable)
    if values["captured_id"] is None:
        values["captured"] = None
    if values["state"] not in (JobState.PROCESSING, *FINISHED_STATES):
        values.update(state=JobState.DEAD.value, paused_at=None)
    for name in out_of_place(values):
        in_place = "unknown" if name == "locked_by" else known
        values[name] = in_place if values[name] is None else None
    values.update(updated_at=known, last_error=_why(unreadable))
    return to_job([values[name] for name in Job._fields])


def _why(unreadable: Iterable[str]) -> str:
    return f"another program wrote what cannot be read: {', '.join(unreadable)}"


def _lossless_values(conn: sqlite3.Connection, seq: int) -> dict[str, object]:
    """Return the values of a job by the names of their columns, with all their bytes."""
    factory, conn.text_factory = conn.text_factory, _lossless
    try:
        row = conn.execute(SELECT_JOB + "WHERE seq = ?", (seq,)).fetchone()
    finally:
        conn.text_factory = factory
    if row is None:
        raise QueueUnusable(f"the queue names a job {seq} that is missing")
    return dict(zip(Job._fields, row))


def _unreadable(values: Mapping[str, object]) -> dict[str, object]:
    """Return those values of a job that cannot be read, by the names of their columns."""
    unreadable = {name: value for name, value in values.items() if not is_readable(name, value)}
    unreadable.update((name, values[name]) for name in out_of_place(values))
    if values["captured_id"] is not None and values["captured"] is None:
        unreadable["captured"] = None
    if "captured" in unreadable:  # it is no column
        unreadable["captured_id"] = unreadable.pop("captured")
    return unreadable


def _of_nobody(conn: sqlite3.Connection, seq: int) -> dict[str, object]:
    """Return the columns of a running job that do not name a worker, or an attempt of a worker.

    Another job has no running attempt.
    """
    row = conn.execute(
        f"""
        SELECT state <> 'processing' OR {IS_WORKER_ID.format("locked_by")},
               state = 'processing' AND EXISTS (SELECT 1
                         FROM executions
                        WHERE id = jobs.execution_id
                          AND job_seq = jobs.seq
                          AND {IS_WORKER_ID.format("worker")})
          FROM jobs
         WHERE seq = ?
           AND (state = 'processing' OR execution_id IS NOT NULL)
        """,
        (seq,),
    ).fetchone()
    names = ("locked_by", "execution_id")
    return {} if row is None else {name: None for name, is_good in zip(names, row) if not is_good}


def _repair(name: str, value: object, defaults: Mapping[str, object]) -> object:
    # A command, a label or an id with one wrong byte still tells people which job it is.
    if isinstance(value, str) and str in JOB_TYPES[name] and name not in ("env", "created_at"):
        text = storable(value)
        if is_readable(name, text):
            return text
    return defaults.get(name)


def _defaults(seq: int, now: datetime) -> dict[str, object]:
    settings = effective(())
    return {
        "id": f"unreadable-{seq}",
        "command": "",
        "queue": "default",
        "priority": 0,
        "attempts": 0,
        "interruptions": 0,
        "max_retries": settings.max_retries,
        "timeout": settings.job_timeout,
        "created_at": to_text(now),
        "env": "{}",
        "cancel_requested": 0,
        "id_made": 0,
        "hook_depth": 0,
    }


def _lossless(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")

"""Adding rows to `jobs`, whose ids and unique keys are free."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, Callable, Mapping, Sequence

from queuectl.core.errors import DuplicateId, Reserved
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import to_text
from queuectl.storage.base import UNFINISHED
from queuectl.storage.contents import Interned
from queuectl.storage.ids import duplicate, new_id

JOB_COLUMNS = (
    "seq", "id", "command", "state", "queue", "label", "priority", "attempts", "interruptions",
    "max_retries", "timeout", "run_at", "created_at", "updated_at", "finished_at", "cwd", "env",
    "unique_key", "exit_code", "signal", "last_error", "cancel_requested", "cancel_reason",
    "id_made", "retry_delay", "backoff", "shell", "paused_at", "input_id", "input_bytes",
    "captured_id", "schedule", "scheduled_for", "on_success", "on_failure", "on_finish", "hook",
    "hook_of", "hook_depth", "event_id",
)  # fmt: skip
"""The columns of a job that is added, in the order of Job. (To load Job would take 3 ms.)"""
ID_PLACE = JOB_COLUMNS.index("id")
_QUEUE_PLACE = JOB_COLUMNS.index("queue")
_FINISHED_PLACE = JOB_COLUMNS.index("finished_at")
INSERT_JOB = {
    table: f"INSERT INTO {table} ({', '.join(JOB_COLUMNS)})"
    f" VALUES ({', '.join('?' * len(JOB_COLUMNS))}) ON CONFLICT (id) DO NOTHING"
    for table in ("jobs", "staged_jobs")
}
"""The statements that add a job, unless its id is taken. Without a seq it gets the next one."""


class Holder(NamedTuple):
    """The unfinished job that holds a unique key."""

    seq: int
    id: str
    state: str
    is_staged: bool = False
    """Whether it is in `staged_jobs`, and not in `jobs`."""


def key_holder(conn: sqlite3.Connection, key: str) -> Holder | None:
    """Return the unfinished job that holds a unique key, if any."""
    row = conn.execute(
        "SELECT seq, CAST(id AS TEXT), state "
        "FROM jobs WHERE unique_key IS NOT NULL AND unique_key = ? AND "
        + UNFINISHED
        + " ORDER BY seq",
        (key,),
    ).fetchone()
    return None if row is None else Holder(*row)


def staged_key_holder(conn: sqlite3.Connection, key: str) -> Holder | None:
    """Return the staged job that will hold a unique key, if any."""
    row = conn.execute(
        """
        SELECT seq, id, state
          FROM staged_jobs
         WHERE unique_key IS NOT NULL
           AND unique_key = ?
           AND (state = 'scheduled' OR state = 'blocked' OR state = 'pending' OR state = 'failed')
         ORDER BY seq
        """,
        (key,),
    ).fetchone()
    return None if row is None else Holder(row[0], row[1], row[2], is_staged=True)


def count_enqueued(conn: sqlite3.Connection, jobs: Mapping[str, int], at: str) -> None:
    """Count in `activity` how many unfinished jobs came in, per queue, at a time as text.

    Whatever adds unfinished jobs, or retries finished ones, calls this in its transaction.
    """
    conn.executemany(
        """
        INSERT INTO activity (period, queue, event, times)
        VALUES (?, ?, 'enqueued', ?)
            ON CONFLICT (period, queue, event) DO UPDATE SET times = times + excluded.times
        """,
        [
            (period, queue, number)
            for queue, number in jobs.items()
            for period in (at[:16], f"h{at[:13]}", f"d{at[:10]}", "")
        ],
    )


def replace_row(conn: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> bool:
    """Give a waiting job in `jobs` or `staged_jobs` another command; return whether it waits.

    It keeps its id and place, and its dependencies, too: those are up to the caller.
    """
    return bool(
        conn.execute(
            f"""
            UPDATE {table}
               SET command = :command,
                   state = :state,
                   queue = :queue,
                   priority = :priority,
                   attempts = 0,
                   interruptions = 0,
                   max_retries = :max_retries,
                   timeout = :timeout,
                   run_at = :run_at,
                   updated_at = :now,
                   exit_code = NULL,
                   signal = NULL,
                   last_error = NULL,
                   cwd = :cwd,
                   env = :env,
                   label = :label,
                   retry_delay = :retry_delay,
                   backoff = :backoff,
                   shell = :shell,
                   input_id = :input_id,
                   input_bytes = :input_bytes,
                   captured_id = :captured_id,
                   on_success = :on_success,
                   on_failure = :on_failure,
                   on_finish = :on_finish,
                   hook_depth = :hook_depth
             WHERE seq = :seq
               AND (state = 'scheduled' OR state = 'blocked' OR state = 'pending'
                    OR state = 'failed')
            """,
            values,
        ).rowcount
    )


class Adding:
    """Adds jobs within one transaction: they are in the queue when it commits."""

    def __init__(self, conn: sqlite3.Connection, *, now: datetime) -> None:
        self.conn = conn
        self.now = now
        self.contents = Interned(conn)
        # One query for both takes no longer than one. Usually no jobs are staged.
        last, staged = conn.execute(
            "SELECT (SELECT max(seq) FROM jobs), EXISTS (SELECT 1 FROM stage)"
        ).fetchone()
        self.before: int = last or 0
        """The seq of the last job that was there before this call."""
        self._beside_stage = bool(staged)
        self._unfinished: dict[str, int] = {}

    def key_holder(self, key: str) -> Holder | None:
        """Return the unfinished job that holds a unique key, if any.

        Raises Reserved if a staged job of another process will hold it.
        """
        holder = key_holder(self.conn, key)
        if holder is None and self._beside_stage and staged_key_holder(self.conn, key) is not None:
            raise Reserved(f"another process is enqueueing a job with the unique key {key}")
        return holder

    def duplicate(self, job_id: str) -> DuplicateId | None:
        """Return the error for an id that is taken; None if it is free.

        Raises Reserved if a staged job of another process has it.
        """
        taken = duplicate(self.conn, job_id, before=self.before)
        if taken is None and self._is_staged(job_id):
            raise Reserved(f"another process is enqueueing a job {job_id}")
        return taken

    def insert(self, values: Sequence[Any]) -> int:
        """Insert a job, given the values for INSERT_JOB; return its seq.

        Raises DuplicateId for an id that is taken, or Reserved.
        """
        if self._is_staged(values[ID_PLACE]):
            raise Reserved(f"another process is enqueueing a job {values[ID_PLACE]}")
        inserted = self.conn.execute(INSERT_JOB["jobs"], values)
        if not inserted.rowcount:
            taken = self.duplicate(values[ID_PLACE])
            assert taken is not None
            raise taken
        assert inserted.lastrowid is not None
        if values[_FINISHED_PLACE] is None:
            queue = values[_QUEUE_PLACE]
            self._unfinished[queue] = self._unfinished.get(queue, 0) + 1
        return inserted.lastrowid

    def count(self) -> None:
        """Count in `activity` the unfinished jobs that were inserted, at the end or in between."""
        count_enqueued(self.conn, self._unfinished, to_text(self.now))
        self._unfinished.clear()

    def insert_named(self, values: Callable[[str], Sequence[Any]]) -> tuple[int, str]:
        """Insert a job with a generated id, given a function of the id; return its seq and id."""
        while True:
            job_id = self.new_id()
            try:
                return self.insert(values(job_id)), job_id
            except (DuplicateId, Reserved):
                continue

    def new_id(self) -> str:
        """Return an id that may be free."""
        return new_id()

    def replace(self, holder: Holder, values: Mapping[str, Any]) -> None:
        """Give a waiting job another command and other settings; its dependencies are deleted."""
        self.conn.execute("DELETE FROM dependencies WHERE job_seq = ?", (holder.seq,))
        replace_row(self.conn, "jobs", values)
        self.contents.forget()  # the job may have been the last one with its input

    def limits(self, holder: Holder) -> tuple[str, float, int, bool]:
        """Return queue, timeout and max_retries of a job, and whether it is being cancelled."""
        queue, timeout, max_retries, cancel_requested = self.conn.execute(
            "SELECT queue, timeout, max_retries, cancel_requested FROM jobs WHERE seq = ?",
            (holder.seq,),
        ).fetchone()
        return queue, timeout, max_retries, bool(cancel_requested)

    def add_needs(
        self, seq: int, after: Sequence[str], after_any: Sequence[str], *, abbreviated: bool
    ) -> tuple[str, ...]:
        """Store what a job waits for; return the ids of those that cannot complete by themselves.

        With `abbreviated`, earlier jobs may be named by the first digits of their ids.
        """
        from queuectl.storage.needs import add_needs  # most jobs wait for none

        return add_needs(
            self.conn, seq, after, after_any, up_to=self.before if abbreviated else 0, now=self.now
        )

    def _is_staged(self, job_id: str) -> bool:
        return self._beside_stage and is_staged(self.conn, job_id)


def is_staged(conn: sqlite3.Connection, job_id: str) -> bool:
    """Whether a staged job has this id."""
    row = conn.execute("SELECT 1 FROM staged_jobs WHERE id = ?", (job_id,)).fetchone()
    return row is not None

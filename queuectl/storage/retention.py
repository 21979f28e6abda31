"""Deleting finished jobs; nothing else removes jobs."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from typing import Any, Sequence

from queuectl.core.errors import DiskFailure
from queuectl.core.models import Job, JobKey
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.host.filesystem import unlink_quietly
from queuectl.storage.base import UNFINISHED, Base, any_bytes
from queuectl.storage.counting import count_attempts_of
from queuectl.storage.rows import one_of
from queuectl.storage.sqlite_errors import disk_full, is_about_full_disk

_DELETED_AT_ONCE = 500
_CHECKED_AT_ONCE = 250
"""Before SQLite 3.32, a statement has at most 999 values; up to 500 of them say which jobs."""
_NO_HOOK_TO_RUN = f"""NOT EXISTS (SELECT 1
                               FROM jobs AS reporting INDEXED BY jobs_hook_of
                              WHERE hook_of IS NOT NULL
                                AND hook_of = jobs.seq
                                AND {UNFINISHED})"""
_BEGINNING = ("", 0)
"""A time and a seq that are before those of all jobs."""


class Retention(Base):
    """The methods that prune jobs, and that tell which logs are still needed."""

    def prune(
        self,
        *,
        states: Sequence[JobState],
        before: datetime,
        queues: Sequence[str] = (),
        jobs: Sequence[Job | JobKey] = (),
        at_most: int = 1 << 62,
        dry_run: bool = False,
    ) -> int:
        """Delete jobs that finished before a time, with their history and logs.

        A job is kept if an unfinished job waits for it, or is that of a hook which reports it. If
        `jobs` are given, only those are deleted. The work is done in small transactions. Returns
        how many jobs were deleted, or with `dry_run` how many would be.
        """
        seqs = [job.seq for job in jobs]
        chunks: list[list[int]] = [
            seqs[start : start + _DELETED_AT_ONCE]
            for start in range(0, len(seqs), _DELETED_AT_ONCE)
        ] or [[]]
        total = 0
        for state in states:
            for chunk in chunks:
                where, values = _prunable(state, before, queues, chunk)
                if dry_run:
                    total += self._count(where, values)
                else:
                    total += self._delete_all(state, where, values, at_most - total)
        return total

    def ended_attempts(self, executions: Sequence[int]) -> dict[int, bool]:
        """Return for each of these attempts whether it has ended; deleted ones are left out."""
        with self._snapshot() as conn:
            rows = conn.execute(
                f"""
                SELECT id, outcome IS NOT NULL
                  FROM executions
                 WHERE id {one_of(executions)}
                 ORDER BY id
                """,
                tuple(executions),
            )
            return {number: bool(ended) for number, ended in rows}

    def log_writers(self) -> set[str]:
        """Return the workers whose own log may be in use.

        Those are the registered workers, and the workers that started a job which is running now:
        an adopted job goes on writing to the log of the worker that started it.
        """
        with self._snapshot() as conn, any_bytes(conn):
            rows = conn.execute(
                """
                SELECT id
                  FROM workers
                 UNION
                SELECT executions.worker
                  FROM jobs
                  JOIN executions ON executions.id = jobs.execution_id
                 WHERE jobs.state = 'processing'
                 ORDER BY 1
                """
            )
            return {row[0] for row in rows}

    def _count(self, where: str, values: Sequence[Any]) -> int:
        with self._snapshot() as conn:
            row = conn.execute(f"SELECT count(*) FROM jobs WHERE {where}", values).fetchone()
        return int(row[0])

    def _delete_all(self, state: JobState, where: str, values: Sequence[Any], at_most: int) -> int:
        total = 0
        after: tuple[Any, ...] = _BEGINNING
        while total < at_most:
            wanted = min(_DELETED_AT_ONCE, at_most - total)
            # Look without the lock: idle workers do this each minute, and must not write. Each
            # search goes on where the last one ended, because it may have passed many jobs that
            # are kept.
            found = self._search(state, where, values, after, wanted)
            if found:
                total += self._delete(where, values, [seq for _, seq in found])
                after = found[-1]
            if len(found) < wanted:
                break
        return total

    def _search(
        self,
        state: JobState,
        where: str,
        values: Sequence[Any],
        after: tuple[Any, ...],
        at_most: int,
    ) -> list[Any]:
        """Return finished_at and seq of jobs to delete, in the order of an index."""
        if state is JobState.DEAD:
            query = f"""
                SELECT finished_at, seq
                  FROM jobs INDEXED BY jobs_dead
                 WHERE {where}
                   AND seq > ?
                 ORDER BY seq
                 LIMIT ?
            """
            position = after[1:]
        else:
            query = f"""
                SELECT finished_at, seq
                  FROM jobs
                 WHERE {where}
                   AND (finished_at, seq) > (?, ?)
                 ORDER BY finished_at, seq
                 LIMIT ?
            """
            position = after
        with self._snapshot() as conn:
            return conn.execute(query, (*values, *position, at_most)).fetchall()

    def _delete(self, where: str, values: Sequence[Any], seqs: Sequence[int]) -> int:
        """Delete those of these jobs that are still to be deleted; return how many.

        If the disk is full, the outputs of all jobs that are to be deleted go first.
        """
        try:
            return self._delete_rows(where, values, seqs)
        except DiskFailure as error:
            if not self._remove_logs(where, values):
                if not is_about_full_disk(error):
                    raise
                raise disk_full(
                    self.files.database, "no outputs are left to remove: delete other files first"
                ) from None
        return self._delete_rows(where, values, seqs)

    def _remove_logs(self, where: str, values: Sequence[Any]) -> int:
        """Remove the outputs of all jobs that are to be deleted; return how many there were."""
        with self._snapshot() as conn:
            rows = conn.execute(
                f"""
                SELECT id
                  FROM executions
                 WHERE output_in_file = 1
                   AND job_seq IN (SELECT seq FROM jobs WHERE {where})
                 ORDER BY id
                """,
                values,
            ).fetchall()
        paths = [self.files.execution_log(number) for (number,) in rows]
        removed = [path for path in paths if os.path.exists(path)]
        for path in removed:
            unlink_quietly(path)
        return len(removed)

    def _delete_rows(self, where: str, values: Sequence[Any], seqs: Sequence[int]) -> int:
        logs: list[int] = []
        with self._transaction() as conn:
            gone = [
                seq
                for start in range(0, len(seqs), _CHECKED_AT_ONCE)
                for seq in _still_prunable(
                    conn, where, values, seqs[start : start + _CHECKED_AT_ONCE]
                )
            ]
            count_attempts_of(conn, gone)
            for seq in gone:
                logs += _logged(conn, seq)
                conn.execute("DELETE FROM jobs WHERE seq = ?", (seq,))
        # Only after the commit: a log without its job is swept later, but a job without its log
        # has lost its output.
        for number in logs:
            self._after_commit(unlink_quietly, self.files.execution_log(number))
        return len(gone)


def _prunable(state: JobState, before: datetime, queues: Sequence[str], seqs: Sequence[int]) -> Any:
    """Return a WHERE condition and its values; no value but the state is in its text."""
    pieces = [f"state = '{state.value}'"]
    if state is not JobState.DEAD:
        pieces.append("(state = 'completed' OR state = 'cancelled')")
    pieces.append("finished_at < ?")
    values: list[Any] = [to_text(before)]
    for column, wanted in (("queue", queues), ("seq", seqs)):
        if wanted:
            pieces.append(f"{column} {one_of(wanted)}")
            values.extend(wanted)
    pieces.append("NOT EXISTS (SELECT 1 FROM dependencies WHERE needs_seq = jobs.seq)")
    pieces.append("NOT EXISTS (SELECT 1 FROM staged_needs WHERE needs_seq = jobs.seq)")
    pieces.append(_NO_HOOK_TO_RUN)
    return " AND ".join(pieces), values


def _still_prunable(
    conn: sqlite3.Connection, where: str, values: Sequence[Any], seqs: Sequence[int]
) -> list[int]:
    # Look these jobs up by their key: an index would go over all jobs that can be pruned.
    rows = conn.execute(
        f"""
        SELECT seq
          FROM jobs NOT INDEXED
         WHERE seq {one_of(seqs)}
           AND {where}
         ORDER BY seq
        """,
        (*seqs, *values),
    )
    return [row[0] for row in rows]


def _logged(conn: sqlite3.Connection, seq: int) -> list[int]:
    rows = conn.execute(
        "SELECT id FROM executions WHERE job_seq = ? AND output_in_file = 1 ORDER BY id", (seq,)
    )
    return [row[0] for row in rows]

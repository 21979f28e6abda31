"""Deleting what has finished: the only part that removes jobs."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from itertools import islice
from typing import Any, Sequence

from queuectl.core.models import Job
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.host.files import is_unfinished, log_owner, logged_execution
from queuectl.host.filesystem import unlink_quietly
from queuectl.host.lockfiles import is_alive
from queuectl.storage.base import Base

_DELETED_AT_ONCE = 500
_SWEPT_AT_ONCE = 500


class Retention(Base):
    """Pruning jobs and their logs."""

    def prune(
        self,
        *,
        states: Sequence[JobState],
        before: datetime,
        queues: Sequence[str] = (),
        jobs: Sequence[Job] = (),
        at_most: int = 1 << 62,
        dry_run: bool = False,
    ) -> int:
        """Delete finished jobs that ended before an instant, with their history and logs.

        Never one that an unfinished job waits for. With `jobs`, only those. In small transactions;
        returns how many were deleted, or with `dry_run` how many would be.
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
                    with self._snapshot() as conn:
                        total += conn.execute(
                            "SELECT count(*) FROM jobs WHERE " + where, values
                        ).fetchone()[0]
                    continue
                # Without the lock first: idle workers ask each minute, and must write nothing.
                if not self._any(where, values):
                    continue
                while total < at_most:
                    wanted = min(_DELETED_AT_ONCE, at_most - total)
                    deleted = self._delete(where, values, wanted)
                    total += deleted
                    if deleted < wanted:
                        break
        return total

    def sweep_logs(self) -> int:
        """Remove files of attempts and workers that are gone; return how many.

        A kill between a commit and its unlink leaves them, or one while a log is rewritten.
        """
        removed = 0
        try:
            with os.scandir(self.files.logs) as entries:
                while True:
                    names = [entry.name for entry in islice(entries, _SWEPT_AT_ONCE)]
                    if not names:
                        return removed
                    for name in self._strays(names):
                        unlink_quietly(os.path.join(self.files.logs, name))
                        removed += 1
        except OSError:  # the next time, then
            return removed

    def _strays(self, names: Sequence[str]) -> list[str]:
        """Return those of these files that belong to nothing any more."""
        kept = [(name, number) for name in names if (number := logged_execution(name)) is not None]
        owned = [(name, owner) for name in names if (owner := log_owner(name)) is not None]
        with self._snapshot() as conn:
            numbers = sorted({number for _, number in kept})
            ended = dict(
                conn.execute(
                    "SELECT id, outcome IS NOT NULL FROM executions WHERE id IN ("
                    + ", ".join("?" * len(numbers))
                    + ") ORDER BY id",
                    numbers,
                ).fetchall()
            )
            owners = {
                row[0]
                for row in conn.execute(
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
            }
        strays = [
            name
            for name, number in kept
            if number not in ended or (is_unfinished(name) and ended[number])
        ]
        # A worker makes its log before it is registered, and its lock before that.
        return strays + [
            name
            for name, owner in owned
            if owner not in owners and is_alive(self.files, owner) is None
        ]

    def _any(self, where: str, values: Sequence[Any]) -> bool:
        with self._snapshot() as conn:
            row = conn.execute(f"SELECT EXISTS (SELECT 1 FROM jobs WHERE {where})", values)
            return bool(row.fetchone()[0])

    def _delete(self, where: str, values: Sequence[Any], at_most: int) -> int:
        with self._transaction() as conn:
            seqs = [
                row[0]
                for row in conn.execute(
                    "SELECT seq FROM jobs WHERE " + where + " ORDER BY finished_at, seq LIMIT ?",
                    (*values, at_most),
                )
            ]
            logs = [number for seq in seqs for number in _logged(conn, seq)]
            conn.executemany("DELETE FROM jobs WHERE seq = ?", [(seq,) for seq in seqs])
            conn.execute("DELETE FROM job_counts WHERE jobs = 0")
        # After the commit: a log without a job is swept later, a job without its log is a loss.
        for number in logs:
            unlink_quietly(self.files.execution_log(number))
        return len(seqs)


def _prunable(state: JobState, before: datetime, queues: Sequence[str], seqs: Sequence[int]) -> Any:
    """Return a WHERE condition and its values; the text is made of fixed pieces only."""
    pieces = [f"state = '{state.value}'"]
    if state is not JobState.DEAD:
        pieces.append("(state = 'completed' OR state = 'cancelled')")
    pieces.append("finished_at < ?")
    values: list[Any] = [to_text(before)]
    for column, wanted in (("queue", queues), ("seq", seqs)):
        if wanted:
            pieces.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values.extend(wanted)
    pieces.append("NOT EXISTS (SELECT 1 FROM dependencies WHERE needs_seq = jobs.seq)")
    return " AND ".join(pieces), values


def _logged(conn: sqlite3.Connection, seq: int) -> list[int]:
    rows = conn.execute(
        "SELECT id FROM executions WHERE job_seq = ? AND output_in_file = 1 ORDER BY id", (seq,)
    )
    return [row[0] for row in rows]

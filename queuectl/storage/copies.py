"""Copies of a queue: backups, and files that were copied by other means."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime

from queuectl.core.errors import QueueDamaged, QueueUnusable
from queuectl.core.models import Job, Outcome, OutcomeKind
from queuectl.core.states import JobState
from queuectl.core.times import from_text, to_text
from queuectl.host import lockfiles, processes
from queuectl.host.new_files import new_file, scratch_file
from queuectl.host.trust import weak_folder
from queuectl.storage import schema
from queuectl.storage.base import any_bytes
from queuectl.storage.dependencies import release_dependants
from queuectl.storage.moving import finish_in_copy
from queuectl.storage.rows import SELECT_JOB, to_job
from queuectl.storage.sqlite_errors import translated
from queuectl.storage.workers import Workers

_COPIED_BYTES = 1 << 20
_WORTH_IT = 10
"""If more than one page in this many is unused, a copy is compacted."""
_PAGES_AT_ONCE = 4096
"""How many pages of 2 KiB a backup copies in one step, some 10 ms."""
_RUNNING = "state = 'processing' AND (:worker IS NULL OR locked_by = :worker)"
_HAS_NO_RETRY = "(cancel_requested = 1 OR attempts >= max_retries)"


class Copies(Workers):
    """The methods that make a copy of a queue a queue of its own."""

    def back_up(self, path: str, *, now: datetime) -> None:
        """Copy the queue, as it is at one moment, to a new file that only its owner can read.

        The copy is a queue of its own, without workers. An attempt that runs here is lost there: it
        counts, and its job waits for a retry that is due at once, unless it was the last attempt
        or the job is being cancelled. Raises QueueUnusable if the path is taken or cannot be
        written.
        """
        with new_file(path) as new:
            # SQLite opens files by name. Where others can swap names, they would choose the file
            # that it writes, or read the copy.
            if weak_folder(os.path.dirname(os.path.abspath(path))) is None:
                self._copy_to(new.name, path, now)
                return
            import shutil  # here, since every command that reads a queue loads this module

            with scratch_file() as scratch:
                self._copy_to(scratch, path, now)
                with open(scratch, "rb") as source:
                    with open(new.descriptor, "wb", closefd=False) as target:
                        shutil.copyfileobj(source, target, _COPIED_BYTES)

    def _copy_to(self, name: str, path: str, now: datetime) -> None:
        """Write the copy into the file `name`; `path` is for messages."""
        copy = sqlite3.connect(name, isolation_level=None)
        try:
            # A backup is one file. Nothing beside it may be left if we are killed.
            copy.execute("PRAGMA journal_mode = MEMORY")
            self._copy_pages(copy)
            copy.execute("PRAGMA journal_mode = MEMORY")  # the queue's own mode has been copied
            copy.execute("BEGIN")
            schema.keep_origin(copy)
            # With the same name, a retry in one queue would kill the running job of the other.
            schema.name_queue(copy)
            # It may be copied again, more than once. Each copy gets an id when workers start on it.
            schema.set_meta(copy, "file", "backup")
            copy.execute("DELETE FROM workers")
            give_up_running_jobs(copy, now, "lost: it ran when the backup was taken")
            finish_in_copy(copy, now=now)
            copy.execute("COMMIT")
            _compact(copy)
        except sqlite3.Error as error:
            # The copy holds the same pages: if they cannot be read, the queue itself is damaged.
            known = translated(error, self.files.database)
            if isinstance(known, QueueDamaged):
                raise known from None
            raise QueueUnusable(f"cannot write {path}: {error}") from None
        finally:
            copy.close()

    def _copy_pages(self, copy: sqlite3.Connection) -> None:
        """Copy the whole file in steps: a signal is handled between two of them."""
        conn = self._database.connection
        conn.execute("BEGIN")
        try:
            # From its first read on, a transaction sees the same moment. Without one, the copy
            # would begin again after each commit of another process.
            conn.execute("SELECT count(*) FROM meta").fetchone()
            conn.backup(copy, pages=_PAGES_AT_ONCE, progress=lambda *_: None)
        finally:
            conn.execute("ROLLBACK")

    def name_copy(self, *, now: datetime) -> int | None:
        """Make this file a queue of its own if it is a copy of another one.

        Processes are recognised by the id of the queue, and a copy has that of the original. So
        workers of the copy would end, or adopt, what runs in the original. The file itself keeps
        note of which file it is; nothing else can tell a copy by `cp -a` from the original.

        Returns None if it is no copy, else how many jobs run in the original: here, their attempts
        are lost. Jobs whose processes are gone are left to the usual recovery.
        """
        own = self.file_id
        if not own or self.meta().get("file") == own:
            return None
        with self._transaction() as conn:
            known = conn.execute(
                "SELECT CAST(value AS TEXT) FROM meta WHERE key = 'file'"
            ).fetchone()
            schema.set_meta(conn, "file", own)
            # A file without the note comes from an older queuectl.
            if known is None or known[0] == own:
                return None
            schema.keep_origin(conn)
            schema.name_queue(conn)
            rows = conn.execute(
                """
                SELECT locked_by, pid, start_ticks, boot_id
                  FROM jobs
                  LEFT JOIN workers ON workers.id = jobs.locked_by
                 WHERE state = 'processing'
                 ORDER BY seq
                """
            ).fetchall()
            elsewhere = [row[0] for row in rows if self._lives(*row)]
            for worker in elsewhere:
                conn.execute("DELETE FROM workers WHERE id = ?", (worker,))
                give_up_running_jobs(
                    conn, now, "lost: it runs in the queue that this one was copied from", worker
                )
            return len(elsewhere)

    def _lives(
        self, worker: str, pid: int | None, start_ticks: int | None, boot: str | None
    ) -> bool:
        """Whether a worker, or the process of the job that it started last, is alive."""
        job = lockfiles.job_process(self.files, worker)
        try:
            here = processes.boot_id()
            return (pid is not None and processes.same_process(pid, start_ticks, boot)) or (
                job is not None and processes.same_process(job.pid, job.start_ticks, here)
            )
        except OSError:  # unknown just now: it may be
            return True


def _compact(copy: sqlite3.Connection) -> None:
    """Rewrite a copy whose unused space is worth it."""
    pages, unused = (
        int(copy.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count")
    )
    if unused * _WORTH_IT > pages:
        # The journal would hold the whole file in memory. A copy that is not finished is no loss.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("VACUUM")


def give_up_running_jobs(
    copy: sqlite3.Connection, now: datetime, error: str, worker: str | None = None
) -> None:
    """End the running attempts of a copied queue as lost: they run in the original only.

    With `worker`, only those of that worker. What any end of an attempt brings about comes with it:
    the copy is a queue of its own, and there nothing else would tell that these jobs died.
    """
    parameters = {"now": to_text(now), "error": error, "worker": worker}
    running = copy.execute(
        f"SELECT seq, execution_id FROM jobs WHERE {_RUNNING} ORDER BY seq", parameters
    ).fetchall()
    copy.execute(
        f"""
        UPDATE executions
           SET outcome = 'lost',
               finished_at = :now
         WHERE id IN (SELECT execution_id FROM jobs WHERE {_RUNNING})
        """,
        parameters,
    )
    copy.execute(
        f"""
        UPDATE jobs
           SET state = CASE WHEN cancel_requested = 1 THEN 'cancelled'
                            WHEN attempts >= max_retries THEN 'dead'
                            ELSE 'failed' END,
               finished_at = CASE WHEN {_HAS_NO_RETRY} THEN :now END,
               paused_at = CASE WHEN {_HAS_NO_RETRY} THEN NULL ELSE paused_at END,
               run_at = CASE WHEN {_HAS_NO_RETRY} THEN run_at ELSE :now END,
               updated_at = :now,
               locked_by = NULL,
               locked_at = NULL,
               execution_id = NULL,
               exit_code = NULL,
               signal = NULL,
               last_error = :error
         WHERE {_RUNNING}
        """,
        parameters,
    )
    for seq, execution_id in running:
        _after_loss(copy, seq, execution_id, error, now)


def _after_loss(
    copy: sqlite3.Connection, seq: int, execution_id: int, error: str, now: datetime
) -> None:
    """Tell hooks, the schedule and dependants of an attempt that was lost in a copy."""
    from queuectl.core.hooks import Ended  # every command that reads a queue loads this module
    from queuectl.storage.hooks import fire, note_result
    from queuectl.storage.schedule_ends import note_end

    attempt = "SELECT worker, started_at FROM executions WHERE id = ?"
    with any_bytes(copy):
        row = copy.execute(SELECT_JOB + "WHERE seq = ?", (seq,)).fetchone()
        attempts = copy.execute(attempt, (execution_id,)).fetchall()
    if row[Job._fields.index("state")] != JobState.FAILED.value:
        release_dependants(copy, seq, completed=False, now=now)
    try:
        job = to_job(row)
        ((worker, started_at),) = attempts
        outcome = Outcome(OutcomeKind.LOST, reason=error)
        ended = Ended(execution_id, str(worker), from_text(started_at), outcome)
    except (QueueUnusable, TypeError, ValueError):  # no job or attempt that others could read
        return
    if job.hook is not None:
        note_result(copy, job, now=now)
    fire(copy, job, JobState.PROCESSING, ended, now=now)
    if job.schedule is not None:
        note_end(copy, job.schedule, job.state, now)

"""Export, import and backup."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import datetime
from typing import Iterable, Iterator

from queuectl.core.errors import NoSuchJob, QueueDamaged, QueueUnusable, UniqueKeyHeld
from queuectl.core.jobfile import TransferredJob
from queuectl.core.models import Job, Selection
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import to_text
from queuectl.host.filesystem import new_file, scratch_file
from queuectl.host.trust import weak_folder
from queuectl.storage import schema
from queuectl.storage.dependencies import release_dependants
from queuectl.storage.enqueueing import add_needs, key_holder, refuse_cycles
from queuectl.storage.explaining import Explaining
from queuectl.storage.ids import duplicate, last_seq
from queuectl.storage.queries import Queries
from queuectl.storage.rows import insert_job, optional_text
from queuectl.storage.sqlite_errors import translated

_COPIED_BYTES = 1 << 20
_SET_BY_THE_QUEUE = ("seq", "locked_by", "locked_at")
_TIMES = ("run_at", "created_at", "updated_at", "finished_at")
_HAS_NO_RETRY = "(cancel_requested = 1 OR attempts >= max_retries)"


class Transfer(Queries, Explaining):
    """The methods that copy complete jobs, with their true values."""

    def export(self, selection: Selection) -> Iterator[TransferredJob]:
        """Yield jobs, with what they wait for, in the order of entry."""
        for job in self.jobs(selection):
            needs = self.needs(job) if job.state is JobState.BLOCKED else []
            try:
                while job.state is JobState.BLOCKED and not needs:
                    # It was unblocked since its page was read, so read it again.
                    job = self.get(job.id)
                    needs = self.needs(job)
            except NoSuchJob:
                continue
            yield TransferredJob(
                job,
                tuple(need.job.id for need in needs if not need.any_outcome),
                tuple(need.job.id for need in needs if need.any_outcome),
            )

    def import_jobs(
        self, arriving: Iterable[TransferredJob], *, skip_existing: bool, now: datetime
    ) -> tuple[int, int]:
        """Add jobs, all or none, in one transaction; return how many were added and skipped.

        Raises DuplicateId for a taken id unless `skip_existing`, UniqueKeyHeld for a key that an
        unfinished job holds, and NoSuchJob or InvalidInput for impossible dependencies.
        """
        added = skipped = 0
        waiting: list[tuple[int, TransferredJob]] = []
        with self._transaction() as conn:
            before = last_seq(conn)
            for transferred in arriving:
                job = transferred.job
                taken = duplicate(conn, job.id, before=before)
                if taken is not None:
                    if not skip_existing:
                        raise taken
                    skipped += 1
                    continue
                seq = _insert(conn, job)
                added += 1
                if job.state is JobState.BLOCKED:
                    waiting.append((seq, transferred))
            for seq, transferred in waiting:
                # An export holds complete ids, so never take one for an abbreviation.
                add_needs(conn, seq, transferred.after, transferred.after_any, up_to=0, now=now)
            refuse_cycles(conn, [seq for seq, _ in waiting])
        self._wake_workers()
        return added, skipped

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
            self._database.connection.backup(copy)
            copy.execute("PRAGMA journal_mode = MEMORY")  # the queue's own mode has been copied
            copy.execute("BEGIN")
            # With the same name, a retry in one queue would kill the running job of the other.
            schema.name_queue(copy)
            copy.execute("DELETE FROM workers")
            _give_up_running_jobs(copy, now)
            copy.execute("COMMIT")
        except sqlite3.Error as error:
            # The copy holds the same pages: if they cannot be read, the queue itself is damaged.
            known = translated(error, self.files.database)
            if isinstance(known, QueueDamaged):
                raise known from None
            raise QueueUnusable(f"cannot write {path}: {error}") from None
        finally:
            copy.close()


def _give_up_running_jobs(copy: sqlite3.Connection, now: datetime) -> None:
    """End the running attempts of a copied queue as lost: they run in the original only."""
    parameters = {"now": to_text(now), "error": "lost: it ran when the backup was taken"}
    copy.execute(
        """
        UPDATE executions
           SET outcome = 'lost',
               finished_at = :now
         WHERE id IN (SELECT execution_id FROM jobs WHERE state = 'processing')
        """,
        parameters,
    )
    finished = copy.execute(
        f"SELECT seq FROM jobs WHERE state = 'processing' AND {_HAS_NO_RETRY} ORDER BY seq"
    ).fetchall()
    copy.execute(
        f"""
        UPDATE jobs
           SET state = CASE WHEN cancel_requested = 1 THEN 'cancelled'
                            WHEN attempts >= max_retries THEN 'dead'
                            ELSE 'failed' END,
               finished_at = CASE WHEN {_HAS_NO_RETRY} THEN :now END,
               run_at = CASE WHEN {_HAS_NO_RETRY} THEN run_at ELSE :now END,
               updated_at = :now,
               locked_by = NULL,
               locked_at = NULL,
               execution_id = NULL,
               exit_code = NULL,
               signal = NULL,
               last_error = :error
         WHERE state = 'processing'
        """,
        parameters,
    )
    for (seq,) in finished:
        release_dependants(copy, seq, completed=False, now=now)


def _insert(conn: sqlite3.Connection, job: Job) -> int:
    if job.unique_key is not None and job.state not in FINISHED_STATES:
        holder = key_holder(conn, job.unique_key)
        if holder is not None:
            raise UniqueKeyHeld(job.unique_key, holder[1])
    return insert_job(
        conn,
        {
            **{name: getattr(job, name) for name in Job._fields if name not in _SET_BY_THE_QUEUE},
            "state": job.state.value,
            "env": json.dumps(dict(job.env)),
            **{name: optional_text(getattr(job, name)) for name in _TIMES},
        },
    )

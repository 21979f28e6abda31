"""Transfer jobs in and out: export, import and backup."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Callable, Iterable, Iterator

from queuectl.core.errors import NoSuchJob, QueueUnusable, UniqueKeyHeld
from queuectl.core.jobfile import TransferredJob
from queuectl.core.models import Claim, Job, Outcome, Selection, Verdict
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import to_text
from queuectl.host.filesystem import new_file
from queuectl.storage import schema
from queuectl.storage.attempts import end_attempt, held_claim
from queuectl.storage.base import duplicate, last_seq
from queuectl.storage.enqueueing import add_needs, key_holder, refuse_cycles
from queuectl.storage.explaining import Explaining
from queuectl.storage.queries import Queries
from queuectl.storage.rows import SELECT_JOB, to_job


class Transfer(Queries, Explaining):
    """Whole jobs with their true values."""

    def export(self, selection: Selection) -> Iterator[TransferredJob]:
        """Yield jobs, with what they wait for, in the order of their entry."""
        for job in self.jobs(selection):
            needs = self.needs(job) if job.state is JobState.BLOCKED else []
            try:
                while job.state is JobState.BLOCKED and not needs:
                    # It was freed since its page was read.
                    job = self.get(job.id)
                    needs = self.needs(job)
            except NoSuchJob:
                continue
            yield TransferredJob(
                job,
                tuple(need.job.id for need in needs if not need.however),
                tuple(need.job.id for need in needs if need.however),
            )

    def import_jobs(
        self, arriving: Iterable[TransferredJob], *, skip_existing: bool, now: datetime
    ) -> tuple[int, int]:
        """Take jobs in, all or none, in one transaction; return how many came and were skipped.

        Raises DuplicateId for a taken id unless `skip_existing`, UniqueKeyHeld for a key that an
        unfinished job holds, NoSuchJob or InvalidInput for needs that cannot be.
        """
        made = skipped = 0
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
                made += 1
                if job.state is JobState.BLOCKED:
                    waiting.append((seq, transferred))
            for seq, transferred in waiting:
                # Their ids were written whole: one that is not there is none that begins like it.
                add_needs(
                    conn, seq, transferred.after, transferred.after_any, made_until=0, now=now
                )
            refuse_cycles(conn, [seq for seq, _ in waiting])
        self._wake_workers()
        return made, skipped

    def back_up(
        self, path: str, lost: Outcome, decide: Callable[[Claim], Verdict], *, now: datetime
    ) -> None:
        """Copy the queue, as it is at one moment, to a new file that only its owner can read.

        The copy is a queue of its own: no worker of this one is its, and `lost` is how what runs
        has ended there, `decide` what becomes of its job. Raises QueueUnusable if there is a file
        already, or it cannot be written.
        """
        with new_file(path) as unfinished:
            copy = sqlite3.connect(unfinished, isolation_level=None)
            try:
                self._database.connection.backup(copy)
                # One file, and not a log beside it, is what a backup is taken for.
                copy.execute("PRAGMA journal_mode = MEMORY")
                copy.execute("BEGIN")
                _part(copy, lost, decide, now)
                copy.execute("COMMIT")
            except sqlite3.Error as error:
                raise QueueUnusable(f"cannot write {path}: {error}") from None
            finally:
                copy.close()


def _part(
    copy: sqlite3.Connection, lost: Outcome, decide: Callable[[Claim], Verdict], now: datetime
) -> None:
    """Take from a copied queue what only one of the two can have: its name and what runs.

    With the name of the other a retry in one would kill the running job of the other.
    """
    schema.name_queue(copy)
    copy.execute("DELETE FROM workers")
    running = copy.execute(SELECT_JOB + "WHERE state = 'processing' ORDER BY seq").fetchall()
    for row in running:
        claim = held_claim(copy, to_job(row))
        end_attempt(copy, claim, lost, decide(claim), now=now)


def _insert(conn: sqlite3.Connection, job: Job) -> int:
    if job.unique_key is not None and job.state not in FINISHED_STATES:
        holder = key_holder(conn, job.unique_key)
        if holder is not None:
            raise UniqueKeyHeld(job.unique_key, holder[1])
    seq = conn.execute(
        """
        INSERT INTO jobs (id, id_made, command, state, queue, label, priority, attempts,
                          max_retries, timeout, run_at, created_at, updated_at, finished_at, cwd,
                          env, unique_key, exit_code, signal, last_error, cancel_requested,
                          cancel_reason)
        VALUES (:id, :id_made, :command, :state, :queue, :label, :priority, :attempts,
                :max_retries, :timeout, :run_at, :created_at, :updated_at, :finished_at, :cwd,
                :env, :unique_key, :exit_code, :signal, :last_error, :cancel_requested,
                :cancel_reason)
        """,
        {
            **job._asdict(),
            "state": job.state.value,
            "env": json.dumps(dict(job.env)),
            **{
                name: None if getattr(job, name) is None else to_text(getattr(job, name))
                for name in ("run_at", "created_at", "updated_at", "finished_at")
            },
        },
    ).lastrowid
    assert seq is not None
    return seq

"""Export and import."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Iterable, Iterator

from queuectl.core.errors import NoSuchJob, UniqueKeyHeld
from queuectl.core.jobfile import TransferredJob
from queuectl.core.models import Job, Selection
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.storage.enqueueing import add_needs, key_holder, refuse_cycles
from queuectl.storage.explaining import Explaining
from queuectl.storage.ids import duplicate, last_seq
from queuectl.storage.queries import Queries
from queuectl.storage.rows import insert_job, optional_text

_SET_BY_THE_QUEUE = ("seq", "locked_by", "locked_at")
_TIMES = ("run_at", "created_at", "updated_at", "finished_at")


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

"""Export and import."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import chain
from typing import Callable, Iterable, Iterator, Sequence, Tuple

from queuectl.core.errors import NoSuchJob, QueueDamaged, UniqueKeyHeld
from queuectl.core.jobfile import TransferredJob
from queuectl.core.models import Job, Selection
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.storage.adding import Adding
from queuectl.storage.contents import Contents
from queuectl.storage.enqueueing import split
from queuectl.storage.explaining import Explaining
from queuectl.storage.needs import refuse_cycles
from queuectl.storage.queries import Queries
from queuectl.storage.rows import values_of
from queuectl.storage.stages import Stages


class Transfer(Queries, Explaining, Contents, Stages):
    """The methods that copy complete jobs, with their true values."""

    def export(self, selection: Selection) -> Iterator[TransferredJob]:
        """Yield jobs, with what they wait for, in the order of entry."""
        for job in self.jobs(selection):
            needs = self.needs(job) if job.state is JobState.BLOCKED else []
            try:
                while job.state is JobState.BLOCKED and not needs:
                    # It was unblocked since its page was read, so read it again.
                    before, job = job, self.get(job.id)
                    needs = self.needs(job)
                    if job == before:  # another program deleted what it waits for
                        break
            except NoSuchJob:
                continue
            found = self._input_of(job)
            if found is not None:
                yield TransferredJob(
                    found[0],
                    tuple(need.job.id for need in needs if not need.any_outcome),
                    tuple(need.job.id for need in needs if need.any_outcome),
                    found[1],
                )

    def _input_of(self, job: Job) -> tuple[Job, bytes | None] | None:
        """Return a job with its stdin; None if it was deleted meanwhile."""
        while job.input_id is not None:
            content = self.find_content(job.input_id)
            if content is not None:
                return job, content
            try:
                now = self.get(job.id)  # it was edited, or deleted
            except NoSuchJob:
                return None
            if now.input_id == job.input_id:
                raise QueueDamaged(f"the input of job {job.id} is missing")
            job = now
        return job, None

    def import_jobs(
        self,
        arriving: Iterable[TransferredJob],
        *,
        skip_existing: bool,
        now: datetime,
        added: Callable[[TransferredJob], None] = lambda _: None,
        moved: Callable[[int], None] = lambda _: None,
    ) -> tuple[int, int]:
        """Add jobs, all or none; return how many were added and skipped. Many are staged.

        `added` is called for each job, and `moved` as by `enqueue_each`.

        Raises DuplicateId for a taken id unless `skip_existing`, UniqueKeyHeld for a key that an
        unfinished job holds, and NoSuchJob or InvalidInput for impossible dependencies.
        """
        first, rest = split(_telling(arriving, added), _size)
        if rest is None:
            done = self.unless_reserved(lambda: self._import(first, skip_existing, now))
            moved(done[0])
            return done
        return self._import_staged(chain(first, rest), skip_existing, now, moved)

    def _import(
        self, arriving: Sequence[TransferredJob], skip_existing: bool, now: datetime
    ) -> tuple[int, int]:
        """Add jobs in one transaction; return how many were added and skipped."""
        waiting: list[_Waiting] = []
        with self._transaction() as conn:
            into = Adding(conn, now=now)
            added = sum(_add(into, job, skip_existing, waiting) for job in arriving)
            _add_needs(into, waiting)
            refuse_cycles(conn, [seq for seq, _ in waiting])
            into.count()
        self._wake_workers()
        return added, len(arriving) - added

    def _import_staged(
        self,
        arriving: Iterator[TransferredJob],
        skip_existing: bool,
        now: datetime,
        moved: Callable[[int], None],
    ) -> tuple[int, int]:
        """Add jobs through a stage; return how many were added and skipped."""
        from queuectl.storage.staging import Stage  # only for many jobs

        waiting: list[_Waiting] = []
        imported = total = 0
        with Stage.opened(self, count=0, now=now) as stage:
            while portion := stage.take(arriving, _size):
                with stage.filling():
                    imported += sum(_add(stage, job, skip_existing, waiting) for job in portion)
                total += len(portion)
            left = iter(waiting)
            while some := stage.take_needs(left, lambda item: item[1].after + item[1].after_any):
                with stage.filling():
                    _add_needs(stage, some)
            stage.finish(moved)
        return imported, total - imported


_Waiting = Tuple[int, TransferredJob]
"""The seq of a stored job whose dependencies are still to be added, and the job."""


def _telling(
    arriving: Iterable[TransferredJob], added: Callable[[TransferredJob], None]
) -> Iterator[TransferredJob]:
    for transferred in arriving:
        yield transferred
        added(transferred)


def _size(transferred: TransferredJob) -> int:
    job = transferred.job
    variables = sum(map(len, chain.from_iterable(job.own_env().items())))
    return len(job.command) + variables + len(transferred.input or b"")


def _add(
    into: Adding, transferred: TransferredJob, skip_existing: bool, waiting: list[_Waiting]
) -> bool:
    """Add a job and return True; False if it is skipped, since its id is taken."""
    job = transferred.job
    taken = into.duplicate(job.id)
    if taken is not None:
        if not skip_existing:
            raise taken
        return False
    if job.unique_key is not None and job.state not in FINISHED_STATES:
        holder = into.key_holder(job.unique_key)
        if holder is not None:
            raise UniqueKeyHeld(job.unique_key, holder.id)
    captured = json.dumps(dict(job.captured)) if job.captured else None
    job = job._replace(
        input_id=into.contents.id_of(transferred.input),
        captured_id=into.contents.id_of(captured),
    )
    seq = into.insert(values_of(job))
    if job.state is JobState.BLOCKED:
        waiting.append((seq, transferred))
    return True


def _add_needs(into: Adding, waiting: Iterable[_Waiting]) -> None:
    for seq, transferred in waiting:
        # An export holds complete ids, so never take one for an abbreviation.
        into.add_needs(seq, transferred.after, transferred.after_any, abbreviated=False)

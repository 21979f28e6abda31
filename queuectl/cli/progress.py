"""How far the jobs of each queue have come, and about how long the rest will take."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import repeat
from typing import TYPE_CHECKING, Callable, Collection, Mapping, Sequence

from queuectl.cli import colors, output
from queuectl.core.batches import serves
from queuectl.core.escaping import escape
from queuectl.core.estimates import HOLD_WORDS, Estimate, Load, about, estimate
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import UNFINISHED_STATES, JobState

if TYPE_CHECKING:
    from queuectl.core.models import QueueStatus, Worker
    from queuectl.storage import Storage
    from queuectl.storage.progress import RunningJob

_OLDEST = timedelta(hours=6)
"""Jobs that ended earlier say nothing about the next ones."""

_OF_EACH = 200
"""How many of the last jobs of each queue count at most."""

SHORTEST_BAR, LONGEST_BAR = 8, 30
"""The least and the greatest length of a bar, in cells."""


class QueueProgress(NamedTuple):
    """How far one queue has come."""

    status: QueueStatus
    """The queue."""
    left: int
    """How many of its jobs are still to do; scheduled ones do not count."""
    ended: Mapping[JobState, int]
    """How many of its jobs have ended, and how."""
    estimate: Estimate
    """About how long the jobs that are left will take."""

    @property
    def done(self) -> int:
        """How many of its jobs have completed or died."""
        return self.ended[JobState.COMPLETED] + self.ended[JobState.DEAD]


def measure(
    storage: Storage,
    workers: Sequence[Worker],
    running: Sequence[RunningJob],
    *,
    now: datetime,
    among: Collection[str] = (),
    up_to: Mapping[str, int] | None = None,
) -> list[QueueProgress]:
    """Return how far the queues with unfinished jobs have come, those with running jobs first.

    Only the queues `among`, if any is named. All their ended jobs count (see EndedJobs). `up_to` is
    for a wait for some jobs only: the last seq in each queue, of which later jobs do not count.
    """
    queues = [
        queue
        for queue in storage.queues()
        if any(map(queue.counts.get, UNFINISHED_STATES)) and (not among or queue.name in among)
    ]
    queues.sort(key=lambda queue: not queue.counts[JobState.PROCESSING])
    ends = storage.newest_ends(
        {queue.name for queue in queues}, after=now - _OLDEST, until=now, of_each=_OF_EACH
    )
    running_for: dict[str, list[float]] = {}
    for job in running:
        if job.is_paused:
            continue
        running_for.setdefault(job.queue, []).append((now - job.since).total_seconds())
    able = [worker for worker in workers if worker.problem is None]
    measured = []
    for queue in queues:
        serving = [each for each in able if serves(each.queues, queue.name)]
        counts = {
            state: jobs - queue.paused_jobs.get(state, 0) for state, jobs in queue.counts.items()
        }
        if up_to is not None:
            counts[JobState.PENDING] = storage.pending_up_to(queue.name, up_to[queue.name])
        load = Load(
            counts=counts,
            running_for=running_for.get(queue.name, ()),
            idle=sum(worker.job is None for worker in serving),
            serving=len(serving),
            limit=queue.limit,
            paused=queue.paused,
            paused_jobs=sum(map(queue.paused_jobs.get, UNFINISHED_STATES, repeat(0))),
            ends=ends[queue.name],
        )
        measured.append(
            QueueProgress(
                queue,
                sum(queue.counts[state] for state in UNFINISHED_STATES)
                - queue.counts[JobState.SCHEDULED],
                queue.counts,
                estimate(load, now=now),
            )
        )
    return measured


class EndedJobs:
    """Counts the jobs that ended since the oldest unfinished job of their queue was enqueued.

    A batch that was enqueued at once is counted from its beginning, whatever ended before.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._version: int | None = None
        self._counted: dict[str, Mapping[JobState, int]] = {}
        self._too_many: set[tuple[str, datetime]] = set()

    def add_to(self, measured: Sequence[QueueProgress]) -> list[QueueProgress]:
        """Return the same with these counts, unless there are too many jobs to count.

        While nothing changes, they are not counted again.
        """
        version = self._storage.version()
        if version != self._version:
            self._version = version
            self._counted.clear()
        return [progress._replace(ended=self._of(progress)) for progress in measured]

    def _of(self, progress: QueueProgress) -> Mapping[JobState, int]:
        name = progress.status.name
        if name not in self._counted:
            since = self._storage.oldest_unfinished_at(name)
            ended = None
            if since is not None and (name, since) not in self._too_many:
                ended = self._storage.ended_since([name], since)
                if ended is None:
                    self._too_many.add((name, since))
            self._counted[name] = progress.ended if ended is None else ended
        return self._counted[name]


def time_left(storage: Storage, queue: str, *, now: datetime) -> str | None:
    """Return about how long a queue needs for all its jobs: `about 35 min`; None if unknown."""
    progress = measure(
        storage, storage.living_workers(), storage.running_jobs(), now=now, among=[queue]
    )
    seconds = progress[0].estimate.seconds if progress else None
    return None if seconds is None else about(seconds)


def overall(measured: Sequence[QueueProgress]) -> str:
    """Return about how long all these queues need, or what holds one up; empty if unknown."""
    for queue in measured:
        hold = queue.estimate.hold
        if hold is not None:
            name = f"{escape(queue.status.name)}: " if len(measured) > 1 else ""
            return name + HOLD_WORDS[hold]
    seconds = [queue.estimate.seconds for queue in measured]
    known = [each for each in seconds if each is not None]
    return f"{about(max(known))} left" if known and len(known) == len(seconds) else ""


def bar(done: int, dead: int, total: int, length: int) -> str:
    """Return a styled bar of at most LONGEST_BAR cells; empty if there is no room for one."""
    length = min(length, LONGEST_BAR)
    if length < SHORTEST_BAR:
        return ""
    return "".join(style(text) for text, style in bar_pieces(done, dead, total, length) if text)


def bar_pieces(
    done: int, dead: int, total: int, length: int
) -> list[tuple[str, Callable[[str], str]]]:
    """Return the pieces of a bar with their styles: completed jobs, dead ones, those left.

    `done` counts the dead ones as well.
    """
    full, empty = ("#", "-") if output.needs_ascii() else ("█", "░")
    # Rounded down: a bar is full only when nothing is left.
    filled = done * length // total
    red = min(filled, -(-dead * length // total))
    return [
        (full * (filled - red), colors.good),
        (full * red, colors.bad),
        (empty * (length - filled), colors.faint),
    ]

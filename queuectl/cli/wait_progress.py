"""The progress of `wait` on a terminal: a line while it waits, and a summary at the end."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from typing import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from queuectl.cli import output
from queuectl.cli.waiting import Ending, WaitedFor
from queuectl.core.cells import cut
from queuectl.core.cells import width as cells
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import utcnow
from queuectl.storage import Storage

Show = Callable[[Callable[[int], str]], None]
"""Shows what a function returns for a width, if it is time for it."""


class Tally(NamedTuple):
    """How the jobs that are waited for have ended so far."""

    completed: int
    """How many completed."""
    dead: int
    """How many died."""
    cancelled: int
    """How many were cancelled."""
    left: int
    """How many are unfinished."""


@contextmanager
def progress_of(jobs: int) -> Iterator[Show]:
    """Yield what shows the progress of a wait: on a terminal only, and for several jobs."""
    if jobs < 2 or not sys.stderr.isatty():
        yield lambda _: None
        return
    from queuectl.cli.terminal import progress_line  # only when it is needed

    with progress_line() as line:
        yield line.show


def sum_up(jobs: int, tally: Callable[[], Tally]) -> None:
    """Write how the jobs have ended: on a terminal only, and for several jobs."""
    if jobs > 1 and sys.stderr.isatty():
        output.message(summary(tally()))


def summary(tally: Tally) -> str:
    """Return how jobs have ended in a few words: `40 completed, 2 dead`."""
    words = (tally.completed, "completed"), (tally.dead, "dead"), (tally.cancelled, "cancelled")
    said = [f"{jobs} {word}" for jobs, word in (*words, (tally.left, "unfinished")) if jobs]
    return ", ".join(said) or "0 completed"


def tally_of(endings: Iterable[Ending]) -> Tally:
    """Return how these jobs have ended."""
    states = Counter(ending.job.state for ending in endings)
    completed, dead, cancelled = (states.pop(state, 0) for state in FINISHED_STATES)
    return Tally(completed, dead, cancelled, sum(states.values()))


def reporter_of_jobs(storage: Storage, show: Show) -> Callable[[WaitedFor], None]:
    """Return what reports on a wait for some jobs."""

    def report(waited_for: WaitedFor) -> None:
        def line(width: int) -> str:
            left = waited_for.unfinished.values()
            last: dict[str, int] = {}
            for job in left:
                last[job.queue] = max(job.seq, last.get(job.queue, 0))
            tally = tally_of(waited_for.endings.values())._replace(left=len(left))
            return progress_text(tally, _time_left(storage, last, up_to=last), width)

        show(line)

    return report


class WaitForAll:
    """Counts how the jobs of some queues (none named: of all) end from now on."""

    def __init__(self, storage: Storage, queues: Sequence[str], left: int) -> None:
        self._storage = storage
        self._queues = queues
        self._left = left
        self._since = utcnow()
        self._bad = storage.bad_ends_by_state(queues)

    def tally(self, left: int) -> Tally:
        """Return how many jobs ended in each way since this counter began; `left` did not."""
        bad = self._storage.bad_ends_by_state(self._queues)
        dead, cancelled = (
            max(0, bad[state] - self._bad[state]) for state in (JobState.DEAD, JobState.CANCELLED)
        )
        ended = self._storage.ended_since(self._queues, self._since)
        completed = self._left - left - dead - cancelled
        if ended is not None:
            completed = ended[JobState.COMPLETED]
        return Tally(max(0, completed), dead, cancelled, left)

    def reporter(self, show: Show) -> Callable[[int], None]:
        """Return what reports on the wait."""

        def report(left: int) -> None:
            show(
                lambda width: progress_text(
                    self.tally(left), _time_left(self._storage, self._queues), width
                )
            )

        return report


def _time_left(
    storage: Storage, queues: Collection[str], *, up_to: Mapping[str, int] | None = None
) -> str:
    from queuectl.cli.progress import measure, overall  # only on a terminal

    workers, running = storage.living_workers(), storage.running_jobs()
    return overall(measure(storage, workers, running, now=utcnow(), among=queues, up_to=up_to))


def progress_text(tally: Tally, time_left: str, width: int) -> str:
    """Return the line of progress, with a bar if there is room for one."""
    from queuectl.cli.progress import bar  # only on a terminal

    done = tally.completed + tally.dead + tally.cancelled
    total = max(1, done + tally.left)
    texts = [f"{done} of {total}"]
    texts += [f"{tally.dead} dead"] if tally.dead else []
    texts += [f"{tally.cancelled} cancelled"] if tally.cancelled else []
    texts += [time_left] if time_left else []
    room = width - cells("  ".join(["waiting", *texts])) - 2
    drawn = bar(done, tally.dead + tally.cancelled, total, room)
    if drawn:
        return "  ".join(["waiting", drawn, *texts])
    return cut("  ".join(["waiting", *texts]), width)

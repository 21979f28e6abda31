"""The counters of activity: which events are counted, and the histograms of durations."""

from __future__ import annotations

import math
from typing import Sequence, Tuple

from queuectl.core.named_tuples import NamedTuple

ENQUEUED = "enqueued"
"""The event that a job came in: it was enqueued or imported, or retried after it had finished.

It counts in the queue that the job was in then; a move to another queue is no such event."""
DEAD = "dead"
"""The event that a job died."""
JOB_CANCELLED = "job-cancelled"
"""The event that a job was cancelled, whether it was waiting or running."""
JOB_COMPLETED = "ok"
"""The event that an attempt succeeded, and so that its job completed: one for one."""
JOB_EVENTS = (ENQUEUED, DEAD, JOB_CANCELLED)
"""The events of jobs. All others are the ends of attempts, named by their outcomes."""

BOUNDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""The upper bounds of the buckets of a histogram, in seconds; the last bucket has none."""
BUCKETS = len(BOUNDS) + 1

Histogram = Tuple[int, ...]
"""How many durations fall into each bucket, and into no lower one: 13 numbers, not cumulative."""
NO_DURATIONS: Histogram = (0,) * BUCKETS


class Tally(NamedTuple):
    """How often an event happened in a queue, with the durations of attempts."""

    queue: str
    """The queue."""
    event: str
    """One of JOB_EVENTS, or the outcome of an attempt, such as `ok` or `timeout`."""
    times: int = 0
    """How often it happened."""
    run_seconds: float = 0.0
    """How long the attempts ran together, where that is known."""
    cpu_seconds: float = 0.0
    """The CPU time of the attempts together, where it is known."""
    wait_seconds: float = 0.0
    """How long the attempts waited together, from when each could start."""
    run: Histogram = NO_DURATIONS
    """How long each attempt ran; one whose duration is unknown is in no bucket."""
    wait: Histogram = NO_DURATIONS
    """How long each attempt waited; one whose waiting time is unknown is in no bucket."""

    def plus(self, other: Tally) -> Tally:
        """Return the sum with a tally of the same kind; the queue and the event are kept."""
        return Tally(
            self.queue,
            self.event,
            self.times + other.times,
            self.run_seconds + other.run_seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.wait_seconds + other.wait_seconds,
            plus(self.run, other.run),
            plus(self.wait, other.wait),
        )


def plus(one: Histogram, other: Histogram) -> Histogram:
    """Return the histogram of the durations of both."""
    return tuple(map(sum, zip(one, other)))


def quantile(histogram: Sequence[int], share: float) -> float | None:
    """Estimate how long this share of the durations, the shortest ones, took at most, in seconds.

    For example 0.5 for the median. None if there are no durations. Within a bucket, durations are
    taken to be spread evenly on a logarithmic scale; in the first one, on a linear scale. Of the
    last bucket only the lower bound is known.
    """
    wanted = share * sum(histogram)
    if not wanted:
        return None
    below = 0
    for number, count in enumerate(histogram[:-1]):
        if below + count >= wanted:
            part = (wanted - below) / count
            if not number:
                return BOUNDS[0] * part
            lower, upper = BOUNDS[number - 1], BOUNDS[number]
            return math.exp(math.log(lower) + part * (math.log(upper) - math.log(lower)))
        below += count
    return BOUNDS[-1]

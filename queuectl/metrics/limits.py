"""The limit of series: which queues, schedules and hooks have series of their own."""

from __future__ import annotations

from typing import Mapping, Sequence, TypeVar

from queuectl.core.batches import is_batch
from queuectl.core.figures import Figures, Histogram, HookFigures, QueueFigures, ScheduleFigures
from queuectl.core.named_tuples import NamedTuple

_Named = TypeVar("_Named", QueueFigures, ScheduleFigures, HookFigures)

MOST_QUEUES = 100
"""How many queues have series of their own. Each series takes memory of the Prometheus server."""
MOST_NAMES = 200
"""The same for schedules, and for hooks."""

OTHERS = "_other"
"""The name under which the queues, schedules or hooks beyond these numbers are summed up."""
BATCHES = "_batches"
"""The name under which all batches of `queuectl run` are summed up."""


class Shown(NamedTuple):
    """The figures that get series, each kind in the order of its names."""

    queues: Sequence[QueueFigures]
    """The queues."""
    schedules: Sequence[ScheduleFigures]
    """The schedules."""
    hooks: Sequence[HookFigures]
    """The hooks."""
    dropped: int
    """How many queues, schedules and hooks have no series of their own, batches aside."""


def with_few_names(figures: Figures) -> Shown:
    """Give series to the busiest queues, schedules and hooks, and sum up the others.

    Each template that is given to `queuectl run` makes a batch of its own, so all batches have one
    name.
    """
    batches = [queue for queue in figures.queues if is_batch(queue.name)]
    queues = [queue for queue in figures.queues if not is_batch(queue.name)]
    queues.sort(key=lambda queue: (-queue.size, queue.name))
    schedules = sorted(figures.schedules, key=lambda one: (-one.ticks.get("made", 0), one.name))
    hooks = sorted(figures.hooks, key=lambda one: (-one.failures, one.name))
    named_queues, other_queues = _split(queues, MOST_QUEUES)
    named_schedules, other_schedules = _split(schedules, MOST_NAMES)
    named_hooks, other_hooks = _split(hooks, MOST_NAMES)
    shown_queues = [
        *named_queues,
        *_one_queue(OTHERS, other_queues),
        *_one_queue(BATCHES, batches),
    ]
    return Shown(
        sorted(shown_queues, key=lambda queue: queue.name),
        sorted([*named_schedules, *_one_schedule(other_schedules)], key=lambda one: one.name),
        sorted([*named_hooks, *_one_hook(other_hooks)], key=lambda one: one.name),
        len(other_queues) + len(other_schedules) + len(other_hooks),
    )


def _split(busiest: Sequence[_Named], most: int) -> tuple[list[_Named], list[_Named]]:
    """Split into those with series of their own and the others.

    A queue without a name is that of attempts whose job was deleted before they were counted.
    """
    named = [one for one in busiest if one.name not in (OTHERS, BATCHES, "")][:most]
    names = {one.name for one in named}
    return named, [one for one in busiest if one.name not in names]


def _one_queue(name: str, queues: Sequence[QueueFigures]) -> list[QueueFigures]:
    """Return the sum of these queues under a name; none if there are none."""
    if not queues:
        return []
    return [
        QueueFigures(
            name=name,
            jobs=_sums([queue.jobs for queue in queues]),
            oldest_ready_seconds=max(queue.oldest_ready_seconds for queue in queues),
            paused=all(queue.paused for queue in queues),
            limit=None,
            enqueued=sum(queue.enqueued for queue in queues),
            runs=_sums([queue.runs for queue in queues]),
            finished=_sums([queue.finished for queue in queues]),
            cpu_seconds=sum(queue.cpu_seconds for queue in queues),
            run_seconds=_histogram([queue.run_seconds for queue in queues]),
            wait_seconds=_histogram([queue.wait_seconds for queue in queues]),
        )
    ]


def _one_schedule(schedules: Sequence[ScheduleFigures]) -> list[ScheduleFigures]:
    """Return one schedule for many: the latest of them, with the sum of their ticks."""
    if not schedules:
        return []
    return [
        ScheduleFigures(
            name=OTHERS,
            next_at=None,
            last_success_at=None,
            lateness_seconds=max(one.lateness_seconds for one in schedules),
            paused=all(one.paused for one in schedules),
            ticks=_sums([one.ticks for one in schedules]),
        )
    ]


def _one_hook(hooks: Sequence[HookFigures]) -> list[HookFigures]:
    """Return the worst of many hooks."""
    if not hooks:
        return []
    return [
        HookFigures(
            OTHERS, any(hook.disabled for hook in hooks), max(hook.failures for hook in hooks)
        )
    ]


def _sums(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {key: sum(count.get(key, 0) for count in counts) for key in _keys(counts)}


def _keys(counts: Sequence[Mapping[str, int]]) -> set[str]:
    return {key for count in counts for key in count}


def _histogram(parts: Sequence[Histogram]) -> Histogram:
    return Histogram(
        tuple(map(sum, zip(*(part.buckets for part in parts)))),
        sum(part.seconds for part in parts),
    )

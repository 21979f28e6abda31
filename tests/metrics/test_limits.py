"""How many names have series: a queue per customer must not flood a Prometheus server."""

from __future__ import annotations

from queuectl.core.figures import Histogram, HookFigures
from queuectl.metrics.limits import (
    BATCHES,
    MOST_NAMES,
    MOST_QUEUES,
    OTHERS,
    with_few_names,
)
from support.figures import figures, queue_figures, schedule_figures


def _counted(name: str, times: int) -> object:
    return queue_figures(
        name,
        jobs={"dead": times},
        oldest_ready_seconds=float(times),
        limit=1,
        enqueued=times,
        runs={"ok": times},
        finished={"dead": times},
        cpu_seconds=float(times),
        run_seconds=Histogram((times, *(0,) * 12), float(times)),
        wait_seconds=Histogram((*(0,) * 12, times), float(times)),
    )


def test_the_busiest_queues_keep_their_names() -> None:
    """The others are summed up, and nothing of them is lost."""
    queues = [_counted(f"q{number:03}", number) for number in range(1, MOST_QUEUES + 4)]

    shown = with_few_names(figures(queues=queues))

    assert [queue.name for queue in shown.queues] == [
        OTHERS,
        *(f"q{number:03}" for number in range(4, MOST_QUEUES + 4)),
    ]
    assert shown.queues[0] == _counted(OTHERS, 6)._replace(oldest_ready_seconds=3.0, limit=None)
    assert shown.dropped == 3


def test_all_batches_have_one_name() -> None:
    """Each template that is given to `run` makes a batch, and none of them is counted as dropped.

    The lanes of their hooks belong to them.
    """
    names = ("@gzip-123456", "@gzip-123456/hooks", "@convert-abcdef", "default")

    shown = with_few_names(figures(queues=[_counted(name, 1) for name in names]))

    assert [(queue.name, queue.enqueued) for queue in shown.queues] == [
        (BATCHES, 3),
        ("default", 1),
    ]
    assert shown.dropped == 0


def test_a_queue_cannot_take_the_name_of_the_others() -> None:
    """Two series with the same labels would make Prometheus refuse all of them.

    For Prometheus an empty label is none, so a queue without a name is among the others.
    """
    queues = [_counted(name, 5) for name in ("", OTHERS, BATCHES, "@batch-123456", "q")]

    shown = with_few_names(figures(queues=queues))

    assert [(queue.name, queue.enqueued) for queue in shown.queues] == [
        (BATCHES, 5),
        (OTHERS, 15),
        ("q", 5),
    ]
    assert shown.dropped == 3


def test_the_other_schedules_and_hooks_show_the_worst_of_them() -> None:
    """An alert still fires, though it cannot name the schedule."""
    schedules = [
        schedule_figures(f"s{number:03}", next_at=1.0, ticks={"made": 1000 - number, "missed": 1},
                         lateness_seconds=float(number), last_success_at=1.0)
        for number in range(MOST_NAMES + 2)
    ]  # fmt: skip
    hooks = [HookFigures(f"h{number:03}", number == 0, number) for number in range(MOST_NAMES + 3)]

    shown = with_few_names(figures(schedules=schedules, hooks=hooks))

    assert shown.schedules[0] == schedule_figures(
        OTHERS,
        lateness_seconds=float(MOST_NAMES + 1),
        ticks={"made": 2000 - 2 * MOST_NAMES - 1, "missed": 2},
    )
    assert shown.hooks[0] == HookFigures(OTHERS, True, 2)
    assert (len(shown.schedules), len(shown.hooks)) == (MOST_NAMES + 1, MOST_NAMES + 1)
    assert shown.dropped == 5

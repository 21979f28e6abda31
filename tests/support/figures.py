"""Figures of a queue, made up for tests."""

from __future__ import annotations

from typing import Any

from queuectl.core.figures import Figures, Histogram, HookFigures, QueueFigures, ScheduleFigures

NOTHING = Histogram((0,) * 13, 0.0)


def queue_figures(name: str, **changes: Any) -> QueueFigures:
    """Return the figures of a queue in which nothing has happened, except `changes`."""
    empty = QueueFigures(name, {}, 0.0, False, None, 0, {}, {}, 0.0, NOTHING, NOTHING)
    return empty._replace(**changes)


def schedule_figures(name: str, **changes: Any) -> ScheduleFigures:
    """Return the figures of a schedule that has made no job yet, except `changes`."""
    return ScheduleFigures(name, None, None, 0.0, False, {})._replace(**changes)


def figures(**changes: Any) -> Figures:
    """Return the figures of an empty queue, except `changes`."""
    empty = Figures((), (), (), 0, 0, False, {}, 4096, 0, 10**9, "1.2.3", 4, 0.25)
    return empty._replace(**changes)


FULL = figures(
    queues=[
        queue_figures(
            "mail",
            jobs={"pending": 1204, "processing": 2, "completed": 17000, "cancelled": 1},
            oldest_ready_seconds=2460.5,
            paused=True,
            limit=3,
            enqueued=18207,
            runs={"ok": 17000, "exit": 204, "signal": 3},
            finished={"completed": 17000, "dead": 14, "cancelled": 1},
            cpu_seconds=15010.25,
            run_seconds=Histogram((9000, 5000, 3000, 203, 0, 0, 2, 0, 0, 0, 0, 1, 1), 98765.5),
            wait_seconds=Histogram((17000, 100, 50, 50, 5, 0, 2, 0, 0, 0, 0, 0, 0), 1234.0),
        ),
        queue_figures("naïve \"queue\" \\ 'quoted'"),
    ],
    schedules=[
        schedule_figures(
            "nightly",
            next_at=1796000400.0,
            last_success_at=1795914123.5,
            lateness_seconds=30.0,
            ticks={"made": 41, "missed": 2},
        ),
        schedule_figures("new", paused=True),
    ],
    hooks=[HookFigures("ops", True, 4)],
    busy_workers=2,
    idle_workers=1,
    findings={"critical": 1},
)
"""Figures with a bit of everything."""

"""Estimates of the time left: how they are made, when they say nothing, and how they look."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Sequence

import pytest

from queuectl.core.estimates import End, Estimate, Hold, Load, about, estimate, rate
from queuectl.core.states import JobState
from support.clock import noon

_NOW = noon(0)


def _load(ends: Sequence[End] = (), running_for: Sequence[float] = (), **told: Any) -> Load:
    """Return what a queue has to do: counts by the names of states, and what else is told."""
    counts = {state: told.pop(state.value, 0) for state in JobState}
    counts[JobState.PROCESSING] = len(running_for)
    told.setdefault("serving", len(running_for) + told.get("idle", 0))
    return Load(counts=counts, running_for=running_for, ends=ends, **told)


def _ends(count: int, seconds: float, *, ago: float = 60.0) -> list[End]:
    """Return so many jobs that took so long each; the last of them ended so long ago."""
    return [End(_NOW - timedelta(seconds=ago + number), seconds) for number in range(count)]


@pytest.mark.parametrize(
    ("load", "seconds"),
    [
        # 86 jobs of a minute each; 4 workers have just begun with four of them.
        (_load(_ends(200, 60), (0, 0, 0, 0), pending=82, dead=8), 86 * 60 / 4),
        # The running jobs are half done.
        (_load(_ends(200, 60), (30, 30, 30, 30), pending=82), (82 * 60 + 4 * 30) / 4),
        # Nothing waits any more: the rest takes as long as the last of them.
        (_load(_ends(200, 60), (50, 10)), 50),
        # Idle workers take waiting jobs at once.
        (_load(_ends(20, 60), (0,), pending=5, idle=2), 6 * 60 / 3),
        # Fewer jobs than workers: the other workers have nothing to do.
        (_load(_ends(20, 60), (0,), pending=1, idle=15), 60),
        # The limit of the queue holds the workers back.
        (_load(_ends(20, 60), (0,), pending=9, idle=3, limit=1), 10 * 60),
        (_load(_ends(20, 60), (0, 0), pending=8, limit=1), 10 * 60),
        # Jobs that wait for a retry, or for other jobs, have to run as well.
        (_load(_ends(20, 60), (0,), pending=1, failed=2, blocked=3), 7 * 60),
        # Scheduled ones do not count: they are for later.
        (_load(_ends(20, 60), (0,), scheduled=100), 60),
        # A job that runs for longer makes the mean longer: (20 * 60 + 690) / 21 = 90.
        (_load(_ends(20, 60), (690,), pending=2), 2 * 90),
        # Of long jobs few end within minutes; then the last five count.
        (_load(_ends(9, 3600, ago=1200), (0,), pending=1), 2 * 3600),
        # If enough ended lately, those before do not count.
        (_load([*_ends(5, 10), *_ends(100, 900, ago=3000)], (0,), pending=1), 2 * 10),
        # The shortest jobs.
        (_load(_ends(200, 0), (0, 0), pending=9998), 10_000 * 0.0005 / 2),
    ],
)
def test_the_time_left(load: Load, seconds: float) -> None:
    """It is the time of the last jobs for each job that is left, shared among the workers."""
    made = estimate(load, now=_NOW)

    assert (made.seconds, made.hold) == (pytest.approx(seconds), None)


@pytest.mark.parametrize(
    "load",
    [
        _load(_ends(2, 60), (0,), pending=9),
        _load((), (5, 5), pending=9),
        # The first of 16 jobs that run at once have ended: they are the shortest.
        _load(_ends(9, 60), (60,) * 16, pending=100),
    ],
)
def test_nothing_is_said_before_it_means_something(load: Load) -> None:
    """Of few jobs nothing can be told, and nothing holds them up."""
    assert estimate(load, now=_NOW) == Estimate()


@pytest.mark.parametrize(
    ("load", "hold"),
    [
        (_load(_ends(20, 60), pending=9, paused=True, serving=4, idle=4), Hold.PAUSED),
        (_load(_ends(20, 60), (1, 2), pending=9, paused=True), Hold.PAUSED),
        (_load(_ends(20, 60), pending=9), Hold.NO_WORKER),
        # The worker of a running job has died: nothing begins after it.
        (_load(_ends(20, 60), (1,), pending=9, serving=0), Hold.NO_WORKER),
        (_load(_ends(20, 60), pending=9, serving=4), Hold.BUSY),
        (_load(_ends(20, 60), failed=9, blocked=1, serving=4, idle=4), Hold.RETRIES),
        (_load(_ends(20, 60), blocked=1, serving=4, idle=4), Hold.BLOCKED),
        (_load(_ends(20, 60), scheduled=1, serving=4, idle=4), Hold.SCHEDULED),
        (_load(_ends(20, 60), scheduled=1, paused=True), Hold.SCHEDULED),
        (_load(_ends(20, 60), (3600,), idle=3), Hold.OVERDUE),
    ],
)
def test_what_holds_up_a_queue(load: Load, hold: Hold) -> None:
    """There is no time left then, and no rate."""
    assert estimate(load, now=_NOW) == Estimate(hold=hold)


def test_a_paused_queue_finishes_what_runs() -> None:
    """If nothing waits in it, its pause holds nothing up."""
    load = _load(_ends(20, 60), (20,), paused=True)

    assert estimate(load, now=_NOW).seconds == 40


def test_a_queue_with_nothing_to_do() -> None:
    """Nothing is estimated, and nothing is held up."""
    assert estimate(_load(_ends(20, 60), completed=20, serving=1, idle=1), now=_NOW) == Estimate()


def test_the_rate_counts_the_workers() -> None:
    """Twice as many workers end twice as many jobs."""
    ends = _ends(20, 60)

    assert estimate(_load(ends, (0,) * 2, pending=99), now=_NOW).per_second == 2 / 60
    assert estimate(_load(ends, (0,) * 4, pending=99), now=_NOW).per_second == 4 / 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "a few seconds"), (9.9, "a few seconds"), (10, "about 10 s"), (11, "about 20 s"),
        (50, "about 50 s"), (51, "about 1 min"), (89, "about 1 min"), (95, "about 2 min"),
        (2100, "about 35 min"), (3569, "about 59 min"), (3571, "about 1 h"),
        (3900, "about 1 h 05 min"), (3960, "about 1 h 05 min"), (7800, "about 2 h 10 min"),
        (35_900, "about 10 h"), (40_000, "about 11 h"), (172_000, "about 2 d"),
        (250_000, "about 3 d"), (1e8, "about 1157 d"),
    ],
)  # fmt: skip
def test_an_estimated_time(seconds: float, text: str) -> None:
    """It has few digits, since it is not exact."""
    assert about(seconds) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (1338, "1338/s"), (42.4, "42/s"), (1.25, "1.2/s"), (1, "1/s"), (0.99, "59/min"),
        (0.0416, "2.5/min"), (1 / 60, "1/min"), (8 / 3600, "8/h"), (0.5 / 3600, "12/d"),
    ],
)  # fmt: skip
def test_a_rate(per_second: float, text: str) -> None:
    """Its unit makes it a number of at least one."""
    assert rate(per_second) == text

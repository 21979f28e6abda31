"""How long a worker that died has to wait for its replacement."""

from __future__ import annotations

import pytest

from queuectl.worker.assignment import Assignment
from queuectl.worker.restarts import Restarts, is_crash_loop


def _worker(slot: int, recovers: str | None = None) -> Assignment:
    return Assignment("s-9", "s", slot, (), -1, recovers=recovers)


@pytest.mark.parametrize(
    ("age_seconds", "ran_a_job", "expected"),
    [(1.0, False, True), (1.0, True, False), (6.0, False, False)],
)
def test_only_a_worker_that_died_young_and_ran_nothing_is_in_a_crash_loop(
    age_seconds: float, ran_a_job: bool, expected: bool
) -> None:
    """A job that kills its worker is limited by its attempts, not by a delay."""
    assert is_crash_loop(age_seconds=age_seconds, ran_a_job=ran_a_job) is expected


def test_delays_grow_to_a_minute_per_slot() -> None:
    """The first replacement comes at once; other slots are not delayed."""
    restarts = Restarts()
    delays = []
    for _ in range(9):
        restarts.hold_back(_worker(0), now=100.0)
        delays.append(restarts.next_at() - 100.0)
        assert restarts.take_due(now=1000.0) == [_worker(0)]
    restarts.hold_back(_worker(1), now=100.0)

    assert delays == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert restarts.next_at() == 100.0


def test_a_reset_ends_the_delay() -> None:
    """A worker that lived long enough, or ran a job, is replaced at once."""
    restarts = Restarts()
    for _ in range(3):
        restarts.hold_back(_worker(0), now=100.0)
    restarts.take_due(now=1000.0)
    restarts.reset(0)
    restarts.hold_back(_worker(0), now=100.0)

    assert restarts.next_at() == 100.0


def test_a_worker_that_could_not_be_forked_is_tried_a_second_later() -> None:
    """Until then nothing is due."""
    restarts = Restarts()
    restarts.try_again(_worker(0), now=100.0)

    assert restarts.take_due(now=100.9) == []
    assert restarts
    assert restarts.take_due(now=101.0) == [_worker(0)]
    assert not restarts


def test_a_stop_keeps_only_recoveries_and_starts_them_now() -> None:
    """Regression: a pool that was told to stop stayed until the next replacement was due."""
    restarts = Restarts()
    restarts.try_again(_worker(0), now=100.0)
    restarts.try_again(_worker(1, recovers="s-1"), now=100.0)
    restarts.keep_recoveries()

    assert restarts.recovered() == {"s-1"}
    assert restarts.take_due(now=100.0) == [_worker(1, recovers="s-1")]

"""What workers tell their supervisor about the ends of jobs."""

from __future__ import annotations

import os

import pytest

from queuectl.worker.tally import Left, Tally


def test_a_tally_that_nobody_told_anything() -> None:
    """There is no status yet, and no job was run."""
    tally = Tally()
    tally.read()

    assert (tally.status(), tally.summary()) == (None, "no job was run")


def test_ends_are_summed_up_and_the_last_counts_hold() -> None:
    """Zeros are left out of the summary."""
    tally = Tally()
    for end in (Tally.COMPLETED, Tally.DEAD, Tally.COMPLETED, Tally.CANCELLED, Tally.RELEASED):
        tally.add(end)
    tally.show(Left(4, 50, 3))
    tally.read()
    tally.add(Tally.COMPLETED)
    tally.show(Left(0, 40, 3))
    tally.read()

    assert tally.summary() == (
        "3 completed, 1 dead, 1 cancelled, 1 put back, 3 to be retried, 40 pending"
    )


@pytest.mark.parametrize(
    ("left", "status"),
    [
        (Left(3, 40, 0), "3 running, 40 pending"),
        (Left(0, 0, 2), "0 running, 0 pending, 2 to be retried"),
    ],
)
def test_the_status(left: Left, status: str) -> None:
    """Jobs that wait for a retry are named if there are any."""
    tally = Tally()
    tally.show(left)
    tally.read()

    assert tally.status() == status


def test_workers_are_other_processes() -> None:
    """The pipe is inherited by a fork, and many writers do not mix up their messages."""
    tally = Tally()
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            for _ in range(100):
                tally.add(Tally.COMPLETED)
                tally.show(Left(1, 22, 333))
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    tally.read()

    assert tally.summary() == "800 completed, 333 to be retried, 22 pending, 1 still running"


def test_a_full_pipe_holds_up_no_worker() -> None:
    """What does not fit is not counted; nothing waits, and nothing fails."""
    tally = Tally()
    for _ in range(200_000):
        tally.add(Tally.DEAD)
    tally.read()

    counted, word = tally.summary().split()
    assert (word, 0 < int(counted) < 200_000) == ("dead", True)

"""Since when jobs wait that could run."""

from __future__ import annotations

import pytest

from queuectl.storage.waits import Wait
from support.clock import noon
from support.outcomes import EXIT_1, retry_at
from support.rows import add, sql


def test_no_job_waits(storage):
    """An empty queue, and one with jobs for later."""
    assert storage.waits(now=noon(0)) == []
    add(storage, noon(0), "later", run_at=noon(60))

    assert storage.waits(now=noon(59)) == []
    assert storage.oldest_ready((), now=noon(59)) is None


def test_each_queue_has_its_own_wait(storage):
    """A job counts from the change that made it pending; a due one from its time."""
    add(storage, noon(0), "a", "b", queue="x")
    add(storage, noon(5), "low", queue="x", priority=-3)
    add(storage, noon(0), "due", queue="y", run_at=noon(60))
    add(storage, noon(90), "c", queue="y")

    assert storage.waits(now=noon(100)) == [Wait("x", 3, noon(0)), Wait("y", 2, noon(60))]
    assert storage.waits(("y",), now=noon(100)) == [Wait("y", 2, noon(60))]
    assert storage.waits(("z",), now=noon(100)) == []
    assert storage.oldest_ready(("y",), now=noon(100)) == noon(60)
    assert storage.oldest_ready((), now=noon(100)) == noon(0)


def test_a_low_priority_may_have_waited_longest(storage):
    """Each priority is looked at."""
    add(storage, noon(0), "low", priority=-5)
    for second in range(1, 30):
        add(storage, noon(second), f"j{second}", priority=second)

    assert storage.waits(now=noon(40)) == [Wait("default", 30, noon(0))]


def test_jobs_that_are_tried_again_and_again_do_not_hide_the_others(storage):
    """They come first, but have never waited long."""
    add(storage, noon(0), "again", "waiting")
    claim = storage.claim("w1", now=noon(1))
    storage.record(claim, EXIT_1, retry_at(noon(500)), now=noon(2))
    storage.claim("w1", queues=("default",), now=noon(500))  # the next one, and promotes the first
    sql(storage, "UPDATE jobs SET state = 'pending', locked_by = NULL, locked_at = NULL, "
                 "execution_id = NULL WHERE id = 'waiting'")  # fmt: skip
    sql(storage, "UPDATE jobs SET updated_at = (SELECT created_at FROM jobs WHERE id = 'waiting') "
                 "WHERE id = 'waiting'")  # fmt: skip

    assert storage.waits(now=noon(600))[0].since == noon(0)


@pytest.mark.parametrize("due", [False, True])
def test_a_paused_job_does_not_wait(storage, due):
    """A job of a paused queue does: somebody forgot the queue."""
    add(storage, noon(0), "a", "b", run_at=noon(10) if due else None)
    storage.pause(storage.get("a"), now=noon(1), clock=0.0)
    storage.pause_queue("default", by="ada", reason=None, now=noon(1))

    assert storage.waits(now=noon(20)) == [Wait("default", 1, noon(10 if due else 0))]


def test_a_time_that_another_program_wrote(storage):
    """It is left out."""
    add(storage, noon(0), "a", queue="x")
    add(storage, noon(0), "b", queue="y")
    sql(storage, "UPDATE jobs SET updated_at = 'soon' WHERE id = 'a'")

    assert storage.waits(now=noon(9)) == [Wait("y", 1, noon(0))]

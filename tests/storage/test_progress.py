"""What progress is measured by: the newest ends, what runs, and how many have ended lately."""

from __future__ import annotations

from datetime import timedelta

import pytest

from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.storage.progress import End, RunningJob
from support.clock import later
from support.outcomes import COMPLETED, DEAD, EXIT_1, INTERRUPTED, OK, retry_at
from support.rows import add, sql


def run(storage, clock, seconds, outcome=OK, verdict=COMPLETED, queue="default"):
    """Claim a job of a queue and record its end so many seconds later."""
    claim = storage.claim("w1", (queue,), now=clock.now)
    storage.record(claim, outcome, verdict, now=clock.tick(seconds))
    return End(clock.now, pytest.approx(seconds, abs=0.001))


def newest_ends(storage, clock, *queues, minutes=60, of_each=100):
    after = clock.now - timedelta(minutes=minutes)
    return storage.newest_ends(set(queues), after=after, until=clock.now, of_each=of_each)


def test_the_newest_ends(storage, clock):
    """Completed and dead jobs of the named queues, newest first; cancelled ones do not count."""
    add(storage, clock.now, "a", "b", "c", "d")
    add(storage, clock.now, "e", queue="other")
    add(storage, clock.now, "f", queue="third")
    first = run(storage, clock, 5)
    second = run(storage, clock, 0.25, EXIT_1, DEAD)
    other = run(storage, clock, 1, queue="other")
    run(storage, clock, 1, queue="third")
    last = run(storage, clock, 2)
    storage.cancel(storage.get("d"), now=clock.tick(1))

    assert newest_ends(storage, clock, "default", "other", "none") == {
        "default": [last, second, first],
        "other": [other],
        "none": [],
    }
    assert newest_ends(storage, clock, "default", of_each=2) == {"default": [last, second]}


def test_ends_outside_of_the_time_do_not_count(storage, clock):
    """An end in the future was recorded while the clock was ahead."""
    add(storage, clock.now, "a", "b", "c")
    run(storage, clock, 1)
    clock.tick(3600)
    found = run(storage, clock, 1)
    run(storage, clock, 600)
    clock.tick(-300)

    assert newest_ends(storage, clock, "default", minutes=30) == {"default": [found]}


def test_an_end_has_the_time_of_all_attempts(storage, clock):
    """Also that of attempts that failed or were interrupted; waiting in between does not count."""
    add(storage, clock.now, "a", max_retries=3)
    claim = storage.claim("w1", now=clock.now)
    storage.record(claim, EXIT_1, retry_at(later(clock.now, 60)), now=clock.tick(2))
    claim = storage.claim("w1", now=clock.tick(100))
    storage.release(claim, INTERRUPTED, now=clock.tick(3))
    end = run(storage, clock, 4)

    assert newest_ends(storage, clock, "default") == {
        "default": [End(end.at, pytest.approx(9, abs=0.001))]
    }


def test_an_attempt_during_which_the_clock_was_set_back(storage, clock):
    """It counts as no time at all."""
    add(storage, clock.now, "a")
    run(storage, clock, -10)
    clock.tick(60)

    assert [end.seconds for end in newest_ends(storage, clock, "default")["default"]] == [0.0]


def test_running_jobs(storage, clock):
    """The one that has run longest comes first."""
    add(storage, clock.now, "a", "b", "c", queue="q")
    for worker in ("w1", "w2"):
        storage.claim(worker, now=clock.tick(1))

    assert storage.running_jobs() == [
        RunningJob(1, "q", later(clock.now, -1)),
        RunningJob(2, "q", clock.now),
    ]


def test_a_running_job_whose_time_cannot_be_read(storage, clock):
    """It is left out where that time is needed, and shown among the jobs."""
    add(storage, clock.now, "a", "b")
    for worker in ("w1", "w2"):
        storage.claim(worker, now=clock.now)
    sql(storage, "UPDATE jobs SET locked_at = 'x' WHERE id = 'a'")

    assert [job.seq for job in storage.running_jobs()] == [2]
    assert [job.id for job in storage.jobs_by_seq([2, 1, 77])] == ["b", "a"]


def test_the_jobs_that_died_last(storage, clock):
    """They are in the order of their deaths, newest first, not in that of entry."""
    add(storage, clock.now, "a", "b", "c")
    claims = [storage.claim(f"w{n}", now=clock.now) for n in range(3)]
    for claim in (claims[1], claims[2], claims[0]):
        storage.record(claim, EXIT_1, DEAD, now=clock.tick(1))

    assert [job.id for job in storage.died_last(2)] == ["a", "c"]
    assert [job.id for job in storage.died_last(9)] == ["a", "c", "b"]


@pytest.mark.parametrize("state", ["pending", "processing", "failed", "blocked"])
def test_the_oldest_unfinished_job(storage, clock, state):
    """Every state counts but scheduled, and only the jobs of that queue."""
    add(storage, clock.now, "other", queue="other")
    add(storage, clock.now, "old")
    run(storage, clock, 1)
    storage.enqueue([JobSpec(command="x", id="s", run_at=later(clock.now, 900))], now=clock.now)
    asked = clock.tick(5)
    add(storage, asked, "a", max_retries=2, **({"after": ("other",)} if state == "blocked" else {}))
    if state in ("processing", "failed"):
        claim = storage.claim("w1", ("default",), now=clock.tick(1))
    if state == "failed":
        storage.record(claim, EXIT_1, retry_at(later(clock.now, 60)), now=clock.now)
    clock.tick(5)
    add(storage, clock.now, "b")
    add(storage, clock.tick(1), "c", priority=5)

    assert storage.get("a").state.value == state
    assert storage.oldest_unfinished_at("default") == asked
    assert storage.oldest_unfinished_at("none") is None


def test_ended_since(storage, clock):
    """They are counted by state, for all queues or those that are named."""
    add(storage, clock.now, *"abcdefg")
    add(storage, clock.now, "h", queue="q")
    run(storage, clock, 1)
    since = clock.tick(5)
    run(storage, clock, 0)
    run(storage, clock, 1)
    run(storage, clock, 1, EXIT_1, DEAD)
    run(storage, clock, 1, EXIT_1, DEAD, queue="q")
    storage.cancel(storage.get("g"), now=clock.now)

    def counted(*queues, **more):
        found = storage.ended_since(queues, since, **more)
        return found and [found[s] for s in (JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED)]

    assert counted() == [2, 2, 1]
    assert counted("default") == [2, 1, 1]
    assert counted("default", "q") == [2, 2, 1]
    assert counted("none") == [0, 0, 0]
    assert counted(at_most=2) == [2, 2, 1]
    assert counted(at_most=1) is None


def test_pending_jobs_up_to_one(storage, clock):
    """Only pending jobs of the same queue count, the job itself included."""
    add(storage, clock.now, "a", "b", "c", "d")
    add(storage, clock.now, "e", queue="q")
    storage.claim("w1", ("default",), now=clock.now)

    assert [storage.pending_up_to("default", seq) for seq in (1, 2, 3, 9)] == [0, 1, 2, 3]

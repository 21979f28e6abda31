"""Pausing and resuming single jobs."""

from __future__ import annotations

import pytest

from queuectl.core.errors import JobDeleted, QueueError, WrongState
from queuectl.core.models import JobKey, Selection
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.storage.attempts import Requests
from support.clock import later
from support.outcomes import COMPLETED, DEAD, EXIT_1, INTERRUPTED, OK, retry_at
from support.rows import add, claim_ids, finish, sql


def pause(storage, clock, *names, at=0.0):
    return [storage.pause(storage.get(name), now=clock.now, clock=at) for name in names]


def resume(storage, clock, *names, at=0.0):
    return [storage.resume(storage.get(name), now=clock.now, clock=at) for name in names]


def test_a_paused_pending_job_is_passed_by_until_it_is_resumed(storage, clock):
    """It keeps its state and its place."""
    for name in "abc":
        add(storage, clock.now, name)

    assert pause(storage, clock, "a", "b") == [JobState.PENDING] * 2
    assert claim_ids(storage, clock.now) == ["c"]
    assert not storage.ready((), now=clock.now).now
    assert (storage.get("a").state, storage.get("a").paused_at) == (JobState.PENDING, clock.now)

    resume(storage, clock, "b", "a")
    assert storage.ready((), now=clock.now).now
    assert claim_ids(storage, clock.now) == ["a", "b"]


def test_a_pause_begins_once_and_ends_once(storage, clock):
    """A second pause keeps the time of the first; a job that is not paused is not resumed."""
    add(storage, clock.now, "a")
    began = clock.now
    pause(storage, clock, "a")
    clock.tick(5)
    pause(storage, clock, "a")

    assert storage.get("a").paused_at == began
    assert resume(storage, clock, "a") == [JobState.PENDING]
    assert resume(storage, clock, "a") == [None]


@pytest.mark.parametrize("waits", ["for its time", "for a retry", "for another job"])
def test_a_paused_job_that_waits_is_not_claimed_when_its_wait_is_over(storage, clock, waits):
    """It becomes pending, and stays paused."""
    if waits == "for another job":
        add(storage, clock.now, "needed")
        add(storage, clock.now, "a", after=("needed",))
        pause(storage, clock, "a")
        finish(storage, clock.now, "needed", JobState.COMPLETED)
    elif waits == "for its time":
        add(storage, clock.now, "a", run_at=later(clock.now, 60))
        pause(storage, clock, "a")
    else:
        add(storage, clock.now, "a")
        claim = storage.claim("w1", now=clock.now)
        storage.record(claim, EXIT_1, retry_at(later(clock.now, 60)), now=clock.now)
        pause(storage, clock, "a")
    clock.tick(61)

    assert claim_ids(storage, clock.now) == []
    assert storage.get("a").state is JobState.PENDING
    resume(storage, clock, "a")
    assert claim_ids(storage, clock.now) == ["a"]


@pytest.mark.parametrize("state", FINISHED_STATES)
def test_a_finished_job_cannot_be_paused(storage, clock, state):
    """There is nothing to hold back."""
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", state)

    with pytest.raises(WrongState, match=f"cannot pause a: it is {state.value}"):
        pause(storage, clock, "a")
    assert resume(storage, clock, "a") == [None]


def test_a_job_that_is_being_cancelled_cannot_be_paused(storage, clock):
    """Its worker is about to end it."""
    add(storage, clock.now, "a")
    storage.claim("w1", now=clock.now)
    storage.cancel(storage.get("a"), now=clock.now)

    with pytest.raises(QueueError, match="cannot pause a: it is being cancelled"):
        pause(storage, clock, "a")


def test_a_job_that_was_deleted_cannot_be_paused(storage, clock):
    """The error names it."""
    with pytest.raises(JobDeleted):
        storage.pause(JobKey(7, "gone"), now=clock.now, clock=0.0)
    with pytest.raises(JobDeleted):
        storage.resume(JobKey(7, "gone"), now=clock.now, clock=0.0)


def test_a_worker_is_told_of_the_pauses_of_its_attempt(storage, clock):
    """Their length is measured by the clock that is passed in, and adds up."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    told = [storage.requests(claim)]
    for began, ended in [(10.0, 12.5), (20.0, 30.0)]:
        pause(storage, clock, "a", at=began)
        told.append(storage.requests(claim))
        resume(storage, clock, "a", at=ended)
        told.append(storage.requests(claim))

    assert told == [
        Requests(False, False, 0.0),
        Requests(False, True, 0.0),
        Requests(False, False, 2.5),
        Requests(False, True, 2.5),
        Requests(False, False, 12.5),
    ]


def test_a_job_that_is_put_back_stays_paused(storage, clock):
    """Its next attempt has had no pause."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    pause(storage, clock, "a", at=10.0)
    storage.release(claim, INTERRUPTED, now=clock.now)
    assert claim_ids(storage, clock.now) == []

    resume(storage, clock, "a", at=20.0)
    again = storage.claim("w1", now=clock.now)
    assert again is not None
    assert storage.requests(again) == Requests(False, False, 0.0)


def test_a_job_that_fails_during_its_pause_is_not_retried_before_it_is_resumed(storage, clock):
    """Somebody killed its stopped processes."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    pause(storage, clock, "a")
    storage.record(claim, EXIT_1, retry_at(later(clock.now, 1)), now=clock.now)
    clock.tick(2)

    assert claim_ids(storage, clock.now) == []
    resume(storage, clock, "a")
    assert claim_ids(storage, clock.now) == ["a"]


@pytest.mark.parametrize("verdict", [COMPLETED, DEAD])
def test_a_job_that_ends_is_not_paused_any_more(storage, clock, verdict):
    """A retry runs it."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    pause(storage, clock, "a")
    storage.record(claim, OK, verdict, now=clock.now)
    assert storage.get("a").paused_at is None

    storage.retry(storage.get("a"), now=clock.now)
    assert claim_ids(storage, clock.now) == ["a"]


def test_a_cancelled_job_is_not_paused_any_more(storage, clock):
    """A paused job can be cancelled as any other."""
    add(storage, clock.now, "a")
    pause(storage, clock, "a")

    assert storage.cancel(storage.get("a"), now=clock.now) is JobState.CANCELLED
    assert storage.get("a").paused_at is None


def test_a_paused_failed_job_that_is_retried_stays_paused(storage, clock):
    """A pause ends by a resume."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    storage.record(claim, EXIT_1, retry_at(later(clock.now, 60)), now=clock.now)
    pause(storage, clock, "a")
    storage.retry(storage.get("a"), now=clock.now)

    assert (storage.get("a").state, storage.get("a").paused_at) == (JobState.PENDING, clock.now)
    assert claim_ids(storage, clock.now) == []


def test_a_paused_job_can_be_edited(storage, clock):
    """It has the changes when it is resumed, in its new queue as well."""
    add(storage, clock.now, "a")
    pause(storage, clock, "a")
    storage.edit(storage.get("a"), {"queue": "b", "command": "other"}, now=clock.now)

    assert storage.claim("w1", ("b",), now=clock.now) is None
    resume(storage, clock, "a")
    claim = storage.claim("w1", ("b",), now=clock.now)
    assert claim is not None
    assert claim.job.command == "other"


def test_a_running_paused_job_keeps_its_place_in_the_limit(storage, clock):
    """It is counted as running."""
    for name in "ab":
        add(storage, clock.now, name)
    storage.limit_queue("default", 1)
    storage.claim("w1", now=clock.now)
    pause(storage, clock, "a")

    assert storage.claim("w2", now=clock.now) is None
    assert storage.running_in("default")[0].paused_at == clock.now


def test_a_drain_waits_for_a_paused_job_only_while_it_runs(storage, clock):
    """As with a paused queue."""
    for name in "ab":
        add(storage, clock.now, name)
    storage.claim("w1", now=clock.now)
    pause(storage, clock, "a", "b")

    expected = {JobState.PENDING: 0, JobState.FAILED: 0, JobState.PROCESSING: 1}
    assert storage.unfinished(()) == expected


def test_paused_jobs_are_found(storage, clock):
    """With a state, a queue and a label as well."""
    for name, queue, label in [("a", "x", "one"), ("b", "y", "two"), ("c", "x", None)]:
        add(storage, clock.now, name, queue=queue, label=label)
    pause(storage, clock, "a", "b")

    def found(**chosen):
        return [key.id for key in storage.keys(Selection(paused=True, **chosen))]

    assert found() == ["a", "b"]
    assert found(queues=("y",)) == ["b"]
    assert found(label="o*") == ["a"]
    assert found(states=(JobState.PROCESSING,)) == []
    assert storage.count(Selection(paused=True)) == 2


def test_paused_jobs_do_not_slow_down_a_claim(storage, clock):
    """It does not step over them: they are not where claimable jobs are."""
    costs = []
    for waiting in (10, 5_000):
        sql(
            storage,
            """
            WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO jobs (id, command, state, created_at, updated_at, paused_at)
            SELECT ? || '-' || i, 'true', 'pending', '2026', '2026', '2026'
              FROM n
            """,
            waiting,
            waiting,
        )
        add(storage, clock.now, f"next-{waiting}")
        costs.append(_steps(storage, lambda: storage.claim("w1", now=clock.now)))

    assert costs[1] <= costs[0] + 50
    assert storage.wrong_heads() == []


def _steps(storage, work):
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    conn = storage._database.connection
    conn.set_progress_handler(count, 1)
    try:
        work()
    finally:
        conn.set_progress_handler(None, 0)
    return steps


def test_a_wrong_number_of_paused_jobs_is_found(storage, clock):
    """With it, workers would not look for the other jobs of the queue."""
    add(storage, clock.now, "a")
    add(storage, clock.now, "b")
    pause(storage, clock, "b")
    assert storage.wrong_heads() == []
    sql(storage, "UPDATE job_counts SET paused = 2")

    assert storage.wrong_heads() == ["default"]

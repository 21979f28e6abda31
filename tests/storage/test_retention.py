"""Pruning: only finished jobs, none that is needed, and their logs with them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from queuectl.core.models import Selection
from queuectl.core.states import JobState
from queuectl.storage import Storage
from queuectl.storage.write_lock import WriteLock
from support.clock import later
from support.outcomes import COMPLETED, EXIT_1, WITH_LOG, retry_at
from support.rows import add, finish, keep_log, sql

FINISHED = [JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED]


def ids(storage):
    return [job.id for job in storage.jobs(Selection())]


def prune(storage, now, **kwargs):
    """Prune jobs that finished before now."""
    kwargs.setdefault("states", FINISHED)
    return storage.prune(before=later(now, 1), **kwargs)


def one_of_each(storage, now):
    """Store a job in each of the eight states, named by its state."""
    for state in FINISHED:
        add(storage, now, state.value)
        finish(storage, now, state.value, state)
    add(storage, now, "failed")
    storage.record(storage.claim("w1", now=now), EXIT_1, retry_at(later(now, 60)), now=now)
    add(storage, now, "processing")
    storage.claim("w1", now=now)
    add(storage, now, "pending", queue="other")
    add(storage, now, "scheduled", run_at=later(now, 60))
    add(storage, now, "blocked", after=("pending",))
    assert all(storage.get(job_id).state.value == job_id for job_id in ids(storage))


@pytest.mark.parametrize("states", [FINISHED, list(JobState)])
def test_an_unfinished_job_is_never_pruned(storage, clock, states):
    """Whatever states are given, jobs that run or will run are kept."""
    one_of_each(storage, clock.now)

    assert prune(storage, clock.now, states=states) == 3
    assert ids(storage) == ["failed", "processing", "pending", "scheduled", "blocked"]


@pytest.mark.parametrize("state", FINISHED)
def test_only_the_given_states_are_pruned(storage, clock, state):
    """Each finished state can be pruned alone."""
    one_of_each(storage, clock.now)
    prune(storage, clock.now, states=[state])

    assert [s for s in FINISHED if s.value not in ids(storage)] == [state]


def test_only_jobs_that_finished_before_the_time_are_pruned(storage, clock):
    """The time of the end counts, not that of the entry."""
    add(storage, clock.now, "a", "b")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    finish(storage, later(clock.now, 10), "b", JobState.COMPLETED)
    edge = storage.get("a").finished_at

    assert storage.prune(states=FINISHED, before=edge) == 0
    assert storage.prune(states=FINISHED, before=edge + timedelta(microseconds=1)) == 1
    assert ids(storage) == ["b"]


def test_a_job_that_another_waits_for_is_kept(storage, clock):
    """It can be pruned once the unfinished job that waits for it is gone."""
    add(storage, clock.now, "needed", "other")
    add(storage, clock.now, "waits", after=("needed",))
    finish(storage, clock.now, "needed", JobState.DEAD)
    finish(storage, clock.now, "other", JobState.DEAD)
    first = prune(storage, clock.now)
    kept = ids(storage)
    storage.cancel(storage.get("waits"), now=clock.now)
    second = prune(storage, clock.now)

    assert (first, kept, second) == (1, ["needed", "waits"], 2)
    assert ids(storage) == []


def test_queues_and_jobs_restrict_what_is_pruned(storage, clock):
    """A job must fit both; thousands of jobs may be named."""
    for job_id, queue in (("a", "x"), ("b", "y"), ("c", "x")):
        add(storage, clock.now, job_id, queue=queue)
        finish(storage, clock.now, job_id, JobState.COMPLETED)
    named = [storage.get("a"), storage.get("b")] * 600

    assert prune(storage, clock.now, queues=["x"], jobs=named) == 1
    assert ids(storage) == ["b", "c"]
    assert prune(storage, clock.now, queues=["nobody"]) == 0


def test_a_dry_run_counts_and_deletes_nothing(storage, clock):
    """It returns how many jobs would be deleted."""
    one_of_each(storage, clock.now)
    before = ids(storage)

    assert prune(storage, clock.now, dry_run=True) == 3
    assert ids(storage) == before


def finished_jobs(storage, clock, count):
    add(storage, clock.now, *(f"j{number}" for number in range(count)))
    for _ in range(count):
        storage.record(storage.claim("w1", now=clock.now), WITH_LOG, COMPLETED, now=clock.tick(1))


@pytest.mark.parametrize("most", [0, 1, 7, 30])
def test_a_limited_prune_deletes_the_oldest(storage, clock, most):
    """Prevents a bug: a limit below 500 had no effect."""
    finished_jobs(storage, clock, 10)

    assert prune(storage, clock.now, at_most=most) == min(most, 10)
    assert ids(storage) == [f"j{number}" for number in range(10)][most:]


def test_more_than_one_transaction_prunes_all(storage, clock):
    """Jobs are deleted in steps of limited size until none is left."""
    sql(
        storage,
        """
        WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1201)
        INSERT INTO jobs (id, command, state, created_at, updated_at, finished_at)
        SELECT 'j' || i, 'true', 'completed', '2025', '2025', '2025' FROM n
        """,
    )

    assert prune(storage, clock.now) == 1201
    assert storage.counts() == []


def test_history_and_logs_go_with_the_job(storage, clock):
    """Nothing of a pruned job is left, and nothing of another job is touched."""
    finished_jobs(storage, clock, 3)
    logs = [keep_log(storage, number) for number in (1, 2, 3)]
    prune(storage, clock.now, jobs=[storage.get("j1")])

    assert sql(storage, "SELECT id FROM executions ORDER BY id") == [(1,), (3,)]
    assert [path.exists() for path in logs] == [True, False, True]


def test_sequence_numbers_are_never_used_again(storage, clock):
    """Prevents a bug: without AUTOINCREMENT a new job got the place of a deleted one."""
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    first = storage.get("a").seq
    prune(storage, clock.now)
    add(storage, clock.now, "a")

    assert storage.get("a").seq > first


def test_a_prune_that_finds_nothing_writes_nothing(storage, clock):
    """Idle workers prune every minute. Regression: each prune took the write lock and wrote."""
    one_of_each(storage, clock.now)
    lock = WriteLock(storage.files.write_lock)
    lock.acquire(0)
    idle = Storage.open(storage.files, write=True, wait_seconds=0)
    try:
        assert idle.prune(states=FINISHED, before=later(clock.now, -1)) == 0
    finally:
        idle.close()
        lock.close()

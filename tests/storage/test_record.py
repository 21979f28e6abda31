"""Recording the end of an attempt: once, under the fence, and what that unblocks."""

from __future__ import annotations

import sqlite3
import sys

import pytest

from queuectl.core.models import Outcome, OutcomeKind, Output, Recorded, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.storage.for_workers import WorkerStorage
from support.clock import later
from support.outcomes import COMPLETED, DEAD, EXIT_1, INTERRUPTED, LOST, OK, retry_at
from support.rows import add, finish, sql


@pytest.fixture
def claim(storage, clock):
    """The claim of worker w1 on a job `a`."""
    add(storage, clock.now, "a")
    return storage.claim("w1", now=clock.now)


def row(storage):
    """Return everything that is stored of job `a` and its attempts."""
    return (
        sql(storage, "SELECT * FROM jobs WHERE id = 'a'"),
        sql(storage, "SELECT * FROM executions ORDER BY id"),
    )


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (OK, COMPLETED),
        (EXIT_1, DEAD),
        (Outcome(OutcomeKind.CANCELLED, signal=15, reason="x"), Verdict(JobState.CANCELLED)),
    ],
)
def test_a_finished_job_has_its_end(storage, clock, claim, outcome, verdict):
    """It has the time and the exit code, and no worker holds it."""
    clock.tick(5)
    expected = Recorded.CANCELLED if verdict.state is JobState.CANCELLED else Recorded.DONE
    assert storage.record(claim, outcome, verdict, now=clock.now) is expected
    job = storage.get("a")
    (execution,) = storage.executions(job)

    assert (job.state, job.finished_at, job.updated_at) == (verdict.state, clock.now, clock.now)
    assert (job.exit_code, job.signal) == (outcome.exit_code, outcome.signal)
    assert (job.locked_by, job.locked_at, job.last_error) == (None, None, verdict.last_error)
    assert (execution.finished_at, execution.outcome) == (clock.now, outcome.kind)


def test_a_failure_waits_for_its_retry(storage, clock, claim):
    """A failed job is not finished; it has the time of its next attempt."""
    due = later(clock.now, 2)
    storage.record(claim, EXIT_1, retry_at(due), now=clock.now)
    job = storage.get("a")

    assert (job.state, job.run_at, job.finished_at) == (JobState.FAILED, due, None)
    assert (job.exit_code, job.last_error, job.attempts) == (1, "exit 1", 1)


def test_every_fact_of_an_attempt_is_stored(storage, clock, claim):
    """What the runner measured can be read back, whatever bytes the job printed."""
    output = Output(12_345_678, True, b"\xff\0tail", in_file=True)
    outcome = Outcome(
        OutcomeKind.SIGNAL, signal=9, reason="killed by SIGKILL", pid=4242, seconds=1.25,
        cpu_seconds=0.5, max_rss_bytes=1 << 33, output=output, leftovers=True,
    )  # fmt: skip
    storage.record(claim, outcome, DEAD, now=clock.tick(2))
    execution = storage.execution(claim.execution_id)

    assert (execution.exit_code, execution.signal, execution.pid) == (None, 9, 4242)
    assert (execution.seconds, execution.cpu_seconds) == (1.25, 0.5)
    assert (execution.max_rss_bytes, execution.leftovers) == (1 << 33, True)
    assert execution.output == output


def test_a_result_is_recorded_at_most_once(storage, clock, claim):
    """A second end of the same attempt changes nothing."""
    storage.record(claim, OK, COMPLETED, now=clock.now)
    before = row(storage)

    assert storage.record(claim, EXIT_1, DEAD, now=clock.tick(1)) is Recorded.SUPERSEDED
    assert storage.release(claim, INTERRUPTED, now=clock.tick(1)) is Recorded.SUPERSEDED
    assert row(storage) == before


@pytest.mark.parametrize("verdict", [COMPLETED, DEAD, Verdict(JobState.CANCELLED), "retry"])
@pytest.mark.parametrize("cancel", [False, True])
def test_a_record_after_a_rescue_changes_nothing(storage, clock, claim, verdict, cancel):
    """A worker that was given up cannot overwrite the attempt that replaced its own."""
    storage.record(claim, LOST, retry_at(clock.now), now=clock.now)
    fresh = storage.claim("w2", now=clock.tick(1))
    if cancel:
        storage.cancel(storage.get("a"), now=clock.now)
    before = row(storage)
    verdict = retry_at(clock.now) if verdict == "retry" else verdict

    assert storage.record(claim, OK, verdict, now=clock.tick(1)) is Recorded.SUPERSEDED
    assert storage.release(claim, INTERRUPTED, now=clock.tick(1)) is Recorded.SUPERSEDED
    assert storage.requests(claim).is_cancelled is True
    assert row(storage) == before
    assert storage.get("a").locked_by == "w2"
    assert storage.record(fresh, OK, COMPLETED, now=clock.now) is Recorded.DONE


def test_a_superseded_worker_may_still_claim(storage, clock, claim):
    """Record and claim are one step; a record that comes too late does not prevent the claim."""
    storage.record(claim, LOST, DEAD, now=clock.now)
    add(storage, clock.now, "b")
    recorded, following = storage.record_and_claim(claim, OK, COMPLETED, "w1", now=clock.now)

    assert (recorded, following.job.id) == (Recorded.SUPERSEDED, "b")
    assert storage.get("a").state is JobState.DEAD


def test_record_and_next_claim_are_one_transaction(storage, clock, claim):
    """If the claim fails, the record is rolled back with it, and can be tried again."""
    add(storage, clock.now, "b")
    before = row(storage)
    sql(
        storage, "CREATE TRIGGER t BEFORE INSERT ON executions BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        storage.record_and_claim(claim, OK, COMPLETED, "w1", now=clock.now)
    assert row(storage) == before
    sql(storage, "DROP TRIGGER t")
    recorded, following = storage.record_and_claim(claim, OK, COMPLETED, "w1", now=clock.now)

    assert (recorded, following.job.id) == (Recorded.DONE, "b")
    assert following == storage.held_by("w1")


def test_a_release_does_not_count(storage, clock, claim):
    """An attempt that a shutdown interrupted is put back uncounted."""
    clock.tick(1)
    assert storage.release(claim, INTERRUPTED, now=clock.now) is Recorded.DONE
    job = storage.get("a")
    again = storage.claim("w2", now=clock.now)

    assert (job.state, job.attempts, job.locked_by) == (JobState.PENDING, 0, None)
    assert [e.outcome for e in storage.executions(job)] == [OutcomeKind.INTERRUPTED, None]
    assert (again.job.attempts, again.earlier) == (1, (claim.execution_id,))
    assert again.execution_id > claim.execution_id


@pytest.mark.parametrize("verdict", [DEAD, "retry"])
def test_a_failure_of_a_job_to_be_cancelled_is_not_retried(storage, clock, claim, verdict):
    """The record looks at cancel_requested: the job is cancelled, and keeps its exit code."""
    storage.cancel(storage.get("a"), now=clock.now)
    verdict = retry_at(later(clock.now, 2)) if verdict == "retry" else verdict
    assert storage.record(claim, EXIT_1, verdict, now=clock.now) is Recorded.CANCELLED
    job = storage.get("a")

    assert (job.state, job.exit_code, job.last_error) == (JobState.CANCELLED, 1, "exit 1")
    assert job.finished_at == clock.now
    assert storage.claim("w1", now=later(clock.now, 9999)) is None


def test_a_job_that_completed_before_its_cancel_is_completed(storage, clock, claim):
    """Its exit was seen first."""
    storage.cancel(storage.get("a"), now=clock.now)
    storage.record(claim, OK, COMPLETED, now=clock.now)

    assert storage.get("a").state is JobState.COMPLETED


def test_a_release_of_a_job_to_be_cancelled_cancels_it(storage, clock, claim):
    """A shutdown must not bring back a job that a user cancelled."""
    storage.cancel(storage.get("a"), now=clock.now)
    assert storage.release(claim, INTERRUPTED, now=clock.now) is Recorded.CANCELLED

    assert storage.get("a").state is JobState.CANCELLED
    assert storage.claim("w1", now=clock.now) is None


def test_the_worker_sees_a_cancel(storage, clock, claim):
    """cancel_requested is false, then true; it is also true if the claim is lost."""
    before = storage.requests(claim).is_cancelled
    storage.cancel(storage.get("a"), now=clock.now)
    asked = storage.requests(claim).is_cancelled
    storage.record(claim, OK, COMPLETED, now=clock.now)

    assert (before, asked, storage.requests(claim).is_cancelled) == (False, True, True)


def test_the_claim_of_a_dead_worker_is_found(storage, clock, claim):
    """It is the same claim. A worker that holds nothing has none."""
    assert storage.held_by("w1") == claim
    assert storage.held_by("w2") is None
    storage.record(claim, LOST, DEAD, now=clock.now)
    assert storage.held_by("w1") is None


@pytest.mark.parametrize(
    ("state", "after", "after_any"),
    [
        (JobState.COMPLETED, JobState.PENDING, JobState.PENDING),
        (JobState.DEAD, JobState.BLOCKED, JobState.PENDING),
        (JobState.CANCELLED, JobState.BLOCKED, JobState.PENDING),
    ],
)
def test_an_end_unblocks_the_jobs_that_waited_for_it(storage, clock, state, after, after_any):
    """`after` waits for completion, `after_any` for any end."""
    add(storage, clock.now, "a")
    add(storage, clock.now, "b", after=("a",))
    add(storage, clock.now, "c", after_any=("a",))
    assert [storage.get(job).state for job in "bc"] == [JobState.BLOCKED] * 2
    finish(storage, clock.now, "a", state)

    assert [storage.get(job).state for job in "bc"] == [after, after_any]


def test_a_failure_with_a_retry_to_come_unblocks_nothing(storage, clock, claim):
    """A failed job is not finished."""
    add(storage, clock.now, "b", after_any=("a",))
    storage.record(claim, EXIT_1, retry_at(later(clock.now, 2)), now=clock.now)

    assert storage.get("b").state is JobState.BLOCKED


def test_a_job_waits_for_all_its_dependencies(storage, clock):
    """The last one that is met unblocks it, in the same transaction."""
    add(storage, clock.now, "a", "b")
    add(storage, clock.now, "c", after=("a", "b"))
    first = storage.claim("w1", now=clock.now)
    recorded, second = storage.record_and_claim(first, OK, COMPLETED, "w1", now=clock.now)
    state = storage.get("c").state
    _, third = storage.record_and_claim(second, OK, COMPLETED, "w1", now=clock.now)

    assert (recorded, state, third.job.id) == (Recorded.DONE, JobState.BLOCKED, "c")
    assert sql(storage, "SELECT count(*) FROM dependencies") == [(0,)]


def test_an_unblocked_job_still_waits_for_its_time(storage, clock, claim):
    """It is scheduled if its time is in the future, else pending."""
    add(storage, clock.now, "early", after=("a",), run_at=later(clock.now, 60))
    add(storage, clock.now, "late", after=("a",), run_at=later(clock.now, 600))
    storage.record(claim, OK, COMPLETED, now=clock.tick(120))

    assert storage.get("early").state is JobState.PENDING
    assert storage.get("late").state is JobState.SCHEDULED


def test_execution_ids_are_never_used_again(storage, clock):
    """The fence of a deleted attempt must not fit a new one."""
    add(storage, clock.now, "a")
    first = storage.claim("w1", now=clock.now)
    storage.record(first, OK, COMPLETED, now=clock.now)
    storage.prune(states=(JobState.COMPLETED,), before=later(clock.now, 1))
    storage.enqueue([JobSpec(command="true", id="b")], now=clock.now)
    second = storage.claim("w1", now=clock.now)

    assert second.execution_id > first.execution_id
    assert second.job.seq > first.job.seq


def test_a_worker_keeps_nothing_of_the_jobs_that_it_has_done(storage, clock):
    """Regression: Python kept 2,000 freed tuples of two lengths each, and did not use them again.

    They took 0.7 MB of each worker. A block of memory is about an object.
    """
    storage.enqueue([JobSpec(command="true") for _ in range(601)], now=clock.now)
    worker = WorkerStorage.open(storage.files, write=True)
    claim = worker.claim("w1", now=clock.now)
    blocks = 0
    for number in range(600):
        if number == 200:
            blocks = sys.getallocatedblocks()
        _, claim = worker.record_and_claim(claim, OK, COMPLETED, "w1", now=clock.now)

    assert claim is not None
    kept = sys.getallocatedblocks() - blocks
    worker.close()
    assert kept < 400, "one per job, or more"

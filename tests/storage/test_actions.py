"""What users do to jobs: retry, cancel and edit."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from queuectl.core.errors import (
    InvalidInput,
    JobDeleted,
    NoSuchJob,
    QueueError,
    UniqueKeyHeld,
    WrongState,
)
from queuectl.core.states import JobState
from support.clock import later, noon
from support.outcomes import COMPLETED, EXIT_1, OK, retry_at
from support.rows import add, claim_ids, finish

FINISHED = [JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED]
WAITING = [JobState.SCHEDULED, JobState.BLOCKED, JobState.PENDING, JobState.FAILED]


def bring(storage, now, state, job_id="a", **fields):
    """Return a job in that state."""
    if state is JobState.BLOCKED:
        add(storage, now, "needed", queue="other")
        fields["after"] = ("needed",)
    if state is JobState.SCHEDULED:
        fields["run_at"] = later(now, 60)
    add(storage, now, job_id, **fields)
    if state in FINISHED:
        finish(storage, now, job_id, state)
    elif state in (JobState.PROCESSING, JobState.FAILED):
        claim = storage.claim("w1", now=now)
        if state is JobState.FAILED:
            storage.record(claim, EXIT_1, retry_at(later(now, 60)), now=now)
    job = storage.get(job_id)
    assert job.state is state
    return job


@pytest.mark.parametrize("state", FINISHED)
def test_a_finished_job_is_retried_from_the_start(storage, clock, state):
    """It has no attempts, no end and no error then; it keeps its place and its history."""
    before = bring(storage, clock.now, state)
    storage.retry(before, now=clock.tick(1))
    job = storage.get("a")

    assert (job.state, job.attempts, job.seq) == (JobState.PENDING, 0, before.seq)
    assert (job.finished_at, job.last_error, job.run_at) == (None, None, None)
    assert (job.cancel_requested, job.cancel_reason, job.updated_at) == (False, None, clock.now)
    assert len(list(storage.executions(job))) == 1
    assert claim_ids(storage, clock.now) == ["a"]


def test_a_failed_job_is_retried_now_and_keeps_its_attempts(storage, clock):
    """Its next attempt comes at once, with the next number."""
    storage.retry(bring(storage, clock.now, JobState.FAILED), now=clock.now)
    claim = storage.claim("w1", now=clock.now)

    assert (claim.job.id, claim.job.attempts) == ("a", 2)


@pytest.mark.parametrize(
    "state", [JobState.SCHEDULED, JobState.BLOCKED, JobState.PENDING, JobState.PROCESSING]
)
def test_a_job_that_has_not_failed_cannot_be_retried(storage, clock, state):
    """The error names its state, and nothing is changed."""
    before = bring(storage, clock.now, state)
    with pytest.raises(WrongState, match=f"^cannot retry a: it is {state.value}$"):
        storage.retry(before, now=clock.now)

    assert storage.get("a") == before


def test_only_jobs_in_the_given_states_are_retried(storage, clock):
    """A retry of dead jobs does not retry a completed one."""
    before = bring(storage, clock.now, JobState.COMPLETED)
    with pytest.raises(WrongState, match=r"^cannot retry a: it is completed, not dead$"):
        storage.retry(before, now=clock.now, states=(JobState.DEAD,))

    assert storage.get("a") == before


def test_a_retry_looks_at_the_job_as_it_is_now(storage, clock):
    """The job may have changed since it was read: of two retries, one is refused."""
    stale = bring(storage, clock.now, JobState.DEAD)
    storage.retry(stale, now=clock.now)
    with pytest.raises(WrongState, match=r"^cannot retry a: it is pending$"):
        storage.retry(stale, now=clock.now)


def test_a_job_that_was_pruned_meanwhile_cannot_be_retried(storage, clock):
    """The error says that it was deleted."""
    stale = bring(storage, clock.now, JobState.DEAD)
    storage.prune(states=[JobState.DEAD], before=later(clock.now, 1))
    with pytest.raises(JobDeleted, match=r"^job a was deleted$"):
        storage.retry(stale, now=clock.now)


@pytest.mark.parametrize("state", FINISHED)
def test_a_retry_onto_a_held_key_is_refused(storage, clock, state):
    """Two unfinished jobs never have the same unique key; the error names the other job."""
    before = bring(storage, clock.now, state, unique_key="k")
    add(storage, clock.now, "holder", unique_key="k")
    with pytest.raises(
        UniqueKeyHeld, match=r"^cannot retry a: unique key k is held by unfinished job holder$"
    ):
        storage.retry(before, now=clock.now)

    assert storage.get("a") == before


def test_a_failed_job_holds_its_own_key(storage, clock):
    """Prevents a bug: its own key prevented its retry."""
    storage.retry(bring(storage, clock.now, JobState.FAILED, unique_key="k"), now=clock.now)

    assert storage.get("a").state is JobState.PENDING


@pytest.mark.parametrize("state", WAITING)
def test_a_waiting_job_is_cancelled_at_once(storage, clock, state):
    """It is finished, with the reason, and is never claimed."""
    before = bring(storage, clock.now, state)
    assert storage.cancel(before, reason="not needed", now=clock.tick(1)) is JobState.CANCELLED
    job = storage.get("a")

    assert (job.state, job.finished_at) == (JobState.CANCELLED, clock.now)
    assert (job.cancel_reason, job.last_error) == ("not needed", "cancelled: not needed")
    assert "a" not in claim_ids(storage, later(clock.now, 999))


def test_the_cancel_of_a_running_job_is_requested(storage, clock):
    """It runs until its worker has ended it."""
    before = bring(storage, clock.now, JobState.PROCESSING)

    assert storage.cancel(before, reason="r", now=clock.now) is JobState.PROCESSING
    job = storage.get("a")
    assert (job.state, job.cancel_requested, job.cancel_reason) == (JobState.PROCESSING, True, "r")


def test_a_cancelled_job_stays_cancelled(storage, clock):
    """Cancelling it again is a success, and changes nothing."""
    before = bring(storage, clock.now, JobState.CANCELLED)

    assert storage.cancel(before, reason="again", now=clock.tick(1)) is JobState.CANCELLED
    assert storage.get("a") == before


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.DEAD])
def test_a_completed_or_dead_job_cannot_be_cancelled(storage, clock, state):
    """The error names its state."""
    before = bring(storage, clock.now, state)
    with pytest.raises(WrongState, match=f"^cannot cancel a: it is {state.value}$"):
        storage.cancel(before, now=clock.now)

    assert storage.get("a") == before


def test_a_cancel_unblocks_jobs_that_wait_for_any_end(storage, clock):
    """It meets `after_any`, but not `after`."""
    job = bring(storage, clock.now, JobState.PENDING)
    add(storage, clock.now, "any", after_any=("a",))
    add(storage, clock.now, "only", after=("a",))
    storage.cancel(job, now=clock.now)

    assert storage.get("any").state is JobState.PENDING
    assert storage.get("only").state is JobState.BLOCKED


def test_a_cancelled_job_that_was_blocked_runs_at_once_when_retried(storage, clock):
    """The user wants it to run now, whatever it waited for."""
    job = bring(storage, clock.now, JobState.BLOCKED)
    storage.cancel(job, now=clock.now)
    storage.retry(job, now=clock.now)

    assert storage.get("a").state is JobState.PENDING


@pytest.mark.parametrize("state", WAITING)
def test_a_waiting_job_can_be_edited(storage, clock, state):
    """Only the given fields change."""
    before = bring(storage, clock.now, state)
    edited = storage.edit(before, {"priority": 7, "command": "new"}, now=clock.tick(1))

    assert edited == storage.get("a")
    assert (edited.priority, edited.command, edited.state) == (7, "new", state)
    assert (edited.seq, edited.run_at, edited.attempts, edited.timeout) == (
        before.seq, before.run_at, before.attempts, before.timeout,
    )  # fmt: skip


@pytest.mark.parametrize("state", [JobState.PROCESSING, JobState.COMPLETED, JobState.CANCELLED])
def test_a_running_completed_or_cancelled_job_cannot_be_edited(storage, clock, state):
    """The error names its state."""
    before = bring(storage, clock.now, state)
    with pytest.raises(WrongState, match=f"^cannot edit a: it is {state.value}$"):
        storage.edit(before, {"priority": 7}, now=clock.now)

    assert storage.get("a") == before


def test_a_dead_job_can_be_edited_and_then_retried(storage, clock):
    """Regression: a typing error could not be corrected, and id, label and dependants were lost."""
    dead = bring(storage, clock.now, JobState.DEAD, label="l", max_retries=1)
    add(storage, clock.now, "waiting", after=("a",))
    changes = {"command": "new", "queue": "q", "max_retries": 1}
    edited = storage.edit(dead, changes, now=clock.tick(1))

    assert (edited.state, edited.finished_at) == (JobState.DEAD, dead.finished_at)
    assert (edited.command, edited.queue, edited.label) == ("new", "q", "l")
    assert (storage.bad_ends(), storage.miscounts()) == (1, [])
    storage.retry(edited, now=clock.now)
    claim = storage.claim("w1", ("q",), now=clock.now)
    assert (claim.job.id, claim.job.command, claim.job.attempts) == ("a", "new", 1)
    assert [key.id for key in storage.dependants(claim.job)] == ["waiting"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"command": "new", "timeout": 0.0}, JobState.PENDING),
        ({"run_at": noon(99)}, JobState.SCHEDULED),
        ({"after": ("b",)}, JobState.BLOCKED),
    ],
)
def test_a_job_is_retried_and_changed_at_once(storage, clock, changes, expected):
    """There is one COMMIT, so that no worker takes the job without its changes."""
    dead = bring(storage, clock.now, JobState.DEAD)
    add(storage, clock.now, "b")
    statements = []
    storage._database.connection.set_trace_callback(statements.append)
    assert storage.retry(dead, changes, now=clock.tick(1)) is expected
    storage._database.connection.set_trace_callback(None)

    job = storage.get("a")
    assert statements.count("COMMIT") == 1
    assert (job.state, job.attempts, job.finished_at) == (expected, 0, None)
    assert all(getattr(job, name) == changes[name] for name in changes if name != "after")
    assert storage.miscounts() == []


@pytest.mark.parametrize("batch", [True, False])
def test_a_retry_whose_changes_are_refused_changes_nothing(storage, clock, batch):
    """Of several jobs in one transaction, the others are retried."""
    dead = bring(storage, clock.now, JobState.DEAD)
    failed = bring(storage, clock.now, JobState.FAILED, job_id="b", max_retries=3)
    with storage.batch() if batch else nullcontext():
        with pytest.raises(QueueError, match=r"^a waits for itself$"):
            storage.retry(dead, {"timeout": 9.0, "after": ("a",)}, now=clock.now)
        with pytest.raises(QueueError, match=r"^cannot retry b: it has had 1 attempt already \("):
            storage.retry(failed, {"max_retries": 1}, now=clock.now)
        storage.retry(failed, {"max_retries": 5}, now=clock.now)

    assert storage.get("a") == dead
    after = storage.get("b")
    assert (after.state, after.attempts, after.max_retries) == (JobState.PENDING, 1, 5)


@pytest.mark.parametrize("changes", [{"run_at": noon(99)}, {"after": ("b",)}, {"after_any": ()}])
def test_the_start_of_a_dead_job_cannot_be_edited(storage, clock, changes):
    """A retry would forget it, so nobody may think that it was kept."""
    dead = bring(storage, clock.now, JobState.DEAD)
    add(storage, clock.now, "b")
    with pytest.raises(QueueError, match=r"^cannot edit when a starts: it is dead \("):
        storage.edit(dead, {**changes, "priority": 5}, now=clock.now)

    assert storage.get("a") == dead


def test_an_edited_time_moves_the_job(storage, clock):
    """A time in the future makes it wait; a time in the past makes it pending."""
    job = bring(storage, clock.now, JobState.PENDING)
    waiting = storage.edit(job, {"run_at": later(clock.now, 60)}, now=clock.now)
    ready = storage.edit(job, {"run_at": clock.now}, now=clock.now)

    assert (waiting.state, ready.state) == (JobState.SCHEDULED, JobState.PENDING)


def needs_of(storage, job_id):
    return {need.job.id: need.any_outcome for need in storage.needs(storage.get(job_id))}


@pytest.mark.parametrize("state", WAITING)
def test_a_waiting_job_can_be_made_to_wait_for_others(storage, clock, state):
    """It is blocked then, and what it waited for in the same way before is forgotten."""
    job = bring(storage, clock.now, state)
    add(storage, clock.now, "b", "c", queue="other")
    edited = storage.edit(job, {"after": ("b",), "after_any": ("c",)}, now=clock.now)

    assert edited.state is JobState.BLOCKED
    assert needs_of(storage, "a") == {"b": False, "c": True}


def test_only_the_named_kind_of_waiting_changes(storage, clock):
    """A job that is named in both ways has to complete."""
    add(storage, clock.now, "b", "c", "d")
    add(storage, clock.now, "a", after=("b",), after_any=("c",))
    a = storage.get("a")

    storage.edit(a, {"after": ("c", "d")}, now=clock.now)
    assert needs_of(storage, "a") == {"c": False, "d": False}
    storage.edit(a, {"after_any": ("b", "d")}, now=clock.now)
    assert needs_of(storage, "a") == {"b": True, "c": False, "d": False}


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_job_that_waits_for_no_other_any_more(storage, clock, seconds):
    """It is pending, or scheduled if its time is still to come."""
    add(storage, clock.now, "b")
    add(storage, clock.now, "a", after=("b",), run_at=later(clock.now, seconds))
    edited = storage.edit(storage.get("a"), {"after": ()}, now=clock.now)

    assert edited.state is (JobState.SCHEDULED if seconds > 0 else JobState.PENDING)
    assert needs_of(storage, "a") == {}


def test_a_job_that_waits_only_for_what_has_happened(storage, clock):
    """It is pending at once, as a new job would be."""
    add(storage, clock.now, "done")
    finish(storage, clock.now, "done", JobState.COMPLETED)
    add(storage, clock.now, "b")
    add(storage, clock.now, "a", after=("b",))

    assert storage.edit(storage.get("a"), {"after": ("done",)}, now=clock.now).state is (
        JobState.PENDING
    )


@pytest.mark.parametrize("needed", ["a", "b", "c"])
def test_a_job_cannot_be_made_to_wait_for_itself(storage, clock, needed):
    """Neither directly nor through others; nothing changes."""
    add(storage, clock.now, "other", "a")
    add(storage, clock.now, "b", after=("a",))
    add(storage, clock.now, "c", after_any=("b",))
    before = storage.get("a")
    with pytest.raises(InvalidInput):
        storage.edit(before, {"after": ("other", needed), "priority": 7}, now=clock.tick(1))

    assert (storage.get("a"), needs_of(storage, "a")) == (before, {})


def test_a_job_to_wait_for_must_be_there(storage, clock):
    """It may be named by an abbreviation. Nothing changes if there is none."""
    add(storage, clock.now, "b")
    add(storage, clock.now, "a", after=("b",))
    with pytest.raises(NoSuchJob):
        storage.edit(storage.get("a"), {"after": ("zz",)}, now=clock.now)

    assert needs_of(storage, "a") == {"b": False}


def test_a_retried_job_completes_like_any_other(storage, clock):
    """Its history then has both attempts."""
    job = bring(storage, clock.now, JobState.DEAD)
    storage.retry(job, now=clock.now)
    claim = storage.claim("w2", now=clock.now)
    storage.record(claim, OK, COMPLETED, now=clock.now)

    assert storage.get("a").state is JobState.COMPLETED
    assert [execution.attempt for execution in storage.executions(job)] == [1, 1]

"""Names of jobs that begin with `@`: numbers, `@last`, `@running` and `@failed`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from queuectl.core.errors import NoSuchJob
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.storage.names import group
from support.outcomes import DEAD, EXIT_1, retry_at
from support.rows import add, finish, sql


def fail(storage, job, verdict, now):
    """Let an attempt of a job fail."""
    taken = storage.claim("w1", (storage.get(job).queue,), now=now)
    assert taken is not None
    assert taken.job.id == job
    storage.record(taken, EXIT_1, verdict, now=now)


def test_a_job_has_a_number(storage, clock):
    """It counts all jobs, and is the seq of the job."""
    add(storage, clock.now, "a", "b")

    assert storage.get("@1").id == "a"
    assert storage.get("@2").id == "b"
    assert storage.get("@2").seq == 2


@pytest.mark.parametrize("name", ["@3", "@0", "@-1", "@999999999999999999"])
def test_a_number_that_no_job_has(storage, clock, name):
    """It is an error, as for an id."""
    add(storage, clock.now, "a", "b")
    with pytest.raises(NoSuchJob, match=f"^no such job: {name}"):
        storage.get(name)


@pytest.mark.parametrize("name", ["@", "@1a", "@first", "@LAST", "@9999999999999999999", "@¹"])
def test_other_words_are_no_names(storage, clock, name):
    """The error tells the names that there are."""
    add(storage, clock.now, "a")
    with pytest.raises(NoSuchJob) as refused:
        storage.get(name)

    assert str(refused.value) == (
        f"no such job: {name} (use @NUMBER, @last, @running, @failed or an id)"
    )


def test_a_number_is_never_used_again(storage, clock):
    """After the newest job was deleted, the next one has a higher number."""
    add(storage, clock.now, "a", "b")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    finish(storage, clock.now, "b", JobState.COMPLETED)
    storage.prune(states=(JobState.COMPLETED,), before=clock.tick(60))
    add(storage, clock.now, "c")

    assert storage.get("c").seq == 3
    with pytest.raises(NoSuchJob):
        storage.get("@2")


def test_last_is_the_job_enqueued_last(storage, clock):
    """Whatever its state is."""
    add(storage, clock.now, "a", "b")

    assert storage.get("@last").id == "b"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("@last", "there are no jobs yet"),
        ("@running", "no job is running"),
        ("@failed", "no job is failed or dead"),
    ],
)
def test_a_name_for_which_there_is_no_job(storage, name, message):
    """The error says so in words."""
    with pytest.raises(NoSuchJob, match=f"^{message}$"):
        storage.get(name)


def test_running_is_the_job_that_started_last(storage, clock):
    """Not the one that was enqueued last."""
    add(storage, clock.now, "early", queue="x")
    add(storage, clock.now, "late", queue="y")
    storage.claim("w1", ("y",), now=clock.now)
    storage.claim("w2", ("x",), now=clock.now)

    assert storage.get("@running").id == "early"


def test_failed_is_the_job_that_failed_last(storage, clock):
    """It is failed or dead; one that completed since does not count."""
    for name in "abc":
        add(storage, clock.now, name, queue=name)
    fail(storage, "b", retry_at(clock.now + timedelta(days=1)), clock.tick(1))
    assert storage.get("@failed").id == "b"
    fail(storage, "c", DEAD, clock.tick(1))
    fail(storage, "a", DEAD, clock.tick(1))
    assert storage.get("@failed").id == "a"
    storage.retry(storage.get("a"), now=clock.tick(1))
    assert storage.get("@failed").id == "c"


def test_a_complete_id_wins_over_a_name(storage, clock):
    """Another program may have written an id that begins with @."""
    add(storage, clock.now, "a", "b")
    sql(storage, "UPDATE jobs SET id = '@last' WHERE id = 'a'")

    assert storage.get("@last").seq == 1


@pytest.mark.parametrize("name", ["@1", "@last"])
def test_a_job_can_wait_for_one_that_is_named_so(storage, clock, name):
    """The name means a job that was there before, not the one that waits."""
    add(storage, clock.now, "first")
    storage.enqueue([JobSpec(command="x", id="then", after=(name,))], now=clock.now)

    assert [need.job.id for need in storage.needs(storage.get("then"))] == ["first"]


def test_all_jobs_of_one_call_wait_for_the_last_before_them(storage, clock):
    """`@last` is not a job of the same call."""
    add(storage, clock.now, "first")
    specs = [JobSpec(command="x", id=name, after=("@last",)) for name in ("second", "third")]
    storage.enqueue(specs, now=clock.now)

    for name in ("second", "third"):
        assert [need.job.id for need in storage.needs(storage.get(name))] == ["first"]
    with pytest.raises(NoSuchJob):
        storage.enqueue([JobSpec(command="x", after=("@4",))], now=clock.now)


def test_a_job_can_wait_for_all_that_run(storage, clock):
    """Also for all that failed and are retried; dead ones cannot complete."""
    add(storage, clock.now, *"abcd")
    for worker in ("w1", "w2"):
        storage.claim(worker, now=clock.now)
    fail(storage, "c", retry_at(clock.now + timedelta(days=1)), clock.tick(1))
    fail(storage, "d", DEAD, clock.tick(1))
    spec = JobSpec(command="x", id="x", after=("@running",), after_any=("@failed",))
    storage.enqueue([spec], now=clock.now)

    needs = storage.needs(storage.get("x"))
    assert [(need.job.id, need.any_outcome) for need in needs] == [
        ("a", False), ("b", False), ("c", True)
    ]  # fmt: skip


def test_a_group_of_jobs_is_limited_to_some_states():
    """To those of a command; other names stand for no group."""
    assert group("@failed", list(JobState)) == (JobState.FAILED, JobState.DEAD)
    assert group("@failed", [JobState.DEAD]) == (JobState.DEAD,)
    assert group("@running", [JobState.DEAD]) == ()
    assert group("@last", list(JobState)) == ()

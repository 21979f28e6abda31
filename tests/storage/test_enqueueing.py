"""Enqueueing: all or none, in order, and one job at a time per unique key."""

from __future__ import annotations

import os
import re
import select

import pytest

from queuectl.core.errors import AmbiguousJob, DuplicateId, InvalidInput, NoSuchJob, UniqueKeyHeld
from queuectl.core.models import Selection
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.host import wakeup
from queuectl.storage.enqueueing import Enqueued
from support.clock import later
from support.outcomes import EXIT_1, retry_at
from support.rows import add, add_generated, finish, sql
from support.stages import stage_all


@pytest.fixture(autouse=True, params=["at once", "staged"])
def way(request, monkeypatch):
    """Many jobs are staged first; that makes no difference to anybody."""
    if request.param == "staged":
        stage_all(monkeypatch)


def ids(storage):
    return [job.id for job in storage.jobs(Selection())]


def test_a_bare_command_gets_the_defaults(storage, clock):
    """Other fields have the configured values, or none; the id is 12 hex digits."""
    (made,) = storage.enqueue([JobSpec(command="make -s")], now=clock.now)
    job = storage.get(made.id)

    assert re.fullmatch("[0-9a-f]{12}", made.id)
    assert made == Enqueued(job.seq, job.id, "default", 300.0, 3)
    assert (job.command, job.state, job.queue, job.priority) == (
        "make -s", JobState.PENDING, "default", 0,
    )  # fmt: skip
    assert (job.attempts, job.max_retries, job.timeout) == (0, 3, 300.0)
    assert (job.created_at, job.updated_at, job.run_at) == (clock.now, clock.now, None)
    assert (job.cwd, dict(job.env), job.unique_key, job.label) == (None, {}, None, None)
    assert job.id_made


def test_every_field_of_the_spec_is_stored(storage, clock):
    """The job has the same values."""
    at = later(clock.now, 60)
    spec = JobSpec(
        command="x", id="a", queue="mail", priority=-5, max_retries=9, timeout=0.0, run_at=at,
        cwd="/tmp", env={"A": "1"}, unique_key="k", label="for ann",
    )  # fmt: skip
    storage.enqueue([spec], now=clock.now)
    job = storage.get("a")

    assert (job.queue, job.priority, job.max_retries, job.timeout) == ("mail", -5, 9, 0.0)
    assert (job.state, job.run_at, job.cwd, dict(job.env)) == (
        JobState.SCHEDULED, at, "/tmp", {"A": "1"},
    )  # fmt: skip
    assert (job.unique_key, job.label, job.id_made) == ("k", "for ann", False)


def test_a_job_whose_time_has_come_is_pending(storage, clock):
    """A time of this very moment has come."""
    add(storage, clock.now, "a", run_at=clock.now)

    assert storage.get("a").state is JobState.PENDING


def test_retries_and_timeout_are_taken_at_enqueue(storage, clock):
    """A key that changes later does not affect jobs that are there."""
    storage.set_key("max-retries", "7")
    storage.set_key("job-timeout", "1h")
    add(storage, clock.now, "a")
    storage.set_key("max-retries", "1")
    storage.set_key("job-timeout", "0")
    add(storage, clock.now, "b")

    assert [(storage.get(i).max_retries, storage.get(i).timeout) for i in "ab"] == [
        (7, 3600.0),
        (1, 0.0),
    ]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, {"PATH": "/bin", "HOME": "/root", "A-B": "y"}),
        ("", {}),
        ("HOME LANG", {"HOME": "/root"}),
        ("*", {"PATH": "/bin", "HOME": "/root", "A-B": "y"}),
    ],
)
def test_a_job_keeps_variables_of_where_it_was_enqueued(storage, clock, key, expected):
    """It keeps those that capture-env names, but none of queuectl's own; `*` keeps all that can
    be stored.
    """
    environ = {"PATH": "/bin", "HOME": "/root", "QUEUECTL_DB": "x", "A-B": "y", "BAD": "\udcff"}
    if key is not None:
        storage.set_key("capture-env", key)
    (made,) = storage.enqueue([JobSpec(command="x")], now=clock.now, environ=environ)

    assert dict(storage.get(made.id).env) == expected


def test_a_jobs_own_variable_wins_over_a_captured_one(storage, clock):
    """The user has asked for that value."""
    spec = JobSpec(command="x", env={"PATH": "/own", "B": "2"})
    (made,) = storage.enqueue([spec], now=clock.now, environ={"PATH": "/bin"})

    assert dict(storage.get(made.id).env) == {"PATH": "/own", "B": "2"}


def test_many_jobs_are_stored_in_their_order(storage, clock):
    """Their ids are reported in that order, and they are listed and claimed in it."""
    made = storage.enqueue((JobSpec(command=f"echo {n}") for n in range(1500)), now=clock.now)

    assert [enqueued.id for enqueued in made] == ids(storage)
    assert [storage.claim("w1", now=clock.now).job.id for _ in range(3)] == [
        enqueued.id for enqueued in made[:3]
    ]


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (JobSpec(command="x", id="there"), DuplicateId),
        (JobSpec(command="x", id="new"), DuplicateId),
        (JobSpec(command="x", unique_key="held", if_dup="error"), UniqueKeyHeld),
        (JobSpec(command="x", after=("nobody",)), NoSuchJob),
        (JobSpec(command="x", after_any=("nobody",)), NoSuchJob),
        (JobSpec(command="x", id="me", after=("me",)), InvalidInput),
    ],
)
def test_one_wrong_job_refuses_the_batch(storage, clock, spec, error):
    """A batch is stored completely or not at all."""
    add(storage, clock.now, "there", unique_key="held")
    with pytest.raises(error):
        storage.enqueue([JobSpec(command="x", id="new"), spec], now=clock.now)

    assert ids(storage) == ["there"]
    assert storage.by_state()[JobState.PENDING] == 1


def test_an_error_while_a_batch_is_read_refuses_it(storage, clock):
    """Jobs that are stored while the batch is read are rolled back."""

    def broken():
        yield JobSpec(command="x")
        raise InvalidInput("line 2 is wrong")

    with pytest.raises(InvalidInput, match=r"^line 2 is wrong$"):
        storage.enqueue(broken(), now=clock.now)

    assert ids(storage) == []


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED])
def test_a_taken_id_is_refused(storage, clock, state):
    """The error names the state of the job that has it. A finished job keeps its id, too."""
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", state)
    with pytest.raises(DuplicateId) as taken:
        add(storage, clock.now, "a")

    assert str(taken.value) == (f"a job a exists already and is {state.value}")


def test_a_generated_id_that_is_taken_is_generated_again(storage, clock, monkeypatch):
    """The user does not notice the collision."""
    monkeypatch.setattr("queuectl.storage.enqueueing.MOST_AT_ONCE", 10)
    numbers = iter([b"\1" * 6, b"\1" * 6, b"\2" * 6])
    monkeypatch.setattr(os, "urandom", lambda _: next(numbers))
    made = storage.enqueue([JobSpec(command="x"), JobSpec(command="y")], now=clock.now)
    monkeypatch.undo()

    assert [enqueued.id for enqueued in made] == ["01" * 6, "02" * 6]


def unique(command="new", if_dup="skip", **fields):
    return JobSpec(command=command, unique_key="k", if_dup=if_dup, **fields)


def held(storage, now, state):
    """Store a job `a` that has the key `k` and is in that state."""
    if state is JobState.BLOCKED:
        add(storage, now, "needed", queue="other")
        add(storage, now, "a", unique_key="k", after=("needed",))
    elif state is JobState.SCHEDULED:
        add(storage, now, "a", unique_key="k", run_at=later(now, 60))
    else:
        add(storage, now, "a", unique_key="k")
    if state is JobState.PROCESSING:
        storage.claim("w1", now=now)
    elif state is JobState.FAILED:
        storage.record(storage.claim("w1", now=now), EXIT_1, retry_at(later(now, 60)), now=now)
    elif state in (JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED):
        finish(storage, now, "a", state)
    assert storage.get("a").state is state


UNFINISHED = [JobState.SCHEDULED, JobState.BLOCKED, JobState.PENDING, JobState.PROCESSING,
              JobState.FAILED]  # fmt: skip
FINISHED = [JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED]


@pytest.mark.parametrize("if_dup", ["skip", "error", "replace"])
@pytest.mark.parametrize("state", FINISHED)
def test_a_finished_job_holds_no_key(storage, clock, state, if_dup):
    """However it ended, the next job may have the key."""
    held(storage, clock.now, state)
    (made,) = storage.enqueue([unique(if_dup=if_dup, id="b")], now=clock.now)

    assert (made.id, made.existing) == ("b", False)


@pytest.mark.parametrize("state", UNFINISHED)
def test_skip_returns_the_unfinished_job(storage, clock, state):
    """While it is unfinished, another spec with its key changes nothing."""
    held(storage, clock.now, state)
    before = storage.get("a")
    (made,) = storage.enqueue([unique(id="b")], now=clock.tick(1))

    assert (made.id, made.existing) == ("a", True)
    assert storage.get("a") == before


@pytest.mark.parametrize("state", UNFINISHED)
def test_error_refuses_and_names_the_holder(storage, clock, state):
    """The error names the job that has the key."""
    held(storage, clock.now, state)
    with pytest.raises(UniqueKeyHeld, match=r"^unique key k is held by unfinished job a$"):
        storage.enqueue([unique(if_dup="error")], now=clock.now)


@pytest.mark.parametrize("state", [s for s in UNFINISHED if s is not JobState.PROCESSING])
def test_replace_changes_a_waiting_job(storage, clock, state):
    """It keeps its id and its place, and gets the new command and settings, and no attempts."""
    held(storage, clock.now, state)
    place = storage.get("a").seq
    spec = unique("new", "replace", id="b", queue="mail", priority=7, timeout=5.0, max_retries=2,
                  label="l", env={"A": "1"}, cwd="/tmp")  # fmt: skip
    (made,) = storage.enqueue([spec], now=clock.tick(1))
    job = storage.get("a")

    assert made == Enqueued(place, "a", "mail", 5.0, 2, existing=True, replaced=True)
    assert (job.seq, job.command, job.state, job.attempts) == (place, "new", JobState.PENDING, 0)
    assert (job.queue, job.priority, job.timeout, job.max_retries) == ("mail", 7, 5.0, 2)
    assert (job.label, dict(job.env), job.cwd, job.run_at) == ("l", {"A": "1"}, "/tmp", None)
    assert (job.exit_code, job.last_error) == (None, None)
    assert sql(storage, "SELECT count(*) FROM dependencies") == [(0,)]


def test_replace_of_a_running_job_is_refused(storage, clock):
    """Regression: it was skip, so that the caller was told of success and the new command never
    ran.
    """
    held(storage, clock.now, JobState.PROCESSING)
    before = storage.get("a")
    with pytest.raises(UniqueKeyHeld, match=r"^unique key k is held by job a, which is running$"):
        storage.enqueue([unique(if_dup="replace")], now=clock.tick(1))

    assert storage.get("a") == before


@pytest.mark.parametrize("if_dup", ["skip", "replace"])
def test_a_job_that_is_being_cancelled_stands_for_no_other(storage, clock, if_dup):
    """Regression: its id was returned, and what the caller wanted to be done was never done."""
    held(storage, clock.now, JobState.PROCESSING)
    storage.cancel(storage.get("a"), now=clock.now)
    with pytest.raises(UniqueKeyHeld, match=r"^unique key k is held by job a, which is "):
        storage.enqueue([unique(if_dup=if_dup)], now=clock.tick(1))


def test_one_key_twice_in_a_batch_is_one_job(storage, clock):
    """The second line finds the job of the first."""
    made = storage.enqueue([unique("one"), unique("two")], now=clock.now)

    assert made[0].id == made[1].id
    assert [enqueued.existing for enqueued in made] == [False, True]
    assert storage.get(made[0].id).command == "one"


def test_after_may_name_any_job_of_the_batch(storage, clock):
    """That job may come earlier or later in the batch."""
    specs = [JobSpec(command="x", id="b", after=("a",)), JobSpec(command="x", id="a")]
    storage.enqueue(specs, now=clock.now)

    assert [storage.get(i).state for i in "ab"] == [JobState.PENDING, JobState.BLOCKED]


@pytest.mark.parametrize("field", ["after", "after_any"])
def test_after_may_abbreviate_a_generated_id(storage, clock, field):
    """Regression: no such job was found. A job that is named in two ways is one dependency."""
    add_generated(storage, clock.now, "a1b2c3d4e5f6", "a1b3c3d4e5f6")
    spec = JobSpec(command="x", id="x", **{field: ("a1b2", "a1b2c3d4e5f6")})
    storage.enqueue([spec], now=clock.now)

    assert [need.job.id for need in storage.needs(storage.get("x"))] == ["a1b2c3d4e5f6"]


def test_an_ambiguous_abbreviation_in_after_is_refused(storage, clock):
    """Nothing is stored."""
    add_generated(storage, clock.now, "abcd11111111", "abcd22222222")
    with pytest.raises(AmbiguousJob):
        add(storage, clock.now, "x", after=("abcd",))

    assert ids(storage) == ["abcd11111111", "abcd22222222"]


def test_a_complete_id_of_the_batch_wins_over_an_abbreviation(storage, clock):
    """The meaning does not depend on the ids that earlier jobs happen to have."""
    add_generated(storage, clock.now, "abcd11111111")
    specs = [JobSpec(command="x", id="x", after=("abcd",)), JobSpec(command="x", id="abcd")]
    storage.enqueue(specs, now=clock.now)

    assert [need.job.id for need in storage.needs(storage.get("x"))] == ["abcd"]


def test_ids_generated_by_the_same_call_cannot_be_abbreviated(storage, clock, monkeypatch):
    """The user does not know them yet, but one could begin like the id that is meant."""
    add_generated(storage, clock.now, "abcd11111111")
    monkeypatch.setattr("queuectl.storage.adding.new_id", lambda: "abcd22222222")
    monkeypatch.setattr("queuectl.storage.staging.SpreadIds.next", lambda _: "abcd22222222")
    storage.enqueue([JobSpec(command="x", after=("abcd",))], now=clock.now)

    needs = storage.needs(storage.get("abcd22222222"))
    assert [need.job.id for need in needs] == ["abcd11111111"]


def test_a_replaced_job_may_wait_for_a_later_line_too(storage, clock):
    """Prevents a bug: its dependencies were looked up before the rest of the batch was stored."""
    held(storage, clock.now, JobState.PENDING)
    add(storage, clock.now, "gone")
    storage.cancel(storage.get("gone"), now=clock.now)
    specs = [unique("new", "replace", after=("b", "gone")), JobSpec(command="x", id="b")]
    made = storage.enqueue(specs, now=clock.now)

    assert (made[0].id, made[0].existing, made[0].unsatisfiable) == ("a", True, ("gone",))
    assert storage.get("a").state is JobState.BLOCKED


def test_the_last_replacement_in_a_batch_sets_the_dependencies(storage, clock):
    """Prevents a bug: those of both lines were stored, and the same one twice failed."""
    add(storage, clock.now, "x", "y")
    specs = [unique("one", after=("x", "y")), unique("two", "replace", after=("x",))]
    made = storage.enqueue(specs, now=clock.now)
    specs = [
        JobSpec(command="z", unique_key="z", after=("x",)),
        JobSpec(command="z", unique_key="z", if_dup="replace"),
    ]
    storage.enqueue(specs, now=clock.now)

    assert made[0].seq == made[1].seq
    assert sql(storage, "SELECT job_seq, id FROM dependencies JOIN jobs ON seq = needs_seq") == [
        (made[0].seq, "x")
    ]
    assert storage.by_state()[JobState.BLOCKED] == 1


@pytest.mark.parametrize(
    ("state", "after", "after_any"),
    [
        (JobState.COMPLETED, JobState.PENDING, JobState.PENDING),
        (JobState.DEAD, JobState.BLOCKED, JobState.PENDING),
        (JobState.CANCELLED, JobState.BLOCKED, JobState.PENDING),
    ],
)
def test_a_finished_job_is_waited_for_only_if_it_failed(storage, clock, state, after, after_any):
    """A dead or cancelled job cannot complete by itself: that is accepted, and reported."""
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", state)
    made = storage.enqueue(
        [
            JobSpec(command="x", id="b", after=("a",)),
            JobSpec(command="x", id="c", after_any=("a",)),
            JobSpec(command="x", id="d", after=("a",), after_any=("a",)),
        ],
        now=clock.now,
    )
    never = () if after is JobState.PENDING else ("a",)

    assert [storage.get(i).state for i in "bcd"] == [after, after_any, after]
    assert [enqueued.unsatisfiable for enqueued in made] == [never, (), never]


@pytest.mark.parametrize(
    "needs",
    [
        {"a": ("b",), "b": ("a",)},
        {"a": ("b",), "b": ("c",), "c": ("d", "a"), "d": ()},
        {"a": (), "b": ("c", "a"), "c": ("b",)},
    ],
)
def test_a_cycle_is_refused(storage, clock, needs):
    """Jobs that wait for each other would wait for ever."""
    specs = [JobSpec(command="x", id=job, after=after) for job, after in needs.items()]
    with pytest.raises(InvalidInput, match=r"^the dependencies form a cycle through [a-d]$"):
        storage.enqueue(specs, now=clock.now)

    assert ids(storage) == []


def test_two_ways_to_the_same_job_are_no_cycle(storage, clock):
    """Such jobs can run."""
    storage.enqueue(
        [
            JobSpec(command="x", id="a"),
            JobSpec(command="x", id="b", after=("a",)),
            JobSpec(command="x", id="c", after=("a",)),
            JobSpec(command="x", id="d", after=("b", "c", "a")),
        ],
        now=clock.now,
    )

    assert storage.by_state()[JobState.BLOCKED] == 3


def test_a_replacement_that_would_close_a_cycle_is_refused(storage, clock):
    """Changed dependencies are checked, too."""
    add(storage, clock.now, "a", unique_key="k")
    add(storage, clock.now, "b", after=("a",))
    with pytest.raises(InvalidInput, match=r"form a cycle"):
        storage.enqueue([unique(if_dup="replace", after=("b",))], now=clock.now)

    assert storage.get("a").state is JobState.PENDING


def test_a_long_chain_is_followed_without_recursion(storage, clock):
    """Prevents a bug: a chain of thousands of jobs overflowed the stack."""
    specs = [JobSpec(command="x", id="j0")]
    specs += [JobSpec(command="x", id=f"j{n}", after=(f"j{n - 1}",)) for n in range(1, 5000)]
    storage.enqueue(reversed(specs), now=clock.now)

    assert storage.by_state()[JobState.BLOCKED] == 4999


def test_the_workers_are_woken(storage, clock):
    """They are woken after the commit."""
    own = wakeup.WakeUpFifo(storage.files, "w1")
    add(storage, clock.now, "a")
    ready = select.select([own.fileno()], [], [], 0)[0]
    own.remove()

    assert len(ready) == 1

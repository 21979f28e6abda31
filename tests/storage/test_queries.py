"""Finding, listing and counting jobs."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest

from queuectl.core.errors import AmbiguousJob, NoSuchJob, ReadTimeOut, UniqueKeyHeld
from queuectl.core.models import Selection, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.storage.job_counts import Count
from support.clock import later
from support.outcomes import COMPLETED, DEAD, EXIT_1, INTERRUPTED, OK, retry_at
from support.rows import add, add_generated, finish, sql


def listed(storage, newest=None, **selection):
    return [job.id for job in storage.jobs(Selection(**selection), newest=newest)]


@pytest.mark.parametrize("job", ["a1b2c3d4e5f6", "a1b2", "a1b2c3d4e5f"])
def test_a_generated_id_can_be_abbreviated(storage, clock, job):
    """To its first 4 to 11 digits."""
    add_generated(storage, clock.now, "a1b2c3d4e5f6", "a1b3c3d4e5f6")

    assert storage.get(job).id == "a1b2c3d4e5f6"


@pytest.mark.parametrize(
    "job", ["a1b", "", "A1B2", "a1b2c3d4e5f67", "1b2c", "a1b2%", "a1b_", "\udcff"]
)
def test_a_wrong_abbreviation_finds_nothing(storage, clock, job):
    """It is too short, too long, has other letters, or is a pattern: no such job."""
    add_generated(storage, clock.now, "a1b2c3d4e5f6")
    with pytest.raises(NoSuchJob):
        storage.get(job)


@pytest.mark.parametrize(
    ("given", "job"), [("job-10", "job-1"), ("abcdef", "abcd"), ("a1b2c3d4e5f6", "a1b2c3")]
)
def test_an_id_from_a_user_cannot_be_abbreviated(storage, clock, given, job):
    """`cancel job-1` must not cancel job-10, even if the id looks like a generated one."""
    add(storage, clock.now, given)
    with pytest.raises(NoSuchJob, match=f"^no such job: {job}$"):
        storage.get(job)


def test_a_complete_id_wins(storage, clock):
    """An id from a user is found even if generated ids begin with it."""
    add_generated(storage, clock.now, "abcd11111111", "abcd22222222")
    add(storage, clock.now, "abcd")

    assert storage.get("abcd").id == "abcd"


@pytest.mark.parametrize("count", [2, 5, 7])
def test_an_ambiguous_abbreviation_names_up_to_five_ids(storage, clock, count):
    """In their order; none of them is chosen."""
    ids = [f"abcd{n}0000000" for n in range(count)]
    add_generated(storage, clock.now, *reversed(ids))
    with pytest.raises(AmbiguousJob) as ambiguous:
        storage.get("abcd")

    assert str(ambiguous.value) == f"abcd could be {', '.join(ids[:5])} (give more digits)"


def test_jobs_are_listed_in_the_order_of_entry(storage, clock):
    """The newest comes last, in whatever order they run, and over all pages."""
    specs = [JobSpec(command="x", id=f"j{n}", priority=n % 7) for n in range(1203)]
    storage.enqueue(specs, now=clock.now)

    assert listed(storage) == [f"j{n}" for n in range(1203)]


_LABELS = [None, "", "nightly", "nightly 1", "nightly 22", "Nightly", "a*b", "夜"]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("*", [1, 2, 3, 4, 5, 6, 7]), ("", [1]), ("nightly", [2]), ("nightly*", [2, 3, 4]),
        ("nightly ?", [3]), ("[Nn]ightly", [2, 5]), ("[!n]*", [5, 6, 7]), ("[^n]*", [5, 6, 7]),
        ("a[*]b", [6]), ("夜", [7]), ("x", []), ("%", []),
    ],
)  # fmt: skip
def test_jobs_are_selected_by_a_pattern_of_labels(storage, clock, label, expected):
    """It is one as in a shell. Jobs without a label never fit."""
    specs = [JobSpec(command="x", id=str(n), label=each) for n, each in enumerate(_LABELS)]
    storage.enqueue(specs, now=clock.now)
    selection = Selection(label=label)

    assert listed(storage, label=label) == [str(number) for number in expected]
    assert [int(key.id) for key in storage.keys(selection)] == expected
    assert listed(storage, newest=1, label=label) == [str(number) for number in expected[-1:]]
    assert listed(storage, label=label, states=(JobState.DEAD,)) == []
    assert listed(storage, label=label, queues=("default", "q"), newest=9) == [
        str(number) for number in expected
    ]
    assert storage.count(selection) == len(expected)


def test_jobs_are_selected_by_the_time_of_their_last_change(storage, clock):
    """The end counts for finished jobs: a dead job that was edited is not new."""
    every = ("dead", "completed", "cancelled", "failed", "processing", "pending", "scheduled",
             "blocked")  # fmt: skip
    for at, name in enumerate(every):
        fields = {"after": ("pending",)} if name == "blocked" else {}
        if name == "scheduled":
            fields = {"run_at": later(clock.now, 9999)}
        storage.enqueue([JobSpec(command="x", id=name, max_retries=1, **fields)], now=clock.now)
        if name in ("dead", "completed", "failed", "processing"):
            claim = storage.claim(f"w{at}", now=clock.tick(1))
            outcome, verdict = {
                "dead": (EXIT_1, DEAD),
                "completed": (OK, COMPLETED),
                "failed": (EXIT_1, retry_at(later(clock.now, 9999))),
            }.get(name, (None, None))
            if outcome is not None:
                storage.record(claim, outcome, verdict, now=clock.tick(1))
        if name == "cancelled":
            storage.cancel(storage.get(name), now=clock.tick(1))
        clock.tick(10)
    jobs = list(storage.jobs(Selection()))

    assert [job.state.value for job in jobs] == list(every)
    for one in jobs:
        since = one.finished_at or one.updated_at
        expected = [job.id for job in jobs if (job.finished_at or job.updated_at) >= since]
        assert listed(storage, since=since) == expected
        assert listed(storage, since=since, newest=2) == expected[-2:]
        assert storage.count(Selection(since=since)) == len(expected)
        assert listed(storage, since=later(since, 1), states=(one.state,)) == []
        assert listed(storage, since=since, queues=("q",)) == []
        assert listed(storage, since=since, label="*") == []


@pytest.mark.parametrize("newest", [1, 2, 500, 501, 1203, 5000])
def test_only_the_newest_are_listed(storage, clock, newest):
    """That many of the last jobs, still with the newest last."""
    storage.enqueue([JobSpec(command="x", id=f"j{n}") for n in range(1203)], now=clock.now)

    assert listed(storage, newest) == [f"j{n}" for n in range(1203)][-newest:]


def test_the_newest_job_is_the_one_enqueued_last(storage, clock):
    """It is None while there are no jobs."""
    assert storage.newest() is None
    add(storage, clock.now, "a", "b")
    assert storage.newest().id == "b"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, ["a", "b", "c", "d"]),
        ({"queues": ("x",)}, ["a", "c"]),
        ({"queues": ("x", "y")}, ["a", "b", "c", "d"]),
        ({"queues": ("nobody",)}, []),
        ({"states": (JobState.COMPLETED,)}, ["a"]),
        ({"states": (JobState.COMPLETED, JobState.SCHEDULED)}, ["a", "d"]),
        ({"queues": ("x",), "states": (JobState.PENDING,)}, ["c"]),
    ],
)
def test_a_selection_restricts_what_is_listed_and_counted(storage, clock, selection, expected):
    """A job must be in one of the queues and in one of the states."""
    add(storage, clock.now, "a", queue="x")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    add(storage, clock.now, "b", queue="y")
    add(storage, clock.now, "c", queue="x")
    add(storage, clock.now, "d", queue="y", run_at=later(clock.now, 60))

    assert listed(storage, **selection) == expected
    assert listed(storage, 1, **selection) == expected[-1:]
    assert storage.count(Selection(**selection)) == len(expected)


def test_jobs_may_change_during_an_iteration(storage, clock):
    """Pages are short reads: jobs may come, go and change between them."""
    storage.enqueue([JobSpec(command="x", id=f"j{n}") for n in range(1000)], now=clock.now)
    jobs = storage.jobs(Selection())
    first = next(jobs).id
    add(storage, clock.now, "late")
    sql(storage, "DELETE FROM jobs WHERE id = 'j600'")
    rest = [job.id for job in jobs]

    assert (first, len(rest), rest[-1]) == ("j0", 999, "late")
    assert "j600" not in rest


def test_an_empty_queue_has_all_eight_states(storage):
    """A count of zero is not left out."""
    assert storage.by_state() == dict.fromkeys(JobState, 0)
    assert storage.counts() == []


def test_the_kept_counts_equal_a_recount(storage, clock):
    """After any mix of transitions the counts are those of the table."""
    chance = random.Random(7)
    claims = []
    for step in range(400):
        clock.tick(1)
        action = chance.randrange(9)
        if action <= 2:
            fields = {"queue": chance.choice("xyz")}
            if chance.random() < 0.3:
                fields["run_at"] = later(clock.now, chance.randrange(1, 60))
            last = storage.newest()
            if last is not None and chance.random() < 0.3:
                fields["after_any"] = (last.id,)
            elif chance.random() < 0.3:
                fields.update(unique_key=chance.choice("kl"), if_dup="replace")
            with suppress(UniqueKeyHeld):  # the job that has the key may be running
                add(storage, clock.now, f"j{step}", **fields)
        elif action <= 4:
            claim = storage.claim(f"w{step}", now=clock.now)
            claims += [claim] if claim else []
        elif action == 5 and claims:
            storage.release(claims.pop(), INTERRUPTED, now=clock.now)
        elif action == 6:
            storage.prune(states=(JobState.COMPLETED, JobState.DEAD), before=later(clock.now, -50))
        elif claims:
            verdicts = [COMPLETED, DEAD, Verdict(JobState.CANCELLED), retry_at(clock.now)]
            outcome, verdict = chance.choice([OK, EXIT_1]), chance.choice(verdicts)
            storage.record(claims.pop(0), outcome, verdict, now=clock.now)
    recount = [
        Count(queue, JobState(state), jobs)
        for queue, state, jobs in sql(
            storage, "SELECT queue, state, count(*) FROM jobs GROUP BY 1, 2 ORDER BY 1, 2"
        )
    ]

    assert storage.counts() == recount
    assert sum(storage.by_state().values()) == sum(count.jobs for count in recount) > 50


def test_a_drain_waits_for_jobs_that_can_still_run(storage, clock):
    """Pending, failed and running jobs of its queues, but no scheduled, blocked or paused ones."""
    add(storage, clock.now, "run", "fail", queue="x")
    storage.claim("w1", now=clock.now)
    claim = storage.claim("w2", now=clock.now)
    storage.record(claim, EXIT_1, retry_at(later(clock.now, 60)), now=clock.now)
    add(storage, clock.now, "wait", queue="x")
    add(storage, clock.now, "late", queue="x", run_at=later(clock.now, 60))
    add(storage, clock.now, "blocked", queue="x", after=("wait",))
    add(storage, clock.now, "other", queue="y")

    def before_it(*queues):
        found = storage.unfinished(queues)
        return (found[JobState.PENDING], found[JobState.FAILED], found[JobState.PROCESSING])

    assert [before_it(), before_it("x"), before_it("y"), before_it("z")] == [
        (2, 1, 1), (1, 1, 1), (1, 0, 0), (0, 0, 0),
    ]  # fmt: skip
    storage.pause_queue("x", by="ann", reason=None, now=clock.now)
    assert [before_it(), before_it("x")] == [(1, 0, 1), (0, 0, 1)]
    storage.pause_queue(None, by="ann", reason=None, now=clock.now)
    assert before_it() == (0, 0, 1)


def test_the_attempts_of_a_job_come_oldest_first(storage, clock):
    """Each has its number, and those of other jobs are not among them."""
    add(storage, clock.now, "a", "b")
    for _ in range(3):
        claim = storage.claim("w1", now=clock.tick(1))
        storage.record(claim, EXIT_1, retry_at(clock.now), now=clock.now)
    executions = list(storage.executions(storage.get("a")))

    assert [execution.attempt for execution in executions] == [1, 2, 3]
    assert list(storage.executions(storage.get("b"))) == []
    assert storage.execution(executions[1].id) == executions[1]
    assert storage.execution(10**9) is None


def test_single_attempts_of_a_job_are_found(storage, clock):
    """The last one, the last with a number, and the one after another; None if there is none."""
    add(storage, clock.now, "a", "b")
    job = storage.get("a")
    assert storage.last_execution(job) is None
    for _ in range(2):
        storage.release(storage.claim("w1", now=clock.tick(1)), INTERRUPTED, now=clock.now)
    storage.claim("w1", now=clock.tick(1))
    storage.claim("w1", now=clock.tick(1))
    executions = list(storage.executions(job))

    assert storage.last_execution(job) == executions[-1]
    assert storage.last_execution(job, attempt=1) == executions[-1]
    assert storage.last_execution(job, attempt=2) is None
    assert [storage.next_execution(job, after) for after in (0, executions[0].id)] == executions[:2]
    assert storage.next_execution(job, executions[-1].id) is None


def test_a_reader_that_pauses_holds_no_snapshot(storage, clock):
    """Otherwise `list | less` would make the write-ahead log grow for ever."""
    storage.enqueue([JobSpec(command="true")] * 1200, now=clock.now)
    jobs = storage.jobs(Selection())
    next(jobs)

    add(storage, clock.now, "meanwhile")
    busy, _, _ = sql(storage, "PRAGMA wal_checkpoint(TRUNCATE)")[0]

    assert (busy, len(list(jobs))) == (0, 1200)


def test_a_read_ends_at_its_deadline(storage, clock):
    """A search of millions of jobs does not make a command late. Later reads are not affected."""
    add(storage, clock.now, *[f"j{number}" for number in range(2000)])

    def read_on():
        while True:
            list(storage.jobs(Selection(states=(JobState.PENDING,))))

    with storage.reading_until(time.monotonic()), pytest.raises(ReadTimeOut):
        read_on()

    assert len(list(storage.jobs(Selection(states=(JobState.PENDING,))))) == 2000

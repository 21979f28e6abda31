"""Many jobs are staged first: nobody sees any of them before all of them are there for certain."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from queuectl.core.errors import (
    DiskFailure,
    DuplicateId,
    InvalidInput,
    NoSuchJob,
    QueueBusy,
    QueueError,
    QueueReplaced,
    UniqueKeyHeld,
)
from queuectl.core.jobfile import from_fields
from queuectl.core.models import Job, Selection
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.host import lockfiles
from queuectl.host.files import find
from queuectl.storage import Storage, restoring
from queuectl.storage.adding import JOB_COLUMNS
from queuectl.storage.staging import SpreadIds
from support.clock import later
from support.rows import add, claim_ids, finish, sql, statements
from support.stages import leave_decided, leave_undecided, stage_all

STAGE_TABLES = ("stage", "staged_jobs", "staged_needs")


@pytest.fixture(autouse=True)
def staged(monkeypatch):
    """Everything is staged, two jobs at a time."""
    stage_all(monkeypatch)


@pytest.fixture
def other(storage):
    """The storage of another process, which waits for half a second."""
    opened = Storage.open(storage.files, wait_seconds=0.5)
    yield opened
    opened.close()


@contextmanager
def at_once(monkeypatch):
    """Do not stage what is added meanwhile."""
    with monkeypatch.context() as patch:
        patch.setattr("queuectl.storage.enqueueing.MOST_AT_ONCE", 10)
        yield


def specs(*ids, **fields):
    return [JobSpec(command="true", id=job_id, **fields) for job_id in ids]


def ids(storage):
    return [job.id for job in storage.jobs(Selection())]


def left(storage):
    return [sql(storage, f"SELECT count(*) FROM {table}")[0][0] for table in STAGE_TABLES]


def test_nobody_sees_a_job_before_all_are_decided(storage, other, clock):
    """Counts, lists and claims do not know them."""
    seen = []

    def more():
        for spec in specs(*"abcdef"):
            seen.append((ids(other), other.claim("w1", now=clock.now), other.by_state()))
            yield spec

    storage.enqueue(more(), now=clock.now)

    nothing = ([], None, dict.fromkeys(JobState, 0))
    assert seen == [nothing] * 6
    assert claim_ids(storage, clock.now) == list("abcdef")
    assert left(storage) == [0, 0, 0]


def test_jobs_of_others_get_between_them(storage, other, clock, monkeypatch):
    """Another process enqueues at once; each seq is given once, in the order of the input."""

    def more():
        for spec in specs(*"abcd"):
            with at_once(monkeypatch):
                add(other, clock.now, f"{spec.id}0")
            yield spec

    storage.enqueue(more(), now=clock.now)

    order = ids(storage)
    assert sorted(order) == ["a", "a0", "b", "b0", "c", "c0", "d", "d0"]
    assert [job for job in order if len(job) == 1] == list("abcd")
    assert [job for job in order if len(job) == 2] == ["a0", "b0", "c0", "d0"]


def test_a_refused_job_leaves_nothing(storage, clock):
    """Nothing is stored, and the next job gets the seq that the first one would have had."""
    add(storage, clock.now, "first")
    with pytest.raises(DuplicateId) as refused:
        storage.enqueue(specs("a", "b", "c", "a"), now=clock.now)
    add(storage, clock.now, "next")

    assert (refused.value.position, refused.value.state) == (3, None)
    assert [(job.id, job.seq) for job in storage.jobs(Selection())] == [("first", 1), ("next", 2)]
    assert left(storage) == [0, 0, 0]


def test_a_refused_job_leaves_no_contents(storage, clock):
    """They are deleted as the jobs are, in small steps, and not all with the stage."""
    jobs = [JobSpec(command="cat", id=f"j{i}", input=b"%d" % i) for i in range(7)]

    def refused():
        with pytest.raises(DuplicateId):
            storage.enqueue([*jobs, *specs("j0")], now=clock.now)

    deletes = [text for text in statements(storage, refused) if "DELETE FROM contents" in text]

    assert sql(storage, "SELECT count(*) FROM contents") == [(0,)]
    assert len(deletes) > 4


def test_staged_jobs_keep_their_contents(storage, other, clock):
    """Also if the last job that had it is deleted before they are moved."""
    add(storage, clock.now, "old", input=b"text")
    finish(storage, clock.now, "old", JobState.COMPLETED)

    def more():
        yield from specs("a", "b", input=b"text")
        yield from specs("c", "d")
        later_than_all = clock.now + timedelta(days=1)
        assert other.prune(states=[JobState.COMPLETED], before=later_than_all) == 1
        yield from specs("e", "f")

    storage.enqueue(more(), now=clock.now)

    assert [storage.find_content(storage.get(job).input_id) for job in "ab"] == [b"text"] * 2


def test_seqs_are_not_given_back_if_others_were_given(storage, other, clock, monkeypatch):
    """A seq that somebody has seen is never used again."""

    def more():
        yield from specs(*"abc")
        with at_once(monkeypatch):
            add(other, clock.now, "seen")
        yield from specs("d", "a")

    with pytest.raises(DuplicateId):
        storage.enqueue(more(), now=clock.now)
    highest = storage.get("seen").seq
    add(storage, clock.now, "next")

    assert storage.get("next").seq > highest


def test_a_dead_undecided_stage_is_discarded(storage, other, clock, monkeypatch):
    """None of its jobs appears, and the next enqueue of many jobs gets its turn."""
    leave_undecided(storage, specs(*"abcde"), now=clock.now)
    assert (left(storage)[:2], other.jobs_to_come()) == ([1, 5], 0)

    other.enqueue(specs("x", "y", "a"), now=clock.now)

    assert ids(storage) == ["x", "y", "a"]
    assert left(storage) == [0, 0, 0]


@pytest.mark.parametrize("moved", range(4))
def test_a_dead_decided_stage_is_finished(storage, other, clock, monkeypatch, moved):
    """All its jobs appear, each once and in order, however many had been moved."""
    jobs = [*specs("a", "b"), *specs("c", after=("e",)), *specs("d", "e")]
    leave_decided(storage, jobs, moved=moved, now=clock.now)
    assert other.has_decided_stage()
    assert other.jobs_to_come() == 5 - len(ids(other))

    assert other.finish_dead_stage(now=clock.now)

    assert ids(storage) == list("abcde")
    assert claim_ids(storage, clock.now) == list("abde")
    assert (left(storage), storage.jobs_to_come()) == ([0, 0, 0], 0)


def test_a_living_stage_is_left_alone(storage, other, clock):
    """Its process holds a lock, and no clock says that it is dead."""
    done = []

    def more():
        for spec in specs(*"abc"):
            done.append(other.finish_dead_stage(now=later(clock.now, 86400 * 365)))
            yield spec

    storage.enqueue(more(), now=clock.now)

    assert done == [False] * 3
    assert ids(storage) == list("abc")


def test_a_process_that_was_taken_for_dead_stores_nothing(storage, other, clock):
    """Somebody removed its lock file: it may no longer decide what another process discarded."""

    def more():
        yield from specs(*"abcd")
        os.unlink(storage.files.stage_lock)
        assert other.finish_dead_stage(now=clock.now)
        yield from specs(*"efgh")

    with pytest.raises(QueueError, match="removed, so another process discarded"):
        storage.enqueue(more(), now=clock.now)
    assert (ids(storage), left(storage)) == ([], [0, 0, 0])


def test_two_bulk_enqueues_take_turns(storage, other, clock):
    """The second waits while the first gets on, and gives up if it does not."""

    def more():
        yield from specs(*"abc")
        with pytest.raises(QueueBusy, match=f"process {os.getpid()} is enqueueing many jobs"):
            other.enqueue(specs("x", "y"), now=clock.now)
        yield from specs("d")

    storage.enqueue(more(), now=clock.now)
    other.enqueue(specs("x", "y"), now=clock.now)

    assert ids(storage) == ["a", "b", "c", "d", "x", "y"]


@pytest.mark.parametrize("fields", [{"id": "a"}, {"unique_key": "k"}])
def test_what_is_staged_is_reserved(storage, other, clock, monkeypatch, fields):
    """Another process that enqueues the same id or unique key waits for the decision."""

    def more():
        yield from specs("a", unique_key="k")
        yield from specs("b", "c")
        with at_once(monkeypatch), pytest.raises(QueueBusy, match="is enqueueing a job"):
            other.enqueue([JobSpec(command="x", **fields)], now=clock.now)
        yield from specs("d")

    storage.enqueue(more(), now=clock.now)
    with at_once(monkeypatch), pytest.raises((DuplicateId, UniqueKeyHeld)):
        other.enqueue([JobSpec(command="x", if_dup="error", **fields)], now=clock.now)
    assert ids(storage) == list("abcd")


def test_what_a_dead_process_reserved_is_free(storage, other, clock, monkeypatch):
    """The next job with the same id or unique key clears up."""
    leave_undecided(storage, specs("a", "b", "c"), now=clock.now)
    with at_once(monkeypatch):
        add(other, clock.now, "b")

    assert (ids(storage), left(storage)) == (["b"], [0, 0, 0])


def test_an_import_respects_what_is_staged(storage, other, clock, monkeypatch):
    """Also with --skip-existing: whether the id exists is not decided yet."""

    def more():
        yield from specs("a", "b", "c")
        with at_once(monkeypatch), pytest.raises(QueueBusy):
            import_lines(other, clock, [{"id": "a", "command": "x"}], skip_existing=True)
        yield from specs("d")

    storage.enqueue(more(), now=clock.now)
    with at_once(monkeypatch):
        done = import_lines(other, clock, [{"id": "a", "command": "x"}], skip_existing=True)

    assert done == (0, 1)


def test_a_retry_does_not_take_a_staged_key(storage, other, clock):
    """The finished job stays as it is, and the error says who has the key."""
    add(storage, clock.now, "old", unique_key="k")
    finish(storage, clock.now, "old", JobState.DEAD)

    def more():
        yield from specs("a", unique_key="k")
        yield from specs("b", "c")
        with pytest.raises(UniqueKeyHeld, match="held by job a, which is being enqueued"):
            other.retry(other.get("old"), now=clock.now)

    storage.enqueue(more(), now=clock.now)

    assert storage.get("old").state is JobState.DEAD


def test_a_job_that_staged_ones_wait_for_is_not_pruned(storage, other, clock, monkeypatch):
    """Nor when it is one of them that has ended before the others are moved."""
    add(storage, clock.now, "old")
    leave_decided(storage, specs("a", "b", "c", after=("old",)), now=clock.now)
    finish(other, clock.now, "old", JobState.COMPLETED)

    def prune():
        return other.prune(states=[JobState.COMPLETED], before=clock.now + timedelta(days=1))

    assert prune() == 0
    other.finish_dead_stage(now=clock.now)
    assert prune() == 1
    assert claim_ids(storage, clock.now) == ["a", "b", "c"]


def test_a_need_is_met_if_it_ends_before_the_move(storage, other, clock, monkeypatch):
    """What a job waits for is looked at when it is moved."""
    add(storage, clock.now, "done", "failed")
    jobs = [
        *specs("a", after=("done",)), *specs("b", after=("failed",)),
        *specs("c", after_any=("failed",)), *specs("d"),
    ]  # fmt: skip
    leave_decided(storage, jobs, now=clock.now)
    finish(other, clock.now, "done", JobState.COMPLETED)
    finish(other, clock.now, "failed", JobState.DEAD)

    other.finish_dead_stage(now=clock.now)

    assert {job: storage.get(job).state.value for job in "abcd"} == {
        "a": "pending", "b": "blocked", "c": "pending", "d": "pending",
    }  # fmt: skip


def test_a_job_never_arrives_before_what_it_waits_for(storage, other, clock, monkeypatch):
    """Whatever the order of the lines: a reversed chain, and lines that name both sides."""
    jobs = [JobSpec(command="x", id=f"c{i}", after=(f"c{i + 1}",)) for i in range(9)]
    jobs += [*specs("c9"), *specs("after", after=("c0", "x")), *specs("x", "y")]
    seen = []

    def look(_self):
        blocked = other.jobs(Selection(states=(JobState.BLOCKED,)))
        seen.extend((job.id, bool(other.needs(job))) for job in blocked)

    monkeypatch.setattr("queuectl.storage.base.Base._wake_workers", look)
    storage.enqueue(jobs, now=clock.now)

    assert {waits for _, waits in seen} == {True}
    assert ids(storage) == [f"c{i}" for i in range(10)] + ["after", "x", "y"]
    assert [need.job.id for need in storage.needs(storage.get("after"))] == ["c0", "x"]
    assert claim_ids(storage, clock.now) == ["c9", "x", "y"]


def test_a_cycle_among_them_is_refused(storage, clock):
    """Nothing is stored."""
    jobs = [*specs("a", after=("b",)), *specs("b", after=("c",)), *specs("c", after=("a",))]
    with pytest.raises(InvalidInput, match="cycle through"):
        storage.enqueue(jobs, now=clock.now)
    assert (ids(storage), left(storage)) == ([], [0, 0, 0])


def test_a_missing_need_is_refused(storage, clock):
    """The error tells which line names it."""
    with pytest.raises(NoSuchJob) as refused:
        storage.enqueue([*specs("a", "b"), *specs("c", after=("nobody",))], now=clock.now)
    assert (refused.value.position, ids(storage), left(storage)) == (2, [], [0, 0, 0])


def test_a_replaced_job_may_wait_for_a_new_one(storage, clock):
    """It is replaced when the others are decided, and never runs before them."""
    add(storage, clock.now, "old", unique_key="k")
    jobs = [*specs("a", "b", "c")]
    jobs += [JobSpec(command="new", unique_key="k", if_dup="replace", after=("c",))]
    storage.enqueue(jobs, now=clock.now)

    old = storage.get("old")
    assert (old.command, old.state) == ("new", JobState.BLOCKED)
    assert [need.job.id for need in storage.needs(old)] == ["c"]
    assert claim_ids(storage, clock.now) == ["a", "b", "c"]


def test_a_cycle_through_a_replaced_job_is_refused(storage, clock):
    """The job stays as it was."""
    add(storage, clock.now, "old", unique_key="k")
    jobs = [*specs("a", "b"), *specs("c", after=("old",))]
    jobs += [JobSpec(command="new", unique_key="k", if_dup="replace", after=("c",))]
    with pytest.raises(InvalidInput, match="cycle through"):
        storage.enqueue(jobs, now=clock.now)

    assert (storage.get("old").command, ids(storage), left(storage)) == (
        "true", ["old"], [0, 0, 0],
    )  # fmt: skip


@pytest.mark.parametrize("ends", [False, True])
def test_a_job_to_be_replaced_that_has_started_is_an_error(storage, other, clock, ends):
    """Nothing is stored: what replaces it would never run."""
    add(storage, clock.now, "old", unique_key="k")

    def more():
        yield JobSpec(command="new", unique_key="k", if_dup="replace")
        yield from specs("a", "b", "c")
        if ends:
            finish(other, clock.now, "old", JobState.COMPLETED)
        else:
            other.claim("w1", now=clock.now)

    with pytest.raises(QueueError, match="has just ended" if ends else "is running"):
        storage.enqueue(more(), now=clock.now)
    assert (ids(storage), left(storage)) == (["old"], [0, 0, 0])


def test_a_full_disk_leaves_nothing(storage, clock):
    """It is one error, and the next enqueue works."""
    conn = storage._database.connection
    pages = conn.execute("PRAGMA page_count").fetchone()[0]
    conn.execute(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(DiskFailure):
        storage.enqueue([JobSpec(command="x" * 1000) for _ in range(100)], now=clock.now)
    conn.execute("PRAGMA max_page_count = 1000000")
    add(storage, clock.now, "a")

    assert (ids(storage), left(storage)) == (["a"], [0, 0, 0])


def test_a_full_disk_after_the_decision_says_that_they_are_enqueued(storage, other, clock):
    """Nobody enqueues them again; the next process makes them visible."""
    conn = storage._database.connection
    storage.set_key("max-retries", "3")

    def more():
        yield from [JobSpec(command="x" * 500, id=f"j{i}") for i in range(50)]
        pages = conn.execute("PRAGMA page_count").fetchone()[0]
        conn.execute(f"PRAGMA max_page_count = {pages + 3}")

    with pytest.raises(QueueError, match="the jobs are enqueued, but cannot be shown and run yet"):
        storage.enqueue(more(), now=clock.now)
    other.finish_dead_stage(now=clock.now)

    assert len(ids(storage)) == 50


def test_a_copy_has_no_stage(storage, clock, monkeypatch, tmp_path):
    """In a backup decided jobs are there, and undecided ones are not."""
    path = tmp_path / "copies"
    path.mkdir(mode=0o700)
    leave_undecided(storage, specs("a", "b", "c"), now=clock.now)
    storage.back_up(str(path / "undecided.db"), now=clock.now)
    storage.finish_dead_stage(now=clock.now)
    leave_decided(storage, specs("d", "e", "f", after=()), moved=1, now=clock.now)
    storage.back_up(str(path / "decided.db"), now=clock.now)

    found = {}
    for name in ("undecided", "decided"):
        copy = Storage.open(find(str(path / f"{name}.db"), None, False), write=True)
        found[name] = ids(copy), left(copy), claim_ids(copy, clock.now)
        copy.close()
    assert found == {
        "undecided": ([], [0, 0, 0], []),
        "decided": (["d", "e", "f"], [0, 0, 0], ["d", "e", "f"]),
    }


def raw_copy(storage, path):
    """Copy the file as it is, as `cp` would."""
    with closing(sqlite3.connect(storage.files.database)) as conn:
        with closing(sqlite3.connect(path)) as copy:
            conn.backup(copy)
    path.chmod(0o600)
    return find(str(path), None, False)


def test_a_restored_copy_has_no_stage(storage, clock, tmp_path):
    """Decided jobs of the copy are there; those of the queue that it replaces count as lost."""
    leave_decided(storage, specs("a", "b", "c"), moved=1, now=clock.now)
    raw_copy(storage, tmp_path / "copy.db")
    storage.close()

    assert restoring.unfinished_jobs(storage.files) == 3
    path = str(tmp_path / "copy.db")
    assert restoring.restore(storage.files, path, at_most_lost=3, now=clock.now) == 3
    restored = Storage.open(storage.files)
    found = ids(restored), left(restored)
    restored.close()
    assert found == (["a", "b", "c"], [0, 0, 0])


def test_a_copy_of_the_file_finishes_its_own_stage(storage, clock, tmp_path):
    """The lock of the original's process says nothing about the copy."""
    folder = tmp_path / "copies"
    folder.mkdir(mode=0o700)

    def more():
        yield from specs("a", "b", "c")
        copy = Storage.open(raw_copy(storage, folder / "copy.db"), write=True)
        assert copy.finish_dead_stage(now=clock.now)
        assert (ids(copy), left(copy)) == ([], [0, 0, 0])
        copy.close()
        yield from specs("d")

    storage.enqueue(more(), now=clock.now)

    assert ids(storage) == list("abcd")


def test_a_queue_that_is_replaced_meanwhile_gets_none_of_them(storage, clock, tmp_path):
    """The error says so."""

    def more():
        yield from specs("a", "b", "c")
        os.rename(storage.files.database, tmp_path / "moved.db")
        Storage.open(storage.files, create=True).close()
        yield from specs("d", "e", "f")

    with pytest.raises(QueueReplaced):
        storage.enqueue(more(), now=clock.now)
    new = Storage.open(storage.files)
    found = ids(new), left(new)
    new.close()
    assert found == ([], [0, 0, 0])


def test_a_worker_finishes_a_part_at_a_time(storage, other, clock, monkeypatch):
    """It is told to stop after a while, so that it can run jobs and hear signals."""
    leave_decided(storage, specs(*"abcde"), now=clock.now)

    assert other.finish_dead_stage(now=clock.now, seconds=0.0)
    assert ids(storage) == []
    assert other.finish_dead_stage(now=clock.now, seconds=10.0)
    assert ids(storage) == list("abcde")


def test_the_lock_is_free_afterwards(storage, clock):
    """Also after an error."""
    storage.enqueue(specs("a", "b"), now=clock.now)
    with pytest.raises(DuplicateId):
        storage.enqueue(specs("c", "a"), now=clock.now)

    assert not lockfiles.is_held(storage.files.stage_lock)
    descriptor = os.open(storage.files.stage_lock, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_generated_ids_are_spread_and_ascending():
    """Neighbours share pages of the index, and the first digits still tell jobs apart."""
    generated = SpreadIds(5000)
    made = [generated.next() for _ in range(5000)]

    assert made == sorted(set(made))
    assert len({job_id[:2] for job_id in made}) == 256
    assert (
        max(sum(job_id.startswith(digit) for job_id in made) for digit in "0123456789abcdef") < 315
    )


def test_a_generated_id_that_is_taken_is_generated_again(storage, clock, monkeypatch):
    """The user does not notice the collision, neither with a job nor with a staged one."""
    add(storage, clock.now, "0" * 12)
    numbers = iter([0, 1, 1, 2])
    monkeypatch.setattr(SpreadIds, "next", lambda _: f"{next(numbers):012x}")
    made = storage.enqueue([JobSpec(command="x"), JobSpec(command="y")], now=clock.now)

    assert [enqueued.id for enqueued in made] == [f"{number:012x}" for number in (1, 2)]


def import_lines(storage, clock, lines, *, skip_existing=False):
    arriving = [from_fields(line, now=clock.now) for line in lines]
    return storage.import_jobs(arriving, skip_existing=skip_existing, now=clock.now)


def test_an_added_job_has_all_columns():
    """Only those are missing that a running job has."""
    fields = [name for name in Job._fields if not name.startswith("locked_")]
    fields.remove("captured")  # it is read from where `captured_id` says
    assert tuple(fields) == JOB_COLUMNS

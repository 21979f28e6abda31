"""Contents that jobs have in common are stored once, and only while a job uses them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from queuectl.core.errors import InvalidInput
from queuectl.core.jobfile import from_fields, to_line
from queuectl.core.models import Outcome, OutcomeKind, Selection, Verdict
from queuectl.core.specs import JobSpec, parse_object
from queuectl.core.states import JobState
from queuectl.storage import Storage
from queuectl.storage.contents import intern
from support.clock import later
from support.rows import add, finish, sql, statements
from support.stages import leave_decided, leave_undecided, stage_all

KINDS = [b"text\n", b"", b"\0\xff", b"x" * (1 << 20)]


@pytest.fixture(params=[False, True], ids=["at once", "staged"])
def staged(request, monkeypatch):
    """Store jobs in one transaction, or through a stage."""
    if request.param:
        stage_all(monkeypatch)


def contents(storage):
    """Return what is stored, with the number of jobs that use it, and how that is counted."""
    return sql(
        storage,
        """
        SELECT CAST(content AS BLOB), jobs
          FROM contents
          LEFT JOIN content_uses ON content_id = id
         ORDER BY id
        """,
    )


def uses(storage):
    return sql(storage, "SELECT count(*) FROM content_uses")[0][0]


@pytest.mark.parametrize("content", KINDS)
def test_a_content_is_kept_as_it_is(storage, clock, staged, content):
    """Whatever bytes it holds, and if it is empty."""
    add(storage, clock.now, "a", input=content)
    job = storage.get("a")

    assert (storage.find_content(job.input_id), job.input_bytes) == (content, len(content))


def test_a_job_without_stdin_stores_nothing(storage, clock, staged):
    """That is usually so, and costs nothing."""
    add(storage, clock.now, "a", "b", "c")

    assert (storage.get("a").input_id, storage.get("a").input_bytes) == (None, None)
    assert (contents(storage), uses(storage)) == ([], 0)


def test_jobs_with_the_same_content_share_it(storage, clock, staged):
    """In one call and in several."""
    add(storage, clock.now, "a", "b", "c", input=b"x")
    add(storage, clock.now, "d", input=b"x")
    add(storage, clock.now, "e", input=b"y")

    assert contents(storage) == [(b"x", 4), (b"y", 1)]


def test_contents_with_the_same_checksum_are_told_apart(storage, clock):
    """The checksum only finds them; these two have the same CRC-32."""
    add(storage, clock.now, "a", input=b"plumless")
    add(storage, clock.now, "b", input=b"buckeroo")

    checksums = sql(storage, "SELECT DISTINCT checksum FROM contents")
    found = [storage.find_content(storage.get(job).input_id) for job in "ab"]
    assert (len(checksums), found) == (1, [b"plumless", b"buckeroo"])


def test_a_content_goes_with_the_last_job_that_uses_it(storage, clock, staged):
    """Pruning deletes it in the same transaction, and not before."""
    add(storage, clock.now, "a", "b", "c", input=b"x")
    for job in "ab":
        finish(storage, clock.now, job, JobState.COMPLETED)
    storage.prune(states=[JobState.COMPLETED], before=later(clock.now, 1))
    assert contents(storage) == [(b"x", 1)]

    finish(storage, clock.now, "c", JobState.DEAD)
    storage.prune(states=[JobState.DEAD], before=later(clock.now, 1))
    assert (contents(storage), uses(storage)) == ([], 0)


def test_an_edit_changes_the_content(storage, clock):
    """The old one goes; nothing else changes it."""
    add(storage, clock.now, "a", input=b"x")
    storage.edit(storage.get("a"), {"priority": 1}, now=clock.now)
    assert contents(storage) == [(b"x", 1)]

    edited = storage.edit(storage.get("a"), {"input": b"yy"}, now=clock.now)
    assert (contents(storage), edited.input_bytes) == ([(b"yy", 1)], 2)
    edited = storage.edit(edited, {"input": None}, now=clock.now)
    assert (contents(storage), edited.input_bytes) == ([], None)


@pytest.mark.parametrize("content", [None, b"new"])
def test_a_job_that_replaces_another_brings_its_own_content(storage, clock, staged, content):
    """Also in the same call, whose first job is replaced by its last one."""
    old = JobSpec(command="old", unique_key="k", input=b"old")
    new = JobSpec(command="new", unique_key="k", if_dup="replace", input=content)
    storage.enqueue([old], now=clock.now)
    storage.enqueue([new], now=clock.now)
    expected = [] if content is None else [(content, 1)]
    assert contents(storage) == expected

    storage.enqueue([old, JobSpec(command="x"), JobSpec(command="x"), new], now=clock.now)
    assert contents(storage) == expected


def test_what_is_not_enqueued_leaves_no_content(storage, clock, staged):
    """A spec whose key is held is skipped; an error takes everything back."""
    add(storage, clock.now, "a", unique_key="k")
    add(storage, clock.now, "b", unique_key="k", input=b"x")
    assert contents(storage) == []

    with pytest.raises(Exception, match="exists"):
        add(storage, clock.now, "c", "d", "a", input=b"x")
    assert (contents(storage), uses(storage)) == ([], 0)


def test_a_content_is_kept_while_a_staged_job_may_need_it(storage, clock):
    """The last job that uses it is pruned meanwhile; the stage is finished by another process."""
    add(storage, clock.now, "old", input=b"x")
    finish(storage, clock.now, "old", JobState.COMPLETED)
    leave_decided(
        storage, [JobSpec(command="true", id=i, input=b"x") for i in "abc"], now=clock.now
    )
    storage.prune(states=[JobState.COMPLETED], before=later(clock.now, 1))
    storage.finish_dead_stage(now=clock.now)

    assert contents(storage) == [(b"x", 3)]


def test_a_stage_that_is_discarded_takes_its_contents_with_it(storage, clock):
    """No job uses them."""
    leave_undecided(
        storage, [JobSpec(command="true", id=i, input=b"x") for i in "abc"], now=clock.now
    )
    assert contents(storage) == [(b"x", 0)]
    storage.finish_dead_stage(now=clock.now)

    assert (contents(storage), uses(storage)) == ([], 0)


@pytest.mark.parametrize("content", KINDS)
def test_a_content_travels_with_its_job(storage, clock, staged, content):
    """Text as text, other bytes as base64."""
    add(storage, clock.now, "a", "b", "c", input=content)
    lines = [to_line(one) for one in storage.export(Selection())]
    for job in "abc":
        finish(storage, clock.now, job, JobState.COMPLETED)
    storage.prune(states=[JobState.COMPLETED], before=later(clock.now, 1))
    arriving = [from_fields(parse_object(line), now=clock.now) for line in lines]
    storage.import_jobs(arriving, skip_existing=True, now=clock.now)

    assert contents(storage) == [(content, 3)]
    storage.import_jobs(arriving, skip_existing=True, now=clock.now)
    assert contents(storage) == [(content, 3)]
    assert storage.get("b").input_bytes == len(content)


def test_a_backup_has_the_contents(storage, clock, tmp_path):
    """Those of staged jobs only if the stage was decided."""
    add(storage, clock.now, "a", input=b"x")
    leave_undecided(storage, [JobSpec(command="true", id="b", input=b"y")], now=clock.now)
    storage.back_up(str(tmp_path / "copy.db"), now=clock.now)

    with closing(sqlite3.connect(str(tmp_path / "copy.db"))) as conn:
        assert conn.execute("SELECT content FROM contents").fetchall() == [(b"x",)]
        assert conn.execute("SELECT jobs FROM content_uses").fetchall() == [(1,)]


def test_a_claim_does_not_read_the_content(storage, clock):
    """It takes no statement more, and a worker holds a content only while it starts the job."""
    add(storage, clock.now, "a")
    add(storage, clock.now + timedelta(seconds=1), "b", input=b"x" * 100)
    without = statements(storage, lambda: storage.claim("w1", now=later(clock.now, 2)))
    with_input = statements(storage, lambda: storage.claim("w1", now=later(clock.now, 2)))

    assert len(with_input) == len(without)
    assert not any("input_id = " in statement for statement in with_input)


ENVIRON = {"PATH": "/bin", "FOO": "bar", "TERM": "xterm"}


def enqueue(storage, clock, *ids, environ=ENVIRON, **fields):
    specs = [JobSpec(command="true", id=job_id, **fields) for job_id in ids]
    storage.enqueue(specs, now=clock.now, environ=environ)


def test_an_environment_is_stored_once(storage, clock, staged):
    """For all jobs that took over the same variables, in one call or several."""
    enqueue(storage, clock, "a", "b", "c")
    enqueue(storage, clock, "d", env={"A": "1"})
    enqueue(storage, clock, "e", environ={**ENVIRON, "FOO": "other"})

    assert [jobs for _, jobs in contents(storage)] == [4, 1]
    assert sql(storage, "SELECT DISTINCT env FROM jobs ORDER BY env") == [('{"A": "1"}',), ("{}",)]
    assert dict(storage.get("a").env) == {"PATH": "/bin", "FOO": "bar"}
    assert storage.get("d").env == {"PATH": "/bin", "FOO": "bar", "A": "1"}
    assert storage.get("e").env == {"PATH": "/bin", "FOO": "other"}


def test_an_environment_goes_with_the_last_job(storage, clock, staged):
    """A terminal that was closed for long leaves nothing in the queue."""
    enqueue(storage, clock, "a", "b")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    storage.prune(states=[JobState.COMPLETED], before=later(clock.now, 1))
    assert [jobs for _, jobs in contents(storage)] == [1]

    finish(storage, clock.now, "b", JobState.COMPLETED)
    storage.prune(states=[JobState.COMPLETED], before=later(clock.now, 1))
    assert (contents(storage), uses(storage)) == ([], 0)


def test_an_edit_and_a_retry_keep_the_environment(storage, clock):
    """A variable that is given wins over one that was taken over, also if it is equal to it."""
    enqueue(storage, clock, "a", env={"FOO": "own"})
    storage.edit(storage.get("a"), {"env": {"PATH": "/other", "B": "2"}}, now=clock.now)
    assert storage.get("a").env == {"PATH": "/other", "FOO": "own", "B": "2"}
    storage.edit(storage.get("a"), {"env": {"FOO": "bar"}}, now=clock.now)
    assert storage.get("a").env == {"PATH": "/other", "FOO": "bar", "B": "2"}

    finish(storage, clock.now, "a", JobState.DEAD)
    storage.retry(storage.get("a"), now=clock.now)
    assert storage.get("a").env == {"PATH": "/other", "FOO": "bar", "B": "2"}
    assert storage.claim("w1", now=clock.now).job.env == storage.get("a").env
    assert [jobs for _, jobs in contents(storage)] == [1]


def test_a_replacement_brings_its_own_environment(storage, clock, staged):
    """The one of the job that it replaces goes."""
    enqueue(storage, clock, "a", unique_key="k")
    enqueue(storage, clock, None, unique_key="k", if_dup="replace", environ={"NEW": "1"})

    assert storage.get("a").env == {"NEW": "1"}
    assert contents(storage) == [(b'{"NEW": "1"}', 1)]


def test_an_environment_travels_with_its_job(storage, clock, staged):
    """Jobs that arrive share it as well."""
    enqueue(storage, clock, "a", "b", env={"A": "1"})
    lines = [to_line(one) for one in storage.export(Selection())]
    assert all('"env": {"A": "1"}' in line and '"captured": {' in line for line in lines)
    assert not any("captured" in to_line(one, mask_env=True) for one in storage.export(Selection()))
    before = contents(storage)
    for job in "ab":
        finish(storage, clock.now, job, JobState.COMPLETED)
    storage.prune(states=[JobState.COMPLETED], before=later(clock.now, 1))
    arriving = [from_fields(parse_object(line), now=clock.now) for line in lines]
    storage.import_jobs(arriving, skip_existing=False, now=clock.now)

    assert contents(storage) == before
    assert storage.get("b").env == {"PATH": "/bin", "FOO": "bar", "A": "1"}


def test_a_claim_takes_no_statement_more_for_the_environment(storage, clock):
    """It comes with the row of the job."""
    enqueue(storage, clock, "a", environ={})
    enqueue(storage, clock, "b")
    without = statements(storage, lambda: storage.claim("w1", now=later(clock.now, 2)))
    with_it = statements(storage, lambda: storage.claim("w1", now=later(clock.now, 2)))

    assert len(with_it) == len(without)


def test_each_job_of_a_series_gets_its_own_environment(storage, clock):
    """One that is that of the job before is not read anew; others and missing ones are told apart.

    A job whose environment was removed meanwhile by another program is set aside.
    """
    other = {"FOO": "other"}
    for job, environ in zip("abcdef", (ENVIRON, ENVIRON, other, {}, other, ENVIRON)):
        enqueue(storage, clock, job, environ=environ)
    enqueue(storage, clock, "g", environ=ENVIRON, env={"FOO": "own"})
    with storage._transaction() as conn:
        conn.execute(
            "DELETE FROM contents WHERE id = (SELECT captured_id FROM jobs WHERE id = 'e')"
        )

    claim, got = storage.claim("w1", now=clock.now), {}
    while claim is not None:
        got[claim.job.id] = dict(claim.job.env)
        ended = (Outcome(OutcomeKind.OK, exit_code=0), Verdict(JobState.COMPLETED))
        _, claim = storage.record_and_claim(claim, *ended, "w1", now=clock.now)

    shared = {"PATH": "/bin", "FOO": "bar"}
    own = {"PATH": "/bin", "FOO": "own"}
    assert got == {"a": shared, "b": shared, "d": {}, "f": shared, "g": own}


def test_an_environment_of_a_transaction_that_was_undone_is_forgotten(storage, clock):
    """Its number is given to another content then."""
    enqueue(storage, clock, "a", environ={"A": "1"})
    ended = (Outcome(OutcomeKind.OK, exit_code=0), Verdict(JobState.COMPLETED))
    claim = storage.claim("w1", now=clock.now)

    def undo():
        with storage.batch():
            enqueue(storage, clock, "b", environ={"UNDONE": "1"})
            storage.record_and_claim(claim, *ended, "w1", now=clock.now)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        undo()
    enqueue(storage, clock, "c", environ={"C": "1"})

    _, claim = storage.record_and_claim(claim, *ended, "w1", now=clock.now)
    assert (claim.job.id, dict(claim.job.env)) == ("c", {"C": "1"})


def test_a_large_environment_is_refused(storage, clock):
    """The largest variables are named; what --env gives has limits of its own."""
    environ = {f"V{n}": "x" * 100_000 for n in range(11)}
    environ["LARGEST"] = "x" * 110_000
    with pytest.raises(InvalidInput) as refused:
        enqueue(storage, clock, "a", environ=environ)

    assert str(refused.value) == (
        "the environment is larger than 1 MiB, and a job keeps it; the largest are LARGEST (110007"
        " bytes), V10 (100003 bytes), V0 (100002 bytes) (unset them, or name in the key capture-env"
        " those that jobs need)"
    )
    storage.set_key("capture-env", "PATH")
    enqueue(storage, clock, "a", environ=environ)


def test_a_shared_queue_keeps_only_path(storage, clock):
    """Others may read it. Whoever wants more says so."""
    files = storage.files._replace(allow_shared=True)
    with closing(Storage.open(files)) as shared:
        enqueue(shared, clock, "a")
        assert shared.get("a").env == {"PATH": "/bin"}
        shared.set_key("capture-env", "*")
        enqueue(shared, clock, "b")
        assert shared.get("b").env == {"PATH": "/bin", "FOO": "bar"}


@pytest.mark.parametrize(
    "damage",
    ["DELETE FROM contents", "UPDATE contents SET content = '[]'",
     "UPDATE contents SET content = x'ff'", "UPDATE jobs SET captured_id = 'x' WHERE id = 'a'"],
)  # fmt: skip
def test_a_job_without_its_environment_does_not_run(storage, clock, damage):
    """Another program has removed it: the job is set aside, since it would do something else."""
    enqueue(storage, clock, "a")
    enqueue(storage, clock, "b", environ={})
    with storage._transaction() as conn:
        conn.execute(damage)

    assert storage.claim("w1", now=clock.now).job.id == "b"
    job = storage.get("a")
    assert (job.state, job.env) == (JobState.DEAD, {})
    assert str(job.last_error).startswith("another program wrote what cannot be read: captured_id")


def test_a_content_is_found_by_an_index(storage, clock):
    """Else each enqueue would read all contents."""
    with storage._transaction() as conn:
        traced = []
        conn.set_trace_callback(traced.append)
        intern(conn, b"x")
        conn.set_trace_callback(None)
        (query,) = [text for text in traced if "SELECT id" in text]
        plan = " ".join(row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {query}"))

    assert "USING INDEX contents_checksum" in plan


def test_an_input_is_stored_again_after_a_replacement_in_the_same_call(storage, clock):
    """Prevents a bug: the third job had an input that the second one had let be deleted."""
    first, _, third = storage.enqueue(
        [
            JobSpec(command="a", unique_key="k", input=b"x"),
            JobSpec(command="b", unique_key="k", if_dup="replace"),
            JobSpec(command="c", input=b"x"),
        ],
        now=clock.now,
    )
    assert storage.get(first.id).input_id is None
    input_id = storage.get(third.id).input_id
    assert input_id is not None
    assert storage.find_content(input_id) == b"x"

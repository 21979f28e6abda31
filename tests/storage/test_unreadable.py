"""Rows that another program wrote and that cannot be read: they stop nobody else."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timezone

import pytest

from queuectl.core.errors import QueueUnusable, UnreadableRow
from queuectl.core.hooks import NewHook
from queuectl.core.models import JobKey, OutcomeKind, Recorded, Selection
from queuectl.host import wakeup
from queuectl.storage.for_workers import WorkerStorage
from queuectl.storage.outlook import Outlooks
from support.clock import noon
from support.odd_values import damage
from support.outcomes import COMPLETED, EXIT_1, INTERRUPTED, OK, WITH_TAIL, retry_at
from support.rows import add, sql
from support.schedules import add_schedule

_NOT_UTF8 = "CAST(x'61ff62' AS TEXT)"
_BLOB = "x'6162'"
EVER = datetime(1970, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def worker(storage):
    """The same queue as a worker opens it."""
    opened = WorkerStorage.open(storage.files, write=True)
    yield opened
    opened.close()


def _damage(storage, column, value):
    """Write what no constraint of the table would allow."""
    sql(storage, f"UPDATE jobs SET {column} = {value} WHERE id = 'a'")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((name, _NOT_UTF8) for name in ("command", "label", "cwd", "last_error", "env")),
        ("priority", _NOT_UTF8),
        *((name, _BLOB) for name in ("command", "label", "id", "created_at", "env")),
        *((name, "'x'") for name in ("priority", "attempts", "max_retries", "timeout", "id_made")),
        *((name, "'yesterday'") for name in ("created_at", "updated_at", "run_at")),
        ("env", "'[1, 2'"),
        ("env", "'{\"A\": 1}'"),
        ("env", f"'{'[' * 100_000}'"),
        ("attempts", "9223372036854775807"),
        ("timeout", "9e999"),
        ("retry_delay", "-1"),
        ("retry_delay", "'x'"),
        ("backoff", "0.5"),
        ("backoff", "9e999"),
        ("exit_code", "1.5"),
    ],
)  # fmt: skip
def test_the_claim_sets_a_job_aside_that_cannot_be_read(storage, worker, clock, column, value):
    """It is dead with the reason, everybody can read it again, and the next job runs.

    Prevents a bug: it stayed at the head of the queue, and each worker crashed on it.
    """
    add(storage, clock.now, "a", "b")
    seq = storage.get("a").seq
    _damage(storage, column, value)
    claim = worker.claim("w1", now=clock.now)

    assert claim is not None
    assert claim.job.id == "b"
    job = _by_seq(storage, seq)
    assert (job.state.value, job.finished_at) == ("dead", clock.now)
    assert job.last_error == f"another program wrote what cannot be read: {column}"


def _by_seq(storage, seq):
    return next(job for job in storage.jobs(Selection()) if job.seq == seq)


@pytest.mark.parametrize("queues", [(), ("x", "y")])
def test_only_the_job_that_cannot_be_read_is_set_aside(storage, worker, clock, queues):
    """Prevents a bug: the best job was set aside if the first job of another queue was odd."""
    add(storage, clock.now, "a", queue="x")
    add(storage, clock.now, "good", queue="y")
    add(storage, clock.now, "best", queue="y", priority=5)
    _damage(storage, "label", _NOT_UTF8)

    claims = [worker.claim("w1", queues, now=clock.now) for _ in range(3)]
    assert [claim and claim.job.id for claim in claims] == ["best", "good", None]
    assert storage.get("a").last_error == "another program wrote what cannot be read: label"


def test_a_paused_job_that_cannot_be_read_stops_no_other_job(storage, worker, clock):
    """Prevents a bug: its queue kept a head that no claim could read."""
    add(storage, clock.now, "a", "b", queue="x")
    add(storage, clock.now, "c", queue="y")
    storage.pause(storage.get("a"), now=clock.now, clock=0.0)
    _damage(storage, "priority", _NOT_UTF8)
    sql(storage, f"UPDATE job_counts SET head_priority = {_NOT_UTF8} WHERE queue = 'x'")

    claims = [worker.claim("w1", now=clock.now) for _ in range(3)]
    assert [claim and claim.job.id for claim in claims] == ["b", "c", None]


def test_a_queue_whose_jobs_are_paused_keeps_its_head(storage, worker, clock):
    """Prevents a bug: after `resume` its jobs came after those of all other queues."""
    for queue, odd, *others in (("x", "a", "b", "c"), ("y", "odd", "d", "e")):
        add(storage, clock.now, odd, *others, queue=queue)
        sql(storage, f"UPDATE jobs SET priority = {_NOT_UTF8} WHERE id = ?", odd)
        sql(storage, "DELETE FROM jobs WHERE id = ?", odd)
    for job in ("b", "c"):
        storage.pause(storage.get(job), now=clock.now, clock=0.0)

    first = worker.claim("w1", now=clock.now)
    storage.resume(storage.get("b"), now=clock.now, clock=0.0)
    then = [worker.claim("w1", now=clock.now) for _ in range(2)]
    assert [claim.job.id for claim in (first, *then)] == ["d", "b", "e"]


@pytest.mark.parametrize("column", ["worker", "left_processes"])
@pytest.mark.parametrize("value", [_NOT_UTF8, _BLOB, f"'{'[' * 100_000}'"])
def test_an_odd_earlier_attempt_keeps_no_job_from_running(storage, worker, clock, column, value):
    """Prevents a bug: each worker failed at each claim."""
    add(storage, clock.now, "a")
    worker.record(worker.claim("w1", now=clock.now), EXIT_1, retry_at(clock.now), now=clock.now)
    sql(storage, f"UPDATE executions SET {column} = {value}")

    claim = worker.claim("w1", now=clock.now)
    assert (claim.job.id, claim.job.attempts, claim.left_processes) == ("a", 2, ())


def test_a_job_that_waits_for_it_can_be_seen_to_wait(storage, worker, clock):
    """Its death counts as that of any other job."""
    add(storage, clock.now, "a")
    add(storage, clock.now, "c", after=("a",))
    _damage(storage, "label", _NOT_UTF8)

    assert worker.claim("w1", now=clock.now) is None
    assert storage.first_stuck().id == "c"
    assert storage.bad_ends() == 1
    assert storage.miscounts() == []


@pytest.mark.parametrize(
    ("damage", "unreadable"),
    [
        (f"jobs SET cwd = {_NOT_UTF8}", "cwd"),
        (f"executions SET worker = {_NOT_UTF8}", "execution_id"),
        (f"executions SET worker = {_BLOB}", "execution_id"),
        ("executions SET worker = '../x-1'", "execution_id"),
    ],
)
def test_a_running_job_is_set_aside_with_its_attempt(storage, worker, clock, damage, unreadable):
    """A worker that died cannot be recovered otherwise."""
    add(storage, clock.now, "a")
    claim = worker.claim("w-1", now=clock.now)
    sql(storage, f"UPDATE {damage}")
    with pytest.raises(UnreadableRow):
        worker.held_by("w-1")

    assert worker.set_aside_held_by("w-1", now=clock.now) == [claim.execution_id]
    job = storage.get("a")
    assert job.state.value == "dead"
    assert job.last_error == f"another program wrote what cannot be read: {unreadable}"
    assert sql(storage, "SELECT outcome FROM executions") == [("lost",)]
    assert worker.held_by("w-1") is None


@pytest.mark.parametrize("ends", ["record", "release", "unclaim"])
def test_the_row_of_a_running_job_breaks_a_constraint(storage, worker, clock, ends):
    """It is set aside, and its worker goes on.

    Prevents a bug: the pool left, because it could not record the end of the attempt.
    """
    add(storage, clock.now, "a", "b")
    claim = worker.claim("w-1", now=clock.now)
    damage(storage, "jobs", "cancel_requested", "'x'", "id = 'a'")
    if ends == "record":
        recorded = worker.record(claim, OK, COMPLETED, now=clock.now)
    elif ends == "release":
        recorded = worker.release(claim, INTERRUPTED, now=clock.now)
    else:
        recorded = worker.unclaim(claim, now=clock.now)

    job = storage.get("a")
    assert (recorded, job.state.value) == (Recorded.SUPERSEDED, "dead")
    assert job.last_error == "another program wrote what cannot be read: cancel_requested"
    assert worker.claim("w-1", now=clock.now).job.id == "b"


@pytest.mark.parametrize("column", ["finished_at", "execution_id", "locked_by"])
def test_a_due_job_that_cannot_become_pending_is_set_aside(storage, worker, clock, column):
    """Prevents a bug: no due job became pending any more, and workers left."""
    add(storage, clock.now, "a", "b", run_at=clock.tick(60))
    damage(storage, "jobs", column, "7", "id = 'a'")
    now = clock.tick(61)

    assert worker.claim("w-1", now=now).job.id == "b"
    assert storage.get("a").state.value == "dead"


def test_a_dependant_that_cannot_become_pending_is_set_aside(storage, worker, clock):
    """Prevents a bug: the job that it waited for could not be recorded."""
    add(storage, clock.now, "a")
    add(storage, clock.now, "b", "c", after=("a",))
    damage(storage, "jobs", "finished_at", "'x'", "id = 'b'")
    claim = worker.claim("w-1", now=clock.now)

    assert worker.record(claim, OK, COMPLETED, now=clock.now) is Recorded.DONE
    assert [storage.get(name).state.value for name in "abc"] == ["completed", "dead", "pending"]


def test_a_blocked_job_that_waits_for_nothing_is_exported(storage, clock):
    """Prevents a bug: the export read this job again and again, and never ended."""
    add(storage, clock.now, "a")
    add(storage, clock.now, "b", after=("a",))
    damage(storage, "dependencies", "job_seq", "'x'")

    assert [one.job.id for one in storage.export(Selection())] == ["a", "b"]


def test_a_schedule_recovers_from_a_job_that_was_set_aside(storage, worker, clock):
    """Prevents a bug: its death was not noted at the schedule."""
    add_schedule(storage.files, "nightly", now=clock.now)
    storage.add_hook(NewHook("ops", ("recovered",), command="notify"), now=clock.now)
    for job in ("a", "b"):
        add(storage, clock.now, job)
        sql(storage, "UPDATE jobs SET schedule = 'nightly' WHERE id = ?", job)
    _damage(storage, "label", _NOT_UTF8)

    claim = worker.claim("w1", now=clock.now)
    worker.record(claim, OK, COMPLETED, now=clock.now)

    assert (claim.job.id, last_ended(storage)) == ("b", "completed")
    (job,) = storage.hook_jobs("ops", most=2)
    assert job.env["QUEUECTL_EVENT"] == "schedule.recovered"


def last_ended(storage):
    [(state,)] = sql(storage, "SELECT last_ended FROM schedules")
    return state


def test_a_hook_knows_of_its_job_that_was_set_aside(storage, worker, clock):
    """Prevents a bug: the failures of a hook were those of attempts alone."""
    storage.add_hook(NewHook("ops", ("dead",), command="notify"), now=clock.now)
    add(storage, clock.now, "a")
    sql(storage, "UPDATE jobs SET hook = 'ops', label = x'6162'")

    assert worker.claim("w1", now=clock.now) is None
    hook = storage.hook("ops")
    assert (hook.failures, hook.last_delivery_at) == (1, clock.now)
    assert hook.last_result == "another program wrote what cannot be read: label"


@pytest.mark.parametrize("state", ["pending", "scheduled", "processing", "nobody's"])
def test_workers_are_woken_for_what_a_job_that_was_set_aside_leads_to(
    storage, worker, clock, monkeypatch, state
):
    """Prevents a bug: a job that waited for its end waited for the next look, up to a second."""
    add(storage, clock.now, "a", run_at=clock.tick(60) if state == "scheduled" else None)
    add(storage, clock.now, "then", queue="mail", after_any=("a",))
    if state in ("processing", "nobody's"):
        worker.claim("w1", ("default",), now=clock.now)
    _damage(storage, "run_at" if state == "scheduled" else "label", _BLOB)
    woken = []
    monkeypatch.setattr(wakeup, "wake_up", lambda *_: woken.append(storage.get("then").state.value))
    if state == "nobody's":
        _damage(storage, "locked_by", "'no worker'")
        worker.set_aside_ownerless(now=clock.now)
    elif state == "processing":
        worker.set_aside_held_by("w1", now=clock.now)
    elif state == "scheduled":
        worker.set_aside_undue(now=clock.now)
    else:
        assert worker.claim("w1", ("default",), now=clock.now) is None

    assert (storage.get("a").state.value, woken) == ("dead", ["pending"])


def test_people_see_text_that_is_not_utf8(storage, clock):
    """A command that only shows the job needs no correct bytes."""
    add(storage, clock.now, "a")
    _damage(storage, "label", _NOT_UTF8)

    assert storage.get("a").label == "a\ufffdb"


@pytest.mark.parametrize("text", ["''", "'0'", "'yesterday'", _BLOB])
def test_a_time_that_cannot_be_read_keeps_no_worker_busy(storage, worker, clock, text):
    """Each worker looks at the first time that is due, again and again.

    Prevents a bug: a job that waited for no time kept all others waiting.
    """
    add(storage, clock.now, "a", run_at=clock.tick(60))
    add(storage, clock.now, "b")
    _damage(storage, "run_at", text)

    assert worker.claim("w1", now=clock.now).job.id == "b"
    ready = worker.ready((), now=clock.now)
    assert not ready.now or worker.claim("w1", now=clock.now) is None
    assert not worker.ready((), now=clock.now).now


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("attempt", "'x'", 0),
        ("started_at", "'x'", EVER),
        ("worker", _BLOB, "unknown"),
        ("worker", "'../x-1'", "unknown"),
        ("seconds", "'long'", None),
        ("seconds", "-1", None),
        ("seconds", "9e999", None),
        ("pid", "'x'", None),
        ("outcome", _BLOB, OutcomeKind.LOST),
        ("output_tail", "7", b""),
    ],
)
def test_an_attempt_is_shown_as_far_as_it_can_be_read(storage, clock, column, value, shown):
    """Prevents a bug: nothing of its job was shown, only an error."""
    add(storage, clock.now, "a")
    storage.record(storage.claim("w1", now=clock.now), WITH_TAIL, COMPLETED, now=clock.now)
    (good,) = storage.executions(JobKey(1, "a"))
    damage(storage, "executions", column, value)

    (odd,) = storage.executions(JobKey(1, "a"))
    if column == "output_tail":
        assert odd == good._replace(output=good.output._replace(tail=shown))
    else:
        assert odd == good._replace(**{column: shown})
    assert storage.last_execution(JobKey(1, "a")) == odd
    ((_, last),) = storage.with_last_runs(storage.jobs(Selection()))
    assert (last.started_at, last.seconds, last.output_bytes) == (odd.started_at, odd.seconds, 5)


def test_an_odd_worker_is_left_out(storage, clock):
    """Its lock file still proves that it lives."""
    sql(storage, "INSERT INTO workers VALUES ('w1', 's', 'x', NULL, NULL, 'h', '[]', 'now')")

    assert storage.workers() == []


def test_an_error_of_a_damaged_file_is_translated(tmp_path, storage, clock):
    """SQLite's own class of error never comes out."""
    sql(storage, "ALTER TABLE executions RENAME COLUMN worker TO w")
    with pytest.raises(QueueUnusable, match="no such column"):
        storage.log_writers()


@pytest.mark.parametrize("text", ["'yesterday'", _NOT_UTF8, _BLOB, "'9'", "'2031-02-30T00:00'"])
@pytest.mark.parametrize("state", ["scheduled", "failed"])
def test_a_job_that_would_never_be_due_is_set_aside(storage, worker, clock, state, text):
    """A drain waits for failed jobs, so it would never end."""
    add(storage, clock.now, "a", "b", run_at=clock.tick(60))
    sql(storage, f"UPDATE jobs SET state = '{state}'")
    _damage(storage, "run_at", text)

    assert worker.set_aside_undue(now=clock.now) == 1
    assert worker.set_aside_undue(now=clock.now) == 0
    job = storage.get("a")
    assert (job.state.value, job.run_at) == ("dead", None)
    assert job.last_error == "another program wrote what cannot be read: run_at"
    assert storage.get("b").state.value == state


def test_a_time_in_the_format_of_sqlite_is_waited_for(storage, worker, clock):
    """It can be read, though queuectl writes another one."""
    add(storage, clock.now, "a", run_at=clock.tick(60))
    _damage(storage, "run_at", "'2031-01-31 12:00:00'")

    assert worker.set_aside_undue(now=clock.now) == 0


@pytest.mark.parametrize("owner", ["'nobody'", "'../x-1'", _NOT_UTF8, _BLOB, "''"])
def test_a_running_job_of_nobody_is_set_aside(storage, worker, clock, owner):
    """No lock file can tell whether such a worker is alive, so nobody would end the job.

    Prevents a bug: a drain waited for it without end.
    """
    add(storage, clock.now, "a", "b")
    claim = worker.claim("abc-1", now=clock.now)
    worker.claim("abc-2", now=clock.now)
    _damage(storage, "locked_by", owner)

    assert worker.set_aside_ownerless(now=clock.now) == [claim.execution_id]
    assert worker.set_aside_ownerless(now=clock.now) == []
    job = storage.get("a")
    assert job.state.value == "dead"
    assert job.last_error == "another program wrote what cannot be read: locked_by"
    assert storage.get("b").state.value == "processing"


@pytest.mark.parametrize("damage", ["DELETE FROM executions", "UPDATE jobs SET execution_id = 77"])
def test_a_running_job_without_its_attempt_is_set_aside(storage, worker, clock, damage):
    """Its result could not be recorded."""
    add(storage, clock.now, "a")
    worker.claim("abc-1", now=clock.now)
    sql(storage, damage)
    with pytest.raises(UnreadableRow):
        worker.held_by("abc-1")
    worker.set_aside_held_by("abc-1", now=clock.now)

    assert storage.get("a").last_error == "another program wrote what cannot be read: execution_id"


@pytest.mark.parametrize("value", [_BLOB, _NOT_UTF8, "'abc'", "x'ff'"])
def test_a_setting_that_cannot_be_read_counts_as_unset(storage, worker, value):
    """Prevents a bug: workers could not claim any more, or crashed, as did every `enqueue`."""
    sql(storage, f"INSERT INTO config (key, value) VALUES ('kill-grace', {value})")

    for opened in (storage, worker):
        assert opened.settings().kill_grace == 10
        assert opened.unreadable_settings() == ["kill-grace"]


def test_an_odd_worker_does_not_hide_the_others(worker, storage, clock):
    """Prevents a bug: no dead worker was recovered any more."""
    sql(storage, f"INSERT INTO workers VALUES ('w', 's', 1, 1, 'b', {_NOT_UTF8}, '[]', 'now')")

    assert worker.workers() == []
    assert worker.orphans() == []


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("name", "x'6d'", ("m", noon(0), "ann", "r", 3)),
        ("paused_at", "'x'", ("mail", EVER, "ann", "r", 3)),
        ("paused_by", "x'62'", ("mail", noon(0), "b", "r", 3)),
        ("pause_reason", "x'62'", ("mail", noon(0), "ann", "b", 3)),
        ("job_limit", "'x'", ("mail", noon(0), "ann", "r", None)),
    ],
)
def test_an_odd_queue_is_shown_beside_the_others(storage, column, value, shown):
    """Prevents a bug: `status`, `queue list` and `metrics` were an error."""
    add(storage, noon(0), "a")
    storage.pause_queue("mail", by="ann", reason="r", now=noon(0))
    storage.limit_queue("mail", 3)
    sql(storage, f"UPDATE queues SET {column} = {value}")

    default, odd = storage.queues()
    assert (default.name, default.paused) == ("default", False)
    assert (odd.name, odd.paused_at, odd.paused_by, odd.pause_reason, odd.limit) == shown
    figures = storage.figures(now=noon(0))
    assert [(queue.name, queue.paused, queue.limit) for queue in figures.queues] == [
        ("default", False, None),
        (shown[0], True, shown[4]),
    ]
    with closing(Outlooks.open(storage.files)) as opened:
        assert list(opened.outlook(1, 1).pauses.values()) == [shown[1]]


def test_odd_counts_of_rules_are_no_figures(storage):
    """Prevents a bug: `metrics` was an error."""
    add_schedule(storage.files, "s", now=noon(0))
    storage.add_hook(NewHook("ops", ("dead",), command="notify"), now=noon(0))
    sql(storage, "UPDATE schedules SET made = 'x', overlapped = x'31', missed_count = 7")
    sql(storage, "UPDATE hooks SET failures = 'x'")

    figures = storage.figures(now=noon(0))
    assert [one.ticks for one in figures.schedules] == [{"made": 0, "overlapped": 0, "missed": 7}]
    assert [one.failures for one in figures.hooks] == [0]

"""Firing hooks: which jobs are stored with what a transaction records, and what these get."""

from __future__ import annotations

import json
import sys

import pytest

from queuectl.core.errors import HookExists, NoSuchHook, QueueUnusable, SecretChanged
from queuectl.core.hooks import NewHook, parse_events
from queuectl.core.models import Job, Outcome, OutcomeKind, Recorded, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.storage.for_workers import WorkerStorage
from queuectl.storage.hook_rules import AllHooks
from queuectl.storage.hooks import Missed, fire_missed
from support.clock import later
from support.outcomes import COMPLETED, DEAD, EXIT_1, INTERRUPTED, OK, retry_at
from support.rows import add, finish, sql
from support.schedules import add_schedule

CANCELLED = Verdict(JobState.CANCELLED, last_error="cancelled")


def rule(storage, clock, events, name="ops", **fields):
    """Add a hook that reports these events."""
    fields.setdefault("command", "notify")
    storage.add_hook(NewHook(name, parse_events(events), **fields), now=clock.now)


def hook_jobs(storage):
    """Return the jobs of hooks, in the order of entry."""
    rows = sql(storage, "SELECT id FROM jobs WHERE hook IS NOT NULL ORDER BY seq")
    return [storage.get(job_id) for (job_id,) in rows]


def fired(storage):
    """Return which hook reported which event of which job."""
    return [
        (job.hook, job.env["QUEUECTL_EVENT"], job.env.get("QUEUECTL_PARENT_ID"))
        for job in hook_jobs(storage)
    ]


def payload(storage, job):
    """Return what the job of a hook reads from its stdin."""
    content = storage.find_content(job.input_id)
    assert job.input_bytes == len(content)
    return json.loads(content)


def set_column(storage, job_id, **columns):
    """Give a job what cannot be given to it through the storage."""
    for name, value in columns.items():
        sql(storage, f"UPDATE jobs SET {name} = ? WHERE id = ?", value, job_id)


@pytest.mark.parametrize(
    ("outcome", "verdict", "event"),
    [
        (OK, COMPLETED, "job.completed"),
        (EXIT_1, DEAD, "job.dead"),
        (Outcome(OutcomeKind.CANCELLED, signal=15, reason="x"), CANCELLED, "job.cancelled"),
    ],
)
def test_the_end_of_a_job_is_reported_with_its_result(storage, clock, outcome, verdict, event):
    """The hook's job is there as soon as the result is, and says all about it."""
    rule(storage, clock, "finished", cwd="/tmp", env='{"A": "1"}', timeout=7.0, max_retries=4)
    add(storage, clock.now, "a", queue="mail", label="$(touch x)")
    claim = storage.claim("w1", now=clock.now)
    storage.record(claim, outcome, verdict, now=clock.tick(3))

    (job,) = hook_jobs(storage)
    assert fired(storage) == [("ops", event, "a")]
    assert (job.queue, job.priority, job.command) == ("mail/hooks", 1000, "notify")
    assert (job.state, job.timeout, job.max_retries) == (JobState.PENDING, 7.0, 4)
    assert (job.cwd, job.env["A"], job.hook_of) == ("/tmp", "1", claim.job.seq)
    assert job.env["QUEUECTL_PARENT_LABEL"] == "$(touch x)"
    assert job.env["QUEUECTL_PARENT_STATE"] == verdict.state.value
    assert job.env["QUEUECTL_EVENT_ID"] == job.event_id
    assert job.event_id.startswith("evt_")
    assert len(job.event_id) == 28
    message = payload(storage, job)
    assert message["type"] == event
    assert message["data"]["id"] == "a"
    assert message["data"]["state"] == verdict.state.value
    assert message["data"]["execution"]["outcome"] == outcome.kind.value
    assert message["data"]["execution"]["id"] == claim.execution_id


def test_the_jobs_of_hooks_are_counted_as_enqueued(storage, clock):
    """Otherwise more would end in a lane than came in."""
    rule(storage, clock, "completed")
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    counted = {(one.queue, one.event): one.times for one in storage.totals()}
    assert counted["default/hooks", "enqueued"] == 1


def test_an_attempt_that_is_followed_by_another_is_reported_as_failed(storage, clock):
    """A rule on `dead` hears nothing of it."""
    rule(storage, clock, "failed", "each")
    rule(storage, clock, "dead", "last")
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    storage.record(claim, EXIT_1, retry_at(later(clock.now, 2)), now=clock.now)
    assert fired(storage) == [("each", "job.failed", "a")]


def test_a_released_job_is_not_reported(storage, clock):
    """It has not ended, nor failed."""
    rule(storage, clock, ",".join(("finished", "failed", "drained")))
    add(storage, clock.now, "a")
    storage.release(storage.claim("w1", now=clock.now), INTERRUPTED, now=clock.now)
    assert fired(storage) == []


def test_a_job_brings_hooks_of_its_own(storage, clock):
    """They run where the job ran, with its variables, and as often as the configuration says."""
    storage.set_key("hook-max-retries", "9")
    add(storage, clock.now, "a", "b", cwd="/tmp", env={"A": "1"})
    for job_id in ("a", "b"):
        set_column(storage, job_id, on_success="good", on_failure="bad", on_finish="over")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    jobs = hook_jobs(storage)
    assert [(job.hook, job.command) for job in jobs] == [
        ("on-success", "good"),
        ("on-finish", "over"),
    ]
    assert {(job.cwd, job.env["A"], job.max_retries, job.timeout) for job in jobs} == {
        ("/tmp", "1", 9, 60.0)
    }
    storage.cancel(jobs[0], now=clock.now)
    storage.cancel(jobs[1], now=clock.now)
    finish(storage, clock.now, "b", JobState.DEAD)
    assert [job.command for job in hook_jobs(storage)[2:]] == ["bad", "over"]


def test_a_waiting_job_that_is_cancelled_is_reported(storage, clock):
    """Also if it is cancelled, retried and cancelled again."""
    rule(storage, clock, "cancelled")
    add(storage, clock.now, "a")
    storage.cancel(storage.get("a"), reason="why", now=clock.now)
    storage.retry(storage.get("a"), now=clock.tick(1))
    storage.cancel(storage.get("a"), now=clock.tick(1))
    assert fired(storage) == [("ops", "job.cancelled", "a")] * 2
    first, second = hook_jobs(storage)
    assert first.event_id != second.event_id
    assert payload(storage, first)["data"]["cancel_reason"] == "why"


def test_a_running_job_that_is_cancelled_says_why(storage, clock):
    """The reason came after the job was claimed."""
    rule(storage, clock, "cancelled")
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    storage.cancel(storage.get("a"), reason="too slow", now=clock.now)
    outcome = Outcome(OutcomeKind.CANCELLED, signal=15, reason="cancelled")
    storage.record(claim, outcome, CANCELLED, now=clock.now)
    (job,) = hook_jobs(storage)
    assert payload(storage, job)["data"]["cancel_reason"] == "too slow"


def test_a_job_that_cannot_be_read_is_reported_as_dead(storage, clock):
    """It is set aside, and somebody should know."""
    rule(storage, clock, "dead")
    add(storage, clock.now, "a")
    set_column(storage, "a", env="no json")
    storage.claim("w1", now=clock.now)
    assert fired(storage) == [("ops", "job.dead", "a")]


@pytest.mark.parametrize(
    ("fields", "queue", "label", "schedule", "reports"),
    [
        ({}, "mail", None, None, True),
        ({"queues": ("mail", "web")}, "mail", None, None, True),
        ({"queues": ("web",)}, "mail", None, None, False),
        ({"labels": "sync*"}, "mail", "sync-1", None, True),
        ({"labels": "sync*"}, "mail", None, None, False),
        ({"labels": "sync*"}, "mail", "async", None, False),
        ({"schedules": "*"}, "mail", None, None, False),
        ({"schedules": "night*"}, "mail", None, "nightly", True),
        ({"schedules": "night*"}, "mail", None, "daily", False),
    ],
)
def test_a_rule_is_about_some_jobs(storage, clock, fields, queue, label, schedule, reports):
    """By queue, by a pattern of labels, by a pattern of schedules; all must fit."""
    rule(storage, clock, "completed", **fields)
    add(storage, clock.now, "a", queue=queue, label=label)
    set_column(storage, "a", schedule=schedule)
    finish(storage, clock.now, "a", JobState.COMPLETED)
    assert bool(fired(storage)) is reports


def test_the_job_of_a_hook_has_no_hooks(storage, clock):
    """Otherwise there would be no end of it; its result is noted at the rule."""
    rule(storage, clock, "finished,failed,drained")
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    assert len(hook_jobs(storage)) == 2
    for number in range(2):
        claim = storage.claim("w1", now=clock.tick(1))
        assert claim.job.hook == "ops"
        outcome, verdict = (EXIT_1, DEAD) if number == 0 else (OK, COMPLETED)
        storage.record(claim, outcome, verdict, now=clock.now)
        hook = storage.hook("ops")
        assert (hook.failures, hook.last_delivery_at) == (1 - number, clock.now)
        assert hook.last_result == ("exit 1" if number == 0 else "ok")
    assert len(hook_jobs(storage)) == 2


def test_a_cancelled_job_of_a_hook_is_no_failure(storage, clock):
    """Prevents a bug: a hook that had been paused counted as failing after it was resumed."""
    rule(storage, clock, "completed")
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    claim = storage.claim("w1", now=clock.tick(1))
    storage.record(claim, EXIT_1, CANCELLED, now=clock.now)

    hook = storage.hook("ops")
    assert (hook.failures, hook.last_delivery_at, hook.last_result) == (0, clock.now, "cancelled")


def test_a_job_behind_five_hooks_has_none(storage, clock, logged):
    """A hook that enqueues a job with a hook that enqueues a job … ends."""
    rule(storage, clock, "completed")
    add(storage, clock.now, "a", "b")
    set_column(storage, "a", hook_depth=4)
    set_column(storage, "b", hook_depth=5, priority=-1)
    finish(storage, clock.now, "a", JobState.COMPLETED)
    (job,) = hook_jobs(storage)
    assert (job.hook_depth, job.env["QUEUECTL_HOOK_DEPTH"]) == (5, "5")
    storage.record(storage.claim("w1", now=clock.now), OK, COMPLETED, now=clock.now)
    finish(storage, clock.now, "b", JobState.COMPLETED)
    assert hook_jobs(storage) == [storage.get(job.id)]
    assert "the hooks of b are not run: 5 hooks in a row led to it" in "\n".join(logged)


def test_a_queue_is_drained_with_its_last_job(storage, clock):
    """What waits for a time or another job does not count; what ends later is another drain."""
    rule(storage, clock, "drained")
    add(storage, clock.now, "a", "b", queue="mail")
    add(storage, clock.now, "other")
    add(storage, clock.now, "later", queue="mail", run_at=later(clock.now, 60))
    finish(storage, clock.now, "a", JobState.COMPLETED)
    assert fired(storage) == []
    finish(storage, clock.now, "b", JobState.DEAD)
    assert fired(storage) == [("ops", "queue.drained", "b")]
    storage.cancel(storage.get("later"), now=clock.now)
    assert len(fired(storage)) == 1
    add(storage, clock.now, "c", queue="mail")
    storage.cancel(storage.get("c"), now=clock.now)
    assert fired(storage)[1:] == [("ops", "queue.drained", "c")]


def test_a_queue_is_not_drained_while_its_last_job_frees_another(storage, clock):
    """The job that waited for it is claimable in the same transaction."""
    rule(storage, clock, "drained")
    add(storage, clock.now, "a")
    add(storage, clock.now, "b", after=("a",))
    finish(storage, clock.now, "a", JobState.COMPLETED)
    assert fired(storage) == []
    finish(storage, clock.now, "b", JobState.COMPLETED)
    assert fired(storage) == [("ops", "queue.drained", "b")]


def test_a_schedule_has_recovered_with_the_first_job_that_completes(storage, clock):
    """Only after one that died; a cancelled one in between changes nothing."""
    rule(storage, clock, "recovered")
    ends = [JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED, JobState.COMPLETED,
            JobState.COMPLETED]  # fmt: skip
    for number, state in enumerate(ends):
        add(storage, clock.now, f"j{number}")
        set_column(storage, f"j{number}", schedule="nightly")
        if state is JobState.CANCELLED:
            storage.cancel(storage.get(f"j{number}"), now=clock.now)
        else:
            finish(storage, clock.now, f"j{number}", state)
        for job in hook_jobs(storage):
            if job.state is JobState.PENDING:
                storage.cancel(job, now=clock.now)
    assert fired(storage) == [("ops", "schedule.recovered", "j3")]


def test_planned_times_that_were_left_out_are_reported_once(storage, clock):
    """Also if two processes notice them."""
    rule(storage, clock, "missed", schedules="night*")
    missed = Missed("nightly", "mail", None, 3, clock.now, "missed")
    for _ in range(2):
        with storage._transaction() as conn:
            fire_missed(conn, missed, now=clock.now)
    (job,) = hook_jobs(storage)
    assert (job.queue, job.hook_of, job.env["QUEUECTL_MISSED"]) == ("mail/hooks", None, "3")
    assert payload(storage, job)["data"]["schedule"] == "nightly"


def test_a_storm_is_one_digest(storage, clock):
    """Its job starts after the given time, and counts all events until then."""
    rule(storage, clock, "dead,drained", digest_seconds=300.0)
    ids = [f"j{number}" for number in range(50)]
    add(storage, clock.now, *ids)
    for job_id in ids:
        finish(storage, clock.now, job_id, JobState.DEAD)
    (job,) = hook_jobs(storage)
    assert (job.state, job.run_at) == (JobState.SCHEDULED, later(clock.now, 300))
    assert job.env["QUEUECTL_EVENT_COUNT"] == "51"
    data = payload(storage, job)["data"]
    assert (data["count"], data["jobs"]) == (51, ids[:20])
    assert data["events"] == {"job.dead": 50, "queue.drained": 1}

    clock.tick(300)
    claim = storage.claim("w1", now=clock.now)
    assert claim.job.id == job.id
    add(storage, clock.now, "later")
    storage.record(claim, OK, COMPLETED, now=clock.now)
    finish(storage, clock.now, "later", JobState.DEAD)
    assert [payload(storage, one)["data"]["count"] for one in hook_jobs(storage)] == [51, 2]
    assert sql(storage, "SELECT count(*) FROM contents") == [(2,)]


def test_a_payload_is_cut_to_what_receivers_take(storage, clock):
    """The command goes first; one that is not too long is there as a whole."""
    rule(storage, clock, "completed")
    add(storage, clock.now, "a")
    sql(storage, "UPDATE jobs SET command = ? WHERE id = 'a'", "é" * 60_000)
    finish(storage, clock.now, "a", JobState.COMPLETED)
    (job,) = hook_jobs(storage)
    assert 19_000 < job.input_bytes <= 20_000
    data = payload(storage, job)["data"]
    assert set(data["command"]) == {"é"}
    assert data["host"]
    assert len(job.env["QUEUECTL_PARENT_COMMAND"].encode()) == 4096


def test_a_paused_hook_reports_nothing(storage, clock):
    """Until it is resumed; what happened meanwhile is not reported later."""
    rule(storage, clock, "completed")
    storage.pause_hook("ops", now=clock.now)
    add(storage, clock.now, "a", "b")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    assert fired(storage) == []
    storage.resume_hook("ops")
    finish(storage, clock.now, "b", JobState.COMPLETED)
    assert fired(storage) == [("ops", "job.completed", "b")]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("labels", b"\xff"),
        ("events", b"dead"),
        ("created_at", "x"),
        ("timeout", b"1"),
        ("digest_seconds", float("inf")),
        ("max_retries", 1 << 40),
        ("output_bytes", 1.5),
    ],
)
def test_a_rule_that_cannot_be_read_keeps_no_result_from_being_recorded(
    storage, clock, logged, column, value
):
    """Another program wrote it: it is left out, and the log and the list name it."""
    rule(storage, clock, "completed", "broken")
    rule(storage, clock, "completed")
    sql(storage, f"UPDATE hooks SET {column} = ? WHERE name = 'broken'", value)
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    assert fired(storage) == [("ops", "job.completed", "a")]
    assert "hook broken" in "\n".join(logged)
    listed = storage.hooks()
    assert [hook.name for hook in listed.hooks] == ["ops"]
    assert [problem.startswith("hook broken: ") for problem in listed.unreadable] == [True]


@pytest.mark.parametrize("column", ["command", "cwd", "env"])
def test_a_command_that_is_not_utf8_does_not_run_with_other_characters(storage, clock, column):
    """Prevents a bug: each wrong byte was replaced by U+FFFD, so that something else ran."""
    rule(storage, clock, "completed")
    sql(storage, f"UPDATE hooks SET {column} = CAST(x'6dff' AS TEXT)")
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    assert fired(storage) == []
    assert storage.hooks() == AllHooks([], [f"hook ops: {column} is b'm\\xff'"])


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("jobs", "cancel_reason"),
        ("queues", "job_limit"),
        ("schedules", "last_ended"),
        ("digests", "env"),
        ("digests", "input"),
    ],
)
def test_odd_text_elsewhere_keeps_no_result_from_being_recorded(storage, clock, table, column):
    """Another program wrote it. Prevents a bug: the worker tried again for ever."""
    add_schedule(storage.files, "s", now=clock.now)
    rule(storage, clock, "recovered,dead,cancelled", digest_seconds=60.0)
    storage.limit_queue("default", 3)
    add(storage, clock.now, "first", "a")
    set_column(storage, "a", schedule="s")
    finish(storage, clock.now, "first", JobState.DEAD)
    odd = "CAST(x'61ff' AS TEXT)"
    worker = WorkerStorage.open(storage.files, write=True)
    claim = worker.claim("w1", ("default",), now=clock.now)
    if table == "digests" and column == "input":
        sql(storage, f"UPDATE contents SET content = {odd}")
    elif table == "digests":
        sql(storage, f"UPDATE jobs SET {column} = {odd} WHERE hook IS NOT NULL")
    else:
        sql(storage, f"UPDATE {table} SET {column} = {odd}")

    verdict = {"cancel_reason": CANCELLED, "last_ended": COMPLETED}.get(column, DEAD)
    assert worker.record(claim, EXIT_1, verdict, now=clock.now) is not Recorded.SUPERSEDED
    worker.close()
    assert storage.get("a").state is verdict.state


def test_rules_are_added_replaced_and_removed(storage, clock):
    """A name is used once, unless the other one is to be replaced."""
    rule(storage, clock, "dead")
    with pytest.raises(HookExists):
        rule(storage, clock, "dead")
    new = NewHook("ops", ("completed",), queues=("mail",), command="other")
    assert storage.add_hook(new, replace=True, now=clock.now)
    (hook,) = storage.hooks().hooks
    assert (hook.events, hook.queues, hook.command) == (("completed",), ("mail",), "other")
    storage.remove_hook("ops")
    assert storage.hooks() == AllHooks([], [])
    for act in (storage.hook, storage.remove_hook, storage.resume_hook):
        with pytest.raises(NoSuchHook):
            act("ops")


def test_two_rotations_at_one_instant_keep_the_secret_that_the_receiver_knows(storage, clock):
    """Prevents a bug: the second kept the secret of the first, which the receiver did not know."""
    rule(storage, clock, "dead", command=None, url="https://x.example/", secret="known")
    until = later(clock.now, 60)
    storage.rotate_secret("ops", "first", present="known", keep_until=until)
    with pytest.raises(SecretChanged):
        storage.rotate_secret("ops", "second", present="known", keep_until=until)
    own = storage.credentials("ops")
    assert (own.secret, own.old_secret, own.old_secret_until) == ("first", "known", until)


def test_a_parent_is_kept_until_its_hooks_have_run(storage, clock):
    """A hook may look at the output of the job that it reports."""
    rule(storage, clock, "completed")
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    states = (JobState.COMPLETED,)
    assert storage.prune(states=states, before=later(clock.now, 1), dry_run=True) == 0
    assert storage.prune(states=states, before=later(clock.now, 1)) == 0
    storage.record(storage.claim("w1", now=clock.now), OK, COMPLETED, now=clock.now)
    assert storage.prune(states=states, before=later(clock.now, 1)) == 2


def test_a_lane_is_served_with_its_queue_and_held_by_no_pause_of_it(storage, clock):
    """Neither a pause nor a limit of the queue holds it; a pause of all queues does."""
    rule(storage, clock, "completed")
    add(storage, clock.now, "a", "b", queue="mail")
    claim = storage.claim("w1", ("mail",), now=clock.now)
    storage.record(claim, OK, COMPLETED, now=clock.now)
    storage.pause_queue("mail", by="me", reason=None, now=clock.now)
    assert storage.claim("w1", ("web",), now=clock.now) is None
    storage.pause_queue(None, by="me", reason=None, now=clock.now)
    assert not storage.ready(("mail",), now=clock.now).now
    storage.resume_queue(None)
    storage.pause_queue("mail", by="me", reason=None, now=clock.now)
    assert storage.ready(("mail",), now=clock.now).now
    assert isinstance(storage.claim("w1", ("mail",), now=clock.now).job, Job)
    assert storage.claim("w1", ("mail",), now=clock.now) is None


def test_a_job_that_a_hook_enqueues_is_one_deeper(storage, clock):
    """So are the jobs that it enqueues in turn: each tells its depth to what it runs."""
    environ = {"QUEUECTL_HOOK_DEPTH": "3", "A": "1"}
    specs = [JobSpec(command="true", id="a"), JobSpec(command="true", id="b", unique_key="k")]
    storage.enqueue(specs, now=clock.now, environ=environ)
    again = JobSpec(command="false", unique_key="k", if_dup="replace")
    storage.enqueue([again], now=clock.now, environ={"QUEUECTL_HOOK_DEPTH": "x"})
    assert storage.get("a").hook_depth == 3
    assert storage.get("a").own_env() == {"QUEUECTL_HOOK_DEPTH": "3"}
    assert (storage.get("b").hook_depth, storage.get("b").own_env()) == (0, {})


def test_eleven_thousand_deaths_are_one_message(storage, clock):
    """The job of the digest counts them all, and stays small."""
    rule(storage, clock, "dead", digest_seconds=300.0)
    storage.enqueue([JobSpec(command="true") for _ in range(11_000)], now=clock.now)
    with storage.batch():
        claim = storage.claim("w1", now=clock.now)
        while claim is not None:
            _, claim = storage.record_and_claim(claim, EXIT_1, DEAD, "w1", now=clock.now)
    (job,) = hook_jobs(storage)
    data = payload(storage, job)["data"]
    assert (data["count"], data["events"]) == (11_000, {"job.dead": 11_000})
    assert (len(data["jobs"]), job.env["QUEUECTL_EVENT_COUNT"]) == (20, "11000")
    assert job.input_bytes < 3000
    assert sql(storage, "SELECT count(*) FROM contents") == [(1,)]


def test_a_result_is_not_lost_if_hooks_cannot_be_loaded(storage, clock, monkeypatch):
    """No descriptor may be left; a worker tries again until it is written."""
    rule(storage, clock, "completed")
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "queuectl.storage.hooks", None)
        with pytest.raises(QueueUnusable, match="a part of queuectl cannot be loaded"):
            storage.record(claim, OK, COMPLETED, now=clock.now)
    assert storage.get("a").state is JobState.PROCESSING
    assert storage.record(claim, OK, COMPLETED, now=clock.now) is Recorded.DONE
    assert fired(storage) == [("ops", "job.completed", "a")]

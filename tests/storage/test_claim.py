"""Claiming: in order, each job once, only jobs that are due, only from queues that are open."""

from __future__ import annotations

from datetime import timedelta

import pytest

from queuectl.core.models import OutcomeKind, Recorded, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.host import wakeup
from queuectl.host.files import find
from queuectl.storage import Storage
from queuectl.storage.claiming import Ready
from support.clock import later
from support.forks import in_processes
from support.outcomes import COMPLETED, EXIT_1, INTERRUPTED, LOST, OK, retry_at
from support.rows import add, claim_ids, sql, statements


def pause(storage, queue, now):
    storage.pause_queue(queue, by="ann", reason=None, now=now)


def test_a_claim_counts_the_attempt_and_names_the_worker(storage, clock):
    """The returned job equals the stored one, and its attempt is recorded."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.tick(5))
    stored = storage.get("a")
    (execution,) = storage.executions(stored)

    assert claim.job == stored
    assert (stored.state, stored.attempts) == (JobState.PROCESSING, 1)
    assert (stored.locked_by, stored.locked_at) == ("w1", clock.now)
    assert (execution.id, execution.attempt, execution.worker) == (claim.execution_id, 1, "w1")
    assert (execution.started_at, execution.outcome) == (clock.now, None)
    assert claim.earlier == ()


_TIME = "2026-01-31T12:00:00.000000Z"


@pytest.mark.parametrize(
    "values",
    [
        {"label": "night", "cwd": "/tmp", "env": '{"A": "1"}', "priority": 5, "timeout": 1.5},
        {"attempts": 1, "run_at": _TIME, "exit_code": 1, "last_error": "exit 1"},
        {"attempts": 1, "run_at": _TIME, "signal": 9, "last_error": "killed"},
        *({name: 1} for name in ("interruptions", "cancel_requested", "id_made", "input_bytes")),
        *({name: 2.5} for name in ("retry_delay", "backoff")),
        *({name: "x"} for name in ("unique_key", "cancel_reason", "shell", "on_success")),
        *({name: "x"} for name in ("on_failure", "on_finish", "event_id")),
        {"hook": "h", "hook_of": 1, "hook_depth": 1},
        {"schedule": "s", "scheduled_for": _TIME},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_claim_returns_every_field_of_the_job(storage, clock, values):
    """Most columns are read only for a job in which one of them holds something."""
    add(storage, clock.now, "a", "b")
    for name, value in values.items():
        sql(storage, f"UPDATE jobs SET {name} = ? WHERE id = 'a'", value)
    claims = [storage.claim("w1", now=clock.now) for _ in "ab"]

    assert [claim.job for claim in claims] == [storage.get("a"), storage.get("b")]


@pytest.mark.parametrize("value", ["x", -1, None, b"0"])
def test_what_another_program_wrote_into_a_seldom_used_column_is_found(storage, clock, value):
    """The claim does not read such a column of most jobs, yet it sees that it holds something."""
    add(storage, clock.now, "a", "b")
    name = "interruptions" if value is None else "exit_code"
    sql(storage, f"UPDATE jobs SET {name} = ? WHERE id = 'a'", "x" if value is None else value)
    claim = storage.claim("w1", now=clock.now)

    assert claim.job.id == ("a" if value == -1 else "b")


def test_settings_are_those_of_the_moment_of_the_claim(storage, clock):
    """With a key that is set, and again without one."""
    add(storage, clock.now, "a", "b", "c")
    claim = storage.claim("w1", now=clock.now)
    limits = [claim.settings.output_limit]
    for value in ("2KiB", None):
        if value is None:
            storage.unset_key("output-limit")
        else:
            storage.set_key("output-limit", value)
        _, claim = storage.record_and_claim(claim, OK, COMPLETED, "w1", now=clock.now)
        limits.append(claim.settings.output_limit)

    assert limits == [10 << 20, 2048, 10 << 20]


def test_an_empty_queue_gives_no_claim(storage, clock):
    """No attempt is recorded either."""
    assert storage.claim("w1", now=clock.now) is None
    assert sql(storage, "SELECT count(*) FROM executions") == [(0,)]


def test_ready_jobs_start_by_priority_then_in_order(storage, clock):
    """Higher priority first, then first in, first out."""
    for job_id, priority in (("a", 0), ("b", 5), ("c", -1), ("d", 5), ("e", 0)):
        add(storage, clock.now, job_id, priority=priority)

    assert claim_ids(storage, clock.now) == ["b", "d", "a", "e", "c"]


def test_the_order_is_kept_over_several_queues(storage, clock):
    """A worker of all queues takes the best of their first jobs, not one queue after the other."""
    for job_id, queue, priority in (
        ("a", "z", 0), ("b", "a", 0), ("c", "z", 9), ("d", "m", 0), ("e", "a", 9), ("f", "z", 0),
    ):  # fmt: skip
        add(storage, clock.now, job_id, queue=queue, priority=priority)

    assert claim_ids(storage, clock.now) == ["c", "e", "a", "b", "d", "f"]


@pytest.mark.parametrize(
    ("queues", "expected"),
    [
        ((), ["a", "b", "c"]),
        (("x",), ["a"]),
        (("y", "x"), ["a", "b"]),
        (("nobody",), []),
        (("x", "x"), ["a"]),
    ],
)
def test_a_worker_takes_from_its_queues_only(storage, clock, queues, expected):
    """Without names it takes from all queues. The order of the names has no meaning."""
    for job_id, queue in (("a", "x"), ("b", "y"), ("c", "z")):
        add(storage, clock.now, job_id, queue=queue)

    assert claim_ids(storage, clock.now, *queues) == expected


def test_each_release_is_counted_until_a_finished_job_is_retried(storage, clock):
    """Prevents a bug: a job that stopped its own workers was put back uncounted, without an end."""
    storage.enqueue([JobSpec(command="true", id="j")], now=clock.now)
    for count in (1, 2):
        storage.release(storage.claim("w1", now=clock.now), INTERRUPTED, now=clock.now)
        assert (storage.get("j").attempts, storage.get("j").interruptions) == (0, count)
    storage.cancel(storage.get("j"), now=clock.now)
    assert storage.get("j").interruptions == 2
    storage.retry(storage.get("j"), now=clock.now)
    assert storage.get("j").interruptions == 0


def test_an_attempt_that_ends_by_itself_ends_the_count(storage, clock):
    """A lost one does not: the job may be what kills its workers."""
    add(storage, clock.now, "j")
    counts = []
    for outcome in (INTERRUPTED, LOST, EXIT_1):
        claim = storage.claim("w1", now=clock.now)
        if outcome is INTERRUPTED:
            storage.release(claim, outcome, now=clock.now)
        else:
            storage.record(claim, outcome, retry_at(clock.now), now=clock.now)
        counts.append(storage.get("j").interruptions)

    assert counts == [1, 1, 0]


@pytest.mark.parametrize("state", ["failed", "dead"])
def test_a_release_can_let_the_job_wait_or_end_it(storage, clock, state):
    """Either way the attempt is not counted; a retry starts the count of interruptions anew."""
    add(storage, clock.now, "j")
    claim = storage.claim("w1", now=clock.now)
    at = later(clock.now, 8)
    verdict = Verdict(JobState(state), at if state == "failed" else None, "interrupted 9 times")
    assert storage.release(claim, INTERRUPTED, verdict, now=clock.now) is Recorded.DONE
    job = storage.get("j")

    assert (job.state.value, job.attempts, job.interruptions) == (state, 0, 1)
    assert job.last_error == "interrupted 9 times"
    assert storage.last_execution(job).outcome is OutcomeKind.INTERRUPTED
    storage.retry(job, now=clock.now)
    assert (storage.get("j").attempts, storage.get("j").interruptions) == (0, 0)
    assert claim_ids(storage, clock.now) == ["j"]


def test_a_released_job_keeps_its_place(storage, clock):
    """It comes before jobs that were enqueued later."""
    add(storage, clock.now, "a", "b")
    claim = storage.claim("w1", now=clock.now)
    storage.release(claim, EXIT_1, now=clock.now)

    assert claim_ids(storage, clock.now) == ["a", "b"]


def test_a_scheduled_job_is_claimed_when_it_is_due(storage, clock):
    """It is not claimed a moment earlier."""
    due = later(clock.now, 60)
    add(storage, clock.now, "a", run_at=due)

    assert storage.get("a").state is JobState.SCHEDULED
    assert storage.claim("w1", now=due - timedelta(microseconds=1)) is None
    assert storage.get("a").state is JobState.SCHEDULED
    assert storage.claim("w1", now=due).job.id == "a"


def test_a_failed_job_is_claimed_again_when_its_retry_is_due(storage, clock):
    """A failed job waits for its retry, which is its next attempt."""
    add(storage, clock.now, "a")
    first = storage.claim("w1", now=clock.now)
    due = later(clock.now, 2)
    storage.record(first, EXIT_1, retry_at(due), now=clock.now)

    assert storage.claim("w1", now=clock.tick(1)) is None
    second = storage.claim("w2", now=clock.tick(1))
    assert (second.job.id, second.job.attempts) == ("a", 2)
    assert second.execution_id > first.execution_id
    assert second.earlier == (first.execution_id,)


def test_promoted_jobs_are_ordered_like_all_others(storage, clock):
    """A due job of higher priority goes first; one of the same priority keeps its place."""
    add(storage, clock.now, "a", run_at=later(clock.now, 30))
    add(storage, clock.now, "b")
    add(storage, clock.now, "c", run_at=later(clock.now, 10), priority=1)

    assert claim_ids(storage, clock.tick(60)) == ["c", "a", "b"]


@pytest.mark.parametrize("due", [10, 2500])
def test_a_claim_takes_the_best_of_all_due_jobs(storage, clock, due):
    """Prevents a bug: an urgent job that became due last waited behind 500 others per claim."""
    specs = [
        JobSpec(command="true", id=f"j{number}", run_at=later(clock.now, 100 - number / 1000))
        for number in range(due)
    ]
    storage.enqueue(specs, now=clock.now)
    add(storage, clock.now, "urgent", priority=9, run_at=later(clock.now, 101))
    clock.tick(200)
    claim = storage.claim("w1", now=clock.now)

    assert claim.job.id == "urgent"
    assert storage.record_and_claim(claim, OK, COMPLETED, "w1", now=clock.now)[1].job.id == "j0"


def test_due_jobs_become_claimable_in_portions(storage, clock):
    """So other writers never wait long. Until all are pending, the best one is not known."""
    add(storage, clock.now, "running")
    running = storage.claim("w1", now=clock.now)
    due = [JobSpec(command="true", run_at=later(clock.now, 60)) for _ in range(2500)]
    storage.enqueue(due, now=clock.now)
    clock.tick(100)

    recorded = storage.record_and_claim(running, OK, COMPLETED, "w1", now=clock.now)
    assert recorded == (Recorded.DONE, None)
    assert storage.by_state()[JobState.PENDING] == 1000
    commits = statements(storage, lambda: storage.claim("w1", now=clock.now)).count("COMMIT")
    assert (commits, storage.by_state()[JobState.PENDING]) == (2, 2499)


def test_each_queue_knows_the_job_to_claim_next(storage, clock):
    """Whatever users do to jobs, a claim takes the same job that a search over all would find."""
    add(storage, clock.now, "a", "b", "c", queue="x")
    add(storage, clock.now, "d", "e", queue="y")
    storage.edit(storage.get("c"), {"priority": 5}, now=clock.now)
    storage.edit(storage.get("e"), {"priority": 3}, now=clock.now)
    storage.edit(storage.get("c"), {"priority": -1}, now=clock.now)
    storage.edit(storage.get("a"), {"queue": "y"}, now=clock.now)
    storage.cancel(storage.get("b"), now=clock.now)

    assert claim_ids(storage, clock.now) == ["e", "a", "d", "c"]
    assert sql(storage, "SELECT queue FROM job_counts WHERE state = 'pending'") == []


@pytest.mark.parametrize("queues", [(), ("z", "x", "y")])
def test_many_queues_take_turns_in_the_order_of_their_jobs(storage, clock, queues):
    """A claim leaves the kept head of its queue behind; the next one must not go by it."""
    for number in range(4):
        for queue in ("x", "y", "z"):
            add(storage, clock.now, f"{queue}{number}", queue=queue, priority=number % 2)

    assert claim_ids(storage, clock.now, *queues) == [
        f"{queue}{number}" for number in (1, 3, 0, 2) for queue in ("x", "y", "z")
    ]


@pytest.mark.parametrize("queues", [(), ("x", "y")])
def test_a_job_that_went_and_came_back_has_its_new_place(storage, clock, queues):
    """Its old place may still be kept as the head of the queue."""
    add(storage, clock.now, "a", queue="x", priority=5)
    add(storage, clock.now, "b", queue="x", priority=2)
    add(storage, clock.now, "c", queue="y", priority=3)
    storage.edit(storage.get("a"), {"queue": "y"}, now=clock.now)
    storage.edit(storage.get("a"), {"priority": 1}, now=clock.now)
    storage.edit(storage.get("a"), {"queue": "x"}, now=clock.now)

    assert claim_ids(storage, clock.now, *queues) == ["c", "b", "a"]


def test_thousands_of_heads_that_were_cancelled_are_passed_by_once(storage, clock):
    """They are moved in several transactions, each of them short."""
    add(storage, clock.now, "other", queue="last")
    specs = [
        JobSpec(command="true", id=f"{name}{number}", queue=f"q{number}", priority=priority)
        for name, priority in (("first", 9), ("second", -1))
        for number in range(2500)
    ]
    storage.enqueue(specs, now=clock.now)
    with storage.batch():
        for number in range(2500):
            storage.cancel(storage.get(f"first{number}"), now=clock.now)
    ids = []
    said = statements(storage, lambda: ids.append(storage.claim("w1", now=clock.now).job.id))

    assert ids == ["other"]
    assert said.count("COMMIT") == 3
    assert storage.wrong_heads() == []
    assert storage.claim("w1", now=clock.now).job.id == "second0"


def test_a_paused_queue_gives_nothing(storage, clock):
    """Its jobs wait, and those of other queues do not. After the pause they run in their order."""
    add(storage, clock.now, "a", queue="x", priority=9)
    add(storage, clock.now, "b", queue="y")
    pause(storage, "x", clock.now)

    assert claim_ids(storage, clock.now) == ["b"]
    storage.resume_queue("x")
    assert claim_ids(storage, clock.now) == ["a"]


def test_one_switch_pauses_all_queues(storage, clock):
    """It also pauses queues that come into being later."""
    pause(storage, None, clock.now)
    add(storage, clock.now, "a", queue="new")

    assert storage.claim("w1", now=clock.now) is None
    assert storage.claim("w1", ("new",), now=clock.now) is None


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_limit_holds_for_running_jobs(storage, clock, most):
    """No more jobs of a queue run at once; each end makes room for another."""
    add(storage, clock.now, "a", "b", "c", "d", queue="x")
    add(storage, clock.now, "other", queue="y")
    storage.limit_queue("x", most)
    claims = [storage.claim(f"w{number}", ("x",), now=clock.now) for number in range(4)]
    running = [claim.job.id for claim in claims if claim]

    assert running == ["a", "b", "c", "d"][:most]
    assert storage.claim("w9", now=clock.now).job.id == "other"
    storage.record(claims[0], OK, COMPLETED, now=clock.now)
    assert storage.claim("w9", ("x",), now=clock.now).job.id == ["a", "b", "c", "d"][most]
    assert storage.claim("w9", ("x",), now=clock.now) is None


def test_a_limit_below_the_number_of_running_jobs_ends_none(storage, clock):
    """It only prevents further claims."""
    add(storage, clock.now, "a", "b", "c")
    first, second = (storage.claim(f"w{number}", now=clock.now) for number in (1, 2))
    storage.limit_queue("default", 1)

    assert storage.record_and_claim(first, OK, COMPLETED, "w1", now=clock.now)[1] is None
    assert storage.record_and_claim(second, OK, COMPLETED, "w2", now=clock.now)[1].job.id == "c"


def test_an_idle_worker_sees_whether_a_claim_is_worth_the_effort(storage, clock):
    """A job is ready now, or at a known time, or there is none."""
    assert storage.ready((), now=clock.now) == Ready(False, None)
    due = later(clock.now, 60)
    add(storage, clock.now, "a", run_at=due)
    assert storage.ready((), now=clock.now) == Ready(False, due)
    assert storage.ready((), now=due) == Ready(True, due)
    add(storage, clock.now, "b", queue="x")
    assert storage.ready((), now=clock.now) == Ready(True, due)
    assert storage.ready(("x",), now=clock.now) == Ready(True, due)
    assert storage.ready(("y",), now=clock.now) == Ready(False, due)
    pause(storage, "x", clock.now)
    assert storage.ready((), now=clock.now) == Ready(False, due)


def test_the_configuration_travels_with_the_claim(storage, clock):
    """Keys that act at once have their values of the time of the claim."""
    add(storage, clock.now, "a")
    storage.set_key("kill-grace", "3")

    assert storage.claim("w1", now=clock.now).settings.kill_grace == 3.0


def test_a_limit_holds_against_racing_processes(tmp_path, clock):
    """Prevents a bug: a limit that is kept as a counter admits too many when workers race."""
    files = find(str(tmp_path / "queue.db"), None, False)
    storage = Storage.open(files, create=True)
    add(storage, clock.now, *(f"j{n}" for n in range(20)))
    storage.limit_queue("default", 3)
    storage.close()

    def claim_one(worker):
        own = Storage.open(files)
        claim = own.claim(worker, now=clock.now)
        own.close()
        return claim is not None

    got = in_processes([lambda name=f"w{n}": claim_one(name) for n in range(12)])

    assert sum(got) == 3


def test_a_claim_that_is_undone_leaves_no_trace(storage, clock):
    """The host could not start the job: it keeps its place, and no attempt and no interruption
    is counted.
    """
    add(storage, clock.now, "a", "b")
    claim = storage.claim("w1", now=clock.now)

    assert storage.unclaim(claim, now=clock.now) is Recorded.DONE
    job = storage.get("a")
    assert (job.state.value, job.attempts, job.interruptions) == ("pending", 0, 0)
    assert list(storage.executions(job)) == []
    assert storage.unclaim(claim, now=clock.now) is Recorded.SUPERSEDED
    assert claim_ids(storage, clock.now) == ["a", "b"]


def test_a_cancel_during_an_undone_claim_is_kept(storage, clock):
    """Nobody else would carry it out."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    storage.cancel(storage.get("a"), now=clock.now)

    assert storage.unclaim(claim, now=clock.now) is Recorded.CANCELLED
    assert storage.get("a").state.value == "cancelled"


def test_workers_are_woken_for_what_a_cancelled_claim_leads_to(storage, clock, monkeypatch):
    """Prevents a bug: a job that waited for its end waited for the next look, up to a second."""
    add(storage, clock.now, "a")
    add(storage, clock.now, "then", after_any=("a",))
    claim = storage.claim("w1", now=clock.now)
    storage.cancel(claim.job, now=clock.now)
    woken = []
    monkeypatch.setattr(wakeup, "wake_up", lambda *_: woken.append(storage.get("then").state.value))

    assert storage.unclaim(claim, now=clock.now) is Recorded.CANCELLED
    assert woken == ["pending"]


def test_a_batch_is_left_to_the_workers_that_name_it(storage, clock):
    """Its jobs are neither claimed nor waited for by workers that serve all queues."""
    add(storage, clock.now, "in-batch", queue="@gzip-1", priority=9)
    add(storage, clock.now, "other")

    assert storage.unfinished(()) == {
        JobState.PENDING: 1, JobState.FAILED: 0, JobState.PROCESSING: 0
    }  # fmt: skip
    assert storage.unfinished(("@gzip-1",))[JobState.PENDING] == 1
    assert claim_ids(storage, clock.now) == ["other"]
    assert not storage.ready((), now=clock.now).now
    assert storage.ready(("@gzip-1",), now=clock.now).now
    assert storage.claim("w2", ("@gzip-1",), now=clock.now).job.id == "in-batch"

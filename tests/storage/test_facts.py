"""The facts from which the findings come, read from a queue."""

from __future__ import annotations

from datetime import timedelta

import pytest

from queuectl.core.diagnosis import diagnose
from queuectl.core.facts import Deaths, HookFacts, Reason, Run, RunningFacts, Stuck
from queuectl.core.models import Outcome, OutcomeKind, Verdict
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.host import lockfiles
from support.clock import noon
from support.outcomes import COMPLETED, DEAD, EXIT_1, OK, retry_at
from support.rows import add, finish, sql

NOW = noon(0)
MINUTE, HOUR, DAY = 60, 3600, 86400


def died(storage, job, at, reason="exit 1", **fields):
    """Enqueue a job, and let it die."""
    add(storage, at, job, **fields)
    claim = storage.claim("w1", (fields.get("queue", "default"),), now=at)
    assert claim.job.id == job
    storage.record(claim, EXIT_1, Verdict(JobState.DEAD, last_error=reason), now=at)


def test_an_empty_queue(storage):
    """There is a disk, and nothing else."""
    facts = storage.facts(now=NOW)

    assert facts.disk is not None
    assert facts.disk.free_bytes > 0
    assert facts._replace(disk=None) == type(facts)(NOW)


def test_queues_that_wait(storage):
    """With the pause, the limit, and only those that are named."""
    add(storage, noon(-HOUR), "a", "b", queue="x")
    add(storage, noon(-MINUTE), "c", queue="y")
    storage.pause_queue("y", by="ada", reason=None, now=NOW)
    facts = storage.facts(now=NOW)

    assert [(q.status.name, q.ready, q.ready_since, q.status.paused) for q in facts.queues] == [
        ("x", 2, noon(-HOUR), False), ("y", 1, noon(-MINUTE), True),
    ]  # fmt: skip
    assert not facts.all_paused
    assert [q.status.name for q in storage.facts(("y",), now=NOW).queues] == ["y"]
    storage.pause_queue(None, by="ada", reason=None, now=NOW)
    assert storage.facts(now=NOW).all_paused


def test_the_trend_of_a_queue(storage):
    """It comes from the counters of the last ten whole minutes."""
    add(storage, noon(-HOUR), "a")
    for minutes, event, times in [
        (0, "enqueued", 5), (1, "enqueued", 7), (10, "ok", 3), (9, "dead", 1), (5, "exit", 50),
        (2, "job-cancelled", 2), (11, "ok", 50),
    ]:  # fmt: skip
        sql(
            storage,
            "INSERT INTO activity (period, queue, event, times) VALUES (?, 'default', ?, ?) "
            "ON CONFLICT (period, queue, event) DO UPDATE SET times = excluded.times",
            to_text(NOW - timedelta(minutes=minutes))[:16], event, times,
        )  # fmt: skip
    [queue] = storage.facts(now=NOW).queues

    assert (queue.came_in, queue.ended) == (7, 6)


def test_jobs_whose_worker_is_dead(storage):
    """Nobody holds its lock any more. Without a lock file, nothing is known."""
    add(storage, noon(-5), "a", "b")
    storage.claim("0f0f0f0f-1", now=noon(-4))
    storage.claim("0f0f0f0f-2", now=noon(-4))
    assert storage.facts(now=NOW).unattended == 0
    lockfiles.make_stale(storage.files, "0f0f0f0f-1")

    assert storage.facts(now=NOW).unattended == 1


def test_deaths(storage):
    """Those of the last hour, with the most common reason; of hooks' jobs nothing is said here."""
    died(storage, "old", noon(-2 * HOUR))
    for number in range(3):
        died(storage, f"j{number}", noon(-30 + number), "exit 12")
    died(storage, "last", noon(-1), "killed after 5m by its timeout")
    add(storage, noon(-1), "ok")
    finish(storage, noon(-1), "ok", JobState.COMPLETED)
    sql(storage, "UPDATE jobs SET id_made = 1 WHERE id = 'last'")
    facts = storage.facts(now=NOW)

    assert facts.deaths == Deaths(4, 5, Reason("exit 12", 3, 4), "@5", noon(-1))
    assert facts.last_death == noon(-1)
    assert storage.facts(("x",), now=NOW).deaths is None
    later = storage.facts(now=noon(2 * HOUR))
    assert (later.deaths, later.last_death) == (None, noon(-1))


def test_dead_jobs_of_hooks(storage):
    """They belong to their hook; hooks of single jobs are there only if a job of theirs died."""
    _add_hook(storage, "ops", failures=4, last_delivery_at=noon(-9), last_result="HTTP 503")
    _add_hook(storage, "old", disabled_at=noon(-DAY), disabled_reason="410 Gone", paused_at=NOW)
    for job, hook in (("a", "ops"), ("b", "on-failure"), ("c", "on-failure")):
        died(storage, job, noon(-9))
        sql(storage, "UPDATE jobs SET hook = ?, queue = 'mail/hooks' WHERE id = ?", hook, job)
    facts = storage.facts(now=NOW)

    assert facts.deaths is None
    assert facts.hooks == (
        HookFacts("old", is_paused=True, disabled_at=noon(-DAY), disabled_reason="410 Gone"),
        HookFacts("ops", failures=4, last_at=noon(-9), last_result="HTTP 503", dead_jobs=1,
                  lane="mail/hooks"),
        HookFacts("on-failure", is_rule=False, dead_jobs=2, lane="mail/hooks"),
    )  # fmt: skip
    assert storage.facts(("x",), now=NOW).hooks == ()


def test_many_dead_jobs_of_one_hook_hide_none_of_another(storage):
    """Prevents a bug: only the newest 100 were counted."""
    add(storage, noon(-10), "first", *(f"j{number}" for number in range(150)))
    sql(
        storage,
        "UPDATE jobs SET state = 'dead', queue = 'mail/hooks', finished_at = ?, "
        "hook = CASE id WHEN 'first' THEN 'on-finish' ELSE 'on-failure' END",
        to_text(noon(-9)),
    )
    assert storage.facts(now=NOW).hooks == (
        HookFacts("on-failure", is_rule=False, dead_jobs=150, lane="mail/hooks"),
        HookFacts("on-finish", is_rule=False, dead_jobs=1, lane="mail/hooks"),
    )


def _add_hook(storage, name, **columns):
    values = {"name": name, "events": "missed", "command": "true", "created_at": NOW, **columns}
    texts = {
        column: to_text(value) if hasattr(value, "tzinfo") else value
        for column, value in values.items()
    }
    sql(
        storage,
        f"INSERT INTO hooks ({', '.join(texts)}) VALUES ({', '.join('?' * len(texts))})",
        *texts.values(),
    )


def _add_schedule(storage, name, expression="every 10m", **columns):
    values = {
        "name": name, "expression": expression, "spec": "{}", "anchor": NOW, "created_at": NOW,
        "updated_at": NOW, **columns,
    }  # fmt: skip
    texts = {
        column: to_text(value) if hasattr(value, "tzinfo") else value
        for column, value in values.items()
    }
    sql(
        storage,
        f"INSERT INTO schedules ({', '.join(texts)}) VALUES ({', '.join('?' * len(texts))})",
        *texts.values(),
    )


def test_schedules(storage):
    """When each is due, what it left out, and its runs."""
    _add_schedule(storage, "late", next_at=noon(-HOUR), due_at=noon(-HOUR))
    _add_schedule(storage, "nightly", paused_at=NOW, last_ended="dead")
    for second, result in ((-7200, "made"), (-3600, "overlapped"), (-60, "by-hand")):
        sql(
            storage,
            "INSERT INTO ticks (schedule, planned_at, result, at) VALUES ('nightly', ?, ?, ?)",
            to_text(noon(second)), result, to_text(NOW),
        )  # fmt: skip
    died(storage, "run-1", noon(-DAY), "exit 12")
    add(storage, noon(-HOUR), "run-2")
    sql(storage, "UPDATE jobs SET schedule = 'nightly'")
    late, nightly = storage.facts(now=NOW).schedules

    assert (late.name, late.due_at, late.is_paused, late.problem) == (
        "late", noon(-HOUR), False, None,
    )  # fmt: skip
    assert nightly.is_paused
    assert nightly.left_out == noon(-3600)
    assert nightly.unfinished == Run("run-2", JobState.PENDING, None)
    assert nightly.last_ended == Run("run-1", JobState.DEAD, noon(-DAY), "exit 12")
    assert storage.facts(("default",), now=NOW).schedules == ()


def test_a_schedule_in_an_unknown_zone(storage):
    """Its planned times cannot be computed, so it is not only late."""
    pytest.importorskip("cronsim")
    _add_schedule(storage, "mars", "0 2 * * *", timezone="Mars/Olympus", next_at=noon(-HOUR),
                  due_at=noon(-HOUR))  # fmt: skip
    [schedule] = storage.facts(now=NOW).schedules

    assert (schedule.problem, schedule.remedy) == (
        "unknown time zone Mars/Olympus", "queuectl schedule show mars",
    )  # fmt: skip
    [finding] = [each for each in diagnose(storage.facts(now=NOW)) if "schedule" in each.code]
    assert finding.code == "schedule-broken"


def test_running_jobs_with_what_is_usual(storage):
    """Only those that have run for more than ten minutes are compared with others."""
    for number in range(20):
        add(storage, noon(-DAY), f"done{number}", queue="x")
        claim = storage.claim("w1", ("x",), now=noon(-DAY))
        storage.record(claim, OK, COMPLETED, now=noon(-DAY + 60 + number))
    add(storage, noon(-HOUR), "long", "short", queue="x")
    add(storage, noon(-HOUR), "first", queue="new")
    storage.claim("w1", ("x",), now=noon(-601))
    storage.claim("w2", ("x",), now=noon(-599))
    storage.claim("w3", ("new",), now=noon(-HOUR))
    facts = storage.facts(now=NOW)

    assert [(job.name, job.since) for job in facts.running] == [
        ("first", noon(-HOUR)), ("long", noon(-601)), ("short", noon(-599)),
    ]  # fmt: skip
    first, long, _ = facts.running
    assert first.usual_seconds is None
    assert long.usual_seconds == pytest.approx(78, abs=0.01)


def test_runs_of_a_schedule_are_compared_with_its_own(storage):
    """Not with other jobs of the queue."""
    _add_schedule(storage, "nightly")
    for number in range(5):
        add(storage, noon(-DAY), f"run{number}")
        claim = storage.claim("w1", now=noon(-DAY))
        storage.record(claim, Outcome(OutcomeKind.OK, 0, seconds=3600.0), COMPLETED, now=noon(-DAY))
    add(storage, noon(-HOUR), "now")
    storage.claim("w1", now=noon(-HOUR))
    sql(storage, "UPDATE jobs SET schedule = 'nightly'")

    assert storage.facts(now=NOW).running == (RunningFacts("now", "default", noon(-HOUR), 3600.0),)


@pytest.mark.parametrize(("jobs", "reason"), [(19, None), (20, Reason("exit 1", 20, 20))])
def test_retries(storage, jobs, reason):
    """Paused jobs do not wait for their retry."""
    for number in range(jobs + 1):
        add(storage, noon(-9), f"j{number}")
        claim = storage.claim("w1", now=noon(-9))
        storage.record(claim, EXIT_1, retry_at(noon(9)), now=noon(-9))
    storage.pause(storage.get("j0"), now=NOW, clock=0.0)
    facts = storage.facts(now=NOW)

    assert (facts.retries, facts.retry_reason) == (jobs, reason)


def test_jobs_that_can_never_run(storage):
    """Directly or through others; the job that most of them wait for is told."""
    add(storage, noon(-9), "first", "other")
    for job in ("first", "other"):
        claim = storage.claim("w1", now=noon(-9))
        assert claim.job.id == job
        storage.record(claim, EXIT_1, DEAD, now=noon(-9))
    add(storage, noon(-9), "alone", after=("other",))
    add(storage, noon(-9), "a", "b", after=("first",))
    add(storage, noon(-9), "c", after=("a",), queue="x")
    add(storage, noon(-9), "any", after_any=("a",))

    assert storage.facts(now=NOW).stuck == Stuck(4, "first", JobState.DEAD)
    assert storage.facts(("x",), now=NOW).stuck == Stuck(1, "first", JobState.DEAD)


def test_jobs_that_wait_for_a_cancelled_one(storage):
    """As for a dead one."""
    add(storage, noon(-9), "first")
    add(storage, noon(-9), "second", after=("first",))
    assert storage.facts(now=NOW).stuck is None
    storage.cancel(storage.get("first"), now=NOW)

    assert storage.facts(now=NOW).stuck == Stuck(1, "first", JobState.CANCELLED)


def test_the_newest_change(storage):
    """A job that was changed in the future shows that the clock was set back."""
    add(storage, noon(HOUR), "a")

    assert storage.facts(now=NOW).newest_change == noon(HOUR)


def test_values_that_another_program_wrote(storage):
    """They are left out, and nothing fails."""
    add(storage, noon(-9), "a", "b")
    storage.claim("w1", now=noon(-9))
    died_rows = "UPDATE jobs SET locked_at = 'x' WHERE state = 'processing'"
    sql(storage, died_rows)
    sql(storage, "UPDATE jobs SET updated_at = 'soon' WHERE id = 'b'")
    _add_schedule(storage, "odd", expression="never", next_at="x", due_at="y")
    _add_schedule(storage, b"odd", timezone=7, anchor="z", last_ended="dead")
    _add_hook(storage, b"odd", failures="many", disabled_at="x", last_result=3)
    sql(
        storage,
        "INSERT INTO ticks (schedule, planned_at, result, at) VALUES ('odd', 5, 'overlapped', x'')",
    )
    sql(storage, "INSERT INTO activity (period, queue, event, times) VALUES ('2026', 5, 6, 7)")
    facts = storage.facts(now=NOW)

    assert facts.running == ()
    assert [queue.ready for queue in facts.queues] == [0]
    assert diagnose(facts) is not None

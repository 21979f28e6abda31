"""Ticks: schedules that are due make their jobs, each planned time once, and hold up nobody."""

from __future__ import annotations

import json
import sys

import pytest

from queuectl.core.models import Verdict
from queuectl.core.schedules import unique_key
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.storage import ticks
from queuectl.storage.claiming import Ready
from queuectl.storage.for_workers import WorkerStorage
from support.clock import later
from support.forks import in_processes
from support.outcomes import COMPLETED, EXIT_1, OK
from support.rows import add, sql
from support.schedules import add_schedule, opened

MINUTES = 60
DEAD = Verdict(JobState.DEAD, last_error="exit code 1")


def tick_rows(storage, name="s"):
    """What became of the planned times of a schedule: minutes after noon, result, number."""
    rows = sql(
        storage,
        "SELECT substr(planned_at, 12, 5), result, times FROM ticks WHERE schedule = ? "
        "ORDER BY planned_at",
        name,
    )
    return [tuple(row) for row in rows]


def row_of(storage, *columns, name="s"):
    (row,) = sql(storage, f"SELECT {', '.join(columns)} FROM schedules WHERE name = ?", name)
    return row


def run_all(storage, now, outcome=OK, verdict=COMPLETED):
    """Claim and end jobs until none is left; return their planned times."""
    found = []
    while True:
        claim = storage.claim("w1", now=now)
        if claim is None:
            return found
        found.append(claim.job.scheduled_for)
        storage.record(claim, outcome, verdict, now=now)


@pytest.mark.parametrize("overlap", ["skip", "replace"])
@pytest.mark.parametrize("odd", ["CAST(x'61ff' AS TEXT)", "x'61ff'"])
def test_an_odd_job_of_a_schedule_does_no_harm_to_others(storage, clock, overlap, odd):
    """Prevents a bug: the claim set the next good job aside, since something could not be read."""
    schedule = add_schedule(storage.files, "s", now=clock.now, overlap=overlap)
    due = later(schedule.next_at, 1)
    add(storage, clock.now, "held", unique_key=unique_key("s"), run_at=later(due, 9000))
    add(storage, clock.now, "good")
    sql(storage, f"UPDATE jobs SET id = {odd} WHERE id = 'held'")
    worker = WorkerStorage.open(storage.files, write=True)
    found = [worker.claim("w1", now=due) for _ in range(2)]
    worker.close()

    assert "good" in [claim.job.id for claim in found if claim is not None]
    assert storage.get("good").state is JobState.PROCESSING


def test_a_claim_makes_the_job_of_a_schedule_that_is_due(storage, clock):
    """The job has what the schedule says, and is told its planned time."""
    add_schedule(
        storage.files,
        "s",
        now=clock.now,
        job={"command": "make", "queue": "q", "env": {"A": "1"}, "label": "l", "timeout": 5.0},
        captured={"PATH": "/bin"},
    )
    assert storage.ready((), now=clock.now) == Ready(False, later(clock.now, 10 * MINUTES))
    assert storage.claim("w1", now=later(clock.now, 599)) is None

    planned = clock.tick(10 * MINUTES)
    assert storage.ready((), now=planned) == Ready(True, planned)
    claim = storage.claim("w1", now=planned)

    assert claim is not None
    job = claim.job
    assert (job.command, job.queue, job.label, job.timeout) == ("make", "q", "l", 5.0)
    assert (job.schedule, job.scheduled_for, job.unique_key) == ("s", planned, "schedule/s")
    assert job.env == {
        "PATH": "/bin",
        "A": "1",
        "QUEUECTL_SCHEDULE": "s",
        "QUEUECTL_SCHEDULED_FOR": "2026-01-31T12:10:00.000000Z",
        "QUEUECTL_SCHEDULED_LOCAL": "2026-01-31T12:10:00+00:00",
        "QUEUECTL_MISSED": "0",
    }
    assert job.captured == {"PATH": "/bin"}
    assert storage.get(job.id) == job
    assert sql(storage, "SELECT planned_at, result, times, job_seq FROM ticks") == [
        (to_text(planned), "made", 1, job.seq)
    ]
    assert row_of(storage, "next_at", "due_at", "last_at", "made") == (
        *(to_text(later(planned, 10 * MINUTES)),) * 2, to_text(planned), 1,
    )  # fmt: skip


def test_a_busy_worker_ticks_with_its_next_claim(storage, clock):
    """The record of one job and the claim of the next one are one transaction, with the tick."""
    add_schedule(storage.files, "s", now=clock.now, job={"priority": 5})
    add(storage, clock.now, "a", "b")
    claim = storage.claim("w1", now=clock.now)

    _, following = storage.record_and_claim(
        claim, OK, COMPLETED, "w1", now=clock.tick(11 * MINUTES)
    )

    assert following.job.schedule == "s"


def test_any_worker_ticks_all_schedules(storage, clock):
    """A worker of another queue makes the job, and does not claim it."""
    add_schedule(storage.files, "s", now=clock.now, job={"queue": "q"})
    clock.tick(10 * MINUTES)

    assert storage.claim("w1", ("other",), now=clock.now) is None
    assert not storage.ready(("other",), now=clock.now).now
    assert storage.claim("w2", ("q",), now=clock.now).job.schedule == "s"


@pytest.mark.parametrize(
    ("missed", "overlap", "rows", "counts"),
    [
        ("once", "skip", [("12:50", "missed", 5), ("13:00", "made", 1)], (1, 0, 5)),
        ("skip", "skip", [("13:00", "missed", 6)], (0, 0, 6)),
        ("all", "allow", [(f"1{t}", "made", 1) for t in
                          ("2:10", "2:20", "2:30", "2:40", "2:50", "3:00")], (6, 0, 0)),
    ],
)  # fmt: skip
def test_missed_times_follow_the_policy(storage, clock, missed, overlap, rows, counts):
    """Nothing is left out in silence: each time is made, or counted as missed."""
    add_schedule(storage.files, "s", now=clock.now, missed=missed, overlap=overlap)
    clock.tick(65 * MINUTES)

    made = run_all(storage, clock.now)

    assert tick_rows(storage) == rows
    assert row_of(storage, "made", "overlapped", "missed_count") == counts
    assert len(made) == counts[0]
    assert row_of(storage, "next_at") == (to_text(later(clock.now, 5 * MINUTES)),)


@pytest.mark.parametrize("state", ["pending", "processing", "failed"])
def test_skip_leaves_a_time_out_while_the_last_job_goes_on(storage, clock, state):
    """A job that waits for its retry has not ended either."""
    add_schedule(storage.files, "s", now=clock.now)
    clock.tick(10 * MINUTES)
    claim = storage.claim("w1", now=clock.now)
    if state == "failed":
        retry = Verdict(JobState.FAILED, later(clock.now, 3600), "exit code 1")
        storage.record(claim, EXIT_1, retry, now=clock.now)
    elif state == "pending":
        storage.unclaim(claim, now=clock.now)
        storage.pause_queue("default", by="ann", reason=None, now=clock.now)

    assert storage.claim("w2", now=clock.tick(10 * MINUTES)) is None

    assert tick_rows(storage) == [("12:10", "made", 1), ("12:20", "overlapped", 1)]
    assert row_of(storage, "made", "overlapped", "missed_count") == (1, 1, 0)


def test_a_dead_job_does_not_hold_the_place(storage, clock):
    """Neither does one that completed or was cancelled."""
    add_schedule(storage.files, "s", now=clock.now)
    for _ in range(2):
        assert len(run_all(storage, clock.tick(10 * MINUTES), EXIT_1, DEAD)) == 1

    assert row_of(storage, "made", "overlapped") == (2, 0)


def test_allow_lets_jobs_run_beside_each_other(storage, clock):
    """They have no unique key."""
    add_schedule(storage.files, "s", now=clock.now, overlap="allow")

    first = storage.claim("w1", now=clock.tick(10 * MINUTES))
    second = storage.claim("w2", now=clock.tick(10 * MINUTES))

    assert [first.job.unique_key, second.job.unique_key] == [None, None]
    assert tick_rows(storage) == [("12:10", "made", 1), ("12:20", "made", 1)]


def test_replace_gives_a_waiting_job_the_new_time(storage, clock):
    """It keeps its place; a running job is not touched, and the time is left out."""
    add_schedule(storage.files, "s", now=clock.now, overlap="replace", job={"queue": "q"})
    assert storage.claim("w1", ("other",), now=clock.tick(10 * MINUTES)) is None
    (seq,) = sql(storage, "SELECT seq FROM jobs")[0]
    assert storage.claim("w1", ("other",), now=clock.tick(10 * MINUTES)) is None

    claim = storage.claim("w1", now=clock.now)
    assert (claim.job.seq, claim.job.scheduled_for) == (seq, clock.now)
    assert claim.job.env["QUEUECTL_SCHEDULED_FOR"] == to_text(clock.now)
    assert storage.claim("w2", now=clock.tick(10 * MINUTES)) is None
    assert tick_rows(storage) == [
        ("12:10", "made", 1), ("12:20", "made", 1), ("12:30", "overlapped", 1)
    ]  # fmt: skip


def test_a_clock_that_is_set_back_makes_nothing_twice(storage, clock):
    """The planned time is in `ticks`, even if somebody sets the schedule back as well."""
    add_schedule(storage.files, "s", now=clock.now)
    planned = clock.tick(10 * MINUTES)
    assert run_all(storage, planned) == [planned]

    assert run_all(storage, later(planned, -3600)) == []
    sql(storage, "UPDATE schedules SET next_at = ?, due_at = ?", *[to_text(planned)] * 2)
    assert run_all(storage, planned) == []

    assert tick_rows(storage) == [("12:10", "made", 1)]
    assert row_of(storage, "made", "next_at") == (1, to_text(later(planned, 10 * MINUTES)))


def test_a_clock_that_is_set_forward_counts_as_an_absence(storage, clock):
    """One job is made for a day, not 144."""
    add_schedule(storage.files, "s", now=clock.now)

    assert len(run_all(storage, clock.tick(86_400))) == 1
    assert row_of(storage, "made", "missed_count") == (1, 100)


def test_a_paused_schedule_makes_nothing_until_it_is_resumed(storage, clock):
    """What it missed then follows the policy, unless the user wants nothing of it."""
    for name in ("s", "t"):
        add_schedule(storage.files, name, now=clock.now)
    with opened(storage.files) as schedules:
        for name in ("s", "t"):
            schedules.pause_schedule(name, by="ann", reason="why", now=clock.now)
        assert storage.ready((), now=clock.tick(35 * MINUTES)) == Ready(False, None)
        assert run_all(storage, clock.now) == []
        schedules.resume_schedule("s", skip_missed=False, now=clock.now)
        schedules.resume_schedule("t", skip_missed=True, now=clock.now)

    assert run_all(storage, clock.now) == [later(clock.now, -5 * MINUTES)]
    assert tick_rows(storage, "s") == [("12:20", "missed", 2), ("12:30", "made", 1)]
    assert tick_rows(storage, "t") == [("12:30", "paused", 3)]
    assert row_of(storage, "next_at", name="t") == row_of(storage, "next_at", name="s")


def test_a_schedule_ends_with_its_last_time(storage, clock):
    """Nothing is due any more."""
    add_schedule(storage.files, "s", now=clock.now, until=later(clock.now, 15 * MINUTES))

    assert len(run_all(storage, clock.tick(3600))) == 1
    assert row_of(storage, "next_at", "due_at") == (None, None)
    assert storage.ready((), now=clock.now) == Ready(False, None)


def test_sixteen_processes_at_one_instant_make_one_job(storage, clock):
    """Each planned time of each schedule has one job."""
    for number in range(5):
        add_schedule(storage.files, f"s{number}", now=clock.now, missed="all", overlap="allow")
    files, now = storage.files, clock.tick(31 * MINUTES)
    storage.close()

    def work():
        own = WorkerStorage.open(files, write=True)
        return [job for _ in range(4) if (job := _claimed(own, now))]

    found = [job for jobs in in_processes([work] * 16) for job in jobs]

    with opened(files) as again:
        jobs = sql(again, "SELECT schedule, scheduled_for, count(*) FROM jobs GROUP BY 1, 2")
        assert len(jobs) == 15
        assert {count for *_, count in jobs} == {1}
        assert sql(again, "SELECT count(*) FROM ticks WHERE result = 'made'") == [(15,)]
    assert len(found) == len(set(found)) == 15


def _claimed(storage, now):
    claim = storage.claim("w1", now=now)
    return None if claim is None else claim.job.id


def test_without_cronsim_a_schedule_is_left_to_others(storage, clock, monkeypatch, logged):
    """It is warned of once, its row is untouched, and other jobs start as ever."""
    pytest.importorskip("cronsim")
    add_schedule(storage.files, "s", "*/10 * * * *", now=clock.now)
    add_schedule(storage.files, "t", now=clock.now)
    before = row_of(storage, "*")
    without = WorkerStorage.open(storage.files, write=True)
    now = clock.tick(30 * MINUTES)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cronsim", None)
        assert run_all(without, now) == [now]
        for seconds in range(5):
            add(storage, now, f"a{seconds}")
            assert without.ready((), now=later(now, seconds)).now
            assert without.claim("w1", now=later(now, seconds)).job.id == f"a{seconds}"
            assert without.claim("w1", now=later(now, seconds)) is None
        # It sleeps until its other schedule is due, and does not spin.
        ready = without.ready((), now=later(now, 30))
        assert ready == Ready(False, later(now, 10 * MINUTES))
    without.close()

    assert row_of(storage, "*") == before
    assert logged == [
        "the schedule s makes no jobs here: cron expressions need the package cronsim (in a "
        "checkout of queuectl: pip install '.[cron]'; 'every 10m' works without)"
    ]
    assert run_all(storage, later(now, 30)) == [now]
    assert tick_rows(storage) == [("12:20", "missed", 2), ("12:30", "made", 1)]


def test_what_could_not_be_made_is_tried_again_after_a_minute(storage, clock, monkeypatch):
    """The package may have been installed meanwhile."""
    pytest.importorskip("cronsim")
    add_schedule(storage.files, "s", "*/10 * * * *", now=clock.now)
    worker = WorkerStorage.open(storage.files, write=True)
    clock.tick(10 * MINUTES)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cronsim", None)
        assert worker.claim("w1", now=clock.now) is None

    assert worker.claim("w1", now=clock.tick(59)) is None
    assert worker.ready((), now=clock.tick(1)).now
    assert worker.claim("w1", now=clock.now) is not None
    worker.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("expression", "no expression"),
        ("expression", b"\xff"),
        ("expression", 7),
        ("timezone", "Europe/Atlantis"),
        ("spec", "{"),
        ("spec", "{}"),
        ("spec", '{"command": "true", "id": "x"}'),
        ("spec", b'{"command": "\xff"}'),
        ("spec", '{"command": "true", "priority": "high"}'),
        ("anchor", "yesterday"),
        ("next_at", "soon"),
        ("jitter", "inf"),
        ("jitter", 1e300),
        ("name", b"\xff"),
    ],
)
def test_a_damaged_schedule_is_left_alone(storage, clock, logged, column, value):
    """Another program wrote it: others make their jobs, and no worker spins."""
    expression = "0 * * * *" if column == "timezone" else "every 10m"
    if column == "timezone":
        pytest.importorskip("cronsim")
    add_schedule(storage.files, "s", expression, now=clock.now)
    add_schedule(storage.files, "t", now=clock.now, job={"queue": "q"})
    given = value
    if isinstance(value, bytes):
        sql(storage, f"UPDATE schedules SET {column} = CAST(? AS TEXT) WHERE name = 's'", given)
    else:
        sql(storage, f"UPDATE schedules SET {column} = ? WHERE name = 's'", given)
    worker = WorkerStorage.open(storage.files, write=True)
    now = clock.tick(60 * MINUTES)

    jobs = run_all(worker, now)
    run_all(worker, later(now, 1))
    ready = worker.ready((), now=later(now, 2))

    assert jobs == [now]
    assert ready == Ready(False, later(now, 10 * MINUTES))
    assert [message[:14] for message in logged] == ["the schedule s"] or (
        column == "name" and len(logged) == 1
    )
    worker.close()


def test_many_schedules_are_made_in_small_transactions(storage, clock, monkeypatch):
    """Others write in between; each has its job in the end."""
    monkeypatch.setattr(ticks, "_SCHEDULES_AT_ONCE", 3)
    for number in range(10):
        add_schedule(storage.files, f"s{number}", now=clock.now)

    assert len(run_all(storage, clock.tick(10 * MINUTES))) == 10


def test_many_damaged_schedules_do_not_hide_the_others(storage, clock, monkeypatch):
    """One run of `schedule tick` gets past them, however many there are."""
    monkeypatch.setattr(ticks, "_SCHEDULES_AT_ONCE", 3)
    for number in range(7):
        add_schedule(storage.files, f"s{number}", now=clock.now)
    sql(storage, "UPDATE schedules SET next_at = 'soon' WHERE name < 's6'")

    with opened(storage.files) as schedules:
        ticked = schedules.tick_schedules(now=clock.tick(10 * MINUTES))

    assert (ticked.advanced, len(ticked.jobs), len(ticked.problems)) == (1, 1, 6)


def test_old_ticks_are_forgotten(storage, clock, monkeypatch):
    """The newest are kept, and of these none is older than the key retention."""
    monkeypatch.setattr(ticks, "_KEPT_TICKS", 20)
    add_schedule(storage.files, "s", now=clock.now)
    for _ in range(100):
        run_all(storage, clock.tick(10 * MINUTES))

    rows = sql(storage, "SELECT min(planned_at), count(*) FROM ticks")
    assert rows == [(to_text(later(clock.now, -190 * MINUTES)), 20)]
    sql(storage, "INSERT INTO config (key, value) VALUES ('retention', '3600')")
    for _ in range(50):
        run_all(storage, clock.tick(10 * MINUTES))
    assert sql(storage, "SELECT count(*) FROM ticks") == [(7,)]


def test_the_ends_of_jobs_are_noted(storage, clock):
    """A cancelled job says nothing about the schedule."""
    add_schedule(storage.files, "s", now=clock.now)
    ends = []
    for verdict in (DEAD, COMPLETED, Verdict(JobState.CANCELLED, last_error="cancelled")):
        run_all(storage, clock.tick(10 * MINUTES), EXIT_1, verdict)
        ends += row_of(storage, "last_ended")
        ends += row_of(storage, "last_success_at")

    success = to_text(later(clock.now, -10 * MINUTES))
    assert ends == ["dead", None, "completed", success, "completed", success]


@pytest.mark.parametrize("why", ["missed", "overlapped"])
def test_hooks_report_what_was_left_out(storage, clock, why):
    """The job of the hook is stored with the tick, and workers are woken for it."""
    add_schedule(storage.files, "s", now=clock.now, missed="skip", job={"label": "nightly"})
    sql(
        storage,
        "INSERT INTO hooks (name, events, command, created_at) VALUES ('h', 'missed', 'x', ?)",
        to_text(clock.now),
    )
    if why == "overlapped":
        storage.claim("w1", now=clock.tick(10 * MINUTES))
    else:
        clock.tick(5 * MINUTES)
    claim = storage.claim("w2", now=clock.tick(10 * MINUTES))

    assert claim.job.hook == "h"
    assert claim.job.queue == "default/hooks"
    assert claim.job.env["QUEUECTL_PARENT_SCHEDULE"] == "s"
    assert claim.job.env["QUEUECTL_PARENT_ERROR"].startswith(why)
    (payload,) = sql(storage, "SELECT content FROM contents")[0]
    assert json.loads(payload)["data"]["times"] == 1


def corrected(storage, now):
    """Let the chores of a worker look at the clock; return how many schedules were moved."""
    return storage.correct_schedules(changed_after=now, now=now)


def test_a_clock_that_was_ahead_does_not_end_a_schedule(storage, clock):
    """It was ten years ahead for a moment: each time between now and then is still made."""
    add_schedule(storage.files, "s", now=clock.now, until=later(clock.now, 86_400))
    add_schedule(storage.files, "t", now=clock.now)
    assert len(run_all(storage, later(clock.now, 10 * 365 * 86_400))) == 2
    assert run_all(storage, clock.tick(10 * MINUTES)) == []

    assert corrected(storage, clock.now) == 2

    assert corrected(storage, clock.now) == 0
    assert run_all(storage, clock.tick(10 * MINUTES)) == [clock.now] * 2
    assert run_all(storage, clock.tick(10 * MINUTES)) == [clock.now] * 2


def test_a_clock_that_was_a_bit_ahead_makes_nothing_twice(storage, clock):
    """The times of that hour were made too early; they are not made again."""
    add_schedule(storage.files, "s", now=clock.now)
    made = []
    for ahead in range(1, 7):
        made += run_all(storage, later(clock.now, ahead * 10 * MINUTES))
    assert corrected(storage, clock.tick(5 * MINUTES)) == 1

    for _ in range(7):
        made += run_all(storage, clock.tick(10 * MINUTES))

    assert made == sorted(set(made))
    assert len(made) == 7


def test_a_schedule_that_was_added_by_a_wrong_clock_is_corrected(storage, clock):
    """A fixed rate counts from now then; and what is overdue, paused or damaged is left alone."""
    ahead = later(clock.now, 86_400)
    add_schedule(storage.files, "s", now=ahead)
    add_schedule(storage.files, "overdue", now=later(clock.now, -3600))
    add_schedule(storage.files, "damaged", now=ahead)
    sql(storage, "UPDATE schedules SET updated_at = ? WHERE name = 'overdue'", to_text(ahead))
    sql(storage, "UPDATE schedules SET expression = 'x' WHERE name = 'damaged'")
    before = row_of(storage, "next_at", name="overdue")

    assert corrected(storage, clock.now) == 1

    assert row_of(storage, "next_at") == (to_text(later(clock.now, 10 * MINUTES)),)
    assert row_of(storage, "next_at", name="overdue") == before

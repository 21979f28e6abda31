"""The counters of activity: what is counted, when, and how long it is kept."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import datetime, timedelta, timezone
from random import Random

import pytest

from queuectl.core.activity import BOUNDS, BUCKETS, Tally
from queuectl.core.errors import DuplicateId
from queuectl.core.models import Outcome, OutcomeKind, Selection
from queuectl.core.specs import JobSpec
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import to_text
from queuectl.host.files import find
from queuectl.storage import Storage, counting
from queuectl.storage.activity import Trend
from support.clock import later
from support.outcomes import COMPLETED, DEAD, EXIT_1, INTERRUPTED, LOST, OK, retry_at
from support.rows import add, finish, sql, statements
from support.schedules import add_schedule
from support.stages import leave_decided, leave_undecided


def times(storage):
    """Return how often each event happened, by queue and event; both ways must agree."""
    before = {(tally.queue, tally.event): tally.times for tally in storage.totals()}
    while storage.count_attempts():
        pass
    after = {(tally.queue, tally.event): tally.times for tally in storage.totals()}
    assert after == before
    assert storage.activity_miscounts() == []
    return after


def bucket(seconds):
    """Return a histogram with one duration."""
    place = next((n for n, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))
    return tuple(int(number == place) for number in range(BUCKETS))


def run(storage, now, outcome=OK, verdict=COMPLETED):
    """Claim the next job and record its end."""
    storage.record(storage.claim("w1", now=now), outcome, verdict, now=now)


def test_each_end_of_an_attempt_counts_by_its_outcome(storage, clock):
    """So does the death of the job."""
    add(storage, clock.now, "a", "b", "c")
    run(storage, clock.now)
    run(storage, clock.now, EXIT_1, retry_at(later(clock.now, 9)))
    run(storage, clock.now, LOST, DEAD)

    assert times(storage) == {
        ("default", "enqueued"): 3,
        ("default", "ok"): 1,
        ("default", "exit"): 1,
        ("default", "lost"): 1,
        ("default", "dead"): 1,
    }


@pytest.mark.parametrize("is_counted", [False, True])
def test_a_tally_has_the_durations(storage, clock, is_counted):
    """How long the attempt ran and waited, and its CPU time; also before it is counted."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.tick(2.5))
    outcome = Outcome(OutcomeKind.OK, exit_code=0, seconds=61.0, cpu_seconds=12.5)
    storage.record(claim, outcome, COMPLETED, now=clock.tick(61))
    if is_counted:
        assert storage.count_attempts() is False

    (ok,) = [tally for tally in storage.totals() if tally.event == "ok"]
    assert ok == Tally("default", "ok", 1, 61.0, 12.5, 2.5, bucket(61.0), bucket(2.5))


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.11, 1.0, 86400.0, 86401.0])
def test_the_upper_bound_of_a_bucket_is_part_of_it(storage, clock, seconds):
    """As in Prometheus."""
    add(storage, clock.now, "a")
    run(storage, clock.now, Outcome(OutcomeKind.OK, exit_code=0, seconds=seconds))

    assert [tally.run for tally in storage.totals() if tally.event == "ok"] == [bucket(seconds)]


def test_an_attempt_whose_duration_is_unknown_is_in_no_bucket(storage, clock):
    """It is counted, though."""
    add(storage, clock.now, "a")
    run(storage, clock.now, LOST, DEAD)

    (lost,) = [tally for tally in storage.totals() if tally.event == "lost"]
    assert (lost.times, sum(lost.run), sum(lost.wait)) == (1, 0, 1)


def test_an_attempt_that_runs_for_long_is_counted_when_it_ends(storage, clock):
    """Others that began later are counted meanwhile."""
    add(storage, clock.now, "slow", "fast")
    slow = storage.claim("w1", now=clock.now)
    run(storage, clock.now)
    assert storage.count_attempts() is False
    assert sql(storage, "SELECT execution_id FROM late_attempts") == [(slow.execution_id,)]
    assert times(storage) == {("default", "enqueued"): 2, ("default", "ok"): 1}

    storage.record(slow, EXIT_1, DEAD, now=clock.tick(60))

    assert times(storage)["default", "exit"] == 1
    assert sql(storage, "SELECT execution_id FROM late_attempts") == []


def test_an_attempt_that_never_began_does_not_count(storage, clock):
    """A worker puts the job back if the host cannot start processes."""
    add(storage, clock.now, "a")
    storage.unclaim(storage.claim("w1", now=clock.now), now=clock.now)
    claim = storage.claim("w1", now=clock.now)
    storage.count_attempts()
    storage.unclaim(claim, now=clock.now)

    assert times(storage) == {("default", "enqueued"): 1}
    assert sql(storage, "SELECT execution_id FROM late_attempts") == []


def test_an_interrupted_attempt_counts_as_such(storage, clock):
    """And the job has not come in again."""
    add(storage, clock.now, "a")
    storage.release(storage.claim("w1", now=clock.now), INTERRUPTED, now=clock.now)

    assert times(storage) == {("default", "enqueued"): 1, ("default", "interrupted"): 1}


def test_a_cancelled_job_counts_whether_it_waited_or_ran(storage, clock):
    """Whatever the outcome of the attempt."""
    add(storage, clock.now, "waiting", "running")
    storage.cancel(storage.get("waiting"), now=clock.now)
    claim = storage.claim("w1", now=clock.now)
    storage.cancel(storage.get("running"), now=clock.now)
    storage.record(claim, EXIT_1, retry_at(later(clock.now, 9)), now=clock.now)

    assert times(storage) == {
        ("default", "enqueued"): 2,
        ("default", "exit"): 1,
        ("default", "job-cancelled"): 2,
    }


def test_a_job_counts_as_enqueued_again_when_it_is_retried_after_its_end(storage, clock):
    """Not if it just waited for its retry; and in the queue in which it waits then."""
    add(storage, clock.now, "a")
    run(storage, clock.now, EXIT_1, retry_at(later(clock.now, 9)))
    storage.retry(storage.get("a"), now=clock.now)
    assert times(storage)["default", "enqueued"] == 1

    finish(storage, clock.now, "a", JobState.DEAD)
    storage.retry(storage.get("a"), {"queue": "other"}, now=clock.now)
    assert times(storage) == {
        ("default", "enqueued"): 1,
        ("default", "exit"): 2,
        ("default", "dead"): 1,
        ("other", "enqueued"): 1,
    }


def test_a_job_that_is_moved_to_another_queue_counts_where_each_event_was(storage, clock):
    """It does not come in twice; its attempts stay where they ran, though counted later."""
    add(storage, clock.now, "a")
    run(storage, clock.now, EXIT_1, retry_at(later(clock.now, 9)))
    storage.edit(storage.get("a"), {"queue": "other"}, now=clock.now)
    finish(storage, clock.tick(10), "a", JobState.COMPLETED)

    assert times(storage) == {
        ("default", "enqueued"): 1,
        ("default", "exit"): 1,
        ("other", "ok"): 1,
    }


def test_a_job_that_replaces_another_does_not_come_in(storage, clock):
    """It has the place of a job that came in already."""
    spec = JobSpec(command="true", unique_key="k", if_dup="replace")
    storage.enqueue([spec, spec], now=clock.now)
    storage.enqueue([spec._replace(if_dup="skip")], now=clock.now)

    assert times(storage) == {("default", "enqueued"): 1}


def test_a_refused_enqueue_counts_nothing(storage, clock):
    """All or nothing."""
    with pytest.raises(DuplicateId):
        storage.enqueue([JobSpec(command="true", id="a")] * 2, now=clock.now)

    assert storage.totals() == []


@pytest.mark.parametrize("staged", [False, True])
def test_a_bulk_enqueue_counts_once_for_each_queue(storage, clock, staged, monkeypatch):
    """Not once for each job: 100,000 jobs take two seconds. If staged, once per transaction."""
    if staged:
        monkeypatch.setattr("queuectl.storage.enqueueing.MOST_AT_ONCE", 50)
        monkeypatch.setattr("queuectl.storage.moving._FIRST", 1000)

    def counted(jobs):
        specs = [JobSpec(command="true", queue=f"q{number % 2}") for number in range(jobs)]
        found = statements(storage, lambda: storage.enqueue(specs, now=clock.now))
        return sum("INSERT INTO activity" in text for text in found)

    assert counted(60) == counted(600 if staged else 40) == 2 * 4


def test_prune_changes_no_counter(storage, clock):
    """Attempts are counted before their rows are deleted, at the latest then."""
    add(storage, clock.now, "a", "b", "c")
    run(storage, clock.now)
    storage.count_attempts()
    late = storage.claim("w1", now=clock.now)
    run(storage, clock.now, EXIT_1, DEAD)
    storage.count_attempts()
    storage.record(late, OK, COMPLETED, now=clock.now)
    before = storage.totals()

    assert storage.prune(states=FINISHED_STATES, before=later(clock.now, 1)) == 3

    assert storage.totals() == before
    assert times(storage)["default", "ok"] == 2


def test_an_old_worker_counts_too(storage, clock):
    """A worker of an older schema records its running job after the file was upgraded."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    sql(
        storage,
        "UPDATE executions SET outcome = 'ok', seconds = 5, finished_at = ? WHERE id = ?",
        to_text(clock.now),
        claim.execution_id,
    )

    assert times(storage)["default", "ok"] == 1


def test_a_backup_has_the_counters_and_counts_the_attempts_it_gives_up(storage, clock, tmp_path):
    """What runs here is lost there."""
    add(storage, clock.now, "a", "b")
    run(storage, clock.now)
    storage.claim("w1", now=clock.now)

    storage.back_up(str(tmp_path / "backup.db"), now=clock.now)

    files = find(str(tmp_path / "backup.db"), None, False)
    with closing(Storage.open(files, write=True)) as backup:
        assert times(backup) == {**times(storage), ("default", "lost"): 1}


def test_imported_jobs_come_in_unless_they_have_finished(storage, clock):
    """They come in now, whenever they were enqueued first."""
    add(storage, clock.now, "a", "b")
    run(storage, clock.now)
    exported = list(storage.export(Selection()))
    storage.cancel(storage.get("b"), now=clock.now)
    storage.prune(states=FINISHED_STATES, before=later(clock.now, 1))

    storage.import_jobs(exported, skip_existing=False, now=clock.tick(7200))

    assert times(storage)["default", "enqueued"] == 3
    (came_in,) = storage.activity(clock.now, clock.tick(60))
    assert came_in == Tally("default", "enqueued", 1)


def test_the_jobs_of_hooks_and_schedules_come_in_like_others(storage, clock):
    """Those of hooks in a queue of their own."""
    add(storage, clock.now, "a", on_success="true")
    run(storage, clock.now)
    assert times(storage) == {
        ("default", "enqueued"): 1,
        ("default", "ok"): 1,
        ("default/hooks", "enqueued"): 1,
    }

    add_schedule(storage.files, "s", now=clock.now, job={"command": "make", "queue": "q"})
    run(storage, clock.tick(600))
    run(storage, clock.now)

    assert times(storage) == {
        ("default", "enqueued"): 1,
        ("default", "ok"): 1,
        ("default/hooks", "enqueued"): 1,
        ("default/hooks", "ok"): 1,
        ("q", "enqueued"): 1,
        ("q", "ok"): 1,
    }


def test_staged_jobs_come_in_when_they_can_be_seen(storage, clock):
    """Each of them once, whoever moves them; those that were discarded never did."""
    specs = [JobSpec(command="true", queue=queue) for queue in "xyxyx"]
    leave_undecided(storage, specs, now=clock.now)
    assert storage.finish_dead_stage(now=clock.now)
    assert times(storage) == {}

    leave_decided(storage, specs, now=clock.now, moved=1)
    assert sum(times(storage).values()) == 2
    assert storage.finish_dead_stage(now=clock.now)

    assert times(storage) == {("x", "enqueued"): 3, ("y", "enqueued"): 2}


def test_a_running_job_that_cannot_be_read_counts_as_lost_and_dead(storage, clock):
    """Its worker is dead, and nobody else can deal with it."""
    add(storage, clock.now, "a")
    storage.claim("w1", now=clock.now)
    sql(storage, "UPDATE jobs SET timeout = 'x', queue = x'ff'")

    assert len(storage.set_aside_held_by("w1", now=clock.now)) == 1

    assert times(storage) == {
        ("default", "enqueued"): 1,
        ("default", "lost"): 1,
        ("default", "dead"): 1,
    }


def test_odd_values_of_another_program_are_counted_somehow(storage, clock):
    """No command and no worker fails because of them."""
    add(storage, clock.now, "a", "b")
    run(storage, clock.now)
    sql(storage, "UPDATE executions SET queue = x'ff', seconds = 'x', finished_at = 17")
    sql(storage, "UPDATE jobs SET queue = x'fe' WHERE id = 'b'")
    sql(storage, "UPDATE jobs SET state = 'cancelled', finished_at = 18 WHERE id = 'b'")

    assert sorted(times(storage).values()) == [1, 1, 2]
    storage.trends(now=clock.now)
    storage.expire_activity(now=clock.now)


def test_counting_goes_on_where_it_stopped(storage, clock, monkeypatch):
    """Each transaction counts few attempts."""
    monkeypatch.setattr(counting, "ROWS_AT_ONCE", 2)
    add(storage, clock.now, *"abcde")
    for _ in range(5):
        run(storage, clock.now)

    assert [storage.count_attempts() for _ in range(3)] == [True, True, False]
    assert times(storage)["default", "ok"] == 5


def test_who_has_nothing_to_count_does_not_write(storage, clock):
    """Idle workers look all day."""
    add(storage, clock.now, "a", "b")
    run(storage, clock.now)
    storage.claim("w1", now=clock.now)
    storage.count_attempts()

    found = statements(storage, storage.count_attempts)
    assert "BEGIN IMMEDIATE" not in found
    found = statements(storage, lambda: storage.expire_activity(now=clock.now))
    assert "BEGIN IMMEDIATE" not in found


def dying_after(number):
    """Return what is called for each statement, and ends the process after so many."""
    left = iter(range(number))

    def called(_):
        if next(left, None) is None:
            os._exit(9)

    return called


def killed_at_each_statement(storage, work):
    """Yield after each death of a process that does this work; it dies one statement later each
    time, and at last not at all.
    """
    files, number, status = storage.files, 0, None
    while status != 0:
        number += 1
        pid = os.fork()
        if pid == 0:
            own = Storage.open(files)
            own._database.connection.set_trace_callback(dying_after(number))
            work(own)
            os._exit(0)
        status = os.WEXITSTATUS(os.waitpid(pid, 0)[1])
        yield
    assert number > 5


@pytest.mark.parametrize("what", ["count", "expire"])
def test_whoever_is_killed_while_it_counts_or_deletes_changes_nothing(tmp_path, what):
    """The next one does it."""
    files = find(str(tmp_path / "queue.db"), None, False)
    storage = Storage.open(files, create=True)
    prepare(storage)
    before = storage.totals()
    storage.close()

    def work(own):
        own.count_attempts() if what == "count" else own.expire_activity(
            now=NOW + 600 * timedelta(days=1)
        )

    for _ in killed_at_each_statement(storage, work):
        storage = Storage.open(files)
        assert storage.totals() == before
        assert storage.activity_miscounts() == []
        storage.close()


def prepare(storage):
    """Leave counted, uncounted and late attempts."""
    add(storage, NOW, "slow", "a", "b")
    late = storage.claim("w1", now=NOW)
    run(storage, NOW)
    storage.count_attempts()
    storage.record(late, OK, COMPLETED, now=NOW)
    run(storage, NOW)
    storage.claim("w1", now=NOW)


NOW = datetime(2026, 11, 28, 12, 0, tzinfo=timezone.utc)


def enqueue_at(storage, *ago):
    """Enqueue one job at each of some times, given as what was so long ago."""
    for passed in ago:
        storage.enqueue([JobSpec(command="true")], now=NOW - passed)


def expire(storage, now=NOW):
    """Delete what is old; return how many transactions that took."""
    return sum(1 for _ in iter(lambda: storage.expire_activity(now=now), False))


def test_minutes_hours_and_days_are_kept_for_some_time(storage, monkeypatch):
    """The sums stay what they were, however few rows a transaction deletes."""
    monkeypatch.setattr(counting, "ROWS_AT_ONCE", 1)
    days = timedelta(days=1)
    enqueue_at(storage, 500 * days, 450 * days, 300 * days, 2 * days, timedelta())
    before = storage.totals()

    assert expire(storage) == 3 + 3 + 2
    assert expire(storage) == 0

    assert sql(storage, "SELECT period, times FROM activity ORDER BY period") == [
        ("", 5),
        ("-", 2),
        ("2026-11-26T12:00", 1),
        ("2026-11-28T12:00", 1),
        ("d2026-02-01", 1),
        ("d2026-11-26", 1),
        ("d2026-11-28", 1),
        ("h2026-11-26T12", 1),
        ("h2026-11-28T12", 1),
    ]
    assert storage.totals() == before
    assert storage.activity_miscounts() == []


@pytest.mark.parametrize("works", [False, True])
def test_a_clock_that_is_years_ahead_for_an_hour_deletes_nothing(storage, works):
    """Also if jobs are enqueued meanwhile. Prevents: all minutes, hours and days were gone."""
    days = timedelta(days=1)
    enqueue_at(storage, timedelta(), days, 3 * days)
    kept = "SELECT * FROM activity WHERE period LIKE '%2026%' ORDER BY period"
    before = sql(storage, kept)
    wrong = NOW + 1000 * days
    if works:
        storage.enqueue([JobSpec(command="true")], now=wrong)
    assert expire(storage, now=wrong) == 0
    assert sql(storage, kept) == before

    assert expire(storage) == 1  # the clock is right again; the minute two days ago is still kept


def test_a_queue_that_was_not_used_for_years_expires_on_its_second_day(storage):
    """Only then it is known that the clock is right."""
    days = timedelta(days=1)
    enqueue_at(storage, 1000 * days, days)
    assert expire(storage, now=NOW - days) == 0
    enqueue_at(storage, timedelta())
    assert expire(storage) == 3


def test_a_kept_total_that_is_wrong_is_found(storage):
    """`doctor` tells it."""
    enqueue_at(storage, timedelta())
    assert storage.activity_miscounts() == []

    sql(storage, "UPDATE activity SET times = times + 1 WHERE period = ''")
    assert storage.activity_miscounts() == ["default enqueued: 2, but 1 by days"]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (timedelta(minutes=5), timedelta(), 2),  # 5 and 3 minutes ago
        (timedelta(minutes=5), timedelta(minutes=-1), 3),  # and now
        (timedelta(hours=2), timedelta(minutes=-1), 5),
        (timedelta(hours=2, minutes=2), timedelta(minutes=-1), 6),
        (timedelta(hours=1, minutes=30), timedelta(hours=1, minutes=20), 1),
        (timedelta(hours=1, minutes=30), timedelta(minutes=4), 2),
        (timedelta(days=3), timedelta(minutes=-1), 7),
        (timedelta(days=2, hours=23, minutes=30), timedelta(minutes=-1), 7),  # a whole hour
        (timedelta(days=2, hours=22), timedelta(minutes=-1), 6),
    ],
)
def test_the_sum_of_a_range_is_exact_to_the_minute(storage, since, until, expected):
    """It is taken from hours where they are whole, and from minutes at both ends."""
    enqueue_at(
        storage,
        timedelta(days=2, hours=23, minutes=45),
        timedelta(hours=2, minutes=1),
        timedelta(hours=2),
        timedelta(hours=1, minutes=25),
        timedelta(minutes=5),
        timedelta(minutes=3),
        timedelta(),
    )
    expire(storage)

    assert sum(tally.times for tally in storage.activity(NOW - since, NOW - until)) == expected


def test_the_sum_of_any_range_is_exact_while_minutes_are_kept(storage):
    """It consists of minutes, hours and days, each of which counts once."""
    chance = Random(1)
    ago = sorted(chance.randrange(45 * 24 * 60) for _ in range(120))
    enqueue_at(storage, *(timedelta(minutes=minutes) for minutes in ago))
    for _ in range(300):
        since, until = (chance.choice(ago) + chance.randrange(-1, 2) for _ in range(2))
        found = storage.activity(
            NOW - timedelta(minutes=since), NOW - timedelta(minutes=until, seconds=-30)
        )
        expected = sum(until < minutes <= since for minutes in ago)
        assert (since, until, sum(one.times for one in found)) == (since, until, expected)


def test_older_ranges_begin_and_end_with_whole_hours_or_days(storage):
    """Of the others it is not known any more what was in them."""
    days, minutes = timedelta(days=1), timedelta(minutes=1)
    enqueue_at(storage, 200 * days - minutes, 200 * days - 20 * minutes, 9 * days - minutes)
    enqueue_at(storage, minutes)
    expire(storage)

    def times(since, until):
        return sum(tally.times for tally in storage.activity(NOW - since, NOW - until))

    assert times(300 * days, timedelta()) == 4
    assert times(200 * days - 10 * minutes, timedelta()) == 4
    assert times(200 * days - 10 * minutes, 9 * days - 5 * minutes) == 2
    assert times(9 * days - 5 * minutes, timedelta()) == 2
    assert times(8 * days, timedelta()) == 1


def test_activity_by_minute_hour_and_day(storage, clock):
    """Counted and uncounted attempts are added up."""
    add(storage, clock.now, "a", "b")
    run(storage, clock.now)
    storage.count_attempts()
    run(storage, clock.now)
    day = timedelta(days=1)

    for read, start in (
        (storage.activity_by_minute, clock.now),
        (storage.activity_by_hour, clock.now),
        (storage.activity_by_day, clock.now.replace(hour=0)),
    ):
        periods = read(clock.now - day, clock.now + day)
        assert [(began, tally.event, tally.times) for began, tally in periods] == [
            (start, "enqueued", 2),
            (start, "ok", 2),
        ]
        assert read(clock.now - day, clock.now) == []


def test_the_trend_tells_what_came_in_and_what_finished_lately(storage, clock):
    """What was longer ago does not matter."""
    add(storage, clock.now, "old", queue="x")
    add(storage, clock.tick(600), "a", "b", "c", "d", queue="x")
    run(storage, clock.now)
    run(storage, clock.now, EXIT_1, DEAD)
    storage.cancel(storage.get("d"), now=clock.now)

    assert storage.trends(now=clock.now) == {"x": Trend(4, 1, 1, 1)}
    assert storage.trends(now=clock.now)["x"].growth == 1


def test_a_job_waits_from_when_it_could_start(storage, clock):
    """That is its time if it has one, even if nobody made it claimable then; or its return."""

    def waited():
        claim = storage.claim("w1", now=clock.now)
        (row,) = sql(
            storage, f"SELECT waited_seconds FROM executions WHERE id = {claim.execution_id}"
        )
        return claim, row[0]

    storage.enqueue([JobSpec(command="true", run_at=later(clock.now, 60))], now=clock.now)
    clock.tick(100)
    claim, seconds = waited()
    assert seconds == 40
    storage.release(claim, INTERRUPTED, now=clock.tick(50))
    clock.tick(3)
    claim, seconds = waited()
    assert seconds == 3
    storage.record(claim, EXIT_1, retry_at(later(clock.now, 10)), now=clock.now)
    clock.tick(12)
    claim, seconds = waited()
    assert seconds == 2
    storage.release(claim, INTERRUPTED, now=clock.now)
    clock.tick(-5)
    assert waited()[1] == 0

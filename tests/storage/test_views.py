"""The views of a queue's file: what they show, and that their columns are kept."""

from __future__ import annotations

import pytest

from queuectl.core.specs import JobSpec
from queuectl.core.times import to_text
from support.outcomes import COMPLETED, OK
from support.rows import add, sql

_PROMISED = {
    "job_list": "id number queue label command state priority attempts interruptions max_retries "
    "retry_delay backoff timeout run_at created_at updated_at finished_at locked_by locked_at "
    "paused_at cwd shell input_bytes unique_key exit_code signal last_error cancel_requested "
    "cancel_reason schedule scheduled_for hook hook_of",
    "run_list": "id job number queue label command schedule hook attempt worker started_at "
    "finished_at outcome exit_code signal waited_seconds seconds cpu_seconds max_rss_bytes "
    "output_bytes",
    "queue_list": "queue pending processing failed scheduled blocked completed dead cancelled "
    "paused_at paused_by pause_reason job_limit",
    "tick_list": "schedule planned_at result times at job state",
    "hook_run_list": "hook event_id job hook_job queue state attempts exit_code last_error "
    "created_at finished_at",
    "activity_by_minute": "minute queue event times run_seconds cpu_seconds wait_seconds",
    "activity_by_hour": "hour queue event times run_seconds cpu_seconds wait_seconds",
}
"""Other programs read these columns. New ones may be added at the end; none may go."""


def test_the_columns_of_the_views_are_kept(storage):
    """Programs that read a view go on working: the columns that they know stay, in their order."""
    names = [name for (name,) in sql(storage, "SELECT name FROM sqlite_master WHERE type = 'view'")]
    assert sorted(names) == sorted(_PROMISED)
    for name, columns in _PROMISED.items():
        present = [row[1] for row in sql(storage, f"PRAGMA table_info({name})")]
        known = columns.split()
        assert present[: len(known)] == known


@pytest.mark.parametrize("name", sorted(_PROMISED))
def test_a_view_of_an_empty_queue_is_empty(storage, name):
    """A view can be read, whatever the queue holds."""
    assert sql(storage, f"SELECT * FROM {name}") == []


def test_what_the_views_show_of_jobs(storage, clock):
    """The view of jobs has their short numbers, that of attempts the ids of their jobs."""
    storage.enqueue(
        [JobSpec(command="true", id="a", label="first", queue="x"), JobSpec(command="false")],
        now=clock.now,
    )
    storage.record(storage.claim("w1", queues=("x",), now=clock.now), OK, COMPLETED, now=clock.now)

    assert sql(storage, "SELECT id, number, queue, label, state FROM job_list WHERE id = 'a'") == [
        ("a", 1, "x", "first", "completed")
    ]
    assert sql(storage, "SELECT job, number, command, attempt, outcome FROM run_list") == [
        ("a", 1, "true", 1, "ok")
    ]
    assert sql(storage, "SELECT queue, pending, completed, dead FROM queue_list") == [
        ("default", 1, 0, 0),
        ("x", 0, 1, 0),
    ]


def test_a_paused_queue_without_jobs_is_in_the_view_of_queues(storage, clock):
    """The row that stands for all queues is not a queue."""
    storage.pause_queue("later", by="ada", reason="moving", now=clock.now)
    storage.pause_queue(None, by="ada", reason=None, now=clock.now)

    assert sql(storage, "SELECT queue, pending, paused_by, pause_reason FROM queue_list") == [
        ("later", 0, "ada", "moving")
    ]


def test_the_jobs_of_hooks_and_schedules_name_what_made_them(storage, clock):
    """A hook's job names the job that ended; a planned time names the job that it made."""
    storage.enqueue([JobSpec(command="true", id="a"), JobSpec(command="x", id="h")], now=clock.now)
    sql(storage, "UPDATE jobs SET hook = 'ops', hook_of = 1, event_id = 'evt_1' WHERE id = 'h'")
    sql(storage, "UPDATE jobs SET schedule = 'nightly' WHERE id = 'a'")
    sql(
        storage,
        "INSERT INTO schedules (name, expression, spec, anchor, created_at, updated_at)"
        " VALUES ('nightly', 'every 1d', '{}', 't', 't', 't')",
    )
    sql(storage, "INSERT INTO ticks VALUES ('nightly', 't1', 'made', 1, 1, 't2')")
    sql(storage, "INSERT INTO ticks VALUES ('nightly', 't2', 'missed', 3, NULL, 't2')")

    assert sql(storage, "SELECT hook, job, hook_job, state FROM hook_run_list") == [
        ("ops", "a", "h", "pending")
    ]
    assert sql(storage, "SELECT hook, hook_of FROM job_list WHERE id = 'h'") == [("ops", "a")]
    assert sql(storage, "SELECT planned_at, result, times, job FROM tick_list") == [
        ("t1", "made", 1, "a"),
        ("t2", "missed", 3, None),
    ]


def test_activity_is_shown_by_minute_and_by_hour(storage):
    """The totals since ever, and of what is no longer kept, are left out."""
    for period, times in (("", 12), ("-", 3), ("d2026-01-31", 9), ("2026-01-31T12:01", 2),
                          ("2026-01-31T12:02", 3), ("h2026-01-31T11", 4),
                          ("h2026-01-31T12", 5)):  # fmt: skip
        sql(
            storage,
            "INSERT INTO activity (period, queue, event, times, run_seconds)"
            f" VALUES ('{period}', 'q', 'ok', {times}, 0.5)",
        )

    assert sql(storage, "SELECT minute, queue, event, times FROM activity_by_minute") == [
        ("2026-01-31T12:01", "q", "ok", 2),
        ("2026-01-31T12:02", "q", "ok", 3),
    ]
    assert sql(storage, "SELECT hour, times, run_seconds FROM activity_by_hour") == [
        ("2026-01-31T11", 4, 0.5),
        ("2026-01-31T12", 5, 0.5),
    ]


def test_attempts_that_are_not_counted_yet_are_shown_as_well(storage, clock):
    """They are counted some seconds after they have ended."""
    add(storage, clock.now, "a")
    storage.record(storage.claim("w1", now=clock.now), OK, COMPLETED, now=clock.now)

    shown = "SELECT minute, times FROM activity_by_minute WHERE event = 'ok'"
    assert sql(storage, shown) == [(to_text(clock.now)[:16], 1)]
    storage.count_attempts()
    assert sql(storage, shown) == [(to_text(clock.now)[:16], 1)]

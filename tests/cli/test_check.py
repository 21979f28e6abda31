"""`check`: one line and an exit code for monitoring."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from queuectl.core.specs import JobSpec
from queuectl.core.times import to_text, utcnow
from support.queue import Queue
from support.states import every_state
from support.watch.file_watch import by_hand

_PERFDATA = re.compile(r"[a-z]+=\d+(\.\d+)?s?;(\d+(\.\d+)?:?)?;(\d+(\.\d+)?:?)?;0")


@pytest.fixture
def states(queue: Queue) -> Queue:
    """A queue with a job in each state."""
    every_state(queue)
    return queue


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "CRITICAL - 1 dead job (limit 0)"),
        (["--max-dlq", "1"], 0, "OK - 1 pending, 1 dead, 0 workers"),
        (["--max-dlq", "0"], 2, "CRITICAL - 1 dead job (limit 0)"),
        (["--max-dlq", "0:1"], 1, "WARNING - 1 dead job (limit 0)"),
        (["--max-dlq", "0:0"], 2, "CRITICAL - 1 dead job (limit 0)"),
        (["--max-pending", "0:5"], 1, "WARNING - 1 pending job (limit 0)"),
        (["--max-failed", "0"], 2, "CRITICAL - 1 job waiting for a retry (limit 0)"),
        (["--max-failed", "0:1", "--max-dlq", "0"], 2,
         "CRITICAL - 1 dead job (limit 0); 1 job waiting for a retry (limit 0)"),
        (["--min-workers", "1"], 2, "CRITICAL - 0 workers (at least 1)"),
        (["--min-workers", "1:0"], 1, "WARNING - 0 workers (at least 1)"),
        (["--min-workers", "0"], 0, "OK - 1 pending, 1 dead, 0 workers"),
        (["--queue", "q"], 0, "OK - 0 pending, 0 dead, 0 workers"),
        (["--queue", "q", "--max-wait", "0"], 0, "OK - 0 pending, 0 dead, 0 workers"),
    ],
)  # fmt: skip
def test_the_worst_limit_decides(states: Queue, args: list[str], code: int, said: str) -> None:
    """A value at its limit is OK. Without options no job may be dead."""
    done = states.run("check", *args)

    assert (done.code, done.err) == (code, "")
    assert done.out.startswith(f"QUEUECTL {said} | ")
    assert done.out.count("\n") == 1


def test_performance_data(states: Queue) -> None:
    """label=value;warning;critical;minimum, where a lower limit is written as a range."""
    line = states.run(
        "check", "--max-dlq", "2000000", "--max-wait", "1.5h:520w", "--min-workers", "2:1"
    ).out
    figures = line.strip().rpartition(" | ")[2].split()

    assert [figure for figure in figures if not _PERFDATA.fullmatch(figure)] == []
    by_label = dict(figure.split("=", 1) for figure in figures)
    assert by_label["dlq"] == "1;;2000000;0"
    assert by_label["workers"] == "0;2:;1:;0"
    assert by_label["wait"].partition(";")[2] == "5400;314496000;0"
    assert list(by_label) == ["dlq", "pending", "failed", "wait", "workers"]


@pytest.mark.parametrize("options", [[], ["--delay", "0.001"]])
def test_the_longest_wait(queue: Queue, options: list[str]) -> None:
    """A scheduled job that is due waits, too, although no worker has made it pending."""
    queue.enqueue("true", *options)
    queue.run("wait", "--all", "--timeout", "0.1")

    assert queue.run("check", "--max-wait", "10m").code == 0
    done = queue.run("check", "--max-wait", "0.05:10m")
    said = "QUEUECTL WARNING - a job has waited for "
    assert (done.code, done.out[: len(said)]) == (1, said)


def test_a_retried_job_waits_since_its_retry(queue: Queue) -> None:
    """Regression: it counted as waiting since it was enqueued, perhaps days ago."""
    queue.enqueue("exit 1", "--id", "a")
    queue.run_as_if("dead")
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("UPDATE jobs SET created_at = '2020-01-01T00:00:00.000000Z'")
        conn.commit()
    queue.ok("retry", "a")

    assert queue.run("check", "--max-wait", "10m").code == 0


def test_a_scheduled_job_does_not_wait(queue: Queue) -> None:
    """A job that is not due yet is no backlog."""
    queue.enqueue("true", "--delay", "1h")

    assert " wait=0s;" in queue.ok("check", "--max-wait", "0")


def test_a_late_schedule(queue: Queue) -> None:
    """The time since it is due counts; a paused one is not late."""
    queue.enqueue("true")
    assert " late=0s;" in queue.ok("check", "--max-late", "0")
    insert = (
        "INSERT INTO schedules (name, expression, spec, anchor, created_at, updated_at, next_at, "
        "due_at, paused_at) VALUES (?, 'every 1h', '{}', '2026', '2026', '2026', ?, ?, ?)"
    )
    with closing(sqlite3.connect(queue.database)) as conn:
        for name, minutes, paused_at in (("a", 10, None), ("b", 20, "2026"), ("c", -10, None)):
            due = to_text(utcnow() - timedelta(minutes=minutes))
            conn.execute(insert, (name, due, due, paused_at))
        conn.commit()

    assert queue.run("check", "--max-late", "15m").code == 0
    done = queue.run("check", "--max-late", "5m:15m", "--queue", "x")
    said = re.sub(r"10m\d+s", "10m", done.out.partition(" late (")[0])  # some seconds later
    assert (done.code, said) == (1, "QUEUECTL WARNING - a schedule is 10m")


def test_a_disabled_hook_is_a_warning(queue: Queue) -> None:
    """Nothing would tell otherwise that it reports nothing any more."""
    queue.ok("hook", "add", "ops", "--on", "dead", "--url", "https://example.org/x")
    queue.storage.disable_hook("ops", "410 Gone", now=utcnow())

    done = queue.run("check", "--max-dlq", "0")
    assert (done.code, done.out.partition(" | ")[0]) == (
        1, "QUEUECTL WARNING - the hook ops is disabled"
    )  # fmt: skip
    queue.ok("hook", "resume", "ops")
    assert queue.run("check").code == 0


def test_dead_jobs_of_hooks(queue: Queue) -> None:
    """They are in the lanes of queues."""
    queue.enqueue("true", "--max-retries", "1")
    queue.run_as_if("dead")
    assert " hooks_dead=0;;0;0" in queue.ok("check", "--max-hooks-dead", "0")
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("UPDATE jobs SET queue = 'mail/hooks'")
        conn.commit()

    assert queue.run("check", "--max-hooks-dead", "0", "--queue", "x").code == 0
    done = queue.run("check", "--max-hooks-dead", "0", "--queue", "mail")
    said = "QUEUECTL CRITICAL - 1 dead job of hooks (limit 0) | "
    assert (done.code, done.out[: len(said)]) == (2, said)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--max-dlq", "x"], "not a limit: 'x' (use CRIT or WARN:CRIT, whole numbers)"),
        (["--max-dlq", "1:2:3"], "not a limit: …"),
        (["--max-dlq", "-1"], "not a limit: …"),
        (["--max-dlq", "9" * 5000], "not a limit: …"),
        (["--max-wait", "soon"], "not a duration: 'soon' …"),
        (["--max-dlq"], "option '--max-dlq' requires an argument"),
        (["--bogus"], "no such option…"),
        (["extra"], "got unexpected extra argument (extra)"),
        (["--queue", "a b"], "--queue must be printable, without white space, comma or slash"),
    ],
)
def test_wrong_usage_is_unknown(queue: Queue, args: list[str], said: str) -> None:
    """The exit code is 3, since 2 would mean CRITICAL; the line goes to stderr."""
    line = queue.fails(3, "check", *args)

    assert line.lower().startswith("queuectl check: " + said.rstrip("…").lower())
    assert said.endswith("…") or line.lower() == f"queuectl check: {said}".lower()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--bogus", "check"], 3),
        (["--db", "x.db", "--bogus", "check", "--max-dlq", "0"], 3),
        (["--bogus", "enqueue", "check"], 2),
        (["--bogus"], 2),
    ],
)
def test_a_wrong_option_before_check_is_unknown(queue: Queue, args: list[str], code: int) -> None:
    """Regression: it exited with 2, which monitoring took for CRITICAL."""
    assert queue.fails(code, *args).startswith("queuectl: no such option")


def test_a_queue_that_does_not_exist_is_unknown(queue: Queue) -> None:
    """The line is on stdout, where monitoring reads it. No queue is created."""
    for env in ({}, {"QUEUECTL_DB": ""}):
        done = queue.run("check", env=env)
        assert (done.code, done.err) == (3, "")
        assert re.fullmatch(r"QUEUECTL UNKNOWN - no queue at /.*queue\.db yet\n", done.out)
    assert list(queue.home.iterdir()) == []


def test_a_file_that_is_no_queue_is_unknown(queue: Queue) -> None:
    """Any other file at this path makes `check` exit with 3."""
    with by_hand():
        queue.database.write_text("no database\n" * 1000)
    done = queue.run("check")

    assert (done.code, done.err) == (3, "")
    assert done.out.startswith("QUEUECTL UNKNOWN - ")


def test_a_queue_that_another_program_locks_is_unknown(queue: Queue) -> None:
    """After at most 5 seconds `check` gives up with 3."""
    with queue.opened() as storage:
        storage.enqueue([JobSpec(command="true")], now=utcnow())
    connection = sqlite3.connect(str(queue.database), isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        done = queue.run("check", as_process=True)
    finally:
        connection.close()

    assert (done.code, done.err) == (3, "")
    assert done.out.startswith("QUEUECTL UNKNOWN - ")


def test_thousands_are_separated_for_people_only(queue: Queue) -> None:
    """In the text, not in the performance data, which programs read."""
    with queue.opened() as storage:
        storage.enqueue([JobSpec(command="true")] * 1234, now=utcnow())

    line = queue.run("check", "--max-pending", "1000").out

    assert line.startswith(
        "QUEUECTL CRITICAL - 1,234 pending jobs (limit 1,000) | dlq=0;;;0 pending=1234;;1000;0 "
    )
    assert queue.run("check").out.startswith("QUEUECTL OK - 1,234 pending, 0 dead, 0 workers | ")

"""`why`: one sentence for every place where a job can stand."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from queuectl.core.models import Outcome, OutcomeKind, Output, Verdict
from queuectl.core.states import JobState
from queuectl.core.times import to_text, utcnow
from support.queue import Queue
from support.rows import sql
from support.screens import SIZES, compare, stable, widest
from support.states import every_state
from support.terminal import on_terminal
from support.why import TIME, assert_why


def test_a_scheduled_job_waits_for_its_time(queue: Queue) -> None:
    """The sentence has the time."""
    queue.enqueue("true", "--id", "a", "--delay", "1h")

    assert_why(queue, "a", "scheduled", "waits until TIME")


@pytest.mark.parametrize("zone", ["JST-9", "EST5"])
def test_a_time_after_the_local_calendar_is_printed_in_utc(queue: Queue, zone: str) -> None:
    """Regression: east of Greenwich, the last day of the year 9999 was a traceback."""
    queue.enqueue("true", "--id", "a", "--at", "9999-12-31T23:59:59Z")

    shown = on_terminal(queue, "why", "a", env={"TZ": zone})

    face = {"JST-9": "9999-12-31T23:59:59.000000Z", "EST5": "9999-12-31 18:59:59"}
    assert shown.code == 0
    assert shown.screen.startswith(f"@1 a (true) waits until {face[zone]} (in ")


def test_a_failed_job_waits_for_its_retry(queue: Queue) -> None:
    """The sentence says which attempt failed, how, and when the next one is due."""
    queue.enqueue("exit 1", "--id", "a", "--max-retries", "5")
    queue.run_as_if("failed", code=4)
    queue.ok("retry", "a")
    queue.run_as_if("failed", code=1)

    assert_why(
        queue, "a", "retry",
        r"waits for its retry: attempt 2 of 5 failed \(exit 1\); the next is at TIME",
    )  # fmt: skip


def test_a_time_that_a_clock_which_was_ahead_has_set(queue: Queue) -> None:
    """The sentence says so, with what corrects it. Regression: nothing explained the date."""
    queue.add("true", id="a")
    queue.run_as_if("failed")
    queue.add("true", id="b", run_at=utcnow() + timedelta(hours=1))
    for column in ("created_at", "updated_at", "run_at"):
        later = f"(substr({column}, 1, 4) + 400) || substr({column}, 5)"
        sql(queue.storage, f"UPDATE jobs SET {column} = {later}")

    assert_why(
        queue, "a", "retry",
        r"waits for its retry: attempt 1 of 3 failed \(exit 1\); the next is at TIME; the clock "
        r"was ahead when it failed \(a running worker corrects this, or queuectl retry a\)",
    )  # fmt: skip
    assert_why(
        queue, "b", "scheduled",
        r"waits until TIME; the clock was ahead when it was enqueued "
        r"\(queuectl edit --delay 0 b starts it\)",
    )  # fmt: skip
    assert (
        "warn  retries: the clock was ahead when 1 job failed: the next attempt is far"
        in queue.ok("doctor")
    )


def test_a_job_that_is_due_waits_for_a_worker(queue: Queue) -> None:
    """Only a worker makes it pending, so the missing worker is the reason."""
    queue.enqueue("true", "--id", "a", "--delay", "0.01")
    queue.run("wait", "a", "--timeout", "0.05")
    assert queue.state("a") == "scheduled"

    assert_why(queue, "a", "no-worker", r"waits: no worker is running \(queuectl worker start\)")


def test_a_blocked_job_names_what_it_waits_for(queue: Queue) -> None:
    """If one of them is dead, only that one is named, with the command that retries it."""
    queue.enqueue("exit 1", "--id", "bad")
    queue.run_as_if("dead")
    queue.enqueue("true", "--id", "a")
    queue.enqueue("true", "--id", "b", "--delay", "1h")
    queue.enqueue("true", "--id", "waits", "--after", "a,b")
    queue.run("enqueue", "--id", "stuck", "--after", "a,bad", "true")

    assert_why(
        queue, "waits", "blocked", "is blocked by a, which is pending; by b, which is scheduled"
    )
    assert_why(
        queue, "stuck", "blocked-for-good",
        r"is blocked by bad, which is dead \(queuectl retry bad\)",
    )  # fmt: skip


@pytest.mark.parametrize("names", [["default"], []])
def test_a_paused_queue_says_who_when_and_why(queue: Queue, names: list[str]) -> None:
    """This also holds when all queues are paused at once. It says how to go on, too."""
    queue.enqueue("true", "--id", "a")
    queue.ok("queue", "pause", *names, "--reason", "disk full", env={"LOGNAME": "operator"})

    resume = " ".join(["queuectl queue resume", *names])
    assert_why(
        queue, "a", "paused",
        r"waits: its queue default was paused by operator at TIME: disk full "
        rf"\({resume}\)",
    )  # fmt: skip
    queue.ok(*resume.split()[1:])
    assert_why(queue, "a", "no-worker", r"waits: no worker is running \(queuectl worker start\)")


def test_a_full_limit_names_the_running_jobs(queue: Queue) -> None:
    """The sentence has the limit and the ids of the jobs that use it."""
    queue.ok("queue", "limit", "default", "2")
    for name in "abc":
        queue.enqueue("true", "--id", name)
    with queue.opened() as storage:
        for _ in range(2):
            storage.claim("5a5a5a5a-1", now=utcnow())

    assert_why(
        queue, "c", "limit",
        r"waits: the limit of its queue, 2/2, is used by a and b "
        r"\(queuectl queue limit default N changes it\)",
    )  # fmt: skip


def test_without_workers_it_says_when_the_last_one_was_seen(queue: Queue) -> None:
    """It also says how to start one."""
    queue.drain(workers=1)
    queue.enqueue("true", "--id", "a")

    assert_why(
        queue, "a", "no-worker",
        r"waits: no worker is running, the last one was seen at TIME \(queuectl worker start\)",
    )  # fmt: skip


def test_a_finished_job_says_how_it_ended(queue: Queue) -> None:
    """The sentence has the time, the attempt, and how to retry a dead job."""
    for name in ("done", "late", "bad"):
        queue.enqueue("true", "--id", name, "--max-retries", "1" if name == "bad" else "3")
    queue.run_as_if("completed")
    queue.run_as_if("failed")
    queue.run_as_if("dead", code=9)
    queue.ok("retry", "late")
    queue.run_as_if("completed")
    queue.enqueue("true", "--id", "gone")
    queue.ok("cancel", "gone", "--reason", "two\nlines")

    assert_why(queue, "done", "completed", "completed at TIME")
    assert_why(queue, "late", "completed", "completed at TIME, on attempt 2")
    assert_why(
        queue, "bad", "dead",
        r"died at TIME: attempt 1 of 1 failed \(exit 9\); queuectl dlq retry bad runs it "
        "again",
    )  # fmt: skip
    assert re.fullmatch(f"gone was cancelled at {TIME}: " + r"two\\nlines", queue.ok("why", "gone"))


def test_an_unknown_job(queue: Queue) -> None:
    """It is an error, as for all commands."""
    queue.enqueue("true")

    assert queue.fails(1, "why", "zz") == "queuectl why: no such job: zz"


@pytest.mark.parametrize(
    ("reason", "printed", "expected"),
    [
        ("exit 127", b"sh: ffmpeg: not found\n", r"\(exit 127: not found\) and printed last: sh: "
         "ffmpeg: not found"),
        ("killed after 5m by its timeout", b"", r"\(timeout 5m\)"),
        ("killed by signal 9 (KILL)", b"10 %\r20 %\r\n\n",
         r"\(signal KILL\) and printed last: 20 %"),
    ],
)  # fmt: skip
def test_a_failure_says_why_and_what_was_printed_last(
    queue: Queue, reason: str, printed: bytes, expected: str
) -> None:
    """In a few words; the last line is not blank."""
    queue.add("x", id="a")
    with queue.opened() as storage:
        claim = storage.claim("w-1", now=utcnow())
        assert claim is not None
        text = Output(len(printed), False, printed, False)
        outcome = Outcome(OutcomeKind.EXIT, exit_code=1, reason=reason, output=text)
        storage.record(claim, outcome, Verdict(JobState.DEAD, None, reason), now=utcnow())

    assert_why(
        queue, "a", "dead",
        rf"died at TIME: attempt 1 of 3 failed {expected}; queuectl dlq retry a runs it "
        "again",
    )  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_sentences_on_a_terminal(queue: Queue, size: tuple[int, int]) -> None:
    """They name jobs by their numbers, and are broken between words."""
    every_state(queue)
    queue.add("long " * 30, queue="q")
    queue.add("x", after=("@1", "@9"), label="nightly build")
    queue.ok("queue", "pause", "q", env={"LOGNAME": "operator"})
    _near_now(queue)

    names = ["@10", "@9", "failed", "dead", "scheduled", "completed", "processing"]
    shown = on_terminal(queue, "why", *names, size=size)

    assert (shown.code, shown.err) == (0, "")
    assert widest(shown.screen) <= size[0]
    compare(stable(shown.screen), "why", size)


def _near_now(queue: Queue) -> None:
    """Set all times that are shown, for lines are broken elsewhere if `301 d ago` gets longer."""
    span = timedelta(hours=2, minutes=30)
    past, future = to_text(utcnow() - span), to_text(utcnow() + span)
    for table, column, time in (
        ("jobs", "locked_at", past),
        ("jobs", "finished_at", past),
        ("jobs", "run_at", future),
        ("queues", "paused_at", past),
    ):
        change = f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL"
        sql(queue.storage, change, time)
    queue.close_storage()

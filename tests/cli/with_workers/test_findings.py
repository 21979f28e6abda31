"""Each remedy in `status`, pasted into a shell, fixes what it is about."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from queuectl.core.specs import JobSpec
from queuectl.core.times import to_text, utcnow
from queuectl.host import lockfiles
from support.pasting import paste
from support.queue import Queue
from support.rows import sql
from support.stages import leave_decided
from support.waiting import wait_until


def _finding(queue: Queue, code: str) -> dict[str, Any]:
    """Return the only finding with this code, once it is there."""

    def found() -> list[dict[str, Any]]:
        return [each for each in queue.json("status")["findings"] if each["code"] == code]

    wait_until(found, what=code)
    [finding] = found()
    return finding


def _mends(queue: Queue, code: str, remedy: str) -> None:
    """Paste the remedy of a finding, which must be this one; the finding goes away."""
    assert _finding(queue, code)["remedy"] == remedy
    process = subprocess.Popen(
        ["sh", "-c", f"exec {remedy}"],
        env=queue.env,
        cwd=str(queue.work),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    queue.processes.append(process)
    wait_until(
        lambda: code not in {each["code"] for each in queue.json("status")["findings"]}, what=code
    )
    assert process.poll() in (None, 0)


def _shows(queue: Queue, code: str, remedy: str) -> str:
    """Paste the remedy of a finding, which only shows more of it; return what it prints."""
    assert _finding(queue, code)["remedy"] == remedy
    done = paste(queue, remedy)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _age(queue: Queue, minutes: float, column: str = "updated_at", where: str = "1") -> None:
    """Let the jobs have been changed so long ago."""
    with closing(sqlite3.connect(queue.database, isolation_level=None)) as conn:
        then = to_text(utcnow() - timedelta(minutes=minutes))
        conn.execute(f"UPDATE jobs SET {column} = ? WHERE {where}", (then,))


def test_no_worker(queue: Queue) -> None:
    queue.enqueue("sleep 60")

    _mends(queue, "no-worker", "queuectl worker start")


def test_no_worker_of_a_batch(queue: Queue) -> None:
    """Workers of all queues leave it alone, so the remedy names it."""
    queue.add("sleep 60", queue="@make-1")

    _mends(queue, "no-worker", "queuectl worker start --queue @make-1")


def test_a_queue_that_is_not_served(queue: Queue) -> None:
    queue.start("--queue", "x")
    queue.enqueue("sleep 60", "--queue", "mail")
    _age(queue, 2)

    _mends(queue, "not-served", "queuectl worker start --queue mail")


def test_a_job_whose_worker_is_dead(queue: Queue) -> None:
    job = queue.add("sleep 60")
    queue.storage.claim("5a5a5a5a-1", now=utcnow())
    lockfiles.make_stale(queue.files, "5a5a5a5a-1")
    queue.close_storage()

    _mends(queue, "unattended", "queuectl worker start")
    queue.until(job, "failed", "dead", "processing")


def test_a_stopped_worker(queue: Queue) -> None:
    queue.start()
    pid = queue.worker()["pid"]
    os.kill(pid, signal.SIGSTOP)

    _mends(queue, "held-up", f"kill -CONT {pid}")


@pytest.mark.parametrize("everything", [False, True])
def test_a_paused_queue(queue: Queue, everything: bool) -> None:
    queue.enqueue("true", "--queue", "mail")
    queue.ok("queue", "pause", *([] if everything else ["mail"]), "--reason", "SMTP down")
    message = _finding(queue, "paused")["message"]

    assert message.endswith(' ("SMTP down"): 1 job waits')
    _mends(queue, "paused", "queuectl queue resume" + ("" if everything else " mail"))


def test_a_limit(queue: Queue) -> None:
    queue.ok("queue", "limit", "video", "1")
    running = queue.enqueue("sleep 60", "--queue", "video", "--id", "first")
    queue.start(workers=2)
    queue.until(running, "processing")
    second = queue.enqueue("sleep 60", "--queue", "video")
    _age(queue, 11, where=f"id = '{second}'")

    assert (
        "the limit of 1 is used up by first, which has run for"
        in (_finding(queue, "limit")["message"])
    )
    _mends(queue, "limit", "queuectl queue limit video 2")
    queue.until(second, "processing")


def test_a_queue_that_is_behind(queue: Queue) -> None:
    running = queue.enqueue("sleep 60")
    queue.start()
    queue.until(running, "processing")
    second = queue.enqueue("sleep 60")
    _age(queue, 11, where=f"id = '{second}'")

    _mends(queue, "behind", "queuectl worker scale 2")
    queue.until(second, "processing")


def test_jobs_that_can_never_run(queue: Queue) -> None:
    queue.enqueue("exit 1", "--id", "report-7", "--max-retries", "1")
    queue.run_as_if("dead")
    queue.enqueue("true", "--after", "report-7")

    assert _finding(queue, "blocked")["message"] == "1 job waits for report-7, which is dead"
    _mends(queue, "blocked", "queuectl retry report-7")


def test_an_enqueue_that_was_cut_short(queue: Queue) -> None:
    leave_decided(queue.storage, [JobSpec(command="true")] * 9, now=utcnow())
    queue.close_storage()

    _mends(queue, "cut-short", "queuectl worker start")


def test_jobs_that_died(queue: Queue) -> None:
    """The remedy shows them."""
    queue.enqueue("exit 12", "--id", "a", "--max-retries", "1")
    queue.run_as_if("dead", code=12)

    assert _finding(queue, "deaths")["message"] == "1 job died in the last hour: exit 12"
    assert "exit 12" in _shows(queue, "deaths", "queuectl dlq list --since 1h")


def test_many_retries(queue: Queue) -> None:
    """The remedy shows them."""
    queue.add_many(*["exit 75"] * 20)
    for _ in range(20):
        queue.run_as_if("failed", code=75)
    queue.close_storage()

    listed = _shows(queue, "retries", "queuectl list --state failed")
    assert listed.count("exit 75") >= 20


def test_a_job_that_takes_long(queue: Queue) -> None:
    """The remedy shows it."""
    for _ in range(5):
        queue.add("true")
        queue.run_as_if("completed")
    queue.add("sleep 60", id="long")
    queue.storage.claim("5a5a5a5a-1", now=utcnow() - timedelta(minutes=11))
    queue.close_storage()

    assert "long" in _shows(queue, "overrun", "queuectl show long")


def _change(queue: Queue, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(queue.database, isolation_level=None)) as conn:
        conn.execute(statement, values)


def _minutes_ago(minutes: float) -> str:
    return to_text(utcnow() - timedelta(minutes=minutes))


@pytest.mark.parametrize("has_worker", [False, True])
def test_a_late_schedule(queue: Queue, has_worker: bool) -> None:
    """Without a worker, one is started; one that is busy does not make the job in time."""
    queue.ok("schedule", "add", "nightly", "every 1h", "--", "sleep", "60")
    if has_worker:
        queue.start()
        queue.until(queue.enqueue("sleep 60"), "processing")
    due = _minutes_ago(3)
    _change(queue, "UPDATE schedules SET next_at = ?, due_at = ?", due, due)

    remedy = "queuectl schedule tick" if has_worker else "queuectl worker start"
    assert " late: " in _finding(queue, "schedule-late")["message"]
    _mends(queue, "schedule-late", remedy)
    wait_until(lambda: queue.counts().get("processing") == 1, what="a running job")


def test_a_broken_schedule(queue: Queue) -> None:
    """The remedy shows it."""
    pytest.importorskip("cronsim")
    queue.ok("schedule", "add", "nightly", "0 2 * * *", "--", "true")
    due = _minutes_ago(3)
    _change(queue, "UPDATE schedules SET timezone = 'Mars/X', next_at = ?, due_at = ?", due, due)

    shown = _shows(queue, "schedule-broken", "queuectl schedule show nightly")
    assert "nightly" in shown


def test_a_schedule_whose_last_run_died(queue: Queue) -> None:
    """The remedy shows the run."""
    queue.ok("schedule", "add", "nightly", "every 1h", "--max-retries", "1", "--", "exit", "12")
    queue.ok("schedule", "run", "nightly")
    queue.drain()

    assert _finding(queue, "schedule-failing")["message"].endswith(": exit 12")
    assert "dead" in _shows(queue, "schedule-failing", "queuectl show @1")


def test_a_schedule_whose_run_is_in_the_way(queue: Queue) -> None:
    """The remedy shows the run."""
    queue.ok("schedule", "add", "nightly", "every 1h", "--", "sleep", "60")
    queue.ok("schedule", "run", "nightly")
    due = _minutes_ago(1)
    _change(queue, "UPDATE schedules SET next_at = ?, due_at = ?", due, due)
    queue.ok("schedule", "tick")

    assert _finding(queue, "overlapped")["message"].endswith("because its run @1 has not ended")
    assert "sleep 60" in _shows(queue, "overlapped", "queuectl show @1")


def test_a_disabled_hook(queue: Queue) -> None:
    queue.ok("hook", "add", "ops", "--on", "dead", "true")
    _change(queue, "UPDATE hooks SET disabled_at = ?, disabled_reason = '410 Gone'",
            _minutes_ago(1))  # fmt: skip

    assert _finding(queue, "hook-disabled")["message"] == (
        "The hook ops was disabled 1 min ago: 410 Gone"
    )
    _mends(queue, "hook-disabled", "queuectl hook resume ops")


def test_a_hook_that_fails(queue: Queue) -> None:
    """The remedy shows it."""
    queue.ok("hook", "add", "ops", "--on", "dead", "true")
    _change(queue, "UPDATE hooks SET failures = 3")

    assert "ops" in _shows(queue, "hook-failing", "queuectl hook show ops")


def test_the_hook_of_a_job_that_fails(queue: Queue) -> None:
    """The remedy lists its dead jobs."""
    queue.configure(hook_max_retries="1")
    queue.close_storage()
    queue.enqueue("exit 12", "--queue", "mail", "--max-retries", "1", "--on-failure", "exit 9")
    queue.drain()

    listed = _shows(queue, "hook-failing", "queuectl dlq list --queue mail/hooks")
    assert "exit 9" in listed


def test_a_full_disk(queue: Queue) -> None:
    """The remedy frees space though workers have already deleted all that is too old."""
    queue.enqueue("true")
    queue.drain()
    _age(queue, 25 * 60, "finished_at")

    assert queue.ok("prune") == "0 deleted"
    assert paste(queue, "queuectl prune --older-than 1d").stdout == "1 deleted\n"


def test_a_clock_that_was_set_back(queue: Queue) -> None:
    """There is no command for that."""
    queue.enqueue("true")
    _age(queue, -10)

    assert _finding(queue, "clock")["remedy"] is None


def test_all_that_is_wrong_goes_away(queue: Queue) -> None:
    """With a worker that has nothing to do, nothing is said."""
    queue.start()

    assert queue.json("status")["findings"] == []
    assert "Attention" not in queue.ok("status")
    assert sql(queue.storage, "SELECT count(*) FROM jobs") == [(0,)]

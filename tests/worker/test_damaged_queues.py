"""Pools on a queue that another program, or a broken disk, has damaged: a drain always ends."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from support.queue import Queue
from support.rows import sql
from support.watch.file_watch import by_hand

_NOT_UTF8 = "CAST(x'61ff62' AS TEXT)"
_DAMAGED = (
    "{} is damaged: the workers leave (queuectl doctor says more, queuectl restore puts a backup "
    "in its place)"
)


def _drain(queue: Queue, *options: str, code: int = 0) -> list[str]:
    """Run `worker start --drain` to its end; return the lines of its log, without the times."""
    done = queue.run("worker", "start", "--drain", "-q", *options)
    assert done.code == code, done
    return [line.split(" ", 2)[2] for line in done.err.splitlines()]


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_pool_leaves_a_file_that_is_damaged_in_the_middle(queue: Queue, workers: str) -> None:
    """It says so once, however many workers meet it.

    Prevents a bug: it tried again for ever.
    """
    queue.add_many(*[f"echo {number} {'a' * 40}" for number in range(2000)])
    queue.close_storage()
    sql(queue, "PRAGMA wal_checkpoint(TRUNCATE)")
    with by_hand(), queue.database.open("r+b") as file:
        file.seek(queue.database.stat().st_size // 2 // 4096 * 4096)
        file.write(os.urandom(1 << 15))

    assert _drain(queue, "-c", workers, code=1) == [_DAMAGED.format(queue.database)]


def test_a_result_is_recorded_though_the_next_job_cannot_be_claimed(queue: Queue) -> None:
    """Both happen in one transaction, unless that fails."""
    job = queue.add("true", priority=1)
    queue.add("true", queue="other")
    sql(queue, "UPDATE job_counts SET jobs = 0 WHERE queue = 'other'")

    assert _drain(queue, code=1) == [_DAMAGED.format(queue.database)]
    assert queue.state(job) == "completed"


@pytest.mark.parametrize("head", [1, 77, "NULL", "'x'"])
def test_a_wrong_head_of_a_queue_runs_no_job_twice(queue: Queue, head: object) -> None:
    """Prevents a bug: a worker ran a job again that had completed, or looked for one for ever."""
    queue.add("echo ran >> ledger")
    queue.drain("-q")
    queue.add("echo ran >> ledger")
    queue.add("echo ran >> ledger", queue="other")
    sql(queue, f"UPDATE job_counts SET head_seq = {head} WHERE state = 'pending'")

    assert _drain(queue) == []
    assert (queue.work / "ledger").read_text() == 3 * "ran\n"


def test_a_wrong_count_ends_the_pool(queue: Queue) -> None:
    """Prevents a bug: each worker died of it, and was replaced for ever."""
    queue.add("true")
    with closing(sqlite3.connect(str(queue.database), isolation_level=None)) as conn:
        conn.execute("PRAGMA ignore_check_constraints = ON")
        conn.execute("UPDATE job_counts SET paused = -1")

    assert _drain(queue, code=1) == [_DAMAGED.format(queue.database)]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM meta WHERE key = 'queue_id'",
        "UPDATE meta SET value = CAST(x'610062' AS TEXT) WHERE key = 'queue_id'",
    ],
)
def test_a_queue_without_an_id_ends_the_pool_and_no_job(queue: Queue, change: str) -> None:
    """Prevents a bug: each worker crashed and was replaced for ever, or each job was dead."""
    job = queue.add("true", max_retries=1)
    sql(queue, change)

    assert _drain(queue, code=1) == [_DAMAGED.format(queue.database)]
    assert queue.state(job) == "pending"


def test_a_drain_does_not_wait_for_a_running_job_of_nobody(queue: Queue) -> None:
    """Another program wrote that a job runs, and by whom."""
    job = queue.add("true")
    queue.add("true", id="after", after=(job,))
    sql(
        queue,
        """
        UPDATE jobs
           SET state = 'processing',
               locked_by = 'nobody',
               locked_at = 'yesterday',
               execution_id = 77
         WHERE state = 'pending'
        """,
    )

    assert _drain(queue) == [
        f"{job} is set aside as dead: another program wrote what cannot be read: "
        "locked_at, locked_by, execution_id"
    ]
    assert queue.state("after") == "blocked"


@pytest.mark.parametrize("state", ["scheduled", "failed"])
def test_a_drain_does_not_wait_for_a_time_that_cannot_be_read(queue: Queue, state: str) -> None:
    """Such a job never becomes due."""
    job = queue.add("true")
    sql(queue, f"UPDATE jobs SET state = '{state}', run_at = 'yesterday'")

    assert _drain(queue) == [
        f"{job} is set aside as dead: another program wrote what cannot be read: run_at"
    ]


@pytest.mark.parametrize("value", ["x'ff'", _NOT_UTF8, "'abc'"])
def test_jobs_run_though_a_setting_cannot_be_read(queue: Queue, value: str) -> None:
    """The default is used instead, and the log says so once."""
    job = queue.add("true")
    sql(queue, f"INSERT INTO config (key, value) VALUES ('backoff-max', {value})")

    assert _drain(queue) == ["the value of backoff-max cannot be read: its default is used"]
    assert queue.state(job) == "completed"
    assert "backoff-max" in queue.json("config", "list")

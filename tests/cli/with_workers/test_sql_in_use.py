"""Queries of a queue whose workers are busy: its log must not grow without bound."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress

from queuectl.core.specs import JobSpec
from support.clock import noon
from support.queue import Queue
from support.waiting import wait_until

_ENDLESS = """
    WITH RECURSIVE n (i) AS (SELECT seq FROM jobs UNION ALL SELECT i FROM n) SELECT max(i) FROM n
"""
_JOBS = 1500


def _log_bytes(queue: Queue) -> int:
    with suppress(FileNotFoundError):
        return os.stat(queue.files.wal).st_size
    return 0


def test_the_log_of_the_queue_stays_bounded(queue: Queue) -> None:
    """Four workers drain the queue while one long query follows another."""
    queue.storage.enqueue([JobSpec(command="true")] * _JOBS, now=noon(0))
    queue.close_storage()
    pool = queue.start("--drain", workers=4)
    largest = 0
    while pool.poll() is None:
        assert queue.run("sql", "--timeout", "0.2", _ENDLESS).code == 124
        largest = max(largest, _log_bytes(queue))

    assert queue.storage.by_state()["completed"] == _JOBS
    assert largest < 64 << 20


def test_a_reader_who_is_slow_holds_up_nothing(queue: Queue) -> None:
    """Rows wait for their reader outside of the queue: its log can be emptied meanwhile."""
    queue.storage.enqueue([JobSpec(command="x" * 1000)] * 2000, now=noon(0))
    queue.close_storage()
    reader = queue.spawn("sql", "--csv", "SELECT * FROM job_list AS one")
    assert reader.stdout is not None
    reader.stdout.read(1)
    queue.ok("enqueue", "true")

    def emptied() -> bool:
        with closing(sqlite3.connect(str(queue.database))) as conn:
            is_busy, *_ = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_busy

    wait_until(emptied, what="an empty log")
    assert reader.poll() is None
    reader.kill()

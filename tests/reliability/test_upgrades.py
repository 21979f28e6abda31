"""A newer queuectl upgrades the database while workers of this one run."""

from __future__ import annotations

import sqlite3

import pytest

from queuectl.storage import schema
from support.held import HELD
from support.queue import Queue


def _upgrade(queue: Queue, *, min_writer: int) -> None:
    """Change the database as a newer queuectl would."""
    connection = sqlite3.connect(str(queue.database), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE meta SET value = ? WHERE key = 'min_writer'", (str(min_writer),))
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.execute("COMMIT")
    connection.close()


def _downgrade(queue: Queue) -> None:
    connection = sqlite3.connect(str(queue.database), isolation_level=None)
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    connection.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_old_workers_record_their_jobs_and_exit(queue: Queue, workers: int) -> None:
    """They finish and record running jobs, claim no other, say what to do and exit with 1."""
    job = queue.add(HELD)
    supervisor = queue.start(workers=workers)
    queue.pid("running")
    waiting = queue.add("true", run_at=None, queue="later")
    _upgrade(queue, min_writer=schema.VERSION)
    queue.let_go()

    assert supervisor.wait(timeout=60) == 1
    _downgrade(queue)
    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["ok"])
    assert queue.state(waiting) in ("pending", "completed")
    said = (queue.folder / "workers.log").read_text()
    assert "the queue was upgraded: start the workers again" in said
    assert "Traceback" not in said


def test_a_result_that_an_old_worker_cannot_record_is_recorded_by_a_new_one(queue: Queue) -> None:
    """If the new schema forbids old workers to write, the status file of the job has its result."""
    job = queue.add(HELD + "; exit 7", max_retries=1)
    supervisor = queue.start()
    queue.pid("running")
    _upgrade(queue, min_writer=schema.VERSION + 1)
    queue.let_go()
    assert supervisor.wait(timeout=60) == 1
    _downgrade(queue)
    queue.drain("-q", workers=1)

    assert (queue.outcomes(job), queue.get(job).exit_code) == (["exit"], 7)


def test_old_commands_refuse_a_newer_file(queue: Queue) -> None:
    """They exit with 1 and one line, and change nothing."""
    job = queue.add("true")
    _upgrade(queue, min_writer=schema.VERSION)
    for words in ("enqueue true", "status", "list", "worker start", f"cancel {job}"):
        assert queue.fails(1, *words.split()).endswith(
            f"{queue.database} was made by a newer queuectl (install that one)"
        )
    _downgrade(queue)
    assert queue.counts() == {"pending": 1}

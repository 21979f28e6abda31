"""A newer queuectl upgrades the file while workers of this one run."""

from __future__ import annotations

import sqlite3

import pytest

from queuectl.storage import schema
from support.adoption import HELD
from support.jobs import Jobs
from support.queue import Queue


def _upgrade(queue: Queue, *, min_writer: int) -> None:
    """Do to the file what a newer queuectl would."""
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
def test_workers_of_before_record_and_leave(queue: Queue, jobs: Jobs, workers: int) -> None:
    """What runs is finished and recorded; nothing more is claimed; they say what to do, exit 1."""
    job = jobs.one(HELD)
    supervisor = queue.start(workers=workers)
    jobs.pid("running")
    waiting = jobs.one("true", run_at=None, queue="later")
    _upgrade(queue, min_writer=schema.VERSION)
    (queue.work / "go").touch()

    assert supervisor.wait(timeout=60) == 1
    _downgrade(queue)
    assert (jobs.state(job), jobs.outcomes(job)) == ("completed", ["ok"])
    assert jobs.state(waiting) in ("pending", "completed")
    said = (queue.folder / "workers.log").read_text()
    assert "the queue was upgraded: start the workers again" in said
    assert "Traceback" not in said


def test_a_worker_that_may_not_record_leaves_its_job_to_the_next(queue: Queue, jobs: Jobs) -> None:
    """If the newer file shuts old workers out, the result is told to the new ones by the job."""
    job = jobs.one(HELD + "; exit 7", max_retries=1)
    supervisor = queue.start()
    jobs.pid("running")
    _upgrade(queue, min_writer=schema.VERSION + 1)
    (queue.work / "go").touch()
    assert supervisor.wait(timeout=60) == 1
    _downgrade(queue)
    queue.drain("-q", workers=1)

    assert (jobs.outcomes(job), jobs.get(job).exit_code) == (["exit"], 7)


def test_commands_of_before_refuse_a_newer_file(queue: Queue, jobs: Jobs) -> None:
    """One line, exit 1, nothing changed."""
    job = jobs.one("true")
    _upgrade(queue, min_writer=schema.VERSION)
    for words in ("enqueue true", "status", "list", "worker start", f"cancel {job}"):
        assert queue.fails(1, *words.split()).endswith(
            f"{queue.database} was made by a newer queuectl (install that one)"
        )
    _downgrade(queue)
    assert jobs.counts() == {"pending": 1}

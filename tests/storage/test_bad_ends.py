"""The running total of jobs that died or were cancelled: it only ever grows."""

from __future__ import annotations

import pytest

from queuectl.core.jobfile import TransferredJob
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import to_text
from queuectl.host.files import find
from queuectl.storage import Storage, schema
from support.clock import later
from support.outcomes import COMPLETED, DEAD, EXIT_1, INTERRUPTED, OK, retry_at
from support.rows import add, finish, sql


def test_only_dead_and_cancelled_jobs_count(storage, clock):
    """A completed job does not count, and neither does one that waits for its retry."""
    add(storage, clock.now, "a", "b", "c", "d")
    for outcome, verdict in ((OK, COMPLETED), (EXIT_1, retry_at(later(clock.now, 60)))):
        storage.record(storage.claim("w1", now=clock.now), outcome, verdict, now=clock.now)
    assert storage.bad_ends() == 0

    storage.record(storage.claim("w1", now=clock.now), EXIT_1, DEAD, now=clock.now)
    storage.cancel(storage.get("d"), now=clock.now)

    assert storage.bad_ends() == 2


def test_each_queue_has_its_own_total(storage, clock):
    """A job counts in the queue in which it ended, even if it was moved there."""
    add(storage, clock.now, "a", "b", queue="x")
    add(storage, clock.now, "c", queue="y")
    storage.edit(storage.get("b"), {"queue": "z"}, now=clock.now)
    for job_id in "abc":
        storage.cancel(storage.get(job_id), now=clock.now)

    assert [storage.bad_ends(["x"]), storage.bad_ends(["z"]), storage.bad_ends(["x", "y"])] == [
        1,
        1,
        2,
    ]
    assert storage.bad_ends(["unknown"]) == 0


def test_the_total_never_falls(storage, clock):
    """Neither a retry nor a prune reduces it; a job that dies again counts again."""
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", JobState.DEAD)
    storage.retry(storage.get("a"), now=clock.now)
    assert storage.bad_ends() == 1

    finish(storage, clock.now, "a", JobState.DEAD)
    assert storage.bad_ends() == 2

    storage.prune(states=FINISHED_STATES, before=later(clock.now, 1))
    assert storage.bad_ends() == 2


def test_a_running_job_counts_once_when_its_cancel_is_done(storage, clock):
    """A requested cancel does not count yet, and a second record of the same attempt changes
    nothing.
    """
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    storage.cancel(storage.get("a"), now=clock.now)
    storage.cancel(storage.get("a"), now=clock.now)
    assert storage.bad_ends() == 0

    storage.release(claim, INTERRUPTED, now=clock.now)
    storage.record(claim, EXIT_1, DEAD, now=clock.now)
    storage.cancel(storage.get("a"), now=clock.now)

    assert storage.bad_ends() == 1


def test_a_job_that_was_imported_dead_does_not_count(storage, clock):
    """It did not die in this queue."""
    add(storage, clock.now, "a")
    finish(storage, clock.now, "a", JobState.DEAD)
    imported = storage.get("a")._replace(id="b")

    storage.import_jobs([TransferredJob(imported)], skip_existing=False, now=clock.now)

    assert storage.get("b").state is JobState.DEAD
    assert storage.bad_ends() == 1


def test_a_change_that_is_rolled_back_does_not_count(storage, clock):
    """The total is part of the transaction that ends the job."""
    add(storage, clock.now, "a")

    def fail():
        with storage._transaction() as conn:
            conn.execute("UPDATE jobs SET state = 'dead', finished_at = updated_at")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert storage.bad_ends() == 0


_JOB_OF_SCHEMA_1 = """
    INSERT INTO jobs (id, command, state, created_at, updated_at, locked_by, locked_at,
                      execution_id)
    VALUES ('a', 'true', 'processing', ?1, ?1, 'w1', ?1, 1)
"""
_ATTEMPT_OF_SCHEMA_1 = """
    INSERT INTO executions (id, job_seq, attempt, worker, started_at) VALUES (1, 1, 1, 'w1', ?1)
"""


def test_the_record_of_an_older_worker_counts(tmp_path, clock, monkeypatch):
    """It may record its running job after an upgrade; the database does the counting."""
    files = find(str(tmp_path / "queue.db"), None, False)
    with monkeypatch.context() as past:
        past.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        past.setattr(schema, "VERSION", 1)
        old = Storage.open(files, create=True)
        # In plain SQL: the code of today knows columns that schema 1 has not.
        sql(old, _JOB_OF_SCHEMA_1, to_text(clock.now))
        sql(old, _ATTEMPT_OF_SCHEMA_1, to_text(clock.now))
    new = Storage.open(files)
    claim = new.held_by("w1")
    assert new.bad_ends() == 0
    with monkeypatch.context() as past:
        past.setattr(schema, "VERSION", 1)
        old.record(claim, EXIT_1, DEAD, now=clock.now)

    assert new.bad_ends() == 1
    old.close()
    new.close()

"""How attempts end, as a worker hands it to the storage; and the table behind it, looked at raw."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

from queuectl.core.models import Outcome, OutcomeKind, Output, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState

OK = Outcome(OutcomeKind.OK, exit_code=0)
EXIT_1 = Outcome(OutcomeKind.EXIT, exit_code=1, reason="exit 1")
LOST = Outcome(OutcomeKind.LOST, reason="lost with worker w1")
INTERRUPTED = Outcome(OutcomeKind.INTERRUPTED, signal=15, reason="stopped")
WITH_LOG = Outcome(OutcomeKind.OK, exit_code=0, output=Output(5, False, b"hello", in_file=True))
COMPLETED = Verdict(JobState.COMPLETED)
DEAD = Verdict(JobState.DEAD, last_error="exit 1")


def retry_at(instant):
    """The verdict: failed, once more at that time."""
    return Verdict(JobState.FAILED, instant, "exit 1")


def sql(storage, statement, *values):
    """Run a statement as another program would; return its rows."""
    with closing(sqlite3.connect(storage.files.database, isolation_level=None)) as conn:
        return conn.execute(statement, values).fetchall()


def add(storage, now, *ids, **fields):
    """Enqueue a job for each id, in this order."""
    storage.enqueue([JobSpec(command="true", id=job_id, **fields) for job_id in ids], now=now)


def claim_ids(storage, now, *queues, worker="w1"):
    """Claim until nothing is left; return the ids in the order they came."""
    ids = []
    while True:
        claim = storage.claim(worker, queues, now=now)
        if claim is None:
            return ids
        ids.append(claim.job.id)


def made(storage, now, *ids):
    """Jobs whose ids count as made."""
    add(storage, now, *ids)
    for job_id in ids:
        sql(storage, "UPDATE jobs SET id_made = 1 WHERE id = ?", job_id)


def finish(storage, now, job_id, state):
    """Bring a pending job that is the next one to a finished state."""
    claim = storage.claim("w1", now=now)
    assert claim.job.id == job_id
    outcome = OK if state is JobState.COMPLETED else EXIT_1
    storage.record(claim, outcome, Verdict(state), now=now)


def later(now, seconds):
    """That many seconds after an instant."""
    return now + timedelta(seconds=seconds)

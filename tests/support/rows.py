"""Steps that bring jobs into a state through the storage, and SQL from outside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from queuectl.core.models import Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from support.outcomes import EXIT_1, OK


def sql(storage, statement, *values):
    """Run a statement with a connection of its own, as another program would; return its rows."""
    with closing(sqlite3.connect(storage.files.database, isolation_level=None)) as conn:
        return conn.execute(statement, values).fetchall()


def statements(storage, work):
    """Return the SQL statements that the storage runs meanwhile, COMMIT and its like included."""
    found = []
    conn = storage._database.connection
    conn.set_trace_callback(found.append)
    try:
        work()
    finally:
        conn.set_trace_callback(None)
    return found


def add(storage, now, *ids, **fields):
    """Enqueue one job per id, in this order."""
    storage.enqueue([JobSpec(command="true", id=job_id, **fields) for job_id in ids], now=now)


def claim_ids(storage, now, *queues, worker="w1"):
    """Claim until no job is left; return the ids in the order of the claims."""
    ids = []
    while True:
        claim = storage.claim(worker, queues, now=now)
        if claim is None:
            return ids
        ids.append(claim.job.id)


def add_generated(storage, now, *ids):
    """Enqueue a job for each id, and let the ids count as generated."""
    add(storage, now, *ids)
    for job_id in ids:
        sql(storage, "UPDATE jobs SET id_made = 1 WHERE id = ?", job_id)


def finish(storage, now, job_id, state):
    """Bring a pending job, which must be the next one to claim, into a finished state."""
    claim = storage.claim("w1", now=now)
    assert claim.job.id == job_id
    outcome = OK if state is JobState.COMPLETED else EXIT_1
    storage.record(claim, outcome, Verdict(state), now=now)


def keep_log(storage, number):
    """Put a file in the place where the output of an attempt is kept; return its path."""
    path = Path(storage.files.execution_log(number))
    path.write_bytes(b"x")
    return path

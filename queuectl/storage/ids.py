"""The ids of jobs: generated, taken, abbreviated, and found."""

from __future__ import annotations

import os
import re
import sqlite3

from queuectl.core.errors import AmbiguousJob, DuplicateId, NoSuchJob

_NAMED_WHEN_AMBIGUOUS = 5
_ANY_SEQ = (1 << 63) - 1


def new_id() -> str:
    """Return a new id: 12 random hex digits. If it is taken, the caller asks for another."""
    return os.urandom(6).hex()


def find_seq(conn: sqlite3.Connection, job: str, *, up_to: int = _ANY_SEQ) -> int:
    """Return the seq of a job, given its id, the first 4 to 11 digits of a generated id, or a name.

    Names begin with `@`: see `names`. Raises NoSuchJob, or AmbiguousJob when several generated ids
    begin so. A complete id wins; anything else means only jobs up to the seq `up_to`.
    """
    try:
        job.encode()
    except UnicodeEncodeError:
        raise NoSuchJob(job) from None
    rows = conn.execute("SELECT seq, id FROM jobs WHERE id = ?", (job,)).fetchall()
    if not rows and job.startswith("@"):
        from queuectl.storage.names import find_named  # not for other ids: enqueue starts fast

        return find_named(conn, job, up_to)
    if not rows and re.fullmatch("[0-9a-f]{4,11}", job):
        # Digits sort before "g", so this is the range of ids that begin like `job`.
        rows = conn.execute(
            """
            SELECT seq, id
              FROM jobs
             WHERE id >= :first
               AND id < :end
               AND id_made = 1
               AND length(id) = 12
               AND seq <= :up_to
             ORDER BY id
             LIMIT :limit
            """,
            {"first": job, "end": job + "g", "up_to": up_to, "limit": _NAMED_WHEN_AMBIGUOUS},
        ).fetchall()
    if not rows:
        raise NoSuchJob(job)
    if len(rows) > 1:
        raise AmbiguousJob(job, [found[1] for found in rows])
    seq: int = rows[0][0]
    return seq


def last_seq(conn: sqlite3.Connection) -> int:
    """Return the seq of the newest job, 0 if there is none; later jobs get higher ones."""
    seq: int = conn.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()[0]
    return seq


def duplicate(conn: sqlite3.Connection, job_id: str, *, before: int) -> DuplicateId | None:
    """Return the error for an id that is taken; None if it is free.

    A job with a seq above `before` came with the same call.
    """
    row = conn.execute("SELECT seq, state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return None
    return DuplicateId(job_id, row[1] if row[0] <= before else None)

"""The dependencies of jobs: one row each, deleted when it is met."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from queuectl.core.times import to_text


def release_dependants(
    conn: sqlite3.Connection, job_seq: int, *, completed: bool, now: datetime
) -> bool:
    """Delete the dependencies that the end of a job meets.

    Any end meets those of `--after-any`; only completion meets those of `--after`. Returns whether
    that made a job claimable.
    """
    met = conn.execute(
        """
        SELECT job_seq
          FROM dependencies
         WHERE needs_seq = :needs
           AND typeof(job_seq) = 'integer'
           AND (however = 1 OR :completed = 1)
         ORDER BY job_seq
        """,
        {"needs": job_seq, "completed": int(completed)},
    ).fetchall()
    freed = False
    for (waiting_seq,) in met:
        conn.execute(
            "DELETE FROM dependencies WHERE job_seq = :job AND needs_seq = :needs",
            {"job": waiting_seq, "needs": job_seq},
        )
        freed = unblock(conn, waiting_seq, now=now) or freed
    return freed


def unblock(conn: sqlite3.Connection, job_seq: int, *, now: datetime) -> bool:
    """Move a blocked job without dependencies to scheduled or pending; return whether it did.

    A job whose row breaks a constraint is set aside instead, which may let jobs go on that waited
    for it: the function then returns whether one of them can be claimed.
    """
    try:
        return bool(
            conn.execute(
                """
                UPDATE jobs
                   SET state = CASE WHEN run_at > :now THEN 'scheduled' ELSE 'pending' END,
                       updated_at = :now
                 WHERE seq = :job
                   AND state = 'blocked'
                   AND NOT EXISTS (SELECT 1 FROM dependencies WHERE job_seq = :job)
                """,
                {"now": to_text(now), "job": job_seq},
            ).rowcount
        )
    except sqlite3.IntegrityError:
        from queuectl.storage.unreadable import set_aside  # almost never needed

        return set_aside(conn, job_seq, now=now)

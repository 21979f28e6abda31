"""What jobs wait for: a row a need, deleted when it is met."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from queuectl.core.times import to_text


def release_dependants(
    conn: sqlite3.Connection, job_seq: int, *, completed: bool, now: datetime
) -> bool:
    """Meet the needs that the end of a job meets; whether that made a job claimable.

    A job that needed it `--after-any` is served by any end, else only by completion.
    """
    served = conn.execute(
        """
        SELECT job_seq
          FROM dependencies
         WHERE needs_seq = ?
           AND (however = 1 OR ?)
         ORDER BY job_seq
        """,
        (job_seq, completed),
    ).fetchall()
    freed = False
    for (waiting_seq,) in served:
        conn.execute(
            "DELETE FROM dependencies WHERE job_seq = ? AND needs_seq = ?", (waiting_seq, job_seq)
        )
        freed = unblock(conn, waiting_seq, now=now) or freed
    return freed


def unblock(conn: sqlite3.Connection, job_seq: int, *, now: datetime) -> bool:
    """Move a blocked job that waits for nothing any more to scheduled or pending.

    Whether it did.
    """
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

"""Names of jobs that begin with `@`, as no id does: `@17`, `@last`, `@running`, `@failed`.

Not part of `ids`, so that `enqueue` starts without it.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Sequence

from queuectl.core.errors import NoSuchJob
from queuectl.core.states import UNFINISHED_STATES, JobState
from queuectl.core.values import JOB_WORDS
from queuectl.storage.finding import find_by_state

GROUPS = {
    "@running": (JobState.PROCESSING,),
    "@failed": (JobState.FAILED, JobState.DEAD),
}
"""Names for all jobs in these states where several jobs can be named; else they mean the one of
them that started, or failed, last."""

_NONE = {
    "@last": "there are no jobs yet",
    "@running": "no job is running",
    "@failed": "no job is failed or dead",
}
_MOST_COMPARED = 5_000
"""How many failed jobs are compared by their times, which no index has. It takes 20 ms. They are
those with the latest retries."""

_NUMBERED = "SELECT seq FROM jobs WHERE seq = :number AND seq <= :up_to"
_LAST = "SELECT max(seq) FROM jobs WHERE seq <= :up_to"
_STARTED_LAST = """
    SELECT seq
      FROM jobs INDEXED BY jobs_processing
     WHERE state = 'processing'
       AND seq <= :up_to
     ORDER BY execution_id DESC
     LIMIT 1
    """
_FAILED_LAST = f"""
    SELECT seq
      FROM jobs
     WHERE seq IN (
            SELECT seq FROM (
                SELECT seq
                  FROM jobs INDEXED BY jobs_died
                 WHERE state = 'dead'
                   AND seq <= :up_to
                 ORDER BY finished_at DESC, seq DESC
                 LIMIT 1)
             UNION ALL
            SELECT seq FROM (
                SELECT seq
                  FROM jobs INDEXED BY jobs_due
                 WHERE (state = 'scheduled' OR state = 'failed')
                   AND state = 'failed'
                   AND seq <= :up_to
                 ORDER BY run_at DESC, seq DESC
                 LIMIT {_MOST_COMPARED}))
     ORDER BY coalesce(finished_at, updated_at) DESC, seq DESC
     LIMIT 1
    """
_QUERIES = {"@last": _LAST, "@running": _STARTED_LAST, "@failed": _FAILED_LAST}


def group(name: str, among: Sequence[JobState]) -> tuple[JobState, ...]:
    """Return the states, of those in `among`, whose jobs a name stands for; none for other names.

    A command can act on jobs in the states `among`.
    """
    return tuple(state for state in GROUPS.get(name, ()) if state in among)


def find_named(conn: sqlite3.Connection, name: str, up_to: int) -> int:
    """Return the seq of the job that a name beginning with `@` means, among those up to `up_to`.

    Raises NoSuchJob.
    """
    if re.fullmatch("@[0-9]{1,18}", name):
        query, number = _NUMBERED, int(name[1:])
    elif name in _QUERIES:
        query, number = _QUERIES[name], 0
    else:
        raise NoSuchJob(name, f"no such job: {name} (use @NUMBER, {', '.join(JOB_WORDS)} or an id)")
    row = conn.execute(query, {"up_to": up_to, "number": number}).fetchone()
    if row is None or row[0] is None:
        raise NoSuchJob(name, _NONE.get(name))
    seq: int = row[0]
    return seq


def find_needed(conn: sqlite3.Connection, name: str, *, by: int, up_to: int) -> list[int]:
    """Return the jobs by this name for which the job with the seq `by` is to wait.

    A group stands for its unfinished jobs. If there are none, the name means a single job.
    """
    states = group(name, UNFINISHED_STATES)
    found = [seq for seq in find_by_state(conn, states) if seq <= up_to and seq != by]
    return found or [find_named(conn, name, up_to)]

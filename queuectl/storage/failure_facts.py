"""The facts about jobs that died or wait for a retry, for `storage/facts.py`."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import datetime, timedelta
from typing import Mapping, Sequence

from queuectl.core.batches import LANE
from queuectl.core.facts import Deaths, Reason
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.reasons import short_reason
from queuectl.core.times import to_text
from queuectl.storage import rule_facts
from queuectl.storage.rows import in_queues

_HOUR = timedelta(hours=1)
_MOST_DEATHS = 10_000
"""How many deaths are counted at most: 2 ms."""
_IN_LANE = f"(substr(queue, -{len(LANE)}) = '{LANE}')"
"""Whether the jobs of a queue are those of hooks."""
_MOST_REASONS = 100
"""How many jobs are compared by the reasons of their deaths."""
MOST_LOOKED_AT = 500
"""How many rows of jobs are looked at, where the wanted ones may be anywhere among them."""
_ENOUGH_ENDED = 30
"""If this many other jobs ended, fewer than `MANY_DEATHS` dead ones are a small share."""


class Dead(NamedTuple):
    """The jobs that died within the last hour."""

    deaths: Deaths | None
    """Those that are no jobs of hooks; None if there are none."""
    of_hooks: Mapping[str, tuple[int, str]]
    """How many jobs of each hook, and the queue of one of them."""


def dead(conn: sqlite3.Connection, queues: Sequence[str], now: datetime) -> Dead:
    """Return the facts about jobs that died within the last hour and are still dead."""
    since = to_text(now - _HOUR)
    died, of_hooks_died = conn.execute(
        f"""
        SELECT count(*), count(CASE WHEN {_IN_LANE} THEN 1 END)
          FROM (SELECT queue
                  FROM jobs INDEXED BY jobs_died
                 WHERE state = 'dead'
                   AND finished_at >= ?
                   AND {in_queues(queues)}
                 LIMIT {_MOST_DEATHS})
        """,
        (since, *queues),
    ).fetchone()
    of_hooks = _dead_of_hooks(conn, queues, since) if of_hooks_died else {}
    jobs = died - of_hooks_died
    own = _newest_dead(conn, queues, since) if jobs else []
    if not own:
        return Dead(None, of_hooks)
    deaths = Deaths(
        jobs=jobs,
        ended=jobs + _others_ended(conn, queues, since),
        reason=_most_common([row[4] for row in own]),
        last_name=rule_facts.name_of(*own[0][:3]),
        last_at=rule_facts.time(own[0][3]) or now,
    )
    return Dead(deaths, of_hooks)


def _dead_of_hooks(
    conn: sqlite3.Connection, queues: Sequence[str], since: str
) -> dict[str, tuple[int, str]]:
    """Return how many jobs of each hook died since then, and the lane of one of them."""
    rows = conn.execute(
        f"""
        SELECT coalesce(CAST(hook AS TEXT), ''), count(*), max(queue)
          FROM (SELECT hook, queue
                  FROM jobs INDEXED BY jobs_died
                 WHERE state = 'dead'
                   AND finished_at >= ?
                   AND {_IN_LANE}
                   AND {in_queues(queues)}
                 LIMIT {_MOST_DEATHS})
         GROUP BY 1
         ORDER BY 1
        """,
        (since, *queues),
    )
    return {hook: (jobs, lane) for hook, jobs, lane in rows}


def _newest_dead(
    conn: sqlite3.Connection, queues: Sequence[str], since: str
) -> list[tuple[int, str, int, str, str | None]]:
    """Return the jobs that died last since then, newest first, but no jobs of hooks."""
    return conn.execute(
        f"""
        SELECT seq, id, id_made, finished_at, CAST(last_error AS TEXT)
          FROM jobs INDEXED BY jobs_died
         WHERE state = 'dead'
           AND finished_at >= ?
           AND NOT {_IN_LANE}
           AND {in_queues(queues)}
         ORDER BY finished_at DESC, seq DESC
         LIMIT {_MOST_REASONS}
        """,
        (since, *queues),
    ).fetchall()


def _others_ended(conn: sqlite3.Connection, queues: Sequence[str], since: str) -> int:
    """Return how many jobs completed or were cancelled since then, up to _ENOUGH_ENDED."""
    row = conn.execute(
        f"""
        SELECT count(*)
          FROM (SELECT 1
                  FROM (SELECT queue
                          FROM jobs INDEXED BY jobs_prunable
                         WHERE (state = 'completed' OR state = 'cancelled')
                           AND finished_at >= ?
                         LIMIT {MOST_LOOKED_AT})
                 WHERE {in_queues(queues)}
                 LIMIT {_ENOUGH_ENDED})
        """,
        (since, *queues),
    ).fetchone()
    return int(row[0])


def last_death(conn: sqlite3.Connection) -> datetime | None:
    """Return when the newest dead job died; None if no job is dead."""
    row = conn.execute(
        """
        SELECT finished_at
          FROM jobs INDEXED BY jobs_died
         WHERE state = 'dead'
         ORDER BY finished_at DESC
         LIMIT 1
        """
    ).fetchone()
    return None if row is None else rule_facts.time(row[0])


def retry_reason(conn: sqlite3.Connection, queues: Sequence[str]) -> Reason | None:
    """Return why most of the jobs that wait for a retry failed; only some of many are looked at."""
    rows = conn.execute(
        f"""
        SELECT CAST(last_error AS TEXT)
          FROM (SELECT state, queue, paused_at, last_error
                  FROM jobs INDEXED BY jobs_due
                 WHERE state = 'scheduled' OR state = 'failed'
                 ORDER BY run_at, seq
                 LIMIT {MOST_LOOKED_AT})
         WHERE state = 'failed'
           AND paused_at IS NULL
           AND {in_queues(queues)}
        """,
        tuple(queues),
    ).fetchall()
    return _most_common([row[0] for row in rows]) if rows else None


def _most_common(errors: Sequence[str | None]) -> Reason:
    reasons = Counter(short_reason(error or "unknown") for error in errors)
    text, jobs = reasons.most_common(1)[0]
    return Reason(text, jobs, len(errors))

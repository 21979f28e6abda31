"""Values that another program wrote: each in a row of its own, in every column of every table."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import Mapping, Sequence

from queuectl.core.hooks import NewHook
from queuectl.core.models import Worker
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.storage import Storage
from support.clock import noon
from support.outcomes import COMPLETED, DEAD, EXIT_1, WITH_TAIL, retry_at
from support.rows import sql
from support.schedules import add_schedule
from support.stages import leave_decided

ODD_VALUES = (
    "x'61ff62'", "CAST(x'61ff62' AS TEXT)", "'x'", "'../x-1'", "9223372036854775807",
    "-9223372036854775808", "-5", "0.5", "-7.5", "9e999", "NULL",
    "'2026-01-31T12:00:00.000000Z'",
)  # fmt: skip
"""Values as SQL."""
FEW_ODD_VALUES = ("x'61ff62'", "'x'", "NULL")
"""Some of them, for tests that take long."""

_SOON = noon(900)

# What makes the copies of a row differ, by table; {} is a number that no other copy has. A table
# with a single row is not named here.
KEYS: Mapping[str, Mapping[str, str]] = {
    "activity": {"queue": "'odd-{}'"},
    "bad_ends": {"queue": "'odd-{}'"},
    "config": {"key": "'odd-{}'"},
    "content_uses": {"content_id": "90000 + {}"},
    "contents": {"id": "NULL"},
    "dependencies": {"job_seq": "90000 + {}"},
    "executions": {"id": "NULL"},
    "hooks": {"name": "'odd-{}'"},
    "job_counts": {"queue": "'odd-{}'"},
    "jobs": {"seq": "NULL", "id": "'odd-{}'"},
    "late_attempts": {"execution_id": "90000 + {}"},
    "meta": {"key": "'odd-{}'"},
    "queues": {"name": "'odd-{}'"},
    "schedules": {"name": "'odd-{}'"},
    "staged_jobs": {"seq": "90000 + {}", "id": "'odd-{}'"},
    "staged_needs": {"job_seq": "90000 + {}"},
    "ticks": {"planned_at": "'2026-01-31T12:00:00.' || printf('%06dZ', {})"},
    "workers": {"id": "'odd-{}'"},
}

SINGLE_ROWS = ("counted_attempts", "stage")
"""The tables with a single row."""


def fill(storage: Storage) -> None:
    """Let each table have rows, and let `next` and `other` be pending, and `processing` run.

    Worker `good-1` runs that job, and no other worker is left.
    """

    def add(name: str, **fields: object) -> None:
        spec = JobSpec(command=f"run {name}", id=name, cwd="/tmp", **fields)  # type: ignore[arg-type]
        storage.enqueue([spec], now=noon(0), environ={"A": "1"})

    def end(name: str, outcome: object, verdict: object) -> None:
        claim = storage.claim("good-9", now=noon(1))
        assert claim is not None
        assert claim.job.id == name
        storage.record(claim, outcome, verdict, now=noon(2))  # type: ignore[arg-type]

    add("completed", input=b"abc", label="l", queue="q")
    end("completed", WITH_TAIL, COMPLETED)
    add("dead")
    end("dead", EXIT_1, DEAD)
    add("failed")
    end("failed", EXIT_1, retry_at(_SOON))
    add("processing")
    storage.claim("good-1", now=noon(3))
    add("cancelled")
    storage.cancel(storage.get("cancelled"), reason="r", now=noon(3))
    add("scheduled", run_at=_SOON)
    add("pending", priority=7)
    add("paused")
    storage.pause(storage.get("paused"), now=noon(3), clock=1.0)
    add("blocked", after_any=("paused",))
    add("follows", after=("processing",))
    add("next")
    add("other", queue="q")
    storage.set_key("kill-grace", "5")
    storage.limit_queue("q", 5)
    storage.pause_queue("mail", by="ann", reason="r", now=noon(3))
    events = ("dead", "completed", "drained", "recovered")
    storage.add_hook(NewHook("ops", events, command="notify", digest_seconds=5.0), now=noon(3))
    storage.add_hook(NewHook("web", ("dead",), url="http://x/", secret="s"), now=noon(3))
    add_schedule(storage.files, "nightly", now=noon(3))
    storage.count_attempts()
    storage.register_worker(
        Worker("good-1", "good", 1, 1, "b", "h", (), noon(0))  # type: ignore[call-arg]
    )
    storage.forget_worker("good-9", seen_at=to_text(noon(3)))
    staged = [JobSpec(command="s", id=f"staged-{number}", cwd="/tmp") for number in range(3)]
    leave_decided(storage, staged, now=noon(3))
    at = to_text(noon(3))
    sql(storage, "INSERT INTO ticks VALUES ('nightly', ?, 'missed', 1, 1, ?)", at, at)
    sql(storage, "INSERT INTO late_attempts VALUES (1)")
    sql(storage, "INSERT INTO staged_needs VALUES (90000, 1, 0)")


def columns(storage: Storage, table: str) -> list[str]:
    """Return the names of the columns of a table."""
    return [row[1] for row in sql(storage, f"PRAGMA table_info({table})")]


def tables(storage: Storage) -> list[str]:
    """Return the names of all tables."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return sorted(row[0] for row in sql(storage, query))


def add_odd_rows(storage: Storage, table: str, values: Sequence[str] = ODD_VALUES) -> int:
    """Copy rows of a table, one copy for each column and odd value; return how many there are.

    Of jobs, a pending one and one in another state are copied; of other tables, any row. No
    constraint that may be switched off keeps a value out.
    """
    names = columns(storage, table)
    states = [state.value for state in JobState if state is not JobState.PENDING]
    number = 0
    with closing(sqlite3.connect(storage.files.database, isolation_level=None)) as conn:
        conn.execute("PRAGMA ignore_check_constraints = ON")
        conn.execute("BEGIN")
        (before,) = conn.execute(f"SELECT count(*) FROM {table}").fetchone()
        for column in names:
            for value in values:
                state = states[number % len(states)]
                chosen = (f"id = '{state}'", "id = 'pending'") if table == "jobs" else ("1",)
                for condition in chosen:
                    number += 1
                    keys = {name: key.format(number) for name, key in KEYS[table].items()}
                    if column in ("seq", "id") and value == ODD_VALUES[4]:
                        continue  # then SQLite has no number left for the next row
                    written = {**{name: name for name in names}, **keys, column: value}
                    with suppress(sqlite3.IntegrityError):  # it cannot be the number of a row
                        conn.execute(
                            f"""
                            INSERT OR IGNORE INTO {table} ({", ".join(written)})
                            SELECT {", ".join(written.values())}
                              FROM {table}
                             WHERE {condition}
                             LIMIT 1
                            """
                        )
        if table == "jobs":  # they can be unblocked
            conn.execute(
                """
                INSERT INTO dependencies (job_seq, needs_seq)
                SELECT seq, (SELECT seq FROM jobs WHERE id = 'processing')
                  FROM jobs
                 WHERE state = 'blocked'
                   AND id LIKE 'odd-%'
                """
            )
        (after,) = conn.execute(f"SELECT count(*) FROM {table}").fetchone()
        conn.execute("COMMIT")
    return int(after - before)


def damage(storage: Storage, table: str, column: str, value: str, condition: str = "1") -> None:
    """Change a value of a table in all rows for which a condition holds."""
    with closing(sqlite3.connect(storage.files.database, isolation_level=None)) as conn:
        conn.execute("PRAGMA ignore_check_constraints = ON")
        conn.execute(f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE {condition}")

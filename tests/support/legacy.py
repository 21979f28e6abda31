"""Databases of the old tool from which queuectl grew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timezone

FIRST = """id TEXT PRIMARY KEY, command TEXT NOT NULL, state TEXT NOT NULL,
           attempts INTEGER DEFAULT 0, max_retries INTEGER DEFAULT 3,
           created_at TEXT NOT NULL, updated_at TEXT NOT NULL"""


LOCKED = ", locked_by TEXT, locked_at TEXT"


RETRY = ", next_retry_at TEXT"


SHAPES = {
    "1": FIRST,
    "2": FIRST + LOCKED,
    "3": FIRST + LOCKED + RETRY,
    "4": FIRST + LOCKED + RETRY + ", priority TEXT DEFAULT 'medium'",
    "4 made fresh": FIRST.replace(
        "command TEXT NOT NULL,", "command TEXT NOT NULL, priority TEXT DEFAULT 'medium',"
    )
    + LOCKED
    + RETRY,
}


OLD = "2025-11-09T12:34:56.789012+00:00"


OLD_TIME = datetime(2025, 11, 9, 12, 34, 56, 789012, tzinfo=timezone.utc)


def iso(instant):
    return instant.isoformat()


def make(path, shape="4", jobs=(), config=()):
    """Write a file as the old tool did: rollback journal, no version, its own indexes."""
    with closing(sqlite3.connect(str(path), isolation_level=None)) as conn:
        conn.execute(f"CREATE TABLE jobs ({SHAPES[shape]})")
        conn.execute("CREATE TABLE config (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        conn.execute("CREATE INDEX idx_jobs_state ON jobs(state)")
        if shape.startswith("4"):
            conn.execute("CREATE INDEX idx_jobs_priority ON jobs(priority)")
        conn.execute("BEGIN")
        for job in jobs:
            row = {"command": "true", "state": "pending", "created_at": OLD, "updated_at": OLD}
            row.update(job)
            conn.execute(
                f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                tuple(row.values()),
            )
        conn.executemany("INSERT INTO config VALUES (?, ?)", config)
        conn.execute("COMMIT")


def contents(path):
    """Every row of an old file, with the bytes and the types as they are stored."""
    with closing(sqlite3.connect(str(path))) as conn:
        conn.text_factory = bytes
        names = [row[1].decode() for row in conn.execute("PRAGMA table_info(jobs)")]
        typed = ", ".join(f"{name}, typeof({name})" for name in names)
        return (
            conn.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall(),
            conn.execute(f"SELECT {typed} FROM jobs ORDER BY rowid").fetchall(),
            conn.execute("SELECT * FROM config ORDER BY rowid").fetchall(),
        )

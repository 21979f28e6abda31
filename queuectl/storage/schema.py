"""The schema of a queue's file: its version, and the migrations that lead to it."""

from __future__ import annotations

import os
import sqlite3
from typing import Callable, Sequence

from queuectl.storage.schema_3 import SCHEMA_3
from queuectl.storage.schema_4 import SCHEMA_4
from queuectl.storage.tables import SCHEMA_1, SCHEMA_2

APPLICATION_ID = 0x71756374
"""`quct` in ASCII; it is in the header of every queue's file (PRAGMA application_id)."""


# Made here, before the fork, and not by each worker, of whose own memory that would take 0.3 MB.
_STATEMENTS = [text.strip() for text in (*SCHEMA_1, *SCHEMA_2, *SCHEMA_3, *SCHEMA_4)]
_OUR_TRIGGERS = frozenset(text for text in _STATEMENTS if text.startswith("CREATE TRIGGER"))
_OUR_TABLES = frozenset(
    text.partition(" (")[0].rpartition(" ")[2]
    for text in _STATEMENTS
    if text.startswith("CREATE TABLE")
)


def foreign_code(conn: sqlite3.Connection) -> str | None:
    """Return the name of something in the file that runs code which is not ours; None without.

    Whoever made the file could have put a view or a virtual table in the place of one of our
    tables, or a trigger on one. A query of it may never end, and a trigger changes what we write.
    """
    found = conn.execute(
        """
        SELECT type, name, CASE type WHEN 'trigger' THEN sql END
          FROM sqlite_master
         WHERE type = 'trigger' OR type = 'view' OR sql LIKE 'CREATE VIRTUAL%'
         ORDER BY rowid
        """
    )
    for kind, name, text in found:
        if kind == "trigger" and text not in _OUR_TRIGGERS:
            return str(name)
        if kind != "trigger" and str(name).lower() in _OUR_TABLES:
            return str(name)
    return None


def name_queue(conn: sqlite3.Connection) -> None:
    """Give a queue an id that no other queue has; it marks the processes of the queue's jobs."""
    set_meta(conn, "queue_id", os.urandom(16).hex())


def keep_origin(conn: sqlite3.Connection) -> None:
    """Note, before a copy gets an id of its own, which queue it comes from."""
    origin = origin_of(conn)
    if origin is not None:
        set_meta(conn, "origin", origin)


def origin_of(conn: sqlite3.Connection) -> str | None:
    """Return the id that the first of all copies had: copies number attempts alike.

    None if it is not known: the backup was made by a queuectl that did not note it.
    """
    known: dict[str, str] = dict(
        conn.execute(
            """
            SELECT key, CAST(value AS TEXT)
              FROM meta
             WHERE key IN ('origin', 'queue_id', 'file')
             ORDER BY key
            """
        )
    )
    if "origin" in known:
        return known["origin"]
    return None if known.get("file") == "backup" else known.get("queue_id")


def set_meta(conn: sqlite3.Connection, key: str, value: str) -> None:
    """Store a fact about the file itself."""
    conn.execute(
        """
        INSERT INTO meta (key, value)
        VALUES (:key, :value)
            ON CONFLICT (key) DO UPDATE SET value = :value
        """,
        {"key": key, "value": value},
    )


def _create(conn: sqlite3.Connection) -> None:
    for statement in SCHEMA_1:
        conn.execute(statement)
    name_queue(conn)
    # The oldest schema whose workers may record their running job after the file was upgraded.
    set_meta(conn, "min_writer", "1")


def _count_bad_ends(conn: sqlite3.Connection) -> None:
    # `min_writer` stays 1: a trigger counts, so it also counts what a worker of schema 1 records.
    # A job that such a worker puts back is not counted in `interruptions`, which harms nothing.
    for statement in SCHEMA_2:
        conn.execute(statement)


def _stage_and_order_deaths(conn: sqlite3.Connection) -> None:
    # `min_writer` stays 1: a worker of an older schema only records the end of its running job.
    for statement in SCHEMA_3:
        conn.execute(statement)


def _hook_and_schedule(conn: sqlite3.Connection) -> None:
    # `min_writer` stays 1: a job that a worker of an older schema ends has no hooks. Its end is
    # counted in `activity`, because ends are counted later.
    for statement in SCHEMA_4:
        conn.execute(statement)


MIGRATIONS: Sequence[Callable[[sqlite3.Connection], None]] = (
    _create,
    _count_bad_ends,
    _stage_and_order_deaths,
    _hook_and_schedule,
)
"""Migration n turns version n into version n + 1. One that was released never changes."""

VERSION = len(MIGRATIONS)
"""The version of the schema that this queuectl reads and writes (PRAGMA user_version)."""


def migrate(conn: sqlite3.Connection, version: int) -> None:
    """Turn a file of `version` into one of VERSION, inside the caller's transaction."""
    for migration in MIGRATIONS[version:]:
        migration(conn)
    # PRAGMA takes no parameters; both values are constants of this module.
    conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    conn.execute(f"PRAGMA user_version = {VERSION}")

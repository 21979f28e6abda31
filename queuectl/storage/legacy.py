"""The file of the tool that queuectl replaces: recognised by its columns, converted in place."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from queuectl.core.errors import InvalidInput
from queuectl.core.settings import DEFAULT_PRIORITY, effective
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import parse_utc, to_text
from queuectl.core.values import check_command, check_name
from queuectl.host.files import QueueFiles
from queuectl.host.new_files import new_file
from queuectl.storage import schema
from queuectl.storage.ids import new_id
from queuectl.storage.rows import insert_job

_FIRST_COLUMNS = ["id", "command", "state", "attempts", "max_retries", "created_at", "updated_at"]
_PRIORITIES = {"high": 10, "medium": DEFAULT_PRIORITY, "low": -10}
_LARGEST = 1_000_000


def is_legacy(conn: sqlite3.Connection) -> bool:
    """Whether a file without version and application id has one of the old tool's four shapes."""
    columns = [row[1] for row in conn.execute("PRAGMA table_info(jobs)")]
    # Where the fourth shape was not altered but created, the priority comes after the command.
    shape = [name for name in columns if name != "priority"]
    return shape[: len(_FIRST_COLUMNS)] == _FIRST_COLUMNS


def back_up(conn: sqlite3.Connection, files: QueueFiles) -> str:
    """Copy the database as it is to a file beside it, durably; return the path of that file."""
    with new_file(files.before_upgrade, replace=True) as new:
        conn.execute("VACUUM INTO ?", (new.name,))
    return files.before_upgrade


def convert(conn: sqlite3.Connection, *, now: datetime) -> None:
    """Turn the old tables into a queue of the present schema, inside the caller's transaction.

    No row is dropped, whatever the types of its values. The config table stays as it is, except
    that values which are no text become text.
    """
    conn.execute("DROP INDEX IF EXISTS idx_jobs_state")
    conn.execute("DROP INDEX IF EXISTS idx_jobs_priority")
    conn.execute("ALTER TABLE jobs RENAME TO jobs_before_upgrade")
    schema.migrate(conn, 0)
    # Text that is not valid UTF-8 must not stop the upgrade.
    conn.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        _make_readable(conn)
        cursor = conn.execute("SELECT * FROM jobs_before_upgrade ORDER BY created_at, rowid")
        names = [column[0] for column in cursor.description]
        for row in cursor:
            insert_job(conn, _converted(dict(zip(names, row)), now))
        cursor.close()
    finally:
        conn.text_factory = str
    conn.execute("DROP TABLE jobs_before_upgrade")


def _make_readable(conn: sqlite3.Connection) -> None:
    """Turn config entries of other types into text, because every claim reads all entries."""
    rows = conn.execute("SELECT rowid, key, value FROM config ORDER BY rowid").fetchall()
    for rowid, key, value in rows:
        readable = (None if key is None else _shown(key), _shown(value))
        if readable != (key, value):
            conn.execute(
                "UPDATE config SET key = :key, value = :value WHERE rowid = :rowid",
                {"key": readable[0], "value": readable[1], "rowid": rowid},
            )


def _converted(row: dict[str, Any], now: datetime) -> dict[str, object]:
    """Return the columns of a job, made from a row of the old table."""
    retries = max(1, _number(row["max_retries"], effective(()).max_retries))
    attempts = _number(row["attempts"], 0)
    created = _time(row["created_at"]) or now
    updated = _time(row["updated_at"]) or created
    retry_at = _time(row.get("next_retry_at"))
    command, command_error = _command(row["command"])
    state, state_error = _state(row["state"])

    if command_error and not state_error and state not in FINISHED_STATES:
        state, state_error = JobState.DEAD, command_error
    elif state is JobState.PROCESSING:
        state = JobState.PENDING
    elif state is JobState.FAILED:
        state = JobState.DEAD if attempts >= retries else JobState.FAILED
    if state is JobState.PENDING and retry_at is not None and retry_at > now:
        state = JobState.FAILED
    if state in (JobState.PENDING, JobState.FAILED):
        # The job waited for another attempt, so it must be allowed one.
        attempts = min(attempts, retries - 1)

    try:
        job_id, is_generated, label = check_name(row["id"], "id"), False, None
    except InvalidInput:
        job_id, is_generated, label = new_id(), True, _label(row["id"])
    return {
        "id": job_id,
        "id_made": int(is_generated),
        "command": command,
        "state": state.value,
        "priority": _PRIORITIES.get(row.get("priority") or "", DEFAULT_PRIORITY),
        "attempts": attempts,
        "max_retries": retries,
        "timeout": effective(()).job_timeout,
        "run_at": to_text(retry_at or updated) if state is JobState.FAILED else None,
        "created_at": to_text(created),
        "updated_at": to_text(updated),
        "finished_at": to_text(updated) if state in FINISHED_STATES else None,
        "last_error": state_error,
        "label": label,
    }


def _number(value: object, default: int) -> int:
    if isinstance(value, int) and 0 <= value <= _LARGEST:
        return value
    return default


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_utc(value)
    except (ValueError, OverflowError):
        return None


def _state(value: object) -> tuple[JobState, str | None]:
    if value in ("pending", "processing", "completed", "failed", "dead"):
        return JobState(value), None
    return JobState.DEAD, f"its state in the old file was unknown: {_label(value)}"


def _command(value: object) -> tuple[str, str | None]:
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
    try:
        return check_command(text), None
    except InvalidInput as error:
        return _shown(text), f"it cannot be run: {error}"


def _label(value: object) -> str | None:
    """Return an unusable id as a label, as far as it can be shown."""
    if value is None:
        return None
    return "".join(char if char.isprintable() else "?" for char in _shown(value))[:200] or None


def _shown(value: object) -> str:
    """Return a value of any type as text; bytes that are not UTF-8 are shown like `\\xff`."""
    if not isinstance(value, bytes):
        value = str(value).encode("utf-8", "surrogateescape")
    return value.decode("utf-8", "backslashreplace")

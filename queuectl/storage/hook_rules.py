"""The rules of hooks: adding, listing, pausing and removing them."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import datetime
from typing import Any, Mapping, Sequence

from queuectl.core.errors import HookExists, NoSuchHook, QueueUnusable, UnreadableRow
from queuectl.core.hooks import Hook, NewHook
from queuectl.core.models import Job
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import MAX_RETRIES_LIMIT
from queuectl.core.times import MAX_DURATION, from_text, optional_time, to_text
from queuectl.storage.base import Base
from queuectl.storage.rows import SELECT_JOB, shown_job

_COLUMNS = (
    "name", "events", "queues", "labels", "schedules", "command", "url", "format", "output_bytes",
    "digest_seconds", "timeout", "max_retries", "cwd", "env", "created_at", "paused_at",
    "disabled_at", "disabled_reason", "failures", "last_delivery_at", "last_result", "digest_seq",
)  # fmt: skip
"""The columns of a hook, in the order of Hook: all but its secrets."""
_BYTES = ("command", "url", "cwd", "env")
# These are read as bytes: a command must not run with other characters than those of the file.
SELECT_HOOK = "SELECT {} FROM hooks ".format(
    ", ".join(f"CAST({name} AS BLOB)" if name in _BYTES else name for name in _COLUMNS)
)
_GIVEN = NewHook._fields[1:]


_LARGEST = (1 << 63) - 1
_LIMITS: Mapping[str, tuple[float, float]] = {
    "output_bytes": (0, _LARGEST),
    "digest_seconds": (0, MAX_DURATION),
    "timeout": (0, MAX_DURATION),
    "max_retries": (1, MAX_RETRIES_LIMIT),
    "failures": (0, _LARGEST),
    "digest_seq": (0, _LARGEST),
}
"""The lowest and the highest number in a column."""
_FRACTIONS = ("digest_seconds", "timeout")
_REQUIRED = ("name", "events", "queues", "labels", "schedules", "format", "env", "created_at")


class AllHooks(NamedTuple):
    """All hooks that can be read, and what is wrong with the others."""

    hooks: list[Hook]
    """Those that can be read, by name."""
    unreadable: list[str]
    """For each of the others, why it cannot be read. It reports nothing."""


def to_hook(row: Sequence[Any]) -> Hook:
    """Build a hook from a row of SELECT_HOOK.

    Raises UnreadableRow, naming the hook, if another program wrote a value that cannot be read.
    """
    values = dict(zip(_COLUMNS, row))
    for name in _BYTES:
        with suppress(UnicodeDecodeError):
            values[name] = None if values[name] is None else values[name].decode()
    for name, value in values.items():
        if not _is_readable(name, value):
            raise UnreadableRow(f"hook {row[0]}: {name} is {value!r:.60}")
    for name in ("events", "queues"):
        values[name] = tuple(filter(None, values[name].split(",")))
    try:
        values["created_at"] = from_text(values["created_at"])
        for name in ("paused_at", "disabled_at", "last_delivery_at"):
            values[name] = optional_time(values[name])
    except QueueUnusable as error:
        raise UnreadableRow(f"hook {row[0]}: {error}") from None
    return Hook(**values)


def _is_readable(name: str, value: object) -> bool:
    if value is None:
        return name not in _REQUIRED
    if name not in _LIMITS:
        return isinstance(value, str)
    lowest, highest = _LIMITS[name]
    is_number = isinstance(value, (int, float)) if name in _FRACTIONS else isinstance(value, int)
    return is_number and lowest <= value <= highest  # type: ignore[operator]


def may_have_hooks(conn: sqlite3.Connection, job: Job) -> bool:
    """Whether hooks may report the end of a job: there are rules, or it brings hooks along."""
    if job.on_success or job.on_failure or job.on_finish:
        return True
    return bool(conn.execute("SELECT EXISTS (SELECT 1 FROM hooks)").fetchone()[0])


class HookRules(Base):
    """The methods about hooks that users add."""

    def add_hook(self, new: NewHook, *, replace: bool = False, now: datetime) -> bool:
        """Add a hook; return whether it replaced another one, which only `replace` allows.

        The jobs that are there already stay as they are. Nothing is signed with a secret of the
        replaced hook any more. Raises HookExists.
        """
        columns, parameters = ", ".join(_GIVEN), ", ".join(f":{name}" for name in _GIVEN)
        changes = ", ".join(f"{name} = :{name}" for name in _GIVEN)
        values = {
            **new._asdict(),
            "events": ",".join(new.events),
            "queues": ",".join(new.queues),
            "now": to_text(now),
        }
        with self._transaction() as conn:
            known = conn.execute("SELECT 1 FROM hooks WHERE name = ?", (new.name,)).fetchone()
            if known is None:
                conn.execute(
                    f"""
                    INSERT INTO hooks (name, {columns}, created_at)
                    VALUES (:name, {parameters}, :now)
                    """,
                    values,
                )
                return False
            if not replace:
                raise HookExists(new.name)
            conn.execute(
                f"""
                UPDATE hooks
                   SET {changes},
                       old_secret = NULL,
                       old_secret_until = NULL,
                       disabled_at = NULL,
                       disabled_reason = NULL,
                       failures = 0,
                       digest_seq = NULL
                 WHERE name = :name
                """,
                values,
            )
        return True

    def hooks(self) -> AllHooks:
        """Return all hooks, ordered by name."""
        found = AllHooks([], [])
        with self._snapshot() as conn:
            rows = conn.execute(SELECT_HOOK + "ORDER BY name").fetchall()
        for row in rows:
            try:
                found.hooks.append(to_hook(row))
            except UnreadableRow as error:
                found.unreadable.append(str(error))
        return found

    def hook(self, name: str) -> Hook:
        """Return a hook. Raises NoSuchHook."""
        with self._snapshot() as conn:
            row = conn.execute(SELECT_HOOK + "WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise NoSuchHook(name)
        return to_hook(row)

    def remove_hook(self, name: str) -> None:
        """Remove a hook; the jobs that it has already are kept. Raises NoSuchHook."""
        self._change(name, "DELETE FROM hooks WHERE name = :name", {})

    def pause_hook(self, name: str, *, now: datetime) -> None:
        """Let a hook report nothing until it is resumed. Raises NoSuchHook."""
        self._change(
            name,
            "UPDATE hooks SET paused_at = coalesce(paused_at, :now) WHERE name = :name",
            {"now": to_text(now)},
        )

    def resume_hook(self, name: str) -> None:
        """Let a hook report again that was paused or disabled. Raises NoSuchHook."""
        self._change(
            name,
            """
            UPDATE hooks
               SET paused_at = NULL,
                   disabled_at = NULL,
                   disabled_reason = NULL,
                   failures = CASE WHEN disabled_at IS NULL THEN failures ELSE 0 END
             WHERE name = :name
            """,
            {},
        )

    def hook_jobs_of(self, job: Job) -> list[Job]:
        """Return the jobs of hooks that report this job, in the order of entry."""
        with self._snapshot() as conn:
            rows = conn.execute(
                SELECT_JOB + "WHERE hook_of IS NOT NULL AND hook_of = ? ORDER BY seq", (job.seq,)
            )
            return [shown_job(row) for row in rows.fetchall()]

    def hook_jobs(self, name: str, *, most: int) -> list[Job]:
        """Return the newest jobs of a hook, the last one first; at most `most`."""
        with self._snapshot() as conn:
            rows = conn.execute(
                SELECT_JOB + "WHERE hook IS NOT NULL AND hook = ? ORDER BY seq DESC LIMIT ?",
                (name, most),
            )
            return [shown_job(row) for row in rows.fetchall()]

    def _change(self, name: str, statement: str, values: dict[str, str]) -> None:
        with self._transaction() as conn:
            if not conn.execute(statement, {**values, "name": name}).rowcount:
                raise NoSuchHook(name)

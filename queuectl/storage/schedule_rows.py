"""Rows of the table `schedules` as values, and values as rows."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from queuectl.core.errors import QueueUnusable, UnreadableRow
from queuectl.core.schedules import MISSED, OVERLAP, Schedule
from queuectl.core.times import MAX_DURATION, from_text, optional_text, optional_time

_TIMES = (
    "anchor",
    "until",
    "created_at",
    "updated_at",
    "paused_at",
    "next_at",
    "due_at",
    "last_at",
    "last_success_at",
)
_REQUIRED = ("anchor", "created_at", "updated_at")
_TEXTS = ("name", "expression")
_OPTIONAL_TEXTS = ("timezone", "paused_by", "pause_reason", "last_ended", "source")
_NUMBERS = ("made", "overlapped", "missed_count")
_SPEC = Schedule._fields.index("spec")

# The job is read as bytes: a command must not run with other characters than those of the file.
_COLUMNS = ", ".join(
    f"CAST({name} AS BLOB)" if name == "spec" else name for name in Schedule._fields
)
SELECT_SCHEDULE = f"SELECT {_COLUMNS} FROM schedules "
INSERT_SCHEDULE = (
    f"INSERT INTO schedules ({', '.join(Schedule._fields)})"
    f" VALUES ({', '.join(f':{name}' for name in Schedule._fields)})"
)


def to_schedule(row: Sequence[Any]) -> Schedule:
    """Build a schedule from a row of SELECT_SCHEDULE.

    Raises UnreadableRow, naming it, if another program wrote a value that cannot be read.
    """
    values = dict(zip(Schedule._fields, row))
    try:
        values["spec"] = bytes(values["spec"]).decode()
        for name in (*_TEXTS, *_OPTIONAL_TEXTS):
            if not isinstance(values[name], str) and (name in _TEXTS or values[name] is not None):
                raise ValueError(f"{name} is {values[name]!r:.60}")
        for name in _NUMBERS:
            if type(values[name]) is not int or values[name] < 0:
                raise ValueError(f"{name} is {values[name]!r:.60}")
        for name, least in (("jitter", 0.0), ("missed_within", None)):
            _check_seconds(name, values[name], least)
        for name, words in (("missed", MISSED), ("overlap", OVERLAP)):
            if values[name] not in words:
                raise ValueError(f"{name} is {values[name]!r:.60}")
        if values["missed"] == "all" and values["overlap"] != "allow":
            raise ValueError("its jobs may not overlap, so it cannot make up for all times")
        for name in _TIMES:
            read = from_text if name in _REQUIRED else optional_time
            values[name] = read(values[name])
        if (values["next_at"] is None) != (values["due_at"] is None):
            raise ValueError("next_at or due_at is missing")
    except (QueueUnusable, ValueError, TypeError) as error:
        raise UnreadableRow(f"schedule {row[0]}: {error}") from None
    return Schedule(**values)


def _check_seconds(name: str, value: object, absent: float | None) -> None:
    if value is None and absent is None:
        return
    if not isinstance(value, (int, float)) or not 0 <= value <= MAX_DURATION:
        raise ValueError(f"{name} is {value!r:.60}")


def values_of(schedule: Schedule) -> Mapping[str, Any]:
    """Return the values of a row, by the names of its columns."""
    values = schedule._asdict()
    return {**values, **{name: optional_text(values[name]) for name in _TIMES}}

"""Rows of the tables as frozen values, and values as rows."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from functools import lru_cache
from typing import Any, Callable, Mapping, Sequence, Tuple

from queuectl.core.errors import QueueUnusable
from queuectl.core.models import Execution, Job, OutcomeKind, Output
from queuectl.core.states import JobState
from queuectl.core.times import from_text, to_text

_OUTPUT_COLUMNS = ("output_bytes", "output_truncated", "output_tail", "output_in_file")
"""Where the fields of Output are, in their order."""

# The fields of Job and Execution have the names of their columns.
SELECT_JOB = f"SELECT {', '.join('jobs.' + name for name in Job._fields)} FROM jobs "
SELECT_EXECUTION = (
    f"SELECT {', '.join((*Execution._fields[:-1], *_OUTPUT_COLUMNS))} FROM executions "
)


def optional_time(text: str | None) -> datetime | None:
    """Read a time that may be absent."""
    return None if text is None else from_text(text)


def optional_text(instant: datetime | None) -> str | None:
    """Write a time that may be absent."""
    return None if instant is None else to_text(instant)


@lru_cache(maxsize=4)
def _environment(text: str) -> Mapping[str, str]:
    """Read the variables of a job. The jobs before it usually have the same ones."""
    variables: Mapping[str, str] = json.loads(text)
    return variables


_Readers = Sequence[Tuple[int, Callable[[Any], Any]]]


def _readers(fields: Sequence[str], **read: Callable[[Any], Any]) -> _Readers:
    """Return the places of fields with how their columns are read; others need no conversion."""
    return [(fields.index(name), function) for name, function in read.items()]


_JOB_READERS = _readers(
    Job._fields,
    state=JobState,
    run_at=optional_time,
    created_at=from_text,
    updated_at=from_text,
    finished_at=optional_time,
    locked_at=optional_time,
    env=_environment,
    cancel_requested=bool,
    id_made=bool,
)
_EXECUTION_READERS = _readers(
    Execution._fields,
    started_at=from_text,
    finished_at=optional_time,
    outcome=lambda text: None if text is None else OutcomeKind(text),
    leftovers=bool,
)


def to_job(row: Sequence[Any]) -> Job:
    """Build a job from a row of SELECT_JOB.

    Raises QueueUnusable, naming the job, if another program wrote a value that cannot be read.
    """
    try:
        return Job._make(_read(row, _JOB_READERS))
    except (QueueUnusable, ValueError) as error:
        raise QueueUnusable(f"job {row[1]}: {error}") from None


def to_execution(row: Sequence[Any]) -> Execution:
    """Build an attempt from a row of SELECT_EXECUTION."""
    *values, size_bytes, truncated, tail, in_file = _read(row, _EXECUTION_READERS)
    output = Output(size_bytes, bool(truncated), bytes(tail), bool(in_file))
    return Execution._make([*values, output])


def _read(row: Sequence[Any], readers: _Readers) -> list[Any]:
    values = list(row)
    for place, read in readers:
        values[place] = read(values[place])
    return values


def insert_job(conn: sqlite3.Connection, values: Mapping[str, object]) -> int:
    """Insert a job, given the values of its columns; return its seq."""
    columns, parameters = ", ".join(values), ", ".join(f":{name}" for name in values)
    seq = conn.execute(f"INSERT INTO jobs ({columns}) VALUES ({parameters})", values).lastrowid
    assert seq is not None
    return seq

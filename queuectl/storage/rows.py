"""Rows of the tables as frozen values, and values as rows."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, Callable, Collection, FrozenSet, Mapping, Sequence, Sized, Tuple

from queuectl.core.errors import QueueUnusable, UnreadableRow
from queuectl.core.models import Execution, Job, LeftProcess, OutcomeKind, Output
from queuectl.core.settings import MAX_BACKOFF, MAX_RETRIES_LIMIT
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import MAX_DURATION, from_text, optional_text, optional_time, to_text

_OUTPUT_COLUMNS = ("output_bytes", "output_truncated", "output_tail", "output_in_file")
"""The columns that hold the fields of Output, in their order."""

# The fields of Job and Execution have the names of their columns, except `captured`.
_CAPTURED = "(SELECT content FROM contents WHERE contents.id = jobs.captured_id)"
JOB_VALUES = ", ".join(_CAPTURED if name == "captured" else f"jobs.{name}" for name in Job._fields)
"""The expressions to select from `jobs` for `to_job`."""
_PLAIN_FIELDS = (
    "seq", "id", "command", "queue", "label", "priority", "attempts", "max_retries", "timeout",
    "created_at", "updated_at", "cwd", "env", "id_made", "input_id", "input_bytes", "captured_id",
    "captured",
)  # fmt: skip
"""The fields of a plain job: a pending one whose other columns hold nothing, or 0."""
_ZEROS = ("interruptions", "cancel_requested", "hook_depth")
_EMPTY = [name for name in Job._fields if name not in (*_PLAIN_FIELDS, *_ZEROS, "state")]
PLAIN_VALUES = ", ".join(
    (
        f"coalesce({', '.join(f'jobs.{name}' for name in _EMPTY)}) IS NULL"
        + "".join(f" AND jobs.{name} = 0" for name in _ZEROS),
        *(f"jobs.{name}" for name in _PLAIN_FIELDS if name != "captured"),
        f"CASE WHEN jobs.captured_id IS NOT ? THEN {_CAPTURED} END",
    )
)
"""The expressions to select from `jobs` for `to_plain_job`; the first one tells whether the job is
plain. Most jobs are, and each further column would take a worker 1,700 instructions per job. The
variables that a job took over are left out if they are stored under the id that is the parameter.
"""
SELECT_JOB = f"SELECT {JOB_VALUES} FROM jobs "
SELECT_EXECUTION = (
    f"SELECT {', '.join((*Execution._fields[:-1], *_OUTPUT_COLUMNS))} FROM executions "
)


def one_of(values: Sized) -> str:
    """Return `IN (?, ?)`, with a placeholder for each of these values."""
    return f"IN ({', '.join('?' * len(values))})"


def in_queues(queues: Sequence[str]) -> str:
    """Return a condition on the column `queue`, with a placeholder for each of these queues.

    If no queue is named, it holds for all.
    """
    return f"queue {one_of(queues)}" if queues else "1"


IS_WORKER_ID = (
    "typeof({0}) = 'text' AND {0} GLOB '*-*' AND NOT {0} GLOB '*[^-0-9A-Za-z]*'"
    " AND length({0}) <= 64"
)
"""An SQL condition: whether a column holds the id of a worker, ID-1, ID-2 …"""


NEVER = "1970-01-01T00:00:00.000000Z"
"""What stands for a time that another program wrote, and that cannot be read."""


def known_state(value: object) -> JobState | None:
    """Return a state; None for one that another program made up."""
    try:
        return JobState(value)
    except ValueError:
        return None


def paused_since(text: str) -> datetime:
    """Read since when a queue is paused: since 1970 if another program wrote an odd time."""
    try:
        return from_text(text)
    except QueueUnusable:
        return from_text(NEVER)


@lru_cache(maxsize=4)
def _environment(text: str) -> Mapping[str, str]:
    """Read the variables of a job. The jobs before it usually have the same ones."""
    variables: Mapping[str, str] = json.loads(text)
    if not isinstance(variables, dict) or set(map(type, variables.values())) - {str}:
        raise ValueError("env is not an object of texts")
    return variables


@lru_cache(maxsize=4)
def _merged(captured: str, own: str) -> Mapping[str, str]:
    """Read the variables of a job that took some over."""
    return {**_environment(captured), **_environment(own)}


def _duration(seconds: float | None) -> float | None:
    if seconds is not None and not 0 <= seconds <= MAX_DURATION:
        raise ValueError(f"{seconds} s cannot have been measured")
    return seconds


def _flag(value: int) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value} is neither 0 nor 1")
    return bool(value)


def names_files(name: object) -> bool:
    """Whether files can have the name of a worker, which another program may have written."""
    return isinstance(name, str) and "/" not in name and "\0" not in name


def _worker(name: str | None) -> str | None:
    if name is not None and not names_files(name):
        raise ValueError(f"{name} is not the id of a worker")
    return name


_MOST_GOOD_TYPES = 256
_NONE = type(None)
_Types = FrozenSet[type]
_TEXT: _Types = frozenset([str])
_NUMBER: _Types = frozenset([int])
_OPTIONAL_TEXT: _Types = frozenset([str, _NONE])
_OPTIONAL_NUMBER: _Types = frozenset([int, _NONE])
_OPTIONAL_AMOUNT: _Types = frozenset([int, float, _NONE])

# SQLite stores any type in any column, and another program may have written the row.
JOB_TYPES: Mapping[str, _Types] = {
    **dict.fromkeys(("seq", "priority", "attempts", "interruptions", "max_retries"), _NUMBER),
    **dict.fromkeys(("cancel_requested", "id_made"), _NUMBER),
    **dict.fromkeys(("id", "command", "state", "queue", "created_at", "updated_at", "env"), _TEXT),
    **dict.fromkeys(("label", "cwd", "unique_key", "last_error", "shell"), _OPTIONAL_TEXT),
    **dict.fromkeys(("run_at", "finished_at", "locked_by", "locked_at"), _OPTIONAL_TEXT),
    "paused_at": _OPTIONAL_TEXT,
    **dict.fromkeys(
        ("exit_code", "signal", "input_id", "input_bytes", "captured_id"), _OPTIONAL_NUMBER
    ),
    **dict.fromkeys(("schedule", "scheduled_for", "hook", "event_id"), _OPTIONAL_TEXT),
    **dict.fromkeys(("on_success", "on_failure", "on_finish"), _OPTIONAL_TEXT),
    "hook_of": _OPTIONAL_NUMBER,
    "hook_depth": _NUMBER,
    "captured": _OPTIONAL_TEXT,
    "cancel_reason": _OPTIONAL_TEXT,
    "timeout": frozenset([int, float]),
    **dict.fromkeys(("retry_delay", "backoff"), _OPTIONAL_AMOUNT),
}
_EXECUTION_TYPES: Mapping[str, _Types] = {
    **dict.fromkeys(("id", "job_seq", "attempt", "leftovers", "output_bytes"), _NUMBER),
    **dict.fromkeys(("output_truncated", "output_in_file"), _NUMBER),
    **dict.fromkeys(("worker", "started_at"), _TEXT),
    **dict.fromkeys(("finished_at", "outcome", "left_processes"), _OPTIONAL_TEXT),
    **dict.fromkeys(("pid", "exit_code", "signal", "max_rss_bytes"), _OPTIONAL_NUMBER),
    **dict.fromkeys(("seconds", "cpu_seconds"), _OPTIONAL_AMOUNT),
    "output_tail": frozenset([bytes, str]),
}
_EXECUTION_COLUMNS = (*Execution._fields[:-1], *_OUTPUT_COLUMNS)
_STANDING_FOR: Mapping[str, object] = {
    **dict.fromkeys(("job_seq", "attempt", "leftovers"), 0),
    **dict.fromkeys(("output_bytes", "output_truncated", "output_in_file"), 0),
    "worker": "unknown",
    "started_at": NEVER,
    "outcome": OutcomeKind.LOST.value,
    "output_tail": b"",
}
"""What stands for a value of an attempt that cannot be read, if it is not None."""


_LIMITS: Mapping[str, tuple[float, float]] = {
    "attempts": (0, MAX_RETRIES_LIMIT),
    "interruptions": (0, MAX_RETRIES_LIMIT),
    "max_retries": (1, MAX_RETRIES_LIMIT),
    "timeout": (0, MAX_DURATION),
    "retry_delay": (0, MAX_DURATION),
    "backoff": (1, MAX_BACKOFF),
}
"""The lowest and the highest number in a column of a job. They keep out what is not a number."""

# Most rows have the same types, so a look at all types at once is usually enough: 1 µs.
_good_job_types: set[tuple[type, ...]] = set()
_good_plain_types: set[tuple[type, ...]] = set()
_good_execution_types: set[tuple[type, ...]] = set()


def _wrong_type(
    row: Sequence[Any],
    names: Sequence[str],
    allowed: Mapping[str, _Types],
    good: set[tuple[type, ...]],
) -> str | None:
    """Return the first column whose value has a wrong type, with that; None if there is none."""
    # Not `tuple(…)`: Python would keep 2,000 of its results, 0.3 MB, and not use them again.
    types = (*map(type, row),)
    if types in good:
        return None
    for name, value in zip(names, row):
        if type(value) not in allowed[name]:
            return f"{name} is {value!r:.60}"
    if len(good) < _MOST_GOOD_TYPES:
        good.add(types)
    return None


def _out_of_range(job: Job) -> str | None:
    for name, (lowest, highest) in _LIMITS.items():
        value = getattr(job, name)
        if value is not None and not lowest <= value <= highest:
            return f"{name} is {value}"
    return None


_PROCESSING = JobState.PROCESSING
_WAITING_FOR_TIME = (JobState.SCHEDULED, JobState.FAILED)
_ONLY_IN: Mapping[str, Collection[str]] = {
    "locked_by": (JobState.PROCESSING,),
    "locked_at": (JobState.PROCESSING,),
    "finished_at": FINISHED_STATES,
}
"""The columns that hold something in some states, and nothing in all others."""


def out_of_place(values: Mapping[str, object]) -> list[str]:
    """Return the columns of a job that must hold something in its state and do not, or must not."""
    state = values["state"]
    names = [
        name for name, states in _ONLY_IN.items() if (state in states) != (values[name] is not None)
    ]
    if state in _WAITING_FOR_TIME and values["run_at"] is None:
        names.append("run_at")
    return names


_Readers = Sequence[Tuple[int, Callable[[Any], Any]]]


def _readers(fields: Sequence[str], **read: Callable[[Any], Any]) -> _Readers:
    """Return the places of fields with how their columns are read; others need no conversion."""
    return [(fields.index(name), function) for name, function in read.items()]


_JOB_READERS = _readers(
    Job._fields,
    state=JobState,
    locked_by=_worker,
    run_at=optional_time,
    created_at=from_text,
    updated_at=from_text,
    finished_at=optional_time,
    locked_at=optional_time,
    env=_environment,
    captured=lambda text: {} if text is None else _environment(text),
    cancel_requested=_flag,
    id_made=bool,
    paused_at=optional_time,
    scheduled_for=optional_time,
)
_ENV_PLACE, _CAPTURED_ID_PLACE, _CAPTURED_PLACE = map(
    Job._fields.index, ("env", "captured_id", "captured")
)
_PLAIN_PLACES = [Job._fields.index(name) for name in _PLAIN_FIELDS]
_PLAIN_READERS = [reader for reader in _JOB_READERS if reader[0] in _PLAIN_PLACES]
_PLAIN_VALUES: Sequence[Any] = [
    JobState.PENDING if name == "state" else 0 if name in _ZEROS else None for name in Job._fields
]
_EXECUTION_READERS = _readers(
    Execution._fields,
    worker=_worker,
    seconds=_duration,
    cpu_seconds=_duration,
    started_at=from_text,
    finished_at=optional_time,
    outcome=lambda text: None if text is None else OutcomeKind(text),
    leftovers=bool,
)


def is_readable(name: str, value: object) -> bool:
    """Whether a column of a job holds a value that `to_job` can read."""
    if type(value) not in JOB_TYPES[name] or (isinstance(value, str) and not _is_utf8(value)):
        return False
    lowest, highest = _LIMITS.get(name, (0, 0))
    if name in _LIMITS and value is not None and not lowest <= value <= highest:  # type: ignore[operator]
        return False
    reader = dict(_JOB_READERS).get(Job._fields.index(name))
    try:
        if reader is not None:
            reader(value)
    except (QueueUnusable, ValueError, RecursionError):
        return False
    return True


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def to_job(row: Sequence[Any]) -> Job:
    """Build a job from a row of SELECT_JOB.

    Raises UnreadableRow, naming the job, if another program wrote a value that cannot be read.
    """
    wrong = _wrong_type(row, Job._fields, JOB_TYPES, _good_job_types)
    if wrong is not None:
        raise UnreadableRow(f"job {row[1]}: {wrong}")
    job = _to_job(list(row), _JOB_READERS)
    if (
        (job.state is _PROCESSING) is (job.locked_by is not None) is (job.locked_at is not None)
        and (job.state in FINISHED_STATES) == (job.finished_at is not None)
        and (job.run_at is not None or job.state not in _WAITING_FOR_TIME)
    ):
        return job
    odd = ", ".join(out_of_place(job._asdict()))
    raise UnreadableRow(f"job {job.id}: {odd} cannot be so while it is {job.state.value}")


def shown_job(row: Sequence[Any]) -> Job:
    """Build a job for people from a row of SELECT_JOB.

    If another program wrote values that cannot be read, others stand for them, and `last_error`
    names them.
    """
    try:
        return to_job(row)
    except UnreadableRow:
        from queuectl.storage.unreadable import legible  # almost never needed

        return legible(row)


def to_plain_job(row: Sequence[Any], captured: str | None) -> Job:
    """Build a job from a row of PLAIN_VALUES, without the first value.

    `captured` holds the variables that the job took over, if its row does not. Raises UnreadableRow
    as `to_job` does.
    """
    wrong = _wrong_type(row, _PLAIN_FIELDS, JOB_TYPES, _good_plain_types)
    if wrong is not None:
        raise UnreadableRow(f"job {row[1]}: {wrong}")
    values = list(_PLAIN_VALUES)
    for place, value in zip(_PLAIN_PLACES, row):
        values[place] = value
    if values[_CAPTURED_PLACE] is None:
        values[_CAPTURED_PLACE] = captured
    return _to_job(values, _PLAIN_READERS)


def _to_job(values: list[Any], readers: _Readers) -> Job:
    """Build a job from values of the right types, of which some have to be converted."""
    captured, own = values[_CAPTURED_PLACE], values[_ENV_PLACE]
    try:
        _read(values, readers)
        if captured is not None:
            values[_ENV_PLACE] = _merged(captured, own)
        elif values[_CAPTURED_ID_PLACE] is not None:
            raise ValueError("the variables that it took over are missing")
        job = Job._make(values)
    except (QueueUnusable, ValueError, RecursionError) as error:
        raise UnreadableRow(f"job {values[1]}: {error}") from None
    # Spelled out: a loop over the limits would take 1 µs.
    if (
        0 <= job.attempts <= MAX_RETRIES_LIMIT
        and 0 <= job.interruptions <= MAX_RETRIES_LIMIT
        and 1 <= job.max_retries <= MAX_RETRIES_LIMIT
        and 0 <= job.timeout <= MAX_DURATION
        and (job.retry_delay is None or 0 <= job.retry_delay <= MAX_DURATION)
        and (job.backoff is None or 1 <= job.backoff <= MAX_BACKOFF)
    ):
        return job
    raise UnreadableRow(f"job {job.id}: {_out_of_range(job)}")


def to_execution(row: Sequence[Any]) -> Execution:
    """Build an attempt from a row of SELECT_EXECUTION.

    If another program wrote values that cannot be read, others stand for them: no outcome that can
    be read means that the attempt was lost, and no start that it was in 1970.
    """
    if _wrong_type(row, _EXECUTION_COLUMNS, _EXECUTION_TYPES, _good_execution_types) is None:
        with suppress(QueueUnusable, ValueError):
            return _to_execution(row)
    return _to_execution([*map(legible_value, _EXECUTION_COLUMNS, row)])


def legible_value(name: str, value: Any) -> Any:
    """Return the value of a column of an attempt, or what stands for it if it cannot be read."""
    if type(value) in _EXECUTION_TYPES[name]:
        reader = dict(_EXECUTION_READERS).get(_EXECUTION_COLUMNS.index(name), bool)
        with suppress(QueueUnusable, ValueError):
            reader(value)
            return value
    return _STANDING_FOR.get(name)


def _to_execution(row: Sequence[Any]) -> Execution:
    values = list(row)
    _read(values, _EXECUTION_READERS)
    *values, size_bytes, truncated, tail, in_file = values
    kept = tail.encode("utf-8", "replace") if isinstance(tail, str) else bytes(tail)
    output = Output(size_bytes, bool(truncated), kept, bool(in_file))
    return Execution._make([*values, output])


def left_processes_text(left: Sequence[LeftProcess]) -> str | None:
    """Write the processes that an attempt left running; None if there are none."""
    return json.dumps(left, separators=(",", ":")) if left else None


def left_processes(text: str | None) -> tuple[LeftProcess, ...]:
    """Read the processes that an attempt left running; none if that cannot be read."""
    try:
        return tuple(LeftProcess(*one) for one in json.loads(text or "[]"))
    except (RecursionError, TypeError, ValueError):
        return ()


def _read(values: list[Any], readers: _Readers) -> None:
    for place, read in readers:
        values[place] = read(values[place])


def values_of(job: Job) -> tuple[Any, ...]:
    """Return the values of a new job, as `adding` inserts them; it gets a seq of its own."""
    return (
        None,
        job.id,
        job.command,
        job.state.value,
        job.queue,
        job.label,
        job.priority,
        job.attempts,
        job.interruptions,
        job.max_retries,
        job.timeout,
        optional_text(job.run_at),
        to_text(job.created_at),
        to_text(job.updated_at),
        optional_text(job.finished_at),
        job.cwd,
        json.dumps(job.own_env()),
        job.unique_key,
        job.exit_code,
        job.signal,
        job.last_error,
        job.cancel_requested,
        job.cancel_reason,
        job.id_made,
        job.retry_delay,
        job.backoff,
        job.shell,
        optional_text(job.paused_at),
        job.input_id,
        job.input_bytes,
        job.captured_id,
        job.schedule,
        optional_text(job.scheduled_for),
        job.on_success,
        job.on_failure,
        job.on_finish,
        job.hook,
        job.hook_of,
        job.hook_depth,
        job.event_id,
    )


def insert_job(conn: sqlite3.Connection, values: Mapping[str, object]) -> int:
    """Insert a job, given the values of its columns; return its seq."""
    columns, parameters = ", ".join(values), ", ".join(f":{name}" for name in values)
    seq = conn.execute(f"INSERT INTO jobs ({columns}) VALUES ({parameters})", values).lastrowid
    assert seq is not None
    return seq

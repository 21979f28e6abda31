"""The format of export and import: complete jobs as lines of JSON."""

from __future__ import annotations

import base64
import json
import os
from datetime import datetime
from typing import Any, Mapping

from queuectl.core.errors import InvalidInput
from queuectl.core.models import Job
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    MAX_RETRIES_LIMIT,
    effective,
)
from queuectl.core.specs import check_fields, suggestion
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import to_text
from queuectl.core.values import check_any_queue, check_environment, check_instant, check_integer

_SPEC_FIELDS = ("id", "command", "queue", "label", "priority", "max_retries", "retry_delay",
                "backoff", "timeout", "shell", "input", "unique_key", "after",
                "after_any", "on_success", "on_failure", "on_finish")  # fmt: skip
_TIMES = ("run_at", "created_at", "updated_at", "finished_at", "paused_at", "scheduled_for")
_NUMBERS = {
    "attempts": (0, MAX_RETRIES_LIMIT),
    "interruptions": (0, MAX_RETRIES_LIMIT),
    "exit_code": (0, 255),
    "signal": (1, 64),
}
"""The fields with whole numbers, and their limits: those that a process can end with."""
_TEXTS = ("last_error", "cancel_reason", "schedule")
_FLAGS = ("cancel_requested", "id_made")
FIELDS = (*_SPEC_FIELDS, "env", "captured", "state", *_TIMES, *_NUMBERS, "cwd", *_TEXTS, *_FLAGS)
"""The fields of a line; one that is absent or null has its default."""


class TransferredJob(NamedTuple):
    """A job on its way between two queues."""

    job: Job
    """The job; its `seq` has no meaning, since the queue that imports it gives it another."""
    after: tuple[str, ...] = ()
    """Ids of the jobs that must complete first."""
    after_any: tuple[str, ...] = ()
    """Ids of the jobs that must finish first, in any way."""
    input: bytes | None = None
    """Its stdin; None means that it is empty."""


def to_line(
    transferred: TransferredJob, *, mask_env: bool = False, ascii_only: bool = False
) -> str:
    """Return a job as one line of JSON; `mask_env` leaves its variables out."""
    job = transferred.job
    fields: dict[str, Any] = {}
    for name in FIELDS:
        value = getattr(transferred if name in TransferredJob._fields else job, name)
        if name == "env":
            value = job.own_env()
        if isinstance(value, datetime):
            value = to_text(value)
        elif isinstance(value, JobState):
            value = value.value
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, bytes):
            value = input_field(value)
        if value not in (None, [], {}):
            fields[name] = value
    if mask_env:
        fields.pop("env", None)
        fields.pop("captured", None)
    return json.dumps(fields, ensure_ascii=ascii_only)


def input_field(content: bytes) -> object:
    """Return the stdin of a job as `values.check_input` reads it."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def from_fields(fields: Mapping[str, object], *, now: datetime) -> TransferredJob:
    """Build a job from the fields of a line; InvalidInput names the first wrong field.

    A job that was running becomes pending, and its attempt does not count, since it runs elsewhere.
    If it was being cancelled, it is cancelled.
    """
    checked = _spec_of(fields, now)
    env, captured = (
        {} if fields.get(name) is None else check_environment(fields[name], name)
        for name in ("env", "captured")
    )
    after, after_any = checked.pop("after", ()), checked.pop("after_any", ())
    content = checked.pop("input", None)
    state = _state(fields.get("state"))
    times = {name: check_instant(fields.get(name), name) for name in _TIMES}
    numbers = {name: _number(fields.get(name), name) for name in _NUMBERS}
    attempts = numbers["attempts"] or 0
    flags = {name: _flag(fields.get(name), name) for name in _FLAGS}
    if state is JobState.PROCESSING:
        state, attempts = JobState.PENDING, max(0, attempts - 1)
        if flags["cancel_requested"]:
            state, times["finished_at"] = JobState.CANCELLED, now
    created = times["created_at"] or now
    defaults = effective(())
    job = Job(
        **{
            **dict.fromkeys(Job._fields),
            "seq": 0,
            "queue": DEFAULT_QUEUE,
            "priority": DEFAULT_PRIORITY,
            "max_retries": defaults.max_retries,
            "timeout": defaults.job_timeout,
            "env": {**captured, **env},
            "captured": captured,
            **checked,
            **numbers,
            **{name: _text(fields.get(name), name) for name in _TEXTS},
            **flags,
            "cwd": _folder(fields.get("cwd")),
            "state": state,
            "attempts": attempts,
            "interruptions": numbers["interruptions"] or 0,
            "hook_depth": 0,
            "input_bytes": None if content is None else len(content),
            "run_at": times["run_at"],
            "created_at": created,
            "updated_at": times["updated_at"] or created,
            "finished_at": times["finished_at"] if state in FINISHED_STATES else None,
            "paused_at": None if state in FINISHED_STATES else times["paused_at"],
            "scheduled_for": times["scheduled_for"],
        }
    )
    transferred = TransferredJob(job, after, after_any, content)
    _refuse_contradictions(transferred)
    return transferred


def _spec_of(fields: Mapping[str, object], now: datetime) -> dict[str, Any]:
    """Return the checked fields that `enqueue` takes as well; the id and the command are there."""
    for name in fields:
        if name not in FIELDS:
            raise InvalidInput(f"unknown field {name!r}{suggestion(name, FIELDS)}")
    wanted = {name: fields[name] for name in _SPEC_FIELDS if name in fields}
    queue = wanted.pop("queue", None)
    checked = check_fields(wanted, now=now)
    if queue is not None:  # it may be a lane, which is no name of a queue for users
        checked["queue"] = check_any_queue(queue, "queue")
    for name in ("id", "command"):
        if name not in checked:
            raise InvalidInput(f"there is no {name}")
    return checked


def _refuse_contradictions(transferred: TransferredJob) -> None:
    """Raise InvalidInput for fields that no job can have together."""
    job, state = transferred.job, transferred.job.state.value
    is_finished = job.state in FINISHED_STATES
    if job.cancel_requested and not is_finished:
        raise InvalidInput(f"cancel_requested must not be set in the state {state}")
    if is_finished and job.finished_at is None:
        raise InvalidInput(f"a {state} job must have finished_at")
    if job.state in (JobState.SCHEDULED, JobState.FAILED) and job.run_at is None:
        raise InvalidInput(f"a {state} job must have run_at")
    if (job.state is JobState.BLOCKED) != bool(transferred.after or transferred.after_any):
        raise InvalidInput("a blocked job, and no other, must have after or after_any")
    if not is_finished and job.attempts >= job.max_retries:
        raise InvalidInput(f"a {state} job must have fewer attempts than max_retries")


def _state(value: object) -> JobState:
    try:
        return JobState.PENDING if value is None else JobState(value)
    except ValueError:
        raise InvalidInput(f"no such state: {value!r}") from None


def _number(value: object, name: str) -> int | None:
    return None if value is None else check_integer(value, name, *_NUMBERS[name])


def _text(value: object, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value:
        raise InvalidInput(f"{name} must be text without NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{name} is not valid UTF-8") from None
    return value


def _folder(value: object) -> str | None:
    path = _text(value, "cwd")
    if path is not None and not os.path.isabs(path):
        raise InvalidInput(f"cwd must be an absolute path, not {path!r}")
    return path


def _flag(value: object, name: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false")
    return value

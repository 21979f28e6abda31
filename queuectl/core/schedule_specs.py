"""The job that a schedule makes, as the JSON that `schedule add` stores and a tick reads."""

from __future__ import annotations

import json
from typing import Any, Mapping

from queuectl.core.errors import InvalidInput, QueueError
from queuectl.core.jobfile import input_field
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.specs import JobSpec, check_fields
from queuectl.core.times import utcnow
from queuectl.core.values import check_environment, check_folder_name

_OF_ONE_JOB = frozenset(("id", "run_at", "unique_key", "if_dup", "after", "after_any"))
"""Fields that each job of a schedule gets anew, or that none has."""


class ScheduledJob(NamedTuple):
    """The part that all jobs of a schedule have in common."""

    spec: JobSpec
    """The fields of the job."""
    captured: Mapping[str, str] = {}
    """The variables that it takes over: those around `schedule add`, as for `enqueue`."""


class UnreadableSpec(QueueError):
    """The stored text is not what `to_text` writes: another program wrote it."""


def to_text(job: ScheduledJob) -> str:
    """Return the job as JSON; fields with their defaults are left out."""
    fields: dict[str, Any] = {}
    for name, value in job.spec._asdict().items():
        if name in _OF_ONE_JOB or value == JobSpec._field_defaults.get(name):
            continue
        fields[name] = input_field(value) if isinstance(value, bytes) else value
    if job.captured:
        fields["captured"] = dict(job.captured)
    return json.dumps(fields, ensure_ascii=False)


def from_text(text: str) -> ScheduledJob:
    """Read the job; its folder need not exist now. Raises UnreadableSpec."""
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise InvalidInput("it is no object")
        # `--env '*'` copies variables whose names nobody could give.
        env, captured = (
            check_environment(fields.pop(name, {}), name) for name in ("env", "captured")
        )
        cwd = fields.pop("cwd", None)
        if cwd is not None:
            check_folder_name(cwd, "cwd")
        if _OF_ONE_JOB & fields.keys() or "command" not in fields:
            raise InvalidInput("it is no job of a schedule")
        checked = check_fields(fields, now=utcnow())
    except (InvalidInput, ValueError, RecursionError) as error:
        raise UnreadableSpec(f"its job cannot be read: {error}") from None
    return ScheduledJob(JobSpec(**checked, cwd=cwd, env=env), captured)

"""The fields of a form that changes jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Mapping

from werkzeug.datastructures import MultiDict

from queuectl.core.errors import InvalidInput
from queuectl.core.models import Job
from queuectl.core.specs import check_fields
from queuectl.core.times import format_duration

NAMES = {
    "command": "Command",
    "queue": "Queue",
    "priority": "Priority",
    "max_retries": "Maximum number of attempts",
    "timeout": "Timeout",
    "cwd": "Folder",
    "label": "Label",
}
"""The fields that can be changed, and what they are called."""
FIELD = "set-"
"""What the names of the fields begin with, which are beside those that choose jobs."""
_NUMBERS = ("priority", "max_retries")
_VARIABLES = "env"


def written(job: Job) -> dict[str, str]:
    """Return what a form shows of a job."""
    return {
        "command": job.command,
        "queue": job.queue,
        "priority": str(job.priority),
        "max_retries": str(job.max_retries),
        "timeout": _duration(job.timeout) if job.timeout else "0",
        "cwd": job.cwd or "",
        "label": job.label or "",
    }


def _duration(seconds: float) -> str:
    """Write a duration so that reading it gives the same one."""
    return format_duration(seconds) if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g}"


def read(
    form: MultiDict[str, str], *, job: Job | None, with_env: bool, now: datetime
) -> Mapping[str, Any]:
    """Return the changes that a form makes, as fields of JobSpec. Raises InvalidInput.

    For a job, those are the fields that differ from what the form showed of it. For many jobs, when
    it is None, empty fields mean no change.
    """
    shown = dict.fromkeys(NAMES, "") if job is None else written(job)
    given: dict[str, object] = {}
    cleared: dict[str, None] = {}
    for name, title in NAMES.items():
        text = form.get(FIELD + name, shown[name])
        if name == "command":  # a form sends lines as the network does
            text = text.replace("\r\n", "\n")
            if text == shown[name]:
                continue
        elif text.strip() == shown[name].strip():
            continue
        if name in _NUMBERS:
            given[name] = _whole(text, title)
        elif name == "timeout":
            given[name] = _seconds(text)
        elif name in ("label", "cwd") and not text.strip():
            cleared[name] = None
        else:
            given[name] = text if name == "command" else text.strip()
    if with_env and form.get(FIELD + _VARIABLES, "").strip():
        given[_VARIABLES] = _variables(form[FIELD + _VARIABLES])
    return {**check_fields(given, now=now, names=NAMES), **cleared}


def _whole(text: str, what: str) -> int:
    digits = text.strip()
    if not digits.lstrip("-").isdigit() or len(digits) > 12 or not digits.isascii():
        raise InvalidInput(f"{what} must be a whole number, not {text!r}")
    return int(digits)


def _seconds(text: str) -> object:
    bare = text.strip()
    if bare in ("", "none"):
        return 0.0
    return float(bare) if bare.isascii() and bare.isdigit() else bare


def _variables(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals:
            raise InvalidInput(f"a line must be NAME=VALUE, not {name!r}")
        found[name.strip()] = value
    return found

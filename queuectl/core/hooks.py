"""Hooks: the events that they report, which of them an event concerns, and what their jobs get."""

from __future__ import annotations

import json
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Mapping, Sequence

from queuectl.core.errors import InvalidInput
from queuectl.core.models import Job, Outcome
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.naming import OWN_HOOKS
from queuectl.core.states import JobState
from queuectl.core.times import optional_text, to_text

# As the module random does: hashlib would load OpenSSL, which takes a worker 0.6 MB.
try:
    from _sha2 import sha256  # Python 3.12
except ModuleNotFoundError:
    try:
        from _sha256 import sha256
    except ModuleNotFoundError:  # a Python without its own
        from hashlib import sha256

EVENTS = {
    "completed": "job.completed",
    "dead": "job.dead",
    "cancelled": "job.cancelled",
    "failed": "job.failed",
    "recovered": "schedule.recovered",
    "drained": "queue.drained",
    "missed": "schedule.missed",
}
"""The words for events, and the types by which a payload names them. `failed` is an attempt that is
followed by another one; `recovered` is a job of a schedule that completed after the last one that
ended had died; `drained` is the end of the last job of a queue that was not waiting for a time or
another job; `missed` means that a schedule has left planned times out."""

FINISHED = ("completed", "dead", "cancelled")
"""The events that the word `finished` stands for."""

EVENT_WORDS = (*EVENTS, "finished")
"""The words that name events."""

OWN_EVENTS = dict(zip(OWN_HOOKS, (("completed",), ("dead",), FINISHED)))
"""The events that the hooks report which a job brings along."""

PRIORITY = 1000
"""The priority of hooks' jobs: they start before a backlog."""
TIMEOUT = 60.0
"""How long the job of a hook may run, in seconds, unless its rule says otherwise."""
MAX_DEPTH = 5
"""A job that was enqueued by a chain of this many hooks has no hooks: it may be a loop."""
MAX_PAYLOAD_BYTES = 20_000
"""The size of a payload that receivers of webhooks may be expected to take."""
MOST_NAMED = 20
"""How many jobs a digest names."""

DELIVER = """exec "$QUEUECTL_PYTHON" -c 'from queuectl.cli import main; main()' hook deliver"""
"""The command of a webhook's job."""

_COMMAND_BYTES = 4096
_TEXT_BYTES = 4096
_DRAINED_FROM = (JobState.PENDING, JobState.FAILED, JobState.PROCESSING)


class Hook(NamedTuple):
    """One row of the table `hooks`, without its secrets."""

    name: str
    """Its name."""
    events: tuple[str, ...]
    """The events that it reports, as words of EVENTS."""
    queues: tuple[str, ...]
    """Only events of jobs in these queues; empty means all."""
    labels: str
    """Only events of jobs whose label fits this pattern; `*` also fits a job without a label."""
    schedules: str
    """Only events of schedules whose name fits this pattern; empty means all, and other jobs."""
    command: str | None
    """The command that its job runs; None if it is a webhook."""
    url: str | None
    """The URL to which a webhook sends its payload; None if it runs a command."""
    format: str
    """The form in which a webhook sends the payload, one of `webhooks.FORMATS`."""
    output_bytes: int
    """How much of the end of a job's output the payload has."""
    digest_seconds: float
    """How long events are collected, to be reported together; 0 reports each by itself."""
    timeout: float
    """How long its job may run, in seconds; 0 means no limit."""
    max_retries: int
    """The maximum number of attempts of its job."""
    cwd: str | None
    """The folder in which its job runs; None means that of the worker."""
    env: str
    """Variables of its job, as JSON."""
    created_at: datetime
    """When it was added."""
    paused_at: datetime | None
    """When it was paused: it reports nothing since then; None if it is not paused."""
    disabled_at: datetime | None
    """When its receiver refused it for good; None if it did not."""
    disabled_reason: str | None
    """The answer with which the receiver refused it; None if it did not."""
    failures: int
    """How many attempts of its jobs failed since the last one that succeeded."""
    last_delivery_at: datetime | None
    """When the last attempt of a job of it ended; None if there was none."""
    last_result: str | None
    """How that attempt ended, for people."""
    digest_seq: int | None
    """The job that collects events, or that did so last; None if there was none."""

    def reports(self, event: str, queue: str, label: str | None, schedule: str | None) -> bool:
        """Whether it reports an event of a job of this queue, with this label and schedule."""
        return (
            event in self.events
            and (not self.queues or queue in self.queues)
            and (self.labels == "*" or (label is not None and fnmatchcase(label, self.labels)))
            and (
                not self.schedules
                or (schedule is not None and fnmatchcase(schedule, self.schedules))
            )
        )


class NewHook(NamedTuple):
    """A hook that a user wants to add; the fields are those of Hook, and its secrets."""

    name: str
    events: tuple[str, ...]
    queues: tuple[str, ...] = ()
    labels: str = "*"
    schedules: str = ""
    command: str | None = None
    url: str | None = None
    format: str = "standard"
    secret: str | None = None
    """The secret that signs the payload; None if nothing signs it, or the secret is in a file."""
    secret_file: str | None = None
    """The file from which the secret is read each time; None if there is none."""
    header: str = "{}"
    """Headers to send along, as JSON."""
    output_bytes: int = 0
    digest_seconds: float = 0.0
    timeout: float = TIMEOUT
    max_retries: int = 5
    cwd: str | None = None
    env: str = "{}"


class Ended(NamedTuple):
    """An attempt that ended, as far as hooks report it."""

    execution_id: int
    """Its number in the history of the queue."""
    worker: str
    """The worker that started it."""
    started_at: datetime | None
    """When it was claimed."""
    outcome: Outcome
    """How it ended."""


class Event(NamedTuple):
    """Something that happened, as the jobs of hooks are told of it."""

    kind: str
    """A word of EVENTS."""
    id: str
    """The name by which a receiver knows that it has had this event before."""
    at: datetime
    """When it happened."""
    queue: str
    """The queue of the job or the schedule."""
    data: Mapping[str, Any]
    """The part of the payload about it."""
    variables: Mapping[str, str]
    """The variables that all its hooks get."""


def parse_events(text: str) -> tuple[str, ...]:
    """Read words for events, separated by commas; each is returned once, in the order of EVENTS.

    `finished` stands for completed,dead,cancelled. InvalidInput names a word that is no event.
    """
    words = {word.strip() for word in text.split(",") if word.strip()}
    if "finished" in words:
        words = words - {"finished"} | set(FINISHED)
    for word in sorted(words - set(EVENTS)):
        raise InvalidInput(f"no event {word!r} (known: {', '.join(EVENT_WORDS)})")
    if not words:
        raise InvalidInput(f"no event is named (known: {', '.join(EVENT_WORDS)})")
    return tuple(event for event in EVENTS if event in words)


def show_events(events: Sequence[str]) -> str:
    """Return the words for events as people write them."""
    if set(FINISHED) <= set(events):
        events = ["finished", *(event for event in events if event not in FINISHED)]
    return ",".join(events)


def may_drain(before: JobState, after: JobState) -> bool:
    """Whether this change of a job may have left its queue without a job that can run soon."""
    return before in _DRAINED_FROM and after not in _DRAINED_FROM


def event_id(queue_id: str, *what: object) -> str:
    """Return the id of an event, the same whenever it is made from the same facts.

    It has no dot: a dot separates it from what follows in the signature of a webhook.
    """
    text = "\n".join([queue_id, *map(str, what)])
    return f"evt_{sha256(text.encode('utf-8', 'replace')).hexdigest()[:24]}"


def job_data(job: Job, ended: Ended | None) -> dict[str, Any]:
    """Return the part of a payload about a job: as `show --json`, but variables without values.

    `ended` is the attempt whose end is the event.
    """
    return {
        "id": job.id,
        "number": job.seq,
        "queue": job.queue,
        "label": job.label,
        "command": job.command,
        "state": job.state.value,
        "priority": job.priority,
        "attempts": job.attempts,
        "interruptions": job.interruptions,
        "max_retries": job.max_retries,
        "timeout": job.timeout,
        "run_at": optional_text(job.run_at),
        "created_at": to_text(job.created_at),
        "updated_at": to_text(job.updated_at),
        "finished_at": optional_text(job.finished_at),
        "cwd": job.cwd,
        "env": sorted(job.own_env()),
        "unique_key": job.unique_key,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "last_error": job.last_error,
        "cancel_reason": job.cancel_reason,
        "schedule": job.schedule,
        "scheduled_for": optional_text(job.scheduled_for),
        "execution": None if ended is None else _execution_data(job, ended),
    }


def _execution_data(job: Job, ended: Ended) -> dict[str, Any]:
    outcome = ended.outcome
    return {
        "id": ended.execution_id,
        "attempt": job.attempts,
        "worker": ended.worker,
        "started_at": optional_text(ended.started_at),
        "finished_at": to_text(job.updated_at),
        "outcome": outcome.kind.value,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "seconds": outcome.seconds,
        "cpu_seconds": outcome.cpu_seconds,
        "max_rss_bytes": outcome.max_rss_bytes,
        "output_bytes": outcome.output.size_bytes,
    }


def job_variables(job: Job, ended: Ended | None) -> dict[str, str]:
    """Return the variables that describe a job to its hooks; an unknown value is empty.

    They are never part of a command's text, so nothing in them can run.
    """
    outcome = None if ended is None else ended.outcome
    return {
        "QUEUECTL_PARENT_ID": job.id,
        "QUEUECTL_PARENT_STATE": job.state.value,
        "QUEUECTL_PARENT_QUEUE": job.queue,
        "QUEUECTL_PARENT_LABEL": job.label or "",
        "QUEUECTL_PARENT_COMMAND": _cut(job.command, _COMMAND_BYTES),
        "QUEUECTL_PARENT_ATTEMPTS": str(job.attempts),
        "QUEUECTL_PARENT_EXIT_CODE": _known(job.exit_code),
        "QUEUECTL_PARENT_SIGNAL": _known(job.signal),
        "QUEUECTL_PARENT_ERROR": _cut(job.last_error or "", _TEXT_BYTES),
        "QUEUECTL_PARENT_SECONDS": _known(outcome and outcome.seconds),
        "QUEUECTL_PARENT_STARTED_AT": optional_text(ended and ended.started_at) or "",
        "QUEUECTL_PARENT_FINISHED_AT": optional_text(job.finished_at) or "",
        "QUEUECTL_PARENT_SCHEDULE": job.schedule or "",
    }


def payload(event: Event, *, output: str | None = None) -> bytes:
    """Return the stdin of the job of a hook: one JSON object.

    It has at most 20,000 bytes: the command is cut first. `output` is the end of the output of the
    job.
    """
    data = dict(event.data)
    if output is not None:
        data["output"] = output
    message = {"type": EVENTS[event.kind], "timestamp": to_text(event.at), "data": data}
    return _fitted(message, data)


def _fitted(message: Mapping[str, Any], data: dict[str, Any]) -> bytes:
    """Write a payload, with as much cut out of its data as is necessary."""
    encoded = _encoded(message)
    for name in ("command", "env", "output", "last_error", "label", "unique_key", "cwd"):
        excess = len(encoded) - MAX_PAYLOAD_BYTES
        if excess <= 0:
            break
        value = data.get(name)
        if isinstance(value, str):
            # The end of an output says most.
            left = value.encode("utf-8", "replace")
            left = left[excess:] if name == "output" else left[:-excess]
            data[name] = left.decode("utf-8", "ignore")
        elif name == "env":
            data[name] = []
        encoded = _encoded(message)
    return encoded


def _encoded(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def with_another(content: bytes, event: Event) -> tuple[bytes, int]:
    """Return the payload of a digest with one more event, and how many events it has then.

    It describes the first event as any payload does, and then tells how many events of each type
    there were, and which jobs the first ones were about.
    """
    message = json.loads(content)
    data = message["data"]
    _count(data, event)
    data["until"] = to_text(event.at)
    return _fitted(message, data), data["count"]


def first_of_digest(event: Event) -> bytes:
    """Return the payload of a digest that begins with an event."""
    data = {**event.data, "count": 0, "events": {}, "jobs": [], "until": to_text(event.at)}
    _count(data, event)
    message = {"type": EVENTS[event.kind], "timestamp": to_text(event.at), "data": data}
    return _fitted(message, data)


def _count(data: dict[str, Any], event: Event) -> None:
    data["count"] += 1
    kind = EVENTS[event.kind]
    data["events"][kind] = data["events"].get(kind, 0) + 1
    job = event.data.get("id")
    if job is not None and len(data["jobs"]) < MOST_NAMED:
        data["jobs"].append(job)


def _cut(text: str, most_bytes: int) -> str:
    text = text.replace("\0", "")
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


def _known(value: object) -> str:
    return "" if value is None else str(value)

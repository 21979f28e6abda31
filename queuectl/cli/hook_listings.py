"""Hooks and their jobs as tables, as fields and as JSON."""

from __future__ import annotations

from typing import Any, Iterable, Sequence

from queuectl.cli import output
from queuectl.cli.colors import bad, strong
from queuectl.cli.shown_times import relative_time
from queuectl.cli.tables import Cell, Column, Styled, only, print_fields, print_table
from queuectl.core.hook_words import scope, target
from queuectl.core.hooks import Hook, show_events
from queuectl.core.models import Job
from queuectl.core.moments import local_with_distance
from queuectl.core.naming import number
from queuectl.core.reasons import short_reason
from queuectl.core.times import format_duration, optional_text, to_text, utcnow

_LISTED = (
    Column("NAME"),
    Column("STATE"),
    Column("ON", least=8),
    Column("OF", least=8, says_nothing=only("all queues")),
    Column("LAST", least=8, says_nothing=only("-")),
    Column("RUNS", least=8),
)
_RUNS = (
    Column("JOB"),
    Column("EVENT"),
    Column("OF"),
    Column("STATE"),
    Column("RUNS"),
    Column("WHEN"),
    Column("REASON", says_nothing=only("-")),
)


def print_hooks(found: Iterable[Hook]) -> bool:
    """Print a table of hooks; return whether there are any."""
    return print_table(_LISTED, map(_row, found))


def print_hook(found: Hook) -> None:
    """Print all that is known of a hook, except its secrets."""
    now = utcnow()
    paused = disabled = last = None
    if found.paused_at is not None:
        paused = f"since {local_with_distance(found.paused_at, now=now)}"
    if found.last_delivery_at is not None:
        last = local_with_distance(found.last_delivery_at, now=now)
    if found.disabled_at is not None:
        since = local_with_distance(found.disabled_at, now=now)
        disabled = f"since {since}: {found.disabled_reason}"
    print_fields(
        [
            ("Name", found.name),
            ("On", show_events(found.events)),
            ("Of", scope(found)),
            ("Runs", target(found)),
            ("Format", None if found.url is None else found.format),
            ("Digest", format_duration(found.digest_seconds) if found.digest_seconds else None),
            ("Attempts", f"at most {found.max_retries}"),
            ("Timeout", format_duration(found.timeout) if found.timeout else "none"),
            ("Folder", found.cwd),
            ("Added", local_with_distance(found.created_at, now=now)),
            ("Paused", paused),
            ("Disabled", disabled),
            ("Failures", f"{found.failures} in a row" if found.failures else None),
            ("Last run", last),
            ("Last result", found.last_result),
        ]
    )


def print_runs(jobs: Sequence[Job]) -> None:
    """Print a table of jobs of a hook, if there are any, below what was printed before."""
    if jobs:
        output.print_data("")
        print_table(_RUNS, map(_run_row, jobs))


def _row(found: Hook) -> list[Cell]:
    last = relative_time(found.last_delivery_at, now=utcnow())
    if found.last_result is not None:
        last = f"{short_reason(found.last_result)}, {last}"
    return [
        found.name,
        _state(found),
        show_events(found.events),
        scope(found),
        last,
        target(found),
    ]


def _state(found: Hook) -> Cell:
    if found.disabled_at is not None:
        return Styled("disabled", bad)
    if found.paused_at is not None:
        return Styled("paused", strong)
    if found.failures:
        return Styled(f"failed {found.failures} times" if found.failures > 1 else "failed", bad)
    return "ok"


def _run_row(job: Job) -> list[Cell]:
    event = job.env.get("QUEUECTL_EVENT", "").partition(".")[2]
    when = relative_time(job.finished_at or job.created_at, now=utcnow())
    return [
        number(job),
        event or "-",
        "-" if job.hook_of is None else f"@{job.hook_of}",
        job.state.value,
        f"{job.attempts}/{job.max_retries}",
        when,
        "-" if job.last_error is None else short_reason(job.last_error),
    ]


def hook_json(found: Hook) -> dict[str, Any]:
    """Return a hook as JSON shows it."""
    return {
        "name": found.name,
        "events": list(found.events),
        "queues": list(found.queues),
        "labels": found.labels,
        "schedules": found.schedules or None,
        "command": found.command,
        "target": target(found),
        "format": None if found.url is None else found.format,
        "digest": found.digest_seconds,
        "timeout": found.timeout,
        "max_retries": found.max_retries,
        "cwd": found.cwd,
        "created_at": to_text(found.created_at),
        "paused": found.paused_at is not None,
        "disabled": found.disabled_at is not None,
        "disabled_reason": found.disabled_reason,
        "failures": found.failures,
        "last_delivery_at": optional_text(found.last_delivery_at),
        "last_result": found.last_result,
    }


def run_json(job: Job) -> dict[str, Any]:
    """Return the job of a hook as JSON shows it beside its hook."""
    return {
        "id": job.id,
        "number": job.seq,
        "event": job.env.get("QUEUECTL_EVENT"),
        "event_id": job.event_id,
        "hook_of": job.hook_of,
        "state": job.state.value,
        "attempts": job.attempts,
        "last_error": job.last_error,
        "created_at": to_text(job.created_at),
        "finished_at": optional_text(job.finished_at),
    }

"""Schedules that come from elsewhere: from a crontab, or from the lines that an export writes."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Any, Mapping, Sequence

from queuectl.core import cron
from queuectl.core.crontab import Entry
from queuectl.core.errors import InvalidInput
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.programs import program_of
from queuectl.core.schedule_specs import ScheduledJob, from_text, to_text
from queuectl.core.schedules import MISSED, OVERLAP, Schedule, ScheduleExists, with_next
from queuectl.core.specs import JobSpec, suggestion
from queuectl.core.times import MAX_DURATION
from queuectl.core.times import to_text as time_text
from queuectl.core.values import check_instant, check_name, check_reason

_MAX_PROGRAM_LENGTH = 40
_BEFOREHAND = ("cd", "test", "[")
_TEXTS = ("expression", "timezone", "missed", "overlap", "paused_by", "pause_reason", "source")
_TIMES = ("anchor", "until", "paused_at")
_NUMBERS = ("missed_within", "jitter")
_FIELDS = ("name", *_TEXTS, *_TIMES, *_NUMBERS, "job")


class Imported(NamedTuple):
    """A schedule that is to be stored."""

    schedule: Schedule
    """The schedule; another one may have its name already."""
    is_named: bool
    """Whether the name was given. A generated one gets a number if it is taken."""


class ImportPlan(NamedTuple):
    """The changes of an import."""

    added: tuple[Schedule, ...]
    """The schedules that are new, with the names that they get."""
    changed: tuple[Schedule, ...]
    """Those that take the place of one with their name."""
    unchanged: tuple[str, ...]
    """The names of those that are there already, from the same line of the same crontab."""
    removed: tuple[str, ...]
    """The names of those whose line is gone."""


def plan_import(
    stored: Mapping[str, str | None],
    wanted: Sequence[Imported],
    *,
    replace: bool = False,
    sync: str | None = None,
) -> ImportPlan:
    """Decide what to do with schedules, given the names and the sources of those that are stored.

    One that came from the same line of the same crontab stays as it is. A generated name that is
    taken gets a number. With `sync`, those that came from this crontab and are gone are removed.
    Raises ScheduleExists for a given name that is taken, unless `replace`.
    """
    known = {source: name for name, source in stored.items() if source is not None}
    kept = {one.schedule.source for one in wanted} & known.keys()
    gone = {
        name
        for source, name in known.items()
        if sync is not None and source not in kept and source.rpartition("#")[0] == sync
    }
    taken = set(stored) - gone
    new = []
    for one in wanted:
        name = one.schedule.name
        if one.schedule.source in kept:
            continue
        if name in taken and not one.is_named:
            name = _free(name, taken)
        elif name in taken and not (replace and name in stored):
            raise ScheduleExists(name)
        new.append(one.schedule._replace(name=name))
        taken.add(name)
    names = {schedule.name for schedule in new}
    return ImportPlan(
        added=tuple(schedule for schedule in new if schedule.name not in stored),
        changed=tuple(schedule for schedule in new if schedule.name in stored),
        unchanged=tuple(sorted(known[source] for source in kept if source is not None)),
        removed=tuple(sorted(gone - names)),
    )


def _free(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def of_crontab(
    entry: Entry, *, place: str, number: int, prefix: str = "", now: datetime
) -> Imported:
    """Return the schedule that does what a line of a crontab does.

    As under cron, its job runs once and without a time limit. `place` names the crontab, and
    `number` counts lines with the same content, so that the schedule is recognised if the crontab
    is imported again. Raises QueueError for a line that cannot become a schedule.
    """
    job = ScheduledJob(
        JobSpec(
            command=entry.command,
            cwd=entry.folder,
            env=entry.env,
            shell=entry.shell,
            input=entry.input,
            timeout=0.0,
            max_retries=1,
        )
    )
    expression = cron.normal(entry.when)
    spec = to_text(job)
    from_text(spec)  # refuses what no job can have, such as NUL in a variable
    content = [expression, entry.timezone, spec, entry.jitter_seconds, number]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    name = prefix + (entry.comment or _name_of(entry.command))
    schedule = Schedule(
        name=check_name(name, "the name"),
        expression=expression,
        timezone=entry.timezone,
        spec=spec,
        anchor=now.replace(microsecond=0),
        created_at=now,
        updated_at=now,
        jitter=entry.jitter_seconds,
        source=f"{place}#{digest}",
    )
    return Imported(_planned(schedule, now), is_named=entry.comment is not None)


def _name_of(command: str) -> str:
    """Return a name for what a command runs: the name of its program.

    `cd /srv && make` is named after `make`, and so is what runs only after a test.
    """
    program = program_of(command)
    while program in _BEFOREHAND and "&&" in command:
        command = command.partition("&&")[2]
        program = program_of(command)
    fit = re.sub(r"[^\w.-]+", "-", program, flags=re.ASCII).strip("-.")[:_MAX_PROGRAM_LENGTH]
    return fit or "job"


def _planned(schedule: Schedule, now: datetime) -> Schedule:
    """Return a schedule with its next planned time."""
    times = cron.times_of(schedule.expression, schedule.timezone, schedule.anchor)
    planned = with_next(schedule, times, after=now)
    if planned.next_at is None and schedule.until is None:
        raise InvalidInput(f"there is no planned time within 50 years: {schedule.expression}")
    return planned


def to_line(schedule: Schedule, *, mask_env: bool = False, ascii_only: bool = False) -> str:
    """Return a schedule as one line of JSON, without its history.

    Raises UnreadableSpec. `mask_env` leaves the variables of its job out.
    """
    from_text(schedule.spec)
    job = json.loads(schedule.spec)
    if mask_env:
        job.pop("env", None)
        job.pop("captured", None)
    fields: dict[str, Any] = {"name": schedule.name}
    for name in (*_TEXTS, *_TIMES, *_NUMBERS):
        value = getattr(schedule, name)
        if value is not None:
            fields[name] = time_text(value) if isinstance(value, datetime) else value
    return json.dumps({**fields, "job": job}, ensure_ascii=ascii_only)


def from_fields(fields: Mapping[str, object], *, prefix: str = "", now: datetime) -> Imported:
    """Build a schedule from the fields of a line; InvalidInput names the first wrong field."""
    for name in fields:
        if name not in _FIELDS:
            raise InvalidInput(f"unknown field {name!r}{suggestion(name, _FIELDS)}")
    texts = {name: _text(fields.get(name), name) for name in ("name", *_TEXTS)}
    times = {name: check_instant(fields.get(name), name) for name in _TIMES}
    numbers = {name: _seconds(fields.get(name), name) for name in _NUMBERS}
    if texts["name"] is None or texts["expression"] is None:
        raise InvalidInput("name and expression are required")
    missed, overlap = texts["missed"] or MISSED[1], texts["overlap"] or OVERLAP[0]
    for name, word, words in (("missed", missed, MISSED), ("overlap", overlap, OVERLAP)):
        if word not in words:
            raise InvalidInput(f"{name} must be one of {', '.join(words)}, not {word!r}")
    if missed == "all" and overlap != "allow":
        raise InvalidInput("missed all requires overlap allow")
    if not isinstance(fields.get("job"), dict):
        raise InvalidInput("job must be an object")
    job = from_text(json.dumps(fields["job"]))
    schedule = Schedule(
        name=check_name(prefix + texts["name"], "name"),
        expression=cron.normal(texts["expression"]),
        timezone=texts["timezone"],
        spec=to_text(job),
        anchor=times["anchor"] or now.replace(microsecond=0),
        created_at=now,
        updated_at=now,
        missed=missed,
        missed_within=numbers["missed_within"],
        overlap=overlap,
        jitter=numbers["jitter"] or 0.0,
        until=times["until"],
        paused_at=times["paused_at"],
        paused_by=texts["paused_by"],
        pause_reason=check_reason(texts["pause_reason"], "pause_reason"),
        source=texts["source"],
    )
    return Imported(_planned(schedule, now), is_named=True)


def _text(value: object, name: str) -> str | None:
    if value is None or (isinstance(value, str) and value and "\0" not in value):
        return value
    raise InvalidInput(f"{name} must be text, not {value!r:.60}")


def _seconds(value: object, name: str) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= MAX_DURATION:  # type: ignore[operator]
        raise InvalidInput(f"{name} must be a number of seconds, not {value!r:.60}")
    return float(value)  # type: ignore[arg-type]

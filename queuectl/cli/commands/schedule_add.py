"""The command `schedule add`."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any, Mapping, Sequence

import click

from queuectl.cli import offers, output
from queuectl.cli.command import QueueCommand, fail, open_part, option, quiet_option, usage_error
from queuectl.cli.job_options import (
    JOB_SECTIONS,
    check_options,
    current_folder,
    fields_of_words,
    job_options,
    option_fields,
)
from queuectl.cli.parameters import DURATION
from queuectl.core import cron
from queuectl.core.errors import InvalidInput
from queuectl.core.schedule_specs import ScheduledJob, to_text
from queuectl.core.schedule_words import planned_line, times_of
from queuectl.core.schedules import MISSED, OVERLAP, Schedule, ScheduleExists, with_next
from queuectl.core.specs import JobSpec
from queuectl.core.times import parse_instant, utcnow
from queuectl.core.values import check_name
from queuectl.host.processes import user_name
from queuectl.storage.schedules import Schedules

_OF_ONE_JOB = ("delay", "at", "after", "after_any")
"""The options of a job that say when it starts: here the schedule does."""
_REFUSED_FIELDS = ("id", "delay", "run_at", "unique_key", "if_dup", "after", "after_any")

_SECTIONS = {
    "When": "--tz --jitter --until --paused",
    "What may go wrong": "--missed --missed-within --overlap",
    **{
        title: options
        for title, options in JOB_SECTIONS.items()
        if title in ("Where it runs", "Limits", "When it ends")
    },
    "Order and names": "--priority --label --replace",
}


class _Add(QueueCommand):
    """Everything after `--` is the command; before it are the name, the time and options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [param for param in self.params if param.name not in _OF_ONE_JOB]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the command off the end of the arguments, then parse the others."""
        end = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:end])
        ctx.params["words"] = tuple(args[end + 1 :]) if end < len(args) else None
        return rest


def _complete(ctx: click.Context, param: Any, incomplete: str) -> list[Any]:
    """Offer the names of schedules, which --replace needs, and after `--` a command."""
    from click.shell_completion import CompletionItem  # only for completion

    words = ctx.params.get("words")
    if words is not None:
        return [CompletionItem(str(len(words)), type="command")]
    return [] if ctx.params.get("given") else offers.schedules(ctx, param, incomplete)


@click.command("add", cls=_Add, sections=_SECTIONS)
@click.argument(
    "given",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    metavar="NAME EXPRESSION -- COMMAND [ARG]...",
    shell_complete=_complete,
)
@option(
    "--tz",
    metavar="ZONE",
    help="Time zone, such as Europe/Berlin (default: that of TZ, else the machine's).",
)
@option(
    "--jitter",
    type=DURATION,
    metavar="DURATION",
    help="Delay each job by up to this time (default: 0).",
)
@option("--until", metavar="TIME", help="Make no job after this time.")
@option("--paused", is_flag=True, help="Make no jobs until queuectl schedule resume.")
@option(
    "--missed",
    type=click.Choice(MISSED),
    default="once",
    help="Make no job, one job or all jobs for planned times at which no worker was there "
    "(default: once).",
)
@option(
    "--missed-within",
    type=DURATION,
    metavar="DURATION",
    help="Leave out missed times that are longer ago.",
)
@option(
    "--overlap",
    type=click.Choice(OVERLAP),
    default="skip",
    help="If the last job has not ended, leave the time out, run both jobs, or replace the "
    "last one if it still waits (default: skip).",
)
@option("--replace", is_flag=True, help="Replace the schedule of this name if there is one.")
@job_options(new=True)
@quiet_option
def add(
    given: tuple[str, ...],
    words: tuple[str, ...] | None,
    env: Sequence[str],
    tz: str | None,
    until: str | None,
    quiet: bool,
    paused: bool,
    replace: bool,
    **options: Any,
) -> None:
    """Make a job at set times, and print the name of the schedule.

    Workers make the jobs, whichever queues they serve; no other process is needed. --missed
    decides about planned times at which no worker was running.

    \b
    Examples:
      queuectl schedule add nightly '0 2 * * *' --timeout 1h -- backup --all
      queuectl schedule add report @weekly --tz Europe/Berlin -- make report
      queuectl schedule add mail 'every 10m' --overlap skip -- fetchmail -s
    """
    now = utcnow()
    if not words:
        usage_error(
            "no command given: put it after -- (example: queuectl schedule add nightly "
            "'0 2 * * *' -- backup)"
        )
    schedule = _schedule(given, tz, until, options, now)
    if paused:
        schedule = schedule._replace(paused_at=now, paused_by=user_name())
    spec = _spec(words, options, env, now)
    times = times_of(schedule)
    schedule = with_next(schedule, times, after=now)
    if schedule.next_at is None:
        before = "before --until" if until else "within 50 years"
        raise InvalidInput(f"there is no planned time {before}: {schedule.expression}")
    storage = open_part(Schedules, create=True)
    job = ScheduledJob(spec, storage.captured(os.environ))
    schedule = schedule._replace(spec=to_text(job))
    try:
        stored = storage.add_schedule(schedule, replace=replace)
    except ScheduleExists as error:
        fail(f"{error} (--replace changes it)", error.exit_code)
    if not quiet:
        output.print_line(schedule.name)
        _say_next(stored, times, now)


def _schedule(
    given: Sequence[str],
    tz: str | None,
    until: str | None,
    options: Mapping[str, Any],
    now: datetime,
) -> Schedule:
    """Return the schedule that the words before `--` and the options make, without its job."""
    if len(given) < 2:
        usage_error("give a name and a time (example: queuectl schedule add s @daily -- make)")
    if options["missed"] == "all" and options["overlap"] != "allow":
        usage_error("--missed all requires --overlap allow, since its jobs are made at once")
    expression = cron.normal(" ".join(given[1:]))
    return Schedule(
        name=check_name(given[0], "the name"),
        expression=expression,
        timezone=zone_to_store(tz, expression),
        spec="",
        anchor=now.replace(microsecond=0),
        created_at=now,
        updated_at=now,
        missed=options["missed"],
        missed_within=options["missed_within"],
        overlap=options["overlap"],
        jitter=options["jitter"] or 0.0,
        until=None if until is None else _instant(until, now),
    )


def _spec(
    words: Sequence[str], options: Mapping[str, Any], env: Sequence[str], now: datetime
) -> JobSpec:
    """Return the job that the words after `--` and the options make."""
    given = fields_of_words(words, literal=True)
    for field in _REFUSED_FIELDS:
        if given.get(field) is not None:
            raise InvalidInput(f"{field} cannot be used in a schedule, which sets it for each job")
    fields = option_fields({**options, "at": None}, env)
    defaults = check_options(fields, now=now)
    if "cwd" not in defaults and given.get("cwd") is None:
        defaults["cwd"] = current_folder()
    return JobSpec.from_fields(given, now=now, defaults=defaults)


def zone_to_store(given: str | None, expression: str) -> str | None:
    """Return the name of the time zone to store; None is the zone of the machine.

    InvalidInput if `given` is none. CannotPlan if TZ is needed and no data about zones is there.
    """
    if given is None:
        name = os.environ.get("TZ", "").lstrip(":")
        is_needed = cron.needs_cronsim(expression)
        try:
            zone = cron.zone_from_environment(name)
        except cron.CannotPlan:
            if is_needed:
                raise
            return None
        if zone is None and name and not name.startswith("/") and is_needed:
            output.hint(
                f"TZ={name} does not name a time zone",
                "the one of the machine is used (--tz sets another)",
            )
        return zone
    try:
        cron.zone_of(given)
    except cron.CannotPlan as error:
        raise InvalidInput(f"--tz: {error}") from None
    return given


def _instant(text: str, now: datetime) -> datetime:
    try:
        return parse_instant(text, now=now)
    except InvalidInput as error:
        raise InvalidInput(f"--until: {error}") from None


def _say_next(schedule: Schedule, times: cron.Times, now: datetime) -> None:
    """Tell a person when the next job is made, and whether anybody would run it."""
    if not sys.stderr.isatty() or schedule.next_at is None or schedule.due_at is None:
        return
    from queuectl.cli.command import queue_files  # only on a terminal
    from queuectl.host.pools import living_pools

    line = planned_line(schedule.next_at, schedule.due_at, schedule.timezone, times, now=now)
    parts = ["paused" if schedule.paused_at else f"next: {line}"]
    if not living_pools(queue_files()):
        parts.append("no worker is running (queuectl worker start)")
    output.hint(*parts)

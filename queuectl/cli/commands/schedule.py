"""The command `schedule`: jobs that are made again and again, at set times."""

from __future__ import annotations

from datetime import datetime
from typing import Sequence

import click

from queuectl.cli import offers, output
from queuectl.cli.command import (
    QueueCommand,
    QueueGroup,
    each,
    fail,
    json_option,
    open_part,
    open_storage,
    option,
    quiet_option,
    usage_error,
)
from queuectl.cli.commands.schedule_add import add, zone_to_store
from queuectl.cli.commands.schedule_import import schedule_export, schedule_import
from queuectl.cli.parameters import WholeNumber
from queuectl.cli.schedule_shapes import (
    COLUMNS,
    TICK_COLUMNS,
    fields,
    planned_json,
    row,
    schedule_json,
    tick_json,
    tick_row,
)
from queuectl.cli.tables import print_fields, print_table
from queuectl.core import cron
from queuectl.core.errors import QueueError
from queuectl.core.schedule_words import planned_line, times_of
from queuectl.core.schedules import Schedule, due_at, upcoming, with_next
from queuectl.core.times import utcnow
from queuectl.core.values import check_reason
from queuectl.host.processes import user_name
from queuectl.storage.schedules import NoSuchSchedule, Schedules, StillUnfinished

_SHOWN_NEXT = 5
_SHOWN_TICKS = 10
_LARGEST_COUNT = 10_000

_name = click.argument("name", metavar="SCHEDULE", shell_complete=offers.schedules)
_names = click.argument(
    "names", metavar="SCHEDULE...", nargs=-1, required=True, shell_complete=offers.schedules
)
_show_env = option(
    "--show-env", is_flag=True, help="Print the values of variables, which may be secrets."
)


@click.group("schedule", cls=QueueGroup)
def schedule() -> None:
    """Make jobs at set times, as cron does."""


schedule.add_command(add)


@schedule.command("list", cls=QueueCommand)
@json_option
def schedule_list(as_json: bool) -> None:
    """List the schedules with their next and their last times.

    \b
    Examples:
      queuectl schedule list
      queuectl schedule list --json | jq -r '.[] | select(.paused) | .name'
    """
    storage = open_part(Schedules)
    now = utcnow()
    found = storage.schedules()
    ticks = storage.last_ticks_of([one.name for one in found.schedules], at_most=1)
    last = {name: next(iter(of_one), None) for name, of_one in ticks.items()}
    if as_json:
        output.print_json(
            [schedule_json(one, last[one.name], show_env=False) for one in found.schedules]
        )
    else:
        rows = [row(one, last[one.name], now=now) for one in found.schedules]
        if not print_table(COLUMNS, rows) and not found.unreadable:
            output.message("no schedules yet (queuectl schedule add -h)")
    for problem in found.unreadable:
        output.message(f"{problem} (queuectl schedule remove, or add --replace)")


@schedule.command("show", cls=QueueCommand)
@_name
@json_option
@_show_env
def schedule_show(name: str, as_json: bool, show_env: bool) -> None:
    """Show one schedule with its next and its last planned times.

    \b
    Examples:
      queuectl schedule show nightly
      queuectl schedule show --json nightly | jq -r '.ticks[].job'
    """
    storage = open_part(Schedules)
    now = utcnow()
    shown = storage.schedule(name)
    ticks = storage.last_ticks(name, at_most=_SHOWN_TICKS)
    problem, following = None, []
    try:
        times = times_of(shown)
        following = upcoming(shown, times, most=_SHOWN_NEXT)
    except QueueError as error:
        problem = str(error)
    if as_json:
        output.print_json(
            {
                **schedule_json(shown, ticks[0] if ticks else None, show_env=show_env),
                "next": [planned_json(shown, times, planned) for planned in following],
                "problem": problem,
                "ticks": [tick_json(tick) for tick in ticks],
            }
        )
        return
    print_fields(fields(shown, now=now))
    if shown.paused_at is None and following:
        _print_next(shown, times, following, now)
    if ticks:
        output.print_data("")
        print_table(TICK_COLUMNS, map(tick_row, ticks))
    if problem is not None:
        output.message(f"its next times cannot be computed here: {problem}")


def _print_next(
    shown: Schedule, times: cron.Times, following: Sequence[datetime], now: datetime
) -> None:
    output.print_data("\nNext:")
    for planned in following:
        line = planned_line(planned, due_at(shown, planned), shown.timezone, times, now=now)
        output.print_line(f"  {line}")


@schedule.command("next", cls=QueueCommand)
@click.argument(
    "expression",
    nargs=-1,
    required=True,
    metavar="SCHEDULE|EXPRESSION",
    shell_complete=offers.schedules,
)
@option("-n", "--count", type=WholeNumber(1, _LARGEST_COUNT), default=_SHOWN_NEXT,
        metavar="N", help="Number of times to print (default: 5).")  # fmt: skip
@option(
    "--tz",
    metavar="ZONE",
    help="Time zone of EXPRESSION (default: that of TZ, else the machine's).",
)
@json_option
def schedule_next(expression: tuple[str, ...], count: int, tz: str | None, as_json: bool) -> None:
    """Print the next planned times of a schedule or of an expression.

    \b
    Examples:
      queuectl schedule next nightly
      queuectl schedule next '0 2 * * 1-5' --tz Europe/Berlin -n 10
    """
    now = utcnow()
    chosen = _chosen(" ".join(expression), tz, now)
    times = times_of(chosen)
    planned = upcoming(chosen, times, most=count)
    if as_json:
        output.print_json([planned_json(chosen, times, at) for at in planned])
        return
    for at in planned:
        output.print_line(planned_line(at, due_at(chosen, at), chosen.timezone, times, now=now))
    if not planned:
        output.message(f"there is no next time: {chosen.expression}")


def _chosen(text: str, tz: str | None, now: datetime) -> Schedule:
    """Return the schedule of this name, or one that is not stored, for an expression."""
    if not (text.startswith("@") or " " in text.strip()):
        if tz is not None:
            usage_error(f"--tz cannot be used with a schedule, which has its own zone: {text}")
        try:
            return open_part(Schedules).schedule(text)
        except NoSuchSchedule as error:
            fail(f"{error}{cron.hint_of_name(text)}", error.exit_code)
    expression, anchor = cron.normal(text), now.replace(microsecond=0)
    draft = Schedule("", expression, zone_to_store(tz, expression), "", anchor, now, now)
    return with_next(draft, times_of(draft), after=now)


@schedule.command("run", cls=QueueCommand)
@_name
@option("--force", is_flag=True, help="Make a job even if the last one has not ended.")
@option("-w", "--wait", is_flag=True,
        help="Wait for its end; print its output and exit with its code.")  # fmt: skip
@quiet_option
def schedule_run(name: str, force: bool, wait: bool, quiet: bool) -> None:
    """Make the job of a schedule now, and print its id. The planned times stay as they are.

    \b
    Examples:
      queuectl schedule run nightly
      queuectl schedule run --wait nightly
    """
    try:
        job_id = open_part(Schedules, write=True).run_schedule(name, force=force, now=utcnow())
    except StillUnfinished as error:
        fail(f"{error} (--force runs another one beside it)", error.exit_code)
    if wait:
        from queuectl.cli.commands.enqueue_wait import wait_attached  # only when it is needed

        wait_attached(open_storage(write=True), job_id, "always", quiet=quiet)
    if not quiet:
        output.print_line(job_id)


@schedule.command("pause", cls=QueueCommand)
@_names
@option("--reason", metavar="TEXT", help="The reason, which `queuectl schedule show` prints.")
@quiet_option
def schedule_pause(names: tuple[str, ...], reason: str | None, quiet: bool) -> None:
    """Make no more jobs of schedules. Jobs that are there already are not affected.

    \b
    Examples:
      queuectl schedule pause nightly
      queuectl schedule pause --reason 'disk full' nightly weekly
    """
    reason = check_reason(reason, "--reason")
    storage = open_part(Schedules, write=True)

    def pause(name: str) -> str | None:
        storage.pause_schedule(name, by=user_name(), reason=reason, now=utcnow())
        return None if quiet else f"{name} is paused"

    click.get_current_context().exit(each(names, pause))


@schedule.command("resume", cls=QueueCommand)
@_names
@option("--skip-missed", is_flag=True,
        help="Make no jobs for times that were planned during the pause.")  # fmt: skip
@quiet_option
def schedule_resume(names: tuple[str, ...], skip_missed: bool, quiet: bool) -> None:
    """Make jobs of paused schedules again.

    --missed of the schedule decides about the times that were planned during the pause.

    \b
    Examples:
      queuectl schedule resume nightly
      queuectl schedule resume --skip-missed nightly
    """
    storage = open_part(Schedules, write=True)

    def resume(name: str) -> str | None:
        storage.resume_schedule(name, skip_missed=skip_missed, now=utcnow())
        return None if quiet else f"{name} is resumed"

    click.get_current_context().exit(each(names, resume))


@schedule.command("remove", cls=QueueCommand)
@_names
@quiet_option
def schedule_remove(names: tuple[str, ...], quiet: bool) -> None:
    """Delete schedules with their history. The jobs that they made stay.

    \b
    Examples:
      queuectl schedule remove nightly
    """
    storage = open_part(Schedules, write=True)

    def remove(name: str) -> str | None:
        storage.remove_schedule(name)
        return None if quiet else f"{name} is removed"

    click.get_current_context().exit(each(names, remove))


@schedule.command("tick", cls=QueueCommand)
@quiet_option
def schedule_tick(quiet: bool) -> None:
    """Make the jobs that are due, run none of them, and print their ids.

    Workers do this by themselves; it is for hosts on which they are started in another way.

    \b
    Examples:
      queuectl schedule tick
      * * * * * queuectl schedule tick -q
    """
    ticked = open_part(Schedules, write=True).tick_schedules(now=utcnow())
    if not quiet:
        for job_id in ticked.jobs:
            output.print_line(job_id)
    for name, why in ticked.problems:
        output.error(click.get_current_context().command_path, f"{name}: {why}")
    if ticked.problems:
        click.get_current_context().exit(1)


schedule.add_command(schedule_import)
schedule.add_command(schedule_export)

"""The commands `schedule import` and `schedule export`."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Iterator, Sequence

import click

from queuectl.cli import offers, output
from queuectl.cli.command import QueueCommand, fail, open_part, option, quiet_option
from queuectl.cli.jsonlines import numbered_fields, open_lines
from queuectl.cli.tables import Column, print_table
from queuectl.core import schedule_lines
from queuectl.core.counts import counted
from queuectl.core.crontab import Crontab, parse
from queuectl.core.errors import InvalidInput, NoQueue, QueueError
from queuectl.core.escaping import escape_json
from queuectl.core.schedule_lines import Imported, ImportPlan, plan_import
from queuectl.core.schedule_words import explained, job_of
from queuectl.core.schedules import Schedule, ScheduleExists
from queuectl.core.times import utcnow
from queuectl.host.processes import user_name
from queuectl.storage.schedule_imports import ScheduleImports
from queuectl.storage.schedules import Schedules

_STDIN = "-"
_PREVIEW = (
    Column("", least=6),
    Column("NAME", least=10),
    Column("WHEN", least=14),
    Column("COMMAND", least=12),
)


@click.command("import", cls=QueueCommand)
@click.argument("path", metavar="FILE|-", shell_complete=offers.path())
@option("-n", "--dry-run", is_flag=True, help="Print what would be stored, and store nothing.")
@option("--replace", is_flag=True, help="Replace schedules that have the same names.")
@option(
    "--sync",
    is_flag=True,
    help="Remove schedules that came from this file and are no longer in it.",
)
@option("--prefix", default="", metavar="TEXT", help="Begin all names with this.")
@option(
    "--system-user",
    metavar="USER",
    help="The file has a column for the user, as /etc/crontab: import the lines of this user.",
)
@quiet_option
def schedule_import(
    path: str,
    dry_run: bool,
    replace: bool,
    sync: bool,
    prefix: str,
    system_user: str | None,
    quiet: bool,
) -> None:
    """Make schedules of a crontab, or of the lines of schedule export.

    All lines are stored, or none. Each gets the name in the comment above it, else that of its
    program. Its job has the folder, the variables, the shell and the input that cron would give it,
    and, as under cron, one attempt and no time limit. To import a crontab again changes only what
    has changed in it. The crontab itself is left as it is.

    \b
    Examples:
      crontab -l | queuectl schedule import -n -
      crontab -l | queuectl schedule import -
      queuectl schedule import --sync ~/schedules.crontab
      queuectl schedule import schedules.jsonl
    """
    now = utcnow()
    place = _STDIN if path == _STDIN else os.path.abspath(path)
    text = _read(path)
    crontab = None
    if text.lstrip().startswith("{"):
        wanted = list(_from_lines(path, text, prefix, now))
    else:
        crontab = _parsed(text, system_user)
        wanted = _of_crontab(crontab, place, prefix, now)
    synced = place if sync else None
    try:
        if dry_run:
            plan = plan_import(_sources(), wanted, replace=replace, sync=synced)
        else:
            storage = open_part(ScheduleImports, create=True)
            plan = storage.import_schedules(wanted, replace=replace, sync=synced)
    except ScheduleExists as error:
        fail(f"{error} (--replace changes it)", error.exit_code)
    if dry_run:
        _preview(plan)
    elif not quiet:
        for schedule in (*plan.added, *plan.changed):
            output.print_line(schedule.name)
    if not quiet:
        _summarize(plan, crontab, dry_run=dry_run)


def _read(path: str) -> str:
    with open_lines(None if path == _STDIN else path) as source:
        try:
            return source.read().decode()
        except UnicodeDecodeError:
            raise InvalidInput(f"{path} is not valid UTF-8") from None


def _from_lines(path: str, text: str, prefix: str, now: datetime) -> Iterator[Imported]:
    import io  # only for lines of JSON

    for number, fields in numbered_fields(io.BytesIO(text.encode())):
        try:
            yield schedule_lines.from_fields(fields, prefix=prefix, now=now)
        except QueueError as error:
            raise InvalidInput(f"line {number}: {error}") from None


def _parsed(text: str, system_user: str | None) -> Crontab:
    user = system_user or user_name()
    home = os.path.expanduser("~" if system_user is None else f"~{system_user}")
    return parse(text, home=home, user=user, system_user=system_user)


def _of_crontab(crontab: Crontab, place: str, prefix: str, now: datetime) -> list[Imported]:
    """Return the schedules of a crontab. Ends the command if a line cannot become one."""
    refused = [(one.line, one.text, one.why) for one in crontab.refused]
    wanted = []
    seen: dict[str, int] = {}
    for entry in crontab.entries:
        content = str(entry._replace(line=0, comment=None))
        seen[content] = seen.get(content, 0) + 1
        try:
            wanted.append(
                schedule_lines.of_crontab(
                    entry, place=place, number=seen[content], prefix=prefix, now=now
                )
            )
        except QueueError as error:
            refused.append((entry.line, f"{entry.when} {entry.command}", str(error)))
    if refused:
        for line, text, why in sorted(refused):
            output.message(f"line {line}: {why}: {text.strip()}")
        fail(f"nothing was stored, because of {counted(len(refused), 'line')}", 1)
    return wanted


def _sources() -> dict[str, str | None]:
    try:
        return open_part(ScheduleImports).sources()
    except NoQueue:
        return {}


def _preview(plan: ImportPlan) -> None:
    def rows(verb: str, schedules: Sequence[Schedule]) -> Iterator[list[str]]:
        for one in schedules:
            yield [verb, one.name, explained(one), job_of(one).spec.command]

    removed = (["remove", name, "", ""] for name in plan.removed)
    print_table(_PREVIEW, [*rows("add", plan.added), *rows("change", plan.changed), *removed])


def _summarize(plan: ImportPlan, crontab: Crontab | None, *, dry_run: bool) -> None:
    """Say what was done, and what is left to do."""
    counts = (
        (len(plan.added), "added"),
        (len(plan.changed), "changed"),
        (len(plan.removed), "removed"),
        (len(plan.unchanged), "unchanged"),
    )
    said = ", ".join(f"{count} {what}" for count, what in counts if count) or "no schedules found"
    output.message(f"{said}; nothing was stored" if dry_run else said)
    user = _user_instead_of_program(crontab) if crontab is not None else None
    if user is not None:
        output.message(
            f"{user} is a user, not a program: for a file with a column for the user, as "
            f"/etc/crontab, use --system-user {user}"
        )
    if dry_run or crontab is None:
        return
    if plan.added:
        output.hint("now take these lines out, so that they do not run twice: crontab -e")
    for address in crontab.mailed_to:
        output.hint(f"cron mailed the output to {address}; a hook can mail (queuectl help hooks)")


def _user_instead_of_program(crontab: Crontab) -> str | None:
    """Return the first word of the first command if every command begins with a user's name.

    None if one does not, or if there is a program of that name.
    """
    import pwd  # only when it is needed
    import shutil

    words = [entry.command.split()[0] for entry in crontab.entries]
    for word in words:
        try:
            pwd.getpwnam(word)
        except KeyError:
            return None
        if shutil.which(word) is not None:
            return None
    return words[0] if words else None


@click.command("export", cls=QueueCommand)
@option("--mask-env", is_flag=True, help="Leave out environment variables, for secrecy.")
def schedule_export(mask_env: bool) -> None:
    """Write the schedules as JSON, one object per line, for schedule import.

    Their history is left out.

    \b
    Examples:
      queuectl schedule export > schedules.jsonl
    """
    found = open_part(Schedules).schedules()
    for schedule in found.schedules:
        try:
            line = schedule_lines.to_line(
                schedule, mask_env=mask_env, ascii_only=output.needs_ascii()
            )
        except QueueError as error:
            found.unreadable.append(f"schedule {schedule.name}: {error}")
        else:
            output.print_data(escape_json(line))
    for problem in found.unreadable:
        output.message(f"left out: {problem}")
    if found.unreadable:
        click.get_current_context().exit(1)

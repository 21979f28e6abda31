"""The commands `export`, `import`, `backup` and `restore`."""

from __future__ import annotations

from typing import Any, Sequence

import click

from queuectl.cli import offers, output
from queuectl.cli.command import (
    QueueCommand,
    confirm,
    fail,
    open_storage,
    option,
    queue_files,
    quiet_option,
)
from queuectl.cli.jsonlines import Spool, numbered_fields, open_lines
from queuectl.cli.selection import queue_names, queue_option, state_names, state_option
from queuectl.core.counts import counted
from queuectl.core.errors import DuplicateId, InvalidInput, QueueError
from queuectl.core.escaping import escape_json
from queuectl.core.jobfile import TransferredJob, from_fields, to_line
from queuectl.core.models import Selection
from queuectl.core.times import utcnow
from queuectl.host.new_files import new_file
from queuectl.host.signals import cleaned_up
from queuectl.storage import Storage


@click.command("export", cls=QueueCommand)
@click.argument("path", required=False, metavar="[FILE]", shell_complete=offers.path())
@queue_option
@state_option()
@option("--mask-env", is_flag=True, help="Leave out environment variables, for secrecy.")
def export(path: str | None, queues: Sequence[str], states: Sequence[Any], mask_env: bool) -> None:
    """Write jobs as JSON, one object per line.

    They go to stdout, or to a new FILE that only you can read. Environment variables are not
    masked.

    \b
    Examples:
      queuectl export jobs.jsonl
      queuectl export --state dead --mask-env | gzip > dead.jsonl.gz
    """
    storage = open_storage()
    selection = Selection(queues=queue_names(queues), states=state_names(states))
    to_stdout = path is None or path == "-"
    ascii_only = to_stdout and output.needs_ascii()
    lines = (
        escape_json(to_line(transferred, mask_env=mask_env, ascii_only=ascii_only))
        for transferred in storage.export(selection)
    )
    if path is None or to_stdout:
        for line in lines:
            output.print_data(line)
        _warn_of_jobs_to_come(storage)
        return
    with cleaned_up(), new_file(path) as new:
        written = 0
        with open(new.descriptor, "w", encoding="utf-8", closefd=False) as target:
            for line in lines:
                target.write(line + "\n")
                written += 1
    output.hint(f"{counted(written, 'job')} written to {path}")
    _warn_of_jobs_to_come(storage)


def _warn_of_jobs_to_come(storage: Storage) -> None:
    left_out = storage.jobs_to_come()
    if left_out:
        output.message(
            f"left out {counted(left_out, 'job')} whose enqueue was cut short "
            "(queuectl worker start makes them visible)"
        )


@click.command("import", cls=QueueCommand)
@click.argument("path", metavar="FILE|-", shell_complete=offers.path())
@option("--skip-existing", is_flag=True, help="Leave out jobs whose id exists already.")
@quiet_option
def import_(path: str, skip_existing: bool, quiet: bool) -> None:
    """Read jobs that `export` wrote, from FILE or from stdin (-).

    If one of them is refused, none is stored. A running job arrives as pending.

    \b
    Examples:
      queuectl import jobs.jsonl
      zcat dead.jsonl.gz | queuectl import --skip-existing -
    """
    now = utcnow()
    arriving = Spool(TransferredJob)
    with open_lines(None if path == "-" else path) as source:
        for number, fields in numbered_fields(source):
            try:
                arriving.add(from_fields(fields, now=now), len(str(fields)))
            except QueueError as error:
                raise InvalidInput(f"line {number}: {error}") from None
    from queuectl.cli.storing import storing  # not for the other commands here

    storage = open_storage(create=True)
    try:
        with storing(len(arriving)) as state:
            made, skipped = storage.import_jobs(
                arriving,
                skip_existing=skip_existing,
                now=now,
                added=state.added,
                moved=state.moved,
            )
    except DuplicateId as error:
        hint = "" if error.state is None else " (to leave it out use --skip-existing)"
        fail(f"{error}{hint}", error.exit_code)
    if not quiet:
        output.print_line(f"{made} imported" + (f", {skipped} skipped" if skip_existing else ""))


@click.command("backup", cls=QueueCommand)
@click.argument("path", metavar="FILE", shell_complete=offers.path())
@quiet_option
def backup(path: str, quiet: bool) -> None:
    """Copy the queue to a new file, also while it is in use.

    In the copy, jobs that are running now count as lost: their attempt counts, and they are
    retried. Outputs of more than 4 KiB are not copied.

    \b
    Examples:
      queuectl backup /backup/queue.db
    """
    storage = open_storage()
    with cleaned_up():
        storage.back_up(path, now=utcnow())
    if not quiet:
        output.print_line(f"backed up to {path}")


@click.command("restore", cls=QueueCommand)
@click.argument("path", metavar="FILE", shell_complete=offers.path())
@option("-y", "--yes", is_flag=True, help="Do not ask, even if unfinished jobs are lost.")
@quiet_option
def restore(path: str, yes: bool, quiet: bool) -> None:
    """Put a backup in the place of the queue.

    What the queue holds now is lost. Its workers must be stopped first. FILE stays as it is, and
    the restored queue gets an id of its own. Jobs that ran when the backup was taken are retried.

    \b
    Examples:
      queuectl restore /backup/queue.db
    """
    from queuectl.storage import restoring

    files = queue_files()
    lost: int | None = None
    if not yes:
        try:
            lost = restoring.unfinished_jobs(files)
            consequence = f"this deletes {counted(lost, 'unfinished job')} of the queue"
        except QueueError as error:
            consequence = f"this deletes the queue, which cannot be read: {error}"
        if lost != 0:
            restoring.check(files, path)  # a question about a file that is refused is in vain
            confirm(
                consequence,
                f"{consequence[:1].upper()}{consequence[1:]}. Go on?",
                "nothing was changed",
            )
    jobs = restoring.restore(files, path, at_most_lost=lost, now=utcnow())
    if not quiet:
        output.print_line(f"restored {counted(jobs, 'job')} from {path}")

"""The command `prune`: only it deletes jobs, and `dlq purge`, which is a special case of it."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import Any, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, each, open_storage, option, quiet_option, usage_error
from queuectl.cli.parameters import DURATION
from queuectl.cli.selection import (
    jobs_argument,
    named_jobs,
    one_by_one,
    queue_names,
    queue_option,
    state_names,
    state_option,
)
from queuectl.core.counts import counted
from queuectl.core.errors import QueueError, WrongState
from queuectl.core.models import Selection
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import format_duration, utcnow
from queuectl.storage import Storage

_BY_DEFAULT = (JobState.COMPLETED, JobState.CANCELLED)


@click.command("prune", cls=QueueCommand)
@jobs_argument(*FINISHED_STATES)
@option(
    "--older-than",
    type=DURATION,
    metavar="DURATION",
    help="Only jobs that ended longer ago than this (default: 30d, the key retention; any age for "
    "JOB).",
)
@state_option(*FINISHED_STATES)
@queue_option
@option("--dry-run", is_flag=True, help="Only print how many jobs would be deleted.")
@option(
    "--vacuum",
    is_flag=True,
    help="Then make the file of the queue smaller; other commands that write wait meanwhile.",
)
@quiet_option
def prune(
    jobs: Sequence[str],
    older_than: float | None,
    states: Sequence[Any],
    queues: Sequence[str],
    dry_run: bool,
    vacuum: bool,
    quiet: bool,
) -> int:
    """Delete old jobs, their history and their output.

    Without JOB or --state, only completed and cancelled jobs are deleted. A job that is unfinished,
    or that an unfinished job waits for, is never deleted.

    \b
    Examples:
      queuectl prune                             what is too old
      queuectl prune --older-than 7d --dry-run
      queuectl prune --state dead --older-than 90d
      queuectl list --ids --state completed | queuectl prune -
    """
    if jobs and (queues or states):
        usage_error("job ids and --queue or --state cannot be used together")
    if dry_run and vacuum:
        usage_error("--dry-run and --vacuum cannot be used together")
    chosen = Selection(queues=queue_names(queues), states=_finished(states) or _BY_DEFAULT)
    storage = open_storage(write=not dry_run)
    count, code = 0, 0
    if jobs:
        count, code = delete_named(
            storage, named_jobs(jobs), FINISHED_STATES, older_than or 0.0, dry_run=dry_run
        )
    elif older_than is None:
        older_than = _retention(storage, quiet=quiet)
    if not jobs and older_than is not None:
        before = utcnow() - timedelta(seconds=older_than)
        count = storage.prune(
            states=chosen.states, before=before, queues=chosen.queues, dry_run=dry_run
        )
    if vacuum:
        storage.vacuum()
    if not quiet:
        output.print_line(f"{count} {'would be ' if dry_run else ''}deleted")
        if not (count or jobs or older_than is None):
            _explain_none(storage, chosen, older_than)
    return code


def _finished(states: Sequence[Any]) -> tuple[JobState, ...]:
    """Return the states that `--state` named, which must be those of finished jobs."""
    wanted = state_names(states)
    unfinished = [state.value for state in wanted if state not in FINISHED_STATES]
    if unfinished:
        usage_error(f"only finished jobs can be deleted, not {', '.join(unfinished)}")
    return wanted


def _explain_none(storage: Storage, chosen: Selection, older_than: float) -> None:
    """Say on a terminal why no job was deleted."""
    if not output.on_terminal():
        return
    names = " or ".join(state.value for state in chosen.states)
    kept = storage.count(chosen)
    if not kept:
        output.hint(f"there are no {names} jobs")
    elif older_than:
        age = format_duration(older_than)
        output.hint(
            f"{counted(kept, f'{names} job')} ended less than {age} ago",
            "--older-than 0 deletes jobs of any age",
        )
    else:
        are = "is" if kept == 1 else "are"
        output.hint(f"unfinished jobs wait for the {kept} that {are} {names}")


def _retention(storage: Storage, *, quiet: bool) -> float | None:
    """Return how long jobs are kept, in seconds; None, with a message, if it is for ever."""
    retention = storage.settings().retention
    if retention:
        return retention
    if not quiet:
        output.message("the key retention is 0: jobs are kept for ever (give --older-than)")
    return None


def delete_named(
    storage: Storage,
    names: Sequence[str],
    states: Sequence[JobState],
    older_than: float,
    *,
    dry_run: bool = False,
) -> tuple[int, int]:
    """Delete the named jobs that are in one of these states; print a line for each other one.

    Returns how many were deleted, and the exit code.
    """
    deleted = 0

    def delete(name: str) -> None:
        nonlocal deleted
        job = storage.get(name)
        if job.state not in states:
            only = states[0].value if len(states) == 1 else None
            raise WrongState(job.id, job.state.value, "delete", only)
        before = utcnow() - timedelta(seconds=older_than)
        if job.finished_at is not None and job.finished_at >= before:
            raise QueueError(
                f"{job.id} is kept: it ended less than {format_duration(older_than)} ago"
            )
        if not storage.prune(states=[job.state], before=before, jobs=[job], dry_run=dry_run):
            raise QueueError(f"{job.id} is kept: an unfinished job waits for it")
        deleted += 1

    jobs = one_by_one(storage, names, states)
    code = each(jobs, delete, nullcontext if dry_run else storage.batch)
    return deleted, code

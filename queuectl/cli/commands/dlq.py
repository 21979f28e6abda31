"""The commands `dlq list`, `dlq retry` and `dlq purge`: jobs that failed for good."""

from __future__ import annotations

import sys
from typing import Any, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import (
    QueueCommand,
    QueueGroup,
    each,
    open_storage,
    quiet_option,
    usage_error,
)
from queuectl.cli.commands.list import list_options, print_list
from queuectl.cli.commands.prune import delete_named
from queuectl.cli.selection import (
    all_option,
    choose,
    jobs_argument,
    queue_names,
    queue_option,
    state_option,
)
from queuectl.cli.tables import print_dead_jobs
from queuectl.core.errors import QueueError
from queuectl.core.escaping import escape
from queuectl.core.models import Selection
from queuectl.core.states import JobState
from queuectl.core.times import utcnow

_DEAD = (JobState.DEAD,)


@click.group("dlq", cls=QueueGroup)
def dlq() -> None:
    """See, retry or delete jobs that failed for good."""


@dlq.command("list", cls=QueueCommand)
@list_options(default_number="all")
def dlq_list(queues: Sequence[str], **shown: Any) -> None:
    """List the dead jobs and why each of them failed.

    Example: queuectl dlq list
    """
    dead = Selection(queues=queue_names(queues), states=_DEAD)
    print_list(dead, print_dead_jobs, none="no dead jobs", **shown)


@dlq.command("retry", cls=QueueCommand)
@jobs_argument(JobState.DEAD)
@queue_option
@state_option
@all_option("Retry all dead jobs.")
@quiet_option
def dlq_retry(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    everything: bool,
    quiet: bool,
) -> int:
    """Run dead jobs again from the start; history is kept.

    Example: queuectl dlq retry nightly-backup
    """
    choice = choose(jobs, queues, states, everything=everything, among=_DEAD)
    storage = open_storage(write=True)
    names = choice.ids(storage)

    def retry(name: str) -> None:
        job = storage.get(name)
        storage.retry(job, now=utcnow(), states=_DEAD)
        if not quiet:
            output.print_data(f"{escape(job.id)} is pending again")

    if not (names or jobs or quiet):  # no ids on stdin say nothing about the queue
        output.message("no dead jobs")
    return each(names, retry)


@dlq.command("purge", cls=QueueCommand)
@jobs_argument(JobState.DEAD)
@queue_option
@state_option
@all_option("Delete all dead jobs.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@quiet_option
def dlq_purge(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    everything: bool,
    yes: bool,
    quiet: bool,
) -> int:
    """Delete dead jobs for good, with their history and logs.

    Example: queuectl dlq purge --all --yes
    """
    choice = choose(jobs, queues, states, everything=everything, among=_DEAD)
    if choice.selection is not None and not queues and not yes:
        _confirm()
    storage = open_storage(write=True)
    code = 0
    if choice.selection is None:
        purged, code = delete_named(storage, choice.named, _DEAD, 0.0)
    else:
        purged = storage.prune(states=_DEAD, before=utcnow(), queues=choice.selection.queues)
    if not quiet:
        output.print_data(f"{purged} deleted")
    return code


def _confirm() -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        usage_error("this deletes all dead jobs: confirm with --yes")
    # Not click.confirm: before 8.2 it prints a blank to stdout even when told to use stderr.
    click.echo("Delete all dead jobs? [y/N]: ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise QueueError("nothing was deleted")

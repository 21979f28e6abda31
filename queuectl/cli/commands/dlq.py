"""The commands `dlq list`, `dlq retry` and `dlq purge`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import (
    QueueCommand,
    QueueGroup,
    can_ask,
    confirm,
    open_storage,
    option,
    quiet_option,
    usage_error,
)
from queuectl.cli.commands.actions import retry_command
from queuectl.cli.commands.list import LIST_SECTIONS, list_options, print_list
from queuectl.cli.commands.prune import delete_named
from queuectl.cli.listings import print_dead_jobs
from queuectl.cli.selection import (
    all_option,
    choose,
    jobs_argument,
    queue_names,
    queue_option,
    state_option,
)
from queuectl.core.models import Selection
from queuectl.core.states import JobState
from queuectl.core.times import utcnow

if TYPE_CHECKING:
    from queuectl.core.job_query import JobQuery

_DEAD = (JobState.DEAD,)


@click.group("dlq", cls=QueueGroup)
def dlq() -> None:
    """List, retry or delete dead jobs.

    A job is dead when it has used up its attempts.
    """


@dlq.command("list", cls=QueueCommand, sections=LIST_SECTIONS)
@list_options(default_number="all")
def dlq_list(
    queues: Sequence[str],
    label: str | None,
    since: datetime | None,
    schedule: str | None,
    query: JobQuery | None,
    **shown: Any,
) -> None:
    """List the dead jobs and why each of them failed.

    \b
    Examples:
      queuectl dlq list
      queuectl dlq list --last 5
      queuectl dlq list --json | jq -r '.[] | [.id, .last_error] | @tsv'
    """
    names = queue_names(queues)
    dead = Selection(names, _DEAD, label, since, schedule=schedule, query=query)
    print_list(dead, print_dead_jobs, none="no dead jobs", **shown)


dlq.add_command(
    retry_command(
        """Run dead jobs again.

        They start over with all their attempts; their history is kept. Options can change them
        before they run.

        \b
        Examples:
          queuectl dlq retry @17
          queuectl dlq retry --all --timeout 0
        """,
        retryable=_DEAD,
        by_default=_DEAD,
        says_none=True,
    )
)


@dlq.command("purge", cls=QueueCommand)
@jobs_argument(JobState.DEAD)
@queue_option
@state_option(*_DEAD)
@all_option("Delete all dead jobs.")
@option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@quiet_option
def dlq_purge(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    everything: bool,
    yes: bool,
    quiet: bool,
) -> int:
    """Delete dead jobs, their history and their output.

    \b
    Examples:
      queuectl dlq purge @17
      queuectl dlq purge --queue photos
      queuectl dlq purge --all --yes
    """
    choice = choose(jobs, queues, states, everything=everything, among=_DEAD)
    asks = choice.selection is not None and not queues and not yes
    if asks and not can_ask():
        usage_error("this deletes all dead jobs (confirm with --yes)")
    storage = open_storage(write=True)
    code = 0
    if choice.selection is None:
        purged, code = delete_named(storage, choice.named, _DEAD, 0.0)
    else:
        # A job that dies while the question waits for its answer is not among those counted.
        counted_at = utcnow()
        count = storage.count(choice.selection) if asks else 0
        if count:
            them = "the dead job" if count == 1 else f"all {count} dead jobs"
            confirm(f"this deletes {them}", f"Delete {them}?", "nothing was deleted")
        purged = storage.prune(states=_DEAD, before=counted_at, queues=choice.selection.queues)
    if not quiet:
        output.print_line(f"{purged} deleted")
    return code

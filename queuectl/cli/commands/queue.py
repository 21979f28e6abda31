"""The commands `queue list`, `pause`, `resume` and `limit`."""

from __future__ import annotations

from typing import Any

import click

from queuectl.cli import offers, output
from queuectl.cli.colors import bad, strong
from queuectl.cli.command import (
    QueueCommand,
    QueueGroup,
    json_option,
    open_storage,
    option,
    quiet_option,
)
from queuectl.cli.shown_times import relative_time
from queuectl.cli.tables import Cell, Column, Styled, only, print_table
from queuectl.core.errors import InvalidInput
from queuectl.core.models import QueueStatus, Selection
from queuectl.core.states import JobState
from queuectl.core.times import optional_text, utcnow
from queuectl.core.values import check_any_queue, check_reason
from queuectl.host.processes import user_name

_LARGEST_LIMIT = 1_000_000
_COLUMNS = (
    Column("QUEUE", least=8),
    Column("PENDING", right=True),
    Column("PROCESSING", right=True),
    Column("FAILED", right=True, says_nothing=only("0")),
    Column("SCHEDULED", right=True, says_nothing=only("0")),
    Column("BLOCKED", right=True, says_nothing=only("0")),
    Column("COMPLETED", right=True, optional=True),
    Column("DEAD", right=True),
    Column("CANCELLED", right=True, says_nothing=only("0"), optional=True),
    Column("LIMIT", right=True, says_nothing=only("-")),
    Column("PAUSED", least=7, says_nothing=only("-")),
)


_optional_queue = click.argument(
    "name", required=False, metavar="[QUEUE]", shell_complete=offers.queue
)


@click.group("queue", cls=QueueGroup)
def queue() -> None:
    """List, pause, resume and limit queues."""


@queue.command("list", cls=QueueCommand)
@json_option
def queue_list(as_json: bool) -> None:
    """List the queues with their pauses, limits and numbers of jobs.

    \b
    Examples:
      queuectl queue list
      queuectl queue list --json | jq -r '.[] | select(.paused) | .name'
    """
    storage = open_storage()
    queues = storage.queues()
    if as_json:
        output.print_json([_queue_json(found) for found in queues])
        return
    if not print_table(_COLUMNS, map(_row, queues)):
        output.message("no queues yet")
    if storage.all_paused():
        output.message("all queues are paused (queuectl queue resume)")


def _row(found: QueueStatus) -> list[Cell]:
    """Return what the table shows of a queue."""
    pause: Cell = "-"
    if found.paused:
        reason = f": {found.pause_reason}" if found.pause_reason else ""
        since = relative_time(found.paused_at, now=utcnow())
        pause = Styled(f"by {found.paused_by}, {since}{reason}", strong)
    counts = found.counts
    numbers = (
        counts[JobState.PENDING],
        counts[JobState.PROCESSING],
        counts[JobState.FAILED],
        counts[JobState.SCHEDULED],
        counts[JobState.BLOCKED],
        counts[JobState.COMPLETED],
        Styled(str(counts[JobState.DEAD]), bad) if counts[JobState.DEAD] else 0,
        counts[JobState.CANCELLED],
    )
    limit = "-" if found.limit is None else found.limit
    return [found.name, *numbers, limit, pause]


@queue.command("pause", cls=QueueCommand)
@_optional_queue
@option("--reason", metavar="TEXT", help="The reason, which `queuectl queue list` prints.")
@quiet_option
def queue_pause(name: str | None, reason: str | None, quiet: bool) -> None:
    """Start no more jobs of a queue, or of all queues.

    Running jobs are not affected. Without QUEUE, one switch pauses all queues, those to come
    included.

    \b
    Examples:
      queuectl queue pause
      queuectl queue pause --reason 'disk full' backups
    """
    name = None if name is None else check_any_queue(name, "queue")
    reason = check_reason(reason, "--reason")
    storage = open_storage(create=True)
    storage.pause_queue(name, by=user_name(), reason=reason, now=utcnow())
    if quiet:
        return
    output.print_line(f"paused {name or 'all queues'}")
    if name is not None and not storage.count(Selection(queues=(name,))):
        output.message(f"there are no jobs in {name} yet (queuectl queue list shows the queues)")


@queue.command("resume", cls=QueueCommand)
@_optional_queue
@quiet_option
def queue_resume(name: str | None, quiet: bool) -> None:
    """Start jobs of a paused queue again.

    Without QUEUE, every pause is lifted.

    \b
    Examples:
      queuectl queue resume backups
      queuectl queue resume
    """
    name = None if name is None else check_any_queue(name, "queue")
    storage = open_storage(write=True)
    storage.resume_queue(name)
    if not quiet:
        output.print_line(f"resumed {name or 'all queues'}")
    if name is not None and storage.all_paused():
        output.message("all queues are still paused (queuectl queue resume)")


@queue.command("limit", cls=QueueCommand)
@click.argument("name", metavar="QUEUE", shell_complete=offers.queue)
@click.argument("limit", metavar="N|none")
@quiet_option
def queue_limit(name: str, limit: str, quiet: bool) -> None:
    """Run at most N jobs of a queue at the same time.

    The limit holds for all workers together; none removes it.

    \b
    Examples:
      queuectl queue limit downloads 2
      queuectl queue limit downloads none
    """
    name = check_any_queue(name, "queue")
    number = None
    if limit != "none":
        digits = limit.isascii() and limit.isdigit() and len(limit) <= len(str(_LARGEST_LIMIT))
        number = int(limit) if digits else 0
        if not 1 <= number <= _LARGEST_LIMIT:
            raise InvalidInput(
                f"N must be a whole number from 1 to {_LARGEST_LIMIT}, or none, not {limit!r}"
            )
    open_storage(create=True).limit_queue(name, number)
    if not quiet:
        output.print_line(
            f"{name}: {'no limit' if number is None else f'at most {number} at once'}"
        )


def _queue_json(found: QueueStatus) -> dict[str, Any]:
    return {
        "name": found.name,
        "paused": found.paused,
        "paused_at": optional_text(found.paused_at),
        "paused_by": found.paused_by,
        "pause_reason": found.pause_reason,
        "limit": found.limit,
        **{state.value: found.counts[state] for state in JobState},
    }

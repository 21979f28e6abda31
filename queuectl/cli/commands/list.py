"""The command `list`, and what it shares with `dlq list`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Sequence, TypeVar

import click

from queuectl.cli import offers, output
from queuectl.cli.command import (
    QueueCommand,
    all_of,
    json_option,
    open_storage,
    option,
    usage_error,
)
from queuectl.cli.json_shapes import job_json
from queuectl.cli.listings import Longest, print_jobs
from queuectl.cli.parameters import FIND, WholeNumber
from queuectl.cli.selection import (
    label_option,
    queue_names,
    queue_option,
    since_option,
    state_names,
    state_option,
)
from queuectl.core.cells import width
from queuectl.core.models import Job, Selection
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage import Storage

if TYPE_CHECKING:
    from queuectl.core.job_query import JobQuery

_Function = TypeVar("_Function", bound=Callable[..., Any])

_MOST_ON_A_TERMINAL = 100


LIST_SECTIONS = {
    "Which jobs": "--find --state --queue --label --schedule --batch --since --last",
    "What is printed": "--ids --show-env --json",
}
"""The sections of the options of `list` and `dlq list`."""


def list_options(*, default_number: str) -> Callable[[_Function], _Function]:
    """Add the options of a command that lists jobs, all but `--state`."""
    return all_of(
        option(
            "--find",
            "query",
            type=FIND,
            metavar="WORDS",
            help="Only jobs that hold these words, or fields such as state:dead or exit:12.",
        ),
        queue_option,
        label_option,
        option(
            "--schedule",
            metavar="NAME",
            shell_complete=offers.schedules,
            help="Only jobs that this schedule made.",
        ),
        since_option,
        option(
            "-n",
            "--last",
            "newest",
            type=WholeNumber(1),
            metavar="N",
            help=f"Only the newest N jobs (default: {default_number}).",
        ),
        option("--ids", is_flag=True, help="Print only the ids."),
        option(
            "--show-env",
            is_flag=True,
            help="With --json: print the values of environment variables (default: ***).",
        ),
        json_option,
    )


def print_list(
    selection: Selection,
    table: Callable[[Iterable[Job], Longest], bool],
    *,
    none: str,
    newest: int | None,
    ids: bool,
    show_env: bool,
    as_json: bool,
    has_overview: bool = False,
) -> Storage:
    """Print jobs in the order they were enqueued; return the storage, which stays open.

    With `has_overview` a terminal shows the most interesting ones instead. `none` is the message
    when there are no such jobs.
    """
    if ids and as_json:
        usage_error("--ids and --json cannot be used together")
    storage = open_storage()
    if as_json:
        jobs = storage.jobs(selection, newest=newest)
        both = storage.with_last_runs(jobs)
        output.print_json_array(job_json(job, last, show_env=show_env) for job, last in both)
    elif ids:
        for job in storage.jobs(selection, newest=newest):
            output.print_line(job.id)
    else:
        jobs, hidden = storage.jobs(selection, newest=newest), 0
        if newest is None and has_overview and output.on_terminal():
            chosen = storage.overview(selection, _most_rows(), now=utcnow())
            jobs, hidden = iter(chosen), storage.count(selection) - len(chosen)
        if not table(jobs, lambda: _longest(storage)):
            output.message(none)
        if hidden > 0:
            output.message(f"{hidden} more (queuectl list --last N)")
    return storage


def _most_rows() -> int:
    """Return how many jobs to list so that header and last line stay on the screen, at most 100."""
    lines = output.screen_lines()
    return _MOST_ON_A_TERMINAL if lines is None else max(10, min(_MOST_ON_A_TERMINAL, lines - 3))


def _longest(storage: Storage) -> Mapping[str, int]:
    """Return how many cells some columns of a long list need, about: most names are ASCII."""
    queues = {count.queue for count in storage.counts()}
    identity, label = storage.longest()
    return {"ID": identity, "LABEL": label, "QUEUE": max(map(width, queues), default=0)}


@click.command("list", cls=QueueCommand, sections=LIST_SECTIONS)
@state_option()
@list_options(default_number="as many as a terminal has room for, else all")
def list_jobs(
    states: Sequence[Any],
    queues: Sequence[str],
    label: str | None,
    since: datetime | None,
    schedule: str | None,
    query: JobQuery | None,
    **shown: Any,
) -> None:
    """List jobs: those that run, failed, are next, or have ended.

    On a terminal it lists as many as there is room for: first those that run, then those that
    failed, then those that start next, then those that ended last. Elsewhere, and with --last, it
    lists them in the order in which they were enqueued, the newest last.

    \b
    Examples:
      queuectl list
      queuectl list --state failed,dead --last 20
      queuectl list --queue photos --ids
      queuectl list --label 'nightly*' --since yesterday
      queuectl list --find 'rsync exit:12 after:1h'
      queuectl list --json | jq -r '.[] | [.id, .state] | @tsv'
    """
    selection = Selection(
        queue_names(queues), state_names(states), label, since, schedule=schedule, query=query
    )
    storage = print_list(selection, print_jobs, none="no jobs", has_overview=True, **shown)
    if not (shown["ids"] or shown["as_json"]):
        _mention_dead(storage, selection)


def _mention_dead(storage: Storage, selection: Selection) -> None:
    """Tell somebody who looks for failed jobs, and finds none, about the dead ones."""
    if selection.states != (JobState.FAILED,) or storage.count(selection):
        return
    dead = storage.count(selection._replace(states=(JobState.DEAD,)))
    if dead:
        output.message(f"{dead} {'is' if dead == 1 else 'are'} dead: queuectl dlq list")

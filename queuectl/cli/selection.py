"""Choosing jobs on the command line: by id, from stdin, by queue and state; and completion."""

from __future__ import annotations

import sys
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Iterable,
    Iterator,
    Sequence,
    TypeVar,
)

import click

from queuectl.cli import offers
from queuectl.cli.command import all_of, option, usage_error
from queuectl.cli.parameters import PATTERN, SINCE, States
from queuectl.core.batches import PREFIX, is_batch
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState

if TYPE_CHECKING:
    from queuectl.core.models import Job, JobKey, Selection
    from queuectl.storage import Storage

_Function = TypeVar("_Function", bound=Callable[..., Any])
_BATCHES = "queuectl.batches"


def queue_option(function: _Function) -> _Function:
    """Add `--queue`, which may be repeated or given as `a,b`, and `--batch`, a queue of `run`."""
    queue = option(
        "--queue",
        "queues",
        multiple=True,
        metavar="QUEUE",
        callback=_with_batches,
        shell_complete=offers.queues,
        help="Only this queue (repeatable, or A,B).",
    )
    batch = option(
        "--batch",
        multiple=True,
        metavar="NAME",
        expose_value=False,
        callback=_as_queues,
        shell_complete=offers.batches,
        help="Only this batch of queuectl run (repeatable, or A,B).",
    )
    return queue(batch(function))


def _with_batches(ctx: click.Context, _param: Any, queues: tuple[str, ...]) -> tuple[str, ...]:
    batches: tuple[str, ...] = ctx.meta.get(_BATCHES, ())
    return queues + batches


def _as_queues(ctx: click.Context, _param: Any, names: tuple[str, ...]) -> None:
    """Add the queues of batches to those of `--queue`, whichever option is read first."""
    batches = tuple(
        name if is_batch(name) else PREFIX + name for item in names for name in item.split(",")
    )
    if "queues" in ctx.params:
        ctx.params["queues"] += batches
    else:
        ctx.meta[_BATCHES] = batches


def state_option(*among: JobState) -> Callable[[_Function], _Function]:
    """Add `--state`, which may be repeated or given as `a,b`. The help names the states `among`.

    Without any, it names all states.
    """
    return option(
        "--state",
        "states",
        type=States(among or tuple(JobState)),
        multiple=True,
        metavar="STATE",
        help="Only jobs in this state (repeatable, or A,B).",
    )


label_option = option(
    "--label",
    type=PATTERN,
    metavar="GLOB",
    shell_complete=offers.labels,
    help="Only jobs whose label matches, for example 'nightly*'.",
)

since_option = option(
    "--since",
    type=SINCE,
    metavar="WHEN",
    help="Only jobs that were enqueued, started or ended since then.",
)


def jobs_argument(*states: JobState) -> Callable[[_Function], _Function]:
    """Add `[JOB]...`; completion offers ids of jobs in these states, or of all jobs if none."""
    return click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=offers.jobs(*states))


def queue_names(given: Sequence[str]) -> tuple[str, ...]:
    """Return the queues that `--queue` named; InvalidInput for what cannot be a queue."""
    from queuectl.core.values import check_any_queue

    return tuple(check_any_queue(name, "--queue") for item in given for name in item.split(","))


def state_names(given: Sequence[tuple[JobState, ...]]) -> tuple[JobState, ...]:
    """Return the states that `--state` named, without repetitions."""
    return tuple(dict.fromkeys(state for item in given for state in item))


def all_option(help_text: str) -> Callable[[_Function], _Function]:
    """Add `--all`, which a command that can do damage needs if nothing else chooses jobs."""
    return option("--all", "everything", is_flag=True, help=help_text)


def choosing_options(*among: JobState, everything: str) -> Callable[[_Function], _Function]:
    """Add what chooses the jobs that a command acts on, in the states `among`.

    `everything` is the help of `--all`.
    """
    return all_of(
        jobs_argument(*among), queue_option, state_option(*among), label_option,
        all_option(everything),
    )  # fmt: skip


class Choice(NamedTuple):
    """The jobs that a command is to act on: some by name, or those that options select."""

    named: tuple[str, ...]
    """Ids, beginnings of ids, or names that begin with `@`."""
    selection: Selection | None
    """The jobs that options select; None if jobs are named."""
    among: Sequence[JobState]
    """The states of the jobs that the command can act on."""

    def keys(self, storage: Storage) -> Iterable[JobKey | str]:
        """Return the keys of the selected jobs, read page by page, or the names that were given."""
        if self.selection is None:
            return one_by_one(storage, self.named, self.among)
        return storage.keys(self.selection)

    def finds_any(self, storage: Storage) -> bool:
        """Whether options select a job."""
        return self.selection is not None and storage.count(self.selection) > 0

    def jobs(self, storage: Storage) -> Iterator[Job]:
        """Yield the jobs. Raises NoSuchJob or AmbiguousJob for the first name that is wrong."""
        if self.selection is None:
            return map(storage.get, one_by_one(storage, self.named, self.among))
        return storage.jobs(self.selection)


def choose(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[tuple[JobState, ...]] = (),
    *,
    label: str | None = None,
    everything: bool,
    among: Sequence[JobState],
) -> Choice:
    """Return which jobs the arguments and options choose; this does not open the queue.

    Options select only jobs in the states `among`. Ends the command with exit code 2 if neither a
    name nor an option was given.
    """
    if jobs:
        if queues or states or everything:
            usage_error("job ids and --queue, --state or --all cannot be used together")
        if label is not None:
            usage_error("job ids and --label cannot be used together")
        return Choice(named_jobs(jobs), None, among)
    if not (queues or states or everything or label is not None):
        usage_error("no jobs given (give their ids, --queue, --state or --all)")
    from queuectl.core.models import Selection  # not for enqueue, which imports this module

    wanted = [state for state in state_names(states) or among if state in among]
    if not wanted:  # the command cannot act on any of these states: it succeeds with no job
        return Choice((), None, among)
    return Choice((), Selection(queue_names(queues), tuple(wanted), label), among)


def one_by_one(storage: Storage, names: Iterable[str], among: Sequence[JobState]) -> Iterator[str]:
    """Yield names of single jobs: instead of `@running` and `@failed` the ids of all such jobs.

    Of these only the jobs in the states `among`, which the command can act on. If there are none,
    the name is kept, which then means a single job or is an error.
    """
    for name in names:
        ids: Iterable[str] = (name,)
        if name.startswith("@"):
            from queuectl.core.models import Selection  # not for enqueue
            from queuectl.storage.names import group

            states = group(name, among)
            if states and storage.count(Selection(states=states)):
                ids = (key.id for key in storage.keys(Selection(states=states)))
        yield from ids


def named_jobs(jobs: Sequence[str]) -> tuple[str, ...]:
    """Return the given names without repetitions; `-` stands for those on stdin."""
    if "-" not in jobs:
        return tuple(dict.fromkeys(jobs))
    if list(jobs) != ["-"]:
        usage_error("- cannot be used with other ids: it reads them from stdin")
    return tuple(dict.fromkeys(sys.stdin.read().split()))

"""The commands that act on jobs: `cancel`, `retry` and `edit`."""

from __future__ import annotations

import os
import sys
from typing import Any, Iterable, Sequence

import click

from queuectl.cli import offers, output
from queuectl.cli.command import QueueCommand, open_storage, option, quiet_option, usage_error
from queuectl.cli.command_line import NamedCommandLine
from queuectl.cli.job_options import (
    JOB_SECTIONS,
    changed_fields,
    command_text,
    job_options,
    warn_unsatisfiable,
)
from queuectl.cli.looking import shown_name
from queuectl.cli.selection import choose, choosing_options, state_names
from queuectl.cli.summary import act_on, verbose_option
from queuectl.core.errors import AmbiguousJob, NoSuchJob, QueueError, WrongState
from queuectl.core.models import Job, JobKey, Selection
from queuectl.core.naming import quoted
from queuectl.core.states import FINISHED_STATES, UNFINISHED_STATES, WAITING_STATES, JobState
from queuectl.core.times import utcnow
from queuectl.core.values import check_reason
from queuectl.storage import Storage
from queuectl.storage.actions import RETRYABLE_STATES
from queuectl.storage.enqueueing import hook_depth


@click.command("cancel", cls=QueueCommand)
@choosing_options(*UNFINISHED_STATES, everything="Cancel all unfinished jobs.")
@option(
    "--cascade",
    is_flag=True,
    help="Also cancel all jobs that wait for them (--after, --after-any), directly or not.",
)
@option("--reason", metavar="TEXT", help="The reason, which `queuectl show` prints.")
@verbose_option
@quiet_option
def cancel(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    label: str | None,
    everything: bool,
    cascade: bool,
    reason: str | None,
    verbose: bool,
    quiet: bool,
) -> int:
    """End jobs for good and keep their record.

    A waiting job ends at once. A running job is killed, with all processes that it started.

    \b
    Examples:
      queuectl cancel @17 @18
      queuectl cancel --reason 'wrong input' nightly-backup
      queuectl cancel --cascade build            and what waits for it
      queuectl cancel --queue photos --state pending
    """
    reason = check_reason(reason, "--reason")
    among = UNFINISHED_STATES
    choice = choose(jobs, queues, states, label=label, everything=everything, among=among)
    storage = open_storage(write=True)

    def cancel_one(key: JobKey | str) -> str | None:
        job = storage.get(key) if isinstance(key, str) else key
        try:
            state = storage.cancel(job, reason=reason, now=utcnow())
        except WrongState as error:
            raise error.with_name(shown_name(job)) from None
        ending = state is JobState.PROCESSING
        return None if quiet else f"{shown_name(job)} {'is being' if ending else 'is'} cancelled"

    names = " or ".join(state.value for state in state_names(states))
    return act_on(
        choice,
        storage,
        cancel_one,
        verbose=verbose,
        quiet=quiet,
        doing="cancelling",
        none=f"no {names or 'unfinished'} jobs",
        keys=_with_dependants(storage, choice.keys(storage)) if cascade else None,
    )


def _with_dependants(storage: Storage, chosen: Iterable[JobKey | str]) -> list[JobKey | str]:
    """Return jobs and all that wait for them; first the names that no job has."""
    found: list[JobKey] = []
    unknown: list[JobKey | str] = []
    for item in chosen:
        if isinstance(item, str):
            try:
                job = storage.get(item)
            except (NoSuchJob, AmbiguousJob):
                unknown.append(item)
                continue
            found.append(JobKey(job.seq, job.id))
        else:
            found.append(item)
    return [*unknown, *storage.with_dependants(found)]


_RETRY_SECTIONS = {
    "Which jobs": "--all --queue --batch --state --label",
    "Changes": "--command --cwd --env --shell --input",
    **{name: JOB_SECTIONS[name] for name in ("When it starts", "Limits", "When it ends")},
}


def retry_command(
    text: str,
    *,
    retryable: Sequence[JobState],
    by_default: Sequence[JobState],
    says_none: bool = False,
) -> click.Command:
    """Return a command that retries jobs: `retry` or `dlq retry`.

    It retries jobs in the states `retryable`. Without --state, options choose only jobs in the
    states `by_default`. With `says_none`, a message says that they choose no job, also off a
    terminal.
    """

    @click.command("retry", cls=QueueCommand, help=text, sections=_RETRY_SECTIONS)
    @choosing_options(
        *retryable,
        everything=f"Retry all {' and '.join(state.value for state in by_default)} jobs.",
    )
    @option(
        "--command",
        "new_command",
        metavar="TEXT",
        shell_complete=offers.command,
        help="Run this shell command instead.",
    )
    @job_options(new=False, chooses=True)
    @verbose_option
    @quiet_option
    def command(
        jobs: Sequence[str],
        queues: Sequence[str],
        states: Sequence[Any],
        label: str | None,
        everything: bool,
        new_command: str | None,
        env: Sequence[str],
        verbose: bool,
        quiet: bool,
        **options: Any,
    ) -> int:
        if options["input"] == "-" and "-" in jobs:
            usage_error("stdin is read for the ids already (--input needs a file)")
        changes = changed_fields(options, env, new_command)
        among = retryable if states else by_default
        choice = choose(jobs, queues, states, label=label, everything=everything, among=among)
        storage = open_storage(write=True)
        depth = hook_depth(os.environ)
        waiting: list[JobKey | Job] = []
        retried: set[str] = set()
        if choice.selection is not None:
            retried = _selected_queues(storage, choice.selection)

        def retry_one(key: JobKey | str) -> str | None:
            job = storage.get(key) if isinstance(key, str) else key
            try:
                state = storage.retry(
                    job, changes, now=utcnow(), states=retryable, hook_depth=depth
                )
            except WrongState as error:
                raise error.with_name(shown_name(job)) from None
            again = " again" if state is JobState.PENDING else ""
            if isinstance(job, Job):
                retried.add(job.queue)
            if state is JobState.BLOCKED:
                waiting.append(job)
            is_paused = isinstance(job, Job) and job.paused_at is not None
            paused = ", paused" if is_paused else ""
            return None if quiet else f"{shown_name(job)} is {state.value}{again}{paused}"

        names = " or ".join(state.value for state in state_names(states) or among)
        code = act_on(
            choice,
            storage,
            retry_one,
            verbose=verbose,
            quiet=quiet,
            doing="retrying",
            none=f"no {names} jobs",
            on_terminal_only=not says_none,
        )
        if not quiet:
            _warn_of_waits(storage, waiting, retried)
        return code

    return command


retry = retry_command(
    """Run failed or finished jobs again.

    A failed job is retried at once. A finished job starts over with all its attempts; its history
    is kept. Options can change the jobs before they run.

    \b
    Examples:
      queuectl retry @17
      queuectl retry @17 --max-retries 5 --env LEVEL=debug
      queuectl retry --all                       all failed and dead jobs
      queuectl list --ids --state cancelled | queuectl retry -
    """,
    retryable=RETRYABLE_STATES,
    by_default=(JobState.FAILED, JobState.DEAD),
)


@click.command("edit", cls=NamedCommandLine, sections=JOB_SECTIONS)
@click.argument("job", metavar="JOB", shell_complete=offers.jobs(*WAITING_STATES, JobState.DEAD))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ARG]...]",
                shell_complete=offers.command)  # fmt: skip
@job_options(new=False)
@quiet_option
def edit(
    job: str,
    words: Sequence[str],
    literal: bool,
    env: Sequence[str],
    quiet: bool,
    **options: Any,
) -> None:
    """Change the command or the settings of a waiting or dead job.

    A dead job has the changes when it is retried.

    \b
    Examples:
      queuectl edit --priority 10 @17
      queuectl edit nightly-backup 'make report'   a new command
      queuectl edit --after '' @17                 wait for no other job
    """
    if words and not literal:
        _check_command_words(words)
    command = command_text(words, literal=literal) if words else None
    changes = changed_fields(options, env, command)
    if not changes:
        usage_error("nothing to change (give a command or an option)")
    storage = open_storage(write=True)
    found = storage.get(job)
    name = shown_name(found)
    try:
        edited = storage.edit(found, changes, now=utcnow())
    except WrongState as error:
        hint = _retry_hint(name) if error.state in FINISHED_STATES else ""
        raise QueueError(f"{error.with_name(name)}{hint}") from error
    if quiet:
        return
    if "after" in changes:
        _warn_unsatisfiable(storage, edited)
    dead = f": queuectl retry {quoted(name)} runs it" if edited.state is JobState.DEAD else ""
    paused = "" if edited.paused_at is None else ", paused"
    output.print_line(f"{name} is changed; it is {edited.state.value}{paused}{dead}")


def _warn_of_waits(storage: Storage, blocked: Iterable[JobKey | Job], retried: set[str]) -> None:
    """Warn of what keeps retried jobs waiting: other jobs, or a queue that nobody serves."""
    for job in blocked:
        _warn_unsatisfiable(storage, storage.get(job.id))
    if sys.stderr.isatty():
        from queuectl.cli.waiting import warn_unserved  # only on a terminal

        warn_unserved(storage, retried)


def _selected_queues(storage: Storage, selection: Selection) -> set[str]:
    """Return the queues that have jobs in the states of a selection."""
    chosen = (count for count in storage.counts() if count.state in selection.states)
    return {one.queue for one in chosen if one.queue in (selection.queues or [one.queue])}


def _warn_unsatisfiable(storage: Storage, job: Job) -> None:
    """Print a warning if a job waits for jobs that will not complete by themselves."""
    needs = [need.job for need in storage.needs(job) if not need.any_outcome]
    warn_unsatisfiable(job.id, [need.id for need in needs if need.state in FINISHED_STATES])


def _retry_hint(name: str) -> str:
    """Return how a finished job can be changed all the same."""
    return f" (queuectl retry {quoted(name)} takes the options of edit, and runs it again)"


def _check_command_words(words: Sequence[str]) -> None:
    """Refuse a JSON object, and options of `edit` among the words of the command.

    In `edit A B --priority 3` somebody means two jobs, but B would be the new command of A.
    """
    if words[0].startswith("{"):
        usage_error(
            "edit takes no JSON object: use options (or put -- before it if it is a command)"
        )
    own = {name for param in click.get_current_context().command.params for name in param.opts}
    for word in words[1:]:
        name = word.partition("=")[0]
        if name.startswith("--") and name in own:
            usage_error(
                f"{name} goes before the command (put -- before the command if it belongs to that)"
            )

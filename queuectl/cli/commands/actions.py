"""The commands that act on jobs: `cancel`, `retry` and `edit`."""

from __future__ import annotations

from typing import Any, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, each, open_storage, quiet_option, usage_error
from queuectl.cli.job_options import check_options, command_text, job_options, option_fields
from queuectl.cli.selection import (
    all_option,
    choose,
    completer,
    jobs_argument,
    queue_option,
    state_option,
)
from queuectl.core.escaping import escape
from queuectl.core.specs import check_reason
from queuectl.core.states import UNFINISHED_STATES, WAITING_STATES, JobState
from queuectl.core.times import utcnow
from queuectl.storage.actions import RETRYABLE_STATES

_FAILED = (JobState.FAILED, JobState.DEAD)


@click.command("cancel", cls=QueueCommand)
@jobs_argument(*UNFINISHED_STATES)
@queue_option
@state_option
@all_option("Cancel all unfinished jobs.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever asks later.")
@quiet_option
def cancel(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    everything: bool,
    reason: str | None,
    quiet: bool,
) -> int:
    """End jobs for good.

    Waiting ones at once, running ones with all that they started; the record is kept.

    Example: queuectl cancel --reason 'wrong input' nightly-backup
    """
    reason = check_reason(reason, "--reason")
    choice = choose(jobs, queues, states, everything=everything, among=UNFINISHED_STATES)
    storage = open_storage(write=True)

    def cancel_one(name: str) -> None:
        job = storage.get(name)
        state = storage.cancel(job, reason=reason, now=utcnow())
        if not quiet:
            ending = state is JobState.PROCESSING
            output.print_data(f"{escape(job.id)} {'is being' if ending else 'is'} cancelled")

    return each(choice.ids(storage), cancel_one)


@click.command("retry", cls=QueueCommand)
@jobs_argument(*RETRYABLE_STATES)
@queue_option
@state_option
@all_option("Retry all failed and dead jobs.")
@quiet_option
def retry(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    everything: bool,
    quiet: bool,
) -> int:
    """Run failed or finished jobs again.

    A failed one now, a finished one from the start; history is kept.

    Example: queuectl retry nightly-backup
    """
    among = RETRYABLE_STATES if states else _FAILED
    choice = choose(jobs, queues, states, everything=everything, among=among)
    storage = open_storage(write=True)

    def retry_one(name: str) -> None:
        job = storage.get(name)
        storage.retry(job, now=utcnow())
        if not quiet:
            output.print_data(f"{escape(job.id)} is pending again")

    return each(choice.ids(storage), retry_one)


class _EditCommand(QueueCommand):
    """Options come before the new command's first word; what follows belongs to it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let options stand before and after the id, not after the command's first word."""
        ctx.allow_interspersed_args = False
        words = self._words(ctx, args)
        if words:
            # Without the id, what follows it is parsed as if it stood there alone.
            others = [*args[: len(args) - len(words)], *words[1:]]
            command = self._words(ctx, others)
            options = others[: len(others) - len(command)]
            ctx.meta["forced"] = options[-1:] == ["--"]
            if ctx.meta["forced"]:
                options.pop()
            args = [*options, "--", words[0], *command]
        return super().parse_args(ctx, args)

    def _words(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return what is left after the options at the beginning."""
        parsed = self.make_parser(ctx).parse_args(list(args))[0]
        first, others = parsed.get("job"), parsed.get("words")
        # Some versions of click have a sentinel where nothing was given.
        return [
            *([first] if isinstance(first, str) else []),
            *(others if isinstance(others, (list, tuple)) else []),
        ]


@click.command("edit", cls=_EditCommand)
@click.argument("job", metavar="JOB", shell_complete=completer(*WAITING_STATES))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ARG]...]")
@job_options(new=False)
@quiet_option
def edit(job: str, words: Sequence[str], env: Sequence[str], quiet: bool, **options: Any) -> None:
    """Change a waiting job.

    Its command, or what the options say; all else stays.

    \b
    queuectl edit --priority 10 nightly-backup
    queuectl edit nightly-backup 'make report'
    """
    fields = option_fields(options, env)
    if words:
        forced = click.get_current_context().meta["forced"]
        if not forced:
            _refuse_what_is_no_command(words)
        fields["command"] = command_text(words, forced=forced)
    changes = check_options(fields, now=utcnow())
    if not changes:
        usage_error("nothing to change (give a command or an option)")
    storage = open_storage(write=True)
    edited = storage.edit(storage.get(job), changes, now=utcnow())
    if not quiet:
        output.print_data(f"{escape(edited.id)} is {edited.state.value}")


def _refuse_what_is_no_command(words: Sequence[str]) -> None:
    """End for words that only seem to be one: `edit A B --priority 3` is not said of two jobs."""
    if words[0].startswith("{"):
        usage_error(
            "a JSON object is not taken here: say by options what to change (put -- before it if "
            "it is a command)"
        )
    own = {name for param in click.get_current_context().command.params for name in param.opts}
    for word in words[1:]:
        name = word.partition("=")[0]
        if name.startswith("--") and name in own:
            usage_error(
                f"{name} goes before the command (put -- before the command if it belongs to that)"
            )

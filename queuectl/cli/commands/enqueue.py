"""The command `enqueue`: one job, or many at once."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import (
    QueueCommand,
    fail,
    open_part,
    open_storage,
    queue_files,
    quiet_option,
    usage_error,
)
from queuectl.cli.job_options import (
    check_options,
    current_folder,
    given_fields,
    job_options,
    option_fields,
    warn_unsatisfiable,
)
from queuectl.cli.selection import completer
from queuectl.core.errors import DuplicateId, QueueError
from queuectl.core.specs import JobSpec
from queuectl.core.states import UNFINISHED_STATES
from queuectl.core.times import format_duration, utcnow
from queuectl.storage.enqueueing import Enqueued, Enqueueing

_BULK = ["-"]


class _EnqueueCommand(QueueCommand):
    """Options come before the command; what follows its first word belongs to it.

    After a JSON object or `-`, which are one word, options may still follow.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the first word, then parse by what it is."""
        ctx.allow_interspersed_args = False
        found = self.make_parser(ctx).parse_args(list(args))[0].get("words")
        # Without any word some versions of click have a sentinel here, others an empty tuple.
        words = found if isinstance(found, (list, tuple)) else ()
        ctx.meta["forced"] = bool(words) and args[: -len(words)][-1:] == ["--"]
        if words and not ctx.meta["forced"] and (words[0].startswith("{") or words[0] == "-"):
            ctx.allow_interspersed_args = True
        return super().parse_args(ctx, args)


@click.command("enqueue", cls=_EnqueueCommand)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="SPEC | COMMAND [ARG]... | -")
@click.option("--id", "id", metavar="ID", help="The job's id (made by itself: 12 hex digits).")
@job_options(new=True)
@click.option("--unique", "unique_key", metavar="KEY", help="One unfinished job a key.")
@click.option(
    "--if-dup",
    type=click.Choice(["skip", "replace", "error"]),
    help="If the key is held: print its job's id (default), give that the new command, or fail.",
)
@click.option(
    "--after",
    multiple=True,
    metavar="JOB",
    shell_complete=completer(*UNFINISHED_STATES),
    help="Run it once that job has completed (repeatable, or a,b).",
)
@click.option(
    "--after-any",
    multiple=True,
    metavar="JOB",
    shell_complete=completer(*UNFINISHED_STATES),
    help="Run it once that job has ended, however.",
)
@click.option("-w", "--wait", is_flag=True, help="Wait for its end; stdout is what it prints.")
@click.option(
    "--output",
    "shown",
    type=click.Choice(["always", "on-failure", "none"]),
    help="With --wait: what to show of its output (default: always).",
)
@click.option("--file", "path", metavar="F", help="Read JSON Lines from a file, as - from stdin.")
@click.option("--lines", is_flag=True, help="With - or --file: a shell command a line.")
@quiet_option
def enqueue(
    words: tuple[str, ...],
    env: Sequence[str],
    wait: bool,
    shown: str | None,
    path: str | None,
    lines: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Store a shell command as a job; prints its id.

    One word is a shell command as written, or the JSON object of a job; several words are one
    command with its arguments; - reads JSON Lines. Options come before the command.

    \b
    queuectl enqueue 'tar czf home.tgz ~ && echo ok'
    queuectl enqueue --timeout 1h rsync -a src/ backup:dst/
    queuectl enqueue '{"command": "make", "priority": 5}'
    """
    now = utcnow()
    forced = click.get_current_context().meta["forced"]
    if shown is not None and not wait:
        usage_error("--output goes with --wait")
    defaults = check_options(option_fields(options, env), now=now)
    if path is not None or (list(words) == _BULK and not forced):
        if words and path is not None:
            usage_error("- and --file exclude each other, and a command")
        for name, given in (("--wait", wait), ("--id", options["id"]),
                            ("--unique", options["unique_key"])):  # fmt: skip
            if given:
                usage_error(f"{name} is for one job, not for many")
        from queuectl.cli.commands.enqueue_many import enqueue_lines  # only here

        enqueue_lines(path, defaults, as_commands=lines, quiet=quiet, now=now)
        return
    if lines:
        usage_error("--lines goes with - or --file")
    if words[:1] == ("-",) and not forced:
        usage_error("nothing may follow - but options")
    given_by_words = given_fields(words, forced=forced)
    if "cwd" not in defaults and given_by_words.get("cwd") is None:
        defaults["cwd"] = current_folder()
    spec = JobSpec.from_fields(given_by_words, now=now, defaults=defaults)
    enqueued = _store(spec, now)
    if not quiet:
        warn_unsatisfiable(enqueued)
    if wait:
        from queuectl.cli.commands.enqueue_wait import wait_attached  # only here

        storage = open_storage()
        wait_attached(storage, storage.get(enqueued.id), shown or "always", quiet=quiet)
    if not quiet:
        _report(enqueued)


def _store(spec: JobSpec, now: datetime) -> Enqueued:
    enqueueing = open_part(Enqueueing, create=True)
    try:
        return enqueueing.enqueue([spec], now=now, environ=os.environ)[0]
    except DuplicateId as error:
        fail(f"{error} (for one at a time use --unique)", error.exit_code)


def _report(enqueued: Enqueued) -> None:
    try:
        output.print_data(enqueued.id)
    except QueueError as error:
        raise QueueError(f"job {enqueued.id} is enqueued, but {error}") from None
    if sys.stderr.isatty():
        output.message(_summary(enqueued))


def _summary(enqueued: Enqueued) -> str:
    if enqueued.existing:
        return f"{enqueued.id} is there already and stands for it"
    limit = f"timeout {format_duration(enqueued.timeout)}" if enqueued.timeout else "no timeout"
    runs = f"up to {enqueued.max_retries} run{'s' if enqueued.max_retries > 1 else ''}"
    parts = [f"queued in {enqueued.queue}", limit, runs]
    from queuectl.host.lockfiles import living_pools  # only on a terminal

    if not any(pool.serves([enqueued.queue]) for pool in living_pools(queue_files())):
        parts.append("no worker is running (queuectl worker start)")
    return "; ".join(parts)

"""The command `enqueue`: one job, or many at once."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any, Mapping, NoReturn, Sequence

import click

from queuectl.cli import offers, output
from queuectl.cli.command import (
    fail,
    open_part,
    open_storage,
    option,
    quiet_option,
    usage_error,
)
from queuectl.cli.command_line import CommandLine, is_template, template_of, template_options
from queuectl.cli.job_options import (
    JOB_SECTIONS,
    check_options,
    current_folder,
    fields_of_words,
    held_key_hint,
    job_options,
    option_fields,
    warn_unsatisfiable,
)
from queuectl.core.errors import DuplicateId, QueueError, UniqueKeyHeld
from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from queuectl.storage.enqueueing import Enqueued, Enqueueing


@click.command("enqueue", cls=CommandLine, sections=JOB_SECTIONS)
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="SPEC | COMMAND [ARG]... [::: ARG...] | -",
    shell_complete=offers.command,
)
@option("--id", "id", metavar="ID", help="Id of the job (default: 12 random hex digits).")
@job_options(new=True)
@option(
    "--unique",
    "unique_key",
    metavar="KEY",
    help="Store nothing if an unfinished job has this key (see --if-dup).",
)
@option(
    "--if-dup",
    type=click.Choice(["skip", "join", "replace", "error"]),
    help="What to do then: print its id (skip, the default); with --wait, also wait for that job "
    "(join); give it this command, unless it is running (replace); or fail (error).",
)
@option(
    "-w",
    "--wait",
    is_flag=True,
    help="Wait for its end; print its output and exit with its code (see queuectl wait -h).",
)
@option(
    "--output",
    "shown",
    type=click.Choice(["always", "on-failure", "none"]),
    help="With --wait: when to print the output (default: always).",
)
@option(
    "--file",
    "path",
    metavar="FILE",
    shell_complete=offers.path(),
    help="Read jobs from FILE, one JSON object per line.",
)
@option("--lines", is_flag=True, help="With - or --file: each line is a shell command.")
@template_options
@quiet_option
def enqueue(
    words: tuple[str, ...],
    literal: bool,
    env: Sequence[str],
    wait: bool,
    shown: str | None,
    path: str | None,
    lines: bool,
    null: bool,
    dry_run: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Store a shell command as a job and print its id.

    One word is a shell command as written; several words are one command with its arguments.
    Options come before the command. A word that begins with { is a job as a JSON object (SPEC).
    With - each line of stdin is such an object; either all of them are stored or none.

    ::: begins arguments, of which each makes one job; :::: FILE reads them from a file, or from
    stdin for -. They replace {} (as given), {.} (without extension), {/} (file name), {//}
    (folder), {/.} (file name without extension) and {#} (number of the job), or else come last.
    Several ::: make all combinations, {1} and {2} tell them apart, and :::+ pairs arguments with
    those before.

    \b
    Examples:
      queuectl enqueue 'tar czf home.tgz ~ && echo ok'
      queuectl enqueue --timeout 1h rsync -a src/ backup:dst/
      queuectl enqueue --at 18:00 --label report make report
      queuectl enqueue --after @last make install
      queuectl enqueue --unique sync --wait rsync -a src/ backup:dst/
      queuectl enqueue '{"command": "make", "priority": 5}'
      queuectl enqueue --lines - < commands.txt
      queuectl enqueue --file jobs.jsonl
      queuectl enqueue ffmpeg -nostdin -i {} {.}.mp4 ::: *.mkv
      find . -name '*.log' -print0 | queuectl enqueue -0 gzip :::: -
    """
    if wait:
        from queuectl.cli.waiting import COULD_NOT_WAIT  # only when it is needed

        click.get_current_context().obj.failure_code = COULD_NOT_WAIT
    now = utcnow()
    reads_stdin = words[:1] == ("-",) and not literal
    if shown is not None and not wait:
        usage_error("--output requires --wait")
    templated = not (literal or reads_stdin) and is_template(words)
    if null and not templated:
        usage_error("--null requires arguments from a file (::::)")
    if options["input"] == "-" and (reads_stdin or (templated and "-" in words)):
        usage_error("stdin is read for the jobs already (--input needs a file)")
    defaults = check_options(option_fields(options, env), now=now)
    if reads_stdin or path is not None or templated:
        from queuectl.cli.commands.enqueue_many import (  # only when it is needed
            Batch,
            enqueue_lines,
            enqueue_template,
        )

        _refuse_for_many(wait=wait, options=options)
        batch = Batch(defaults, now=now, quiet=quiet, dry_run=dry_run)
        if templated:
            if lines or path is not None:
                usage_error("::: cannot be used with --file or --lines")
            enqueue_template(*template_of(words), null=null, batch=batch)
            _point_out_mistakes(words, quiet=quiet)
        else:
            _refuse_words(words, path, lines=lines, options=options)
            enqueue_lines(path, as_commands=lines, batch=batch)
        return
    if lines:
        usage_error("--lines requires - or --file")
    spec = _spec(words, defaults, literal=literal, now=now)
    if dry_run:
        output.print_line(spec.command)
        return
    if wait:
        _point_out_mistakes(words, quiet=quiet or literal)
        _enqueue_and_wait(spec, shown or "always", quiet=quiet, now=now)
    # Not all of the storage: to load it takes 8 ms.
    enqueued = _store(open_part(Enqueueing, create=True), spec, quiet=quiet, now=now)
    if not quiet:
        _report(enqueued, now=now)
    _point_out_mistakes(words, quiet=quiet or literal)


def _point_out_mistakes(words: Sequence[str], *, quiet: bool) -> None:
    """Say on a terminal what the caller may not have meant; the job is stored as it was given."""
    if not quiet and sys.stderr.isatty():
        from queuectl.cli.commands.enqueue_notes import point_out_mistakes  # only on a terminal

        point_out_mistakes(words)


def _refuse_for_many(*, wait: bool, options: Mapping[str, Any]) -> None:
    """End the command if an option was given that is for one job."""
    for name, given in (
        ("--wait", wait),
        ("--id", options["id"]),
        ("--unique", options["unique_key"]),
    ):
        if given:
            usage_error(f"{name} cannot be used with -, --file or :::, because it is for one job")


def _refuse_words(
    words: Sequence[str], path: str | None, *, lines: bool, options: Mapping[str, Any]
) -> None:
    """End the command if it has words or options that do not go with lines of a file or stdin."""
    if words and path is not None:
        usage_error("use one of: a command, -, or --file")
    if len(words) > 1:
        usage_error(f"only options may follow -, not {words[1]}")
    if lines and options["if_dup"]:
        usage_error("--if-dup requires unique_key, which --lines cannot give")


def _spec(
    words: Sequence[str], defaults: Mapping[str, Any], *, literal: bool, now: datetime
) -> JobSpec:
    """Return the job that the words and the options make."""
    given = fields_of_words(words, literal=literal)
    if "cwd" not in defaults and given.get("cwd") is None:
        defaults = {**defaults, "cwd": current_folder()}
    spec = JobSpec.from_fields(given, now=now, defaults=defaults)
    if "if_dup" in defaults and spec.unique_key is None:
        usage_error("--if-dup requires --unique")
    return spec


def _enqueue_and_wait(spec: JobSpec, shown: str, *, quiet: bool, now: datetime) -> NoReturn:
    from queuectl.cli.commands.enqueue_wait import wait_attached  # only when it is needed

    storage = open_storage(create=True)
    enqueued = _store(storage, spec, quiet=quiet, now=now)
    if enqueued.existing and spec.if_dup == "skip":
        # A line of a crontab must not report the failure of an earlier run once more.
        if sys.stderr.isatty() and not quiet:
            output.hint(f"{enqueued.id} has this key: not waited for (--if-dup join waits)")
        click.get_current_context().exit(0)
    wait_attached(storage, enqueued.id, shown, quiet=quiet)


def _store(storage: Enqueueing, spec: JobSpec, *, quiet: bool, now: datetime) -> Enqueued:
    try:
        enqueued = storage.enqueue([spec], now=now, environ=os.environ)[0]
    except DuplicateId as error:
        fail(f"{error} (for one at a time use --unique)", error.exit_code)
    except UniqueKeyHeld as error:
        fail(f"{error}{held_key_hint(error)}", error.exit_code)
    if not quiet:
        warn_unsatisfiable(enqueued.id, enqueued.unsatisfiable)
    return enqueued


def _report(enqueued: Enqueued, *, now: datetime) -> None:
    try:
        output.print_line(enqueued.id)
    except QueueError as error:
        raise QueueError(f"job {enqueued.id} is enqueued, but {error}") from None
    if sys.stderr.isatty():
        from queuectl.cli.commands.enqueue_notes import Notes  # only on a terminal

        notes = Notes()
        notes.add(enqueued)
        notes.say(now=now)

"""Many jobs, stored all or none: `enqueue` with `-`, `--file` or `:::`."""

from __future__ import annotations

import os
import sys
import tempfile
from array import array
from datetime import datetime
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence, Tuple

from queuectl.cli import output
from queuectl.cli.command import fail, open_part
from queuectl.cli.commands.enqueue_notes import Notes, say_what_is_read
from queuectl.cli.job_options import current_folder, held_key_hint, warn_unsatisfiable
from queuectl.cli.jsonlines import Spool, numbered_fields, open_lines, read_arguments
from queuectl.cli.storing import storing
from queuectl.core.arguments import Source, combinations
from queuectl.core.errors import DuplicateId, InvalidInput, QueueError, UniqueKeyHeld
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.specs import JobSpec
from queuectl.core.templates import Template
from queuectl.storage.enqueueing import Enqueued, Enqueueing

NumberedFields = Tuple[int, Mapping[str, Any]]
"""A job that is to be enqueued: its number among all of them, and its fields."""


class Batch(NamedTuple):
    """The options that all jobs of one call have in common."""

    defaults: Mapping[str, Any]
    """The fields that options give; a field of the job itself wins."""
    now: datetime
    quiet: bool
    dry_run: bool
    """Whether the commands are printed and nothing is stored."""


def enqueue_lines(path: str | None, *, as_commands: bool, batch: Batch) -> None:
    """Enqueue one job per line of a file, or of stdin for None."""
    if path is None and not batch.quiet:
        say_what_is_read(as_commands=as_commands)
    _enqueue(line_jobs(path, as_commands=as_commands), "line", batch)


def enqueue_template(
    words: Sequence[str], sources: Sequence[Source], *, null: bool, batch: Batch
) -> None:
    """Enqueue the command that each combination of arguments makes of a template.

    With `null`, a NUL byte ends each argument that is read from a file, not a line break.
    """
    _enqueue(template_jobs(words, sources, null=null), "command", batch)


def line_jobs(path: str | None, *, as_commands: bool) -> Iterator[NumberedFields]:
    """Yield the jobs that the lines of a file describe, or those of stdin for None."""
    with open_lines(path) as source:
        hint = "use --lines if each line is a shell command"
        yield from numbered_fields(source, as_commands=as_commands, text_hint=hint)


def template_jobs(
    words: Sequence[str], sources: Sequence[Source], *, null: bool
) -> Iterator[NumberedFields]:
    """Return the jobs that the combinations of arguments make of a template.

    InvalidInput, at once, if the template is wrong.
    """
    template = Template(words, len(sources))
    separator = b"\0" if null else b"\n"
    arguments = [_arguments(source, separator) for source in sources]
    return (
        (number, {"command": template.command(chosen, number)})
        for number, chosen in enumerate(combinations(sources, arguments), 1)
    )


def _arguments(source: Source, separator: bytes) -> Iterable[str]:
    if not source.names_files:
        return source.words
    return (
        argument
        for name in source.words
        for argument in read_arguments(None if name == "-" else name, separator)
    )


def _enqueue(jobs: Iterable[NumberedFields], each: str, batch: Batch) -> None:
    """Enqueue jobs, given as their numbers and fields; print the ids in their order.

    `each` is what the numbers count. If one job is refused, none is stored. All of them are read
    before the write lock is taken, so that a slow producer does not hold up other writers.
    """
    specs, numbers = read_jobs(jobs, each, batch)
    if batch.dry_run:
        for spec in specs:
            output.print_line(spec.command)
        return
    if not numbers:
        if not batch.quiet:
            output.hint("no jobs were given: nothing is queued")
        return
    notes = Notes()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as ids:

        def keep(enqueued: Enqueued) -> None:
            if not batch.quiet:
                ids.write(enqueued.id + "\n")
                notes.add(enqueued)

        warnings = _store(specs, numbers, each, keep, now=batch.now)
        if batch.quiet:
            return
        for warning in warnings:
            warn_unsatisfiable(warning.id, warning.unsatisfiable)
        ids.seek(0)
        try:
            output.print_file(ids)
        except QueueError as error:
            raise QueueError(f"the {len(numbers)} jobs are enqueued, but {error}") from None
    if sys.stderr.isatty():
        notes.say(now=batch.now)


def read_jobs(
    jobs: Iterable[NumberedFields], each: str, batch: Batch
) -> tuple[Spool[JobSpec], Sequence[int]]:
    """Return the jobs and the number of each; InvalidInput names the first wrong one."""
    numbers = array("L")
    specs = Spool(JobSpec)
    defaults = batch.defaults
    if "cwd" not in defaults:
        defaults = {**defaults, "cwd": current_folder()}
    for number, fields in jobs:
        try:
            spec = JobSpec.from_fields(fields, now=batch.now, defaults=defaults)
            # An input that comes from the options is the same object for all jobs.
            own_input = spec.input if "input" in fields else None
            specs.add(spec, len(str(fields.get("command", ""))) + len(own_input or b""))
        except QueueError as error:
            raise InvalidInput(f"{each} {number}: {error}") from None
        numbers.append(number)
    return specs, numbers


def _store(
    specs: Spool[JobSpec],
    numbers: Sequence[int],
    each: str,
    report: Callable[[Enqueued], None],
    *,
    now: datetime,
) -> list[Enqueued]:
    """Store the jobs; return those that wait for jobs that will not complete."""
    enqueueing = open_part(Enqueueing, create=True)
    try:
        with storing(len(numbers)) as state:

            def report_and_count(enqueued: Enqueued) -> None:
                report(enqueued)
                state.added()

            return enqueueing.enqueue_each(
                specs, report_and_count, now=now, environ=os.environ, moved=state.moved
            )
    except QueueError as error:
        place = "" if error.position is None else f"{each} {numbers[error.position]}: "
        taken = isinstance(error, DuplicateId) and error.state is not None
        hint = " (for one at a time use the field unique_key)" if taken else ""
        if isinstance(error, UniqueKeyHeld):
            hint = held_key_hint(error)
        fail(f"{place}{error}{hint}", error.exit_code)

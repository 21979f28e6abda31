"""`enqueue -` and `enqueue --file`: many jobs, stored in one transaction."""

from __future__ import annotations

import os
import sys
import tempfile
from array import array
from datetime import datetime
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

from queuectl.cli import output
from queuectl.cli.command import fail, open_part
from queuectl.cli.job_options import current_folder, held_key_hint, warn_unsatisfiable
from queuectl.cli.jsonlines import Spool, numbered_fields, open_lines
from queuectl.core.errors import DuplicateId, InvalidInput, QueueError, UniqueKeyHeld
from queuectl.core.specs import JobSpec
from queuectl.storage.enqueueing import Enqueued, Enqueueing

_BAR_EVERY = 1000


def enqueue_lines(
    path: str | None,
    defaults: Mapping[str, Any],
    *,
    as_commands: bool,
    quiet: bool,
    now: datetime,
) -> None:
    """Enqueue one job per line of a file, or of stdin for None; print the ids in their order.

    If one line is refused, no job is stored. All lines are read before the write lock is taken, so
    that a slow producer does not hold up other writers.
    """
    if "cwd" not in defaults:
        defaults = {**defaults, "cwd": current_folder()}
    specs, numbers = _read(path, defaults, as_commands=as_commands, now=now)
    if not numbers:
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8") as ids:

        def keep(enqueued: Enqueued) -> None:
            if not quiet:
                ids.write(enqueued.id + "\n")

        warnings = _store(specs, numbers, keep, now=now)
        if quiet:
            return
        for warning in warnings:
            warn_unsatisfiable(warning.id, warning.unsatisfiable)
        ids.seek(0)
        try:
            output.print_file(ids)
        except QueueError as error:
            raise QueueError(f"the {len(numbers)} jobs are enqueued, but {error}") from None


def _read(
    path: str | None, defaults: Mapping[str, Any], *, as_commands: bool, now: datetime
) -> tuple[Spool[JobSpec], Sequence[int]]:
    """Return the jobs that the lines describe, and the number of the line of each."""
    numbers = array("L")
    specs = Spool(JobSpec)
    with open_lines(path) as source:
        for number, fields in numbered_fields(source, as_commands=as_commands):
            try:
                specs.add(
                    JobSpec.from_fields(fields, now=now, defaults=defaults),
                    len(str(fields.get("command", ""))),
                )
            except QueueError as error:
                raise InvalidInput(f"line {number}: {error}") from None
            numbers.append(number)
    return specs, numbers


def _store(
    specs: Iterable[JobSpec],
    numbers: Sequence[int],
    report: Callable[[Enqueued], None],
    *,
    now: datetime,
) -> list[Enqueued]:
    """Store the jobs; return those that wait for jobs that will not complete."""
    enqueueing = open_part(Enqueueing, create=True)
    on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    shows_bar = on_terminal and len(numbers) >= _BAR_EVERY
    try:
        return enqueueing.enqueue_each(
            _bar(specs, len(numbers)) if shows_bar else specs, report, now=now, environ=os.environ
        )
    except QueueError as error:
        line = "" if error.position is None else f"line {numbers[error.position]}: "
        taken = isinstance(error, DuplicateId) and error.state is not None
        hint = " (for one at a time use the field unique_key)" if taken else ""
        if isinstance(error, UniqueKeyHeld):
            hint = held_key_hint(error)
        fail(f"{line}{error}{hint}", error.exit_code)


def _bar(specs: Iterable[JobSpec], count: int) -> Iterator[JobSpec]:
    """Yield the jobs, and show on the terminal how many are done."""
    from queuectl.cli.terminal import progress  # only here

    with progress(count, "enqueueing") as advance:
        for done, spec in enumerate(specs, 1):
            yield spec
            if done % _BAR_EVERY == 0:
                advance(_BAR_EVERY)
        advance(count % _BAR_EVERY)

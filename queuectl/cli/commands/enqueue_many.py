"""Enqueueing many jobs at once: read and checked to the end, then stored in one transaction."""

from __future__ import annotations

import os
import sys
import tempfile
from array import array
from datetime import datetime
from typing import (
    Any,
    Iterable,
    Iterator,
    Mapping,
)

from queuectl.cli import output
from queuectl.cli.command import fail, open_part
from queuectl.cli.job_options import current_folder, warn_unsatisfiable
from queuectl.cli.jsonlines import Spool, numbered_fields, open_lines
from queuectl.core.errors import DuplicateId, InvalidInput, QueueError
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
    """Enqueue a job a line, all or none; print the ids in order.

    All is read before the write lock is taken: a producer that sleeps keeps nobody out.
    """
    if "cwd" not in defaults:
        defaults = {**defaults, "cwd": current_folder()}
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
    if not numbers:
        return
    intake = open_part(Enqueueing, create=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as ids:

        def keep(enqueued: Enqueued) -> None:
            if not quiet:
                ids.write(enqueued.id + "\n")

        watched = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        shows_bar = watched and len(numbers) >= _BAR_EVERY
        try:
            warnings = intake.enqueue_each(
                _bar(specs, len(numbers)) if shows_bar else specs,
                keep,
                now=now,
                environ=os.environ,
            )
        except QueueError as error:
            line = "" if error.position is None else f"line {numbers[error.position]}: "
            taken = isinstance(error, DuplicateId) and error.state is not None
            hint = " (for one at a time use the field unique_key)" if taken else ""
            fail(f"{line}{error}{hint}", error.exit_code)
        if not quiet:
            for warning in warnings:
                warn_unsatisfiable(warning)
            ids.seek(0)
            try:
                output.print_file(ids)
            except QueueError as error:
                raise QueueError(f"the {len(numbers)} jobs are enqueued, but {error}") from None


def _bar(specs: Iterable[JobSpec], count: int) -> Iterator[JobSpec]:
    """Show on a terminal how far it is."""
    from queuectl.cli.terminal import progress  # only here

    with progress(count, "enqueueing") as advance:
        for done, spec in enumerate(specs, 1):
            yield spec
            if done % _BAR_EVERY == 0:
                advance(_BAR_EVERY)
        advance(count % _BAR_EVERY)

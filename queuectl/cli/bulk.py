"""Enqueueing many jobs at once: read and checked to the end, then stored in one transaction."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from array import array
from datetime import datetime
from typing import (
    IO,
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Type,
    TypeVar,
)

from queuectl.cli import output
from queuectl.cli.command import open_part
from queuectl.cli.enqueue import warn_never_met
from queuectl.cli.fields import current_folder
from queuectl.errors import InvalidInput, QueueError
from queuectl.specs import JobSpec, parse_object
from queuectl.storage.intake import Enqueued, Intake

_Item = TypeVar("_Item", bound=NamedTuple)
_LONGEST_LINE_BYTES = 16 << 20
_HELD_BYTES = 4 << 20
_BAR_EVERY = 1000
_BOM = b"\xef\xbb\xbf"


def enqueue_lines(
    path: Optional[str],
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
    intake = open_part(Intake, create=True)
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
                way_out="for one at a time use the field unique_key",
            )
        except QueueError as error:
            if error.position is not None:
                error.args = (f"line {numbers[error.position]}: {error}",)
            raise
        if not quiet:
            for warning in warnings:
                warn_never_met(warning)
            ids.seek(0)
            try:
                output.emit_file(ids)
            except QueueError as error:
                raise QueueError(f"the {len(numbers)} jobs are enqueued, but {error}") from None


def numbered_fields(
    source: IO[bytes], *, as_commands: bool = False
) -> Iterator[tuple[int, Dict[str, object]]]:
    """Yield the number and the fields of each line that holds a job.

    With `as_commands` a line is a shell command; blank lines and those that begin with # are
    skipped. InvalidInput names the line that is none.
    """
    for number, line in enumerate(iter(lambda: source.readline(_LONGEST_LINE_BYTES + 1), b""), 1):
        if len(line) > _LONGEST_LINE_BYTES:
            raise InvalidInput(f"line {number} is longer than {_LONGEST_LINE_BYTES >> 20} MiB")
        if number == 1 and line.startswith(_BOM):
            line = line[len(_BOM) :]
        stripped = line.strip()
        if not stripped or (as_commands and stripped.startswith(b"#")):
            continue
        try:
            text = line.rstrip(b"\r\n").decode()
            yield number, ({"command": text} if as_commands else parse_object(text))
        except UnicodeDecodeError:
            raise InvalidInput(f"line {number}: it is not valid UTF-8") from None
        except ValueError as error:
            raise InvalidInput(f"line {number}: not a JSON object: {error}") from None


class Spool(Iterable[_Item]):
    """Named tuples in their order, beyond some MiB in a temporary file: memory stays flat."""

    def __init__(self, kind: Type[_Item]) -> None:
        self._kind = kind
        self._held: List[_Item] = []
        self._held_bytes = 0
        self._file: Optional[IO[bytes]] = None

    def add(self, item: _Item, size_bytes: int) -> None:
        """Append an item that takes about so much."""
        self._held.append(item)
        self._held_bytes += size_bytes + 200
        if self._held_bytes >= _HELD_BYTES:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed when read)
            # Plain tuples: named ones take twice as long.
            pickle.dump(list(map(tuple, self._held)), self._file, pickle.HIGHEST_PROTOCOL)
            self._held, self._held_bytes = [], 0

    def __iter__(self) -> Iterator[_Item]:
        """Yield the items, once; nothing can be added any more."""
        if self._file is not None:
            with self._file as spooled:
                spooled.seek(0)
                while True:
                    try:
                        plain = pickle.load(spooled)  # noqa: S301 (our own, unlinked file)
                    except EOFError:
                        break
                    yield from map(self._kind._make, plain)
        yield from self._held


def open_lines(path: Optional[str]) -> IO[bytes]:
    """Open a file of lines, stdin for None; InvalidInput if it cannot be read."""
    if path is None:
        return os.fdopen(os.dup(0), "rb")
    try:
        return open(path, "rb")
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None


def _bar(specs: Iterable[JobSpec], count: int) -> Iterator[JobSpec]:
    """Show on a terminal how far it is."""
    from queuectl.cli.watching import progress  # only here

    with progress(count, "enqueueing") as advance:
        for done, spec in enumerate(specs, 1):
            yield spec
            if done % _BAR_EVERY == 0:
                advance(_BAR_EVERY)
        advance(count % _BAR_EVERY)

"""The lines of a file or of stdin: jobs as JSON, shell commands, or arguments."""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import IO, Iterable, Iterator, TypeVar

from queuectl.core.errors import InvalidInput
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.specs import is_json, parse_object

_Item = TypeVar("_Item", bound=NamedTuple)

_LONGEST_LINE_BYTES = 16 << 20
_HELD_BYTES = 4 << 20
_BOM = b"\xef\xbb\xbf"


class Spool(Iterable[_Item]):
    """A sequence of named tuples. Beyond 4 MiB they go into a temporary file."""

    def __init__(self, kind: type[_Item]) -> None:
        self._kind = kind
        self._held: list[_Item] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._count = 0

    def __len__(self) -> int:
        """Return how many items were added."""
        return self._count

    def add(self, item: _Item, size_bytes: int) -> None:
        """Append an item that takes about this much memory."""
        self._count += 1
        self._held.append(item)
        self._held_bytes += size_bytes + 200
        if self._held_bytes >= _HELD_BYTES:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed when read)
            # Plain tuples take half the time of named ones.
            pickle.dump(list(map(tuple, self._held)), self._file, pickle.HIGHEST_PROTOCOL)
            self._held, self._held_bytes = [], 0

    def __iter__(self) -> Iterator[_Item]:
        """Yield the items. This can be done once, and nothing can be added afterwards."""
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


def numbered_fields(
    source: IO[bytes], *, as_commands: bool = False, text_hint: str = ""
) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the number and the fields of each line that holds a job.

    With `as_commands` a line is a shell command, and a line that begins with # is skipped. Blank
    lines are always skipped. InvalidInput names the first line that is wrong, and says `text_hint`
    if that is no JSON at all.
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
            if as_commands and is_json(text):
                raise InvalidInput(f"line {number}: it is JSON, not a command (leave out --lines)")
            yield number, ({"command": text} if as_commands else parse_object(text))
        except UnicodeDecodeError:
            raise InvalidInput(f"line {number}: it is not valid UTF-8") from None
        except ValueError as error:
            why = _why_no_object(stripped, error, text_hint)
            raise InvalidInput(f"line {number}: not a JSON object{why}") from None


def _why_no_object(line: bytes, error: ValueError, text_hint: str) -> str:
    """Return what is wrong with a line, and what to do about it."""
    if line.startswith(b"["):
        return f": {error} (give one object per line: jq -c '.[]')"
    if line == b"{":
        return f": {error} (give each object in one line: jq -c .)"
    if text_hint and not line.startswith(b"{"):
        return f" ({text_hint})"
    return f": {error}"


def open_lines(path: str | None) -> IO[bytes]:
    """Open a file, or stdin for None. Raises InvalidInput if it cannot be read."""
    if path is None:
        return os.fdopen(os.dup(0), "rb")
    try:
        return open(path, "rb")
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None


def read_arguments(path: str | None, separator: bytes) -> Iterator[str]:
    """Yield the arguments of a file, or of stdin for None; each ends with the separator.

    Blank lines are skipped, but an empty argument between two NUL bytes counts. InvalidInput names
    the first argument that is wrong.
    """
    with open_lines(path) as source:
        for number, found in enumerate(_separated(source, separator), 1):
            if separator == b"\n" and not found.strip():
                continue
            try:
                yield found.decode()
            except UnicodeDecodeError:
                raise InvalidInput(
                    f"{path or 'stdin'}: argument {number} is not valid UTF-8"
                ) from None


def _separated(source: IO[bytes], separator: bytes) -> Iterator[bytes]:
    """Yield what is between separators; the last one may have none after it."""
    rest = b""
    while True:
        chunk = source.read(1 << 16)
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(separator)
        if len(rest) > _LONGEST_LINE_BYTES:
            raise InvalidInput(f"an argument is longer than {_LONGEST_LINE_BYTES >> 20} MiB")
        yield from whole
    if rest:
        yield rest

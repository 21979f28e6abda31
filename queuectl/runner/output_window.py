"""Reading a part of an attempt's output at any position, and searching all of it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Callable, Iterator, Protocol

from queuectl.core.models import Execution, Output
from queuectl.core.named_tuples import NamedTuple
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import open_to_read
from queuectl.runner.output_log import GAP
from queuectl.runner.output_reader import open_running

MOST_BYTES = 1 << 16
"""How much of an output is read at once."""
_MOST_SEARCHED = 64 << 20
"""How much of an output is searched, or counted through."""


class Window(NamedTuple):
    """A part of an output. Positions count the kept bytes, with the line that replaces the middle.

    While the attempt runs, they count the bytes that it has printed.
    """

    content: bytes
    start: int
    """The position of its first byte."""
    end: int
    """The position after its last byte."""
    size: int
    """The position after the last byte of the output so far."""
    first_line: int | None
    """The number of its first line, from 1; None if the middle of the output was not kept."""


class Hit(NamedTuple):
    """A line in which a text was found."""

    number: int
    """The number of the line, from 1, in what is kept."""
    position: int
    """Where the line begins."""
    line: bytes
    """The line, or its beginning."""


class _Source(Protocol):
    """Kept bytes by position."""

    size: int

    def read(self, length: int, start: int) -> bytes: ...


class _Row:
    """An output that was kept in the attempt's row."""

    def __init__(self, output: Output) -> None:
        missing = output.size_bytes - len(output.tail)
        self._content = (GAP.lstrip() % missing if output.truncated else b"") + output.tail
        self.size = len(self._content)

    def read(self, length: int, start: int) -> bytes:
        return self._content[start : start + length]


class _File:
    """An output that was kept in a file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, length: int, start: int) -> bytes:
        return os.pread(self._descriptor, length, start)


class _Running:
    """The output of a running attempt, whose middle may have been cut out already."""

    def __init__(self, descriptor: int, limit_bytes: int) -> None:
        self._descriptor = descriptor
        self._half = limit_bytes // 2
        self.size = os.fstat(descriptor).st_size
        self._is_cut = self.size > limit_bytes

    def read(self, length: int, start: int) -> bytes:
        """Return bytes up to the gap, or the line that replaces the rest of the gap."""
        if not self._is_cut or start >= self.size - self._half:
            return os.pread(self._descriptor, min(length, self.size - start), start)
        if start < self._half:
            return os.pread(self._descriptor, min(length, self._half - start), start)
        return b""

    def gap_at(self, start: int) -> int:
        """Return how many bytes from a position on are not kept; 0 if the position is kept."""
        if not self._is_cut or not self._half <= start < self.size - self._half:
            return 0
        return self.size - self._half - start


def read_window(
    files: QueueFiles,
    execution: Execution,
    limit_bytes: int,
    is_running: Callable[[], bool],
    *,
    start: int | None = None,
    most: int = MOST_BYTES,
) -> Window | None:
    """Return the part of an output that begins at a position, or its end if `start` is None.

    The part ends with a line, and begins with one if `start` is None. None if the output is gone.
    A worker uses the same file for one job after another. So a part of a running attempt counts
    only if `is_running` says afterwards that the attempt still runs: otherwise this also returns
    None, and the caller reads the attempt again.
    """
    with _opened(files, execution, limit_bytes) as source:
        if source is None:
            return None
        begin = max(0, source.size - most) if start is None else min(start, source.size)
        content, end = _read(source, begin, most)
        if start is None and begin > 0:
            cut = content.find(b"\n") + 1
            if 0 < cut < len(content):
                begin, content = begin + cut, content[cut:]
        whole = content.rfind(b"\n") + 1
        if whole and end < source.size:
            content, end = content[:whole], end - (len(content) - whole)
        first = _line_number(source, begin, execution.output)
        size = source.size
    if execution.outcome is None and not is_running():
        return None
    return Window(content, begin, end, size, first)


def line_start(
    files: QueueFiles, execution: Execution, limit_bytes: int, before: int, most: int = MOST_BYTES
) -> int:
    """Return where the part of an output begins that ends at the position `before`.

    The part has at most `most` bytes. It begins with a line, unless a line is longer than that.
    """
    begin = max(0, before - most)
    with _opened(files, execution, limit_bytes) as source:
        if source is None or begin == 0:
            return 0
        content = source.read(before - begin, begin)
    cut = content.find(b"\n") + 1
    return begin + cut if 0 < cut < len(content) else begin


def search(
    files: QueueFiles, execution: Execution, limit_bytes: int, text: str, *, most: int
) -> list[Hit]:
    """Return the first lines that contain a text, whatever the case of its ASCII letters."""
    wanted = text.encode("utf-8", "replace").lower()
    hits: list[Hit] = []
    with _opened(files, execution, limit_bytes) as source:
        if source is None or not wanted:
            return []
        for number, (position, line) in enumerate(_lines(source), start=1):
            if wanted in line.lower():
                hits.append(Hit(number, position, line[:500]))
                if len(hits) == most:
                    break
    return hits


def everything(files: QueueFiles, execution: Execution, limit_bytes: int) -> Iterator[bytes]:
    """Yield all that is kept, piece by piece."""
    with _opened(files, execution, limit_bytes) as source:
        position = 0
        while source is not None and position < source.size:
            content, position = _read(source, position, MOST_BYTES)
            if not content:
                return
            yield content


@contextmanager
def _opened(files: QueueFiles, execution: Execution, limit_bytes: int) -> Iterator[_Source | None]:
    if execution.outcome is not None and not execution.output.in_file:
        yield _Row(execution.output)
        return
    descriptor: int | None
    if execution.outcome is None:
        descriptor = open_running(files, execution)
    else:
        try:
            descriptor = open_to_read(files.execution_log(execution.id))
        except OSError:
            descriptor = None
    if descriptor is None:
        yield None
        return
    try:
        is_running = execution.outcome is None
        yield _Running(descriptor, limit_bytes) if is_running else _File(descriptor)
    finally:
        os.close(descriptor)


def _read(source: _Source, start: int, most: int) -> tuple[bytes, int]:
    """Return bytes from a position on, with the line for the gap, and the position after them."""
    pieces: list[bytes] = []
    position = start
    while position - start < most and position < source.size:
        missing = source.gap_at(position) if isinstance(source, _Running) else 0
        if missing:
            pieces.append(GAP % missing)
            position += missing
            continue
        piece = source.read(most - (position - start), position)
        if not piece:
            break
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces), position


def _line_number(source: _Source, position: int, output: Output) -> int | None:
    """Return the number of the line that begins at a position; None after a gap, or far away."""
    if output.truncated or position > _MOST_SEARCHED:
        return None if position else 1
    count, at = 1, 0
    while at < position:
        piece = source.read(min(MOST_BYTES, position - at), at)
        if not piece:  # a gap
            return None
        count += piece.count(b"\n")
        at += len(piece)
    return count


def _lines(source: _Source) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its position; a line that is too long in parts."""
    position, begin, rest = 0, 0, b""
    while position < min(source.size, _MOST_SEARCHED):
        content, position = _read(source, position, MOST_BYTES)
        if not content:
            break
        *whole, last = (rest + content).split(b"\n")
        for line in whole:
            yield begin, line
            begin += len(line) + 1
        rest = last
        if len(rest) >= MOST_BYTES:
            yield begin, rest
            begin, rest = begin + len(rest), b""
    if rest:
        yield begin, rest

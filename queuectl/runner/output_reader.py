"""Reading the output of an attempt, while the attempt runs and afterwards."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Callable, Iterator

from queuectl.core.models import Execution, Output
from queuectl.host import lockfiles
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import open_to_read
from queuectl.runner.output_log import GAP

_CHUNK_BYTES = 1 << 16

_END_BYTES = 1024
"""How much of the end of a running attempt's output is read to find its last line."""

# Control sequences of ECMA-48: colours and the like, and titles of windows.
_CONTROL_SEQUENCE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))")


class OutputReader:
    """Reads the output of one attempt; each read begins where the last one ended.

    A line replaces the middle if that was not kept. With `tail_lines`, the first read begins that
    many lines before the end.
    """

    def __init__(self, tail_lines: int | None = None) -> None:
        self._tail_lines = tail_lines
        # Counted in bytes that the job has printed, including those that were not kept.
        self._position = 0

    def running(
        self, descriptor: int, limit_bytes: int, is_running: Callable[[], bool]
    ) -> Iterator[bytes]:
        """Yield what a running attempt has printed since the last read.

        A worker uses the same file for one job after another. So a chunk counts only if
        `is_running` says afterwards that the attempt still runs; otherwise this stops.
        """
        half = limit_bytes // 2
        size = os.fstat(descriptor).st_size
        if self._tail_lines is not None:
            start = tail_start(partial(os.pread, descriptor), size, self._tail_lines)
            if not is_running():
                return
            self._position, self._tail_lines = start, None
        while self._position < size:
            if _is_cut(self._position, size, limit_bytes):
                missing = size - half - self._position
                self._position += missing
                yield GAP % missing
                continue
            # Never read across the place where the middle may be cut out, now or later.
            most = half - self._position if self._position < half else _CHUNK_BYTES
            chunk = os.pread(descriptor, min(most, _CHUNK_BYTES), self._position)
            if not chunk or not is_running():
                return
            grown = os.fstat(descriptor).st_size
            if _is_cut(self._position, grown, limit_bytes):
                size = grown  # the middle may have been cut out before we read this
                continue
            self._position += len(chunk)
            yield chunk

    def kept_in_row(self, output: Output) -> Iterator[bytes]:
        """Yield the rest of an output that was kept in the attempt's row."""
        if output.truncated:
            yield GAP.lstrip() % (output.size_bytes - len(output.tail))
        start = self._position
        if self._tail_lines is not None:
            start = tail_start(
                lambda length, begin: output.tail[begin : begin + length],
                len(output.tail),
                self._tail_lines,
            )
        yield output.tail[start:]

    def kept_in_file(self, descriptor: int, output: Output, limit_bytes: int) -> Iterator[bytes]:
        """Yield the rest of an output that was kept in a file."""
        size = os.fstat(descriptor).st_size
        if self._tail_lines is not None:
            start = tail_start(partial(os.pread, descriptor), size, self._tail_lines)
        elif output.truncated and self._position:
            # In the first half, a position in the file is a position in the output. After the gap,
            # count from the end, where both agree again.
            half = limit_bytes // 2
            rest = output.size_bytes - self._position
            start = size - rest if rest <= half else min(self._position, half)
        else:
            start = self._position
        while True:
            chunk = os.pread(descriptor, _CHUNK_BYTES, start)
            if not chunk:
                return
            start += len(chunk)
            yield chunk


def _is_cut(position: int, size: int, limit_bytes: int) -> bool:
    """Whether a position lies in the middle, which is not kept."""
    half = limit_bytes // 2
    return size > limit_bytes and half <= position < size - half


def tail_start(read: Callable[[int, int], bytes], size: int, lines: int) -> int:
    """Return where the last `lines` lines begin. `read` takes a length and a start."""
    if lines == 0:
        return size
    wanted, end = lines, size
    while end > 0:
        begin = max(0, end - _CHUNK_BYTES)
        chunk = read(end - begin, begin)
        position = len(chunk)
        if end == size and chunk.endswith(b"\n"):
            position -= 1  # no line begins after the last line break
        while True:
            position = chunk.rfind(b"\n", 0, position)
            if position < 0:
                break
            wanted -= 1
            if wanted == 0:
                return begin + position + 1
        end = begin
    return 0


def last_line(output: Output) -> str | None:
    """Return the last line of a finished attempt that is not blank; None if there is none.

    The end of the output is in the attempt's row, wherever the rest is, so no file is read. The
    text is not escaped.
    """
    return last_line_of(output.tail, is_all=len(output.tail) >= output.size_bytes)


def last_line_so_far(
    files: QueueFiles, execution: Execution, is_running: Callable[[], bool]
) -> str | None:
    """Return the last line that a running attempt has printed; None if there is none.

    A worker uses the same file for one job after another. So the line counts only if `is_running`
    says afterwards that the attempt still runs; otherwise this returns None.
    """
    descriptor = open_running(files, execution)
    if descriptor is None:
        return None
    try:
        begin = max(0, os.fstat(descriptor).st_size - _END_BYTES)
        end = os.pread(descriptor, _END_BYTES, begin)
    finally:
        os.close(descriptor)
    return last_line_of(end, is_all=begin == 0) if is_running() else None


def open_running(files: QueueFiles, execution: Execution) -> int | None:
    """Open the file into which a running attempt prints; None if there is none.

    Also None if the attempt is just starting: the file may hold the output of the job before.
    """
    running = lockfiles.job_process(files, execution.worker)
    if running is not None and running.execution_id != execution.id:
        return None
    try:
        return open_to_read(files.worker_log(execution.worker))
    except OSError:
        return None


def last_line_of(end: bytes, *, is_all: bool) -> str | None:
    """Return the last line that is not blank of the end of an output; None if there is none.

    What a program overwrites in place, as progress bars do after a carriage return, counts as a
    line of its own. Control sequences are left out, and white space is narrowed. With `is_all`,
    nothing comes before `end`; otherwise a line that begins earlier begins with `…`.
    """
    lines = re.split(rb"[\r\n]+", _CONTROL_SEQUENCE.sub(b"", end))
    for number in range(len(lines) - 1, -1, -1):
        line, is_cut = lines[number], number == 0 and not is_all
        if is_cut:
            line = line.lstrip(bytes(range(0x80, 0xC0)))  # the rest of a character of UTF-8
        text = " ".join(line.decode("utf-8", "replace").split())
        if text:
            return f"…{text}" if is_cut else text
    return None

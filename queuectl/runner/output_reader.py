"""Reading the output of an attempt piece by piece, while the attempt runs and afterwards."""

from __future__ import annotations

import os
from functools import partial
from typing import Callable, Iterator

from queuectl.core.models import Output
from queuectl.runner.output_log import GAP

_CHUNK_BYTES = 1 << 16


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

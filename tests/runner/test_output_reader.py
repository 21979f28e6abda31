"""Reading the output of an attempt piece by piece, with and without its middle."""

from __future__ import annotations

import os

import pytest

from queuectl.core.models import Output
from queuectl.runner.output_log import GAP, INLINE_BYTES, OutputLog
from queuectl.runner.output_reader import OutputReader, tail_start
from support.outcomes import OK

_LIMIT = 2 * INLINE_BYTES
_HALF = _LIMIT // 2


class Attempt:
    """An attempt that prints into its log, and a reader of that log."""

    def __init__(self, folder, tail_lines=None):
        self.log = OutputLog(str(folder / "worker.log"))
        self.log.begin(_LIMIT)
        self.reader = OutputReader(tail_lines)
        self.kept_path = str(folder / "kept.log")
        self.printed = b""

    def print(self, text):
        self.printed += text
        os.write(self.log.descriptor, text)
        self.log.enforce_limit()

    def read(self):
        """Return the new output while the attempt runs."""
        return b"".join(self.reader.running(self.log.descriptor, _LIMIT, lambda: True))

    def end(self):
        """End the attempt; return the new output."""
        output = self.log.add_to(OK, self.kept_path).output
        if not output.in_file:
            return b"".join(self.reader.kept_in_row(output))
        with open(self.kept_path, "rb") as kept:
            return b"".join(self.reader.kept_in_file(kept.fileno(), output, _LIMIT))


def _lines(count, letter="x"):
    """Return `count` bytes, in lines of 64 bytes."""
    return (letter.encode() * 63 + b"\n") * (count // 64)


@pytest.mark.parametrize("end", [64, INLINE_BYTES + 64, _LIMIT])
@pytest.mark.parametrize("between", [0, 64, INLINE_BYTES])
def test_an_output_that_is_kept_completely_is_read_once(tmp_path, between, end):
    """Each read begins where the last one ended, also when the attempt ends in between."""
    attempt = Attempt(tmp_path)
    attempt.print(_lines(between))
    while_running = attempt.read()
    attempt.print(_lines(end - between, "y") if end > between else b"")

    assert while_running + attempt.end() == attempt.printed


def test_a_missing_middle_is_marked(tmp_path):
    """Between the two halves stands a line that says how much is missing."""
    attempt = Attempt(tmp_path)
    attempt.print(_lines(_LIMIT) + _lines(_HALF, "y"))

    expected = attempt.printed[:_HALF] + GAP % _HALF + attempt.printed[-_HALF:]
    assert attempt.read() == expected
    assert attempt.end() == b""


@pytest.mark.parametrize("seen", [64, _HALF, _HALF + 64, _LIMIT])
def test_a_reader_misses_nothing_except_the_middle(tmp_path, seen):
    """Bytes that were read before the cut are not read again, and nothing after it is lost."""
    attempt = Attempt(tmp_path)
    attempt.print(_lines(seen))
    first = attempt.read()
    attempt.print(_lines(2 * _LIMIT, "y"))
    rest = attempt.end()

    assert first == attempt.printed[:seen]
    assert rest.endswith(attempt.printed[-_HALF:])
    assert (GAP.split(b"%d")[0] in rest) or seen > _HALF


def test_an_attempt_that_has_just_ended_yields_nothing(tmp_path):
    """By now the file may hold the output of the next job."""
    attempt = Attempt(tmp_path)
    attempt.print(b"a\n")

    assert list(attempt.reader.running(attempt.log.descriptor, _LIMIT, lambda: False)) == []
    assert attempt.end() == b"a\n"


@pytest.mark.parametrize("size", [64, 4 * INLINE_BYTES])
def test_the_last_lines_of_a_running_attempt_and_what_follows(tmp_path, size):
    """The first read begins two lines before the end; later reads continue from there."""
    attempt = Attempt(tmp_path, tail_lines=2)
    attempt.print(_lines(size) + b"one\ntwo\n")

    assert attempt.read() == b"one\ntwo\n"
    attempt.print(b"three\n")
    assert attempt.read() == b"three\n"
    attempt.print(b"four\n")
    assert attempt.end() == b"four\n"


@pytest.mark.parametrize("size", [64, 2 * INLINE_BYTES, 4 * INLINE_BYTES])
def test_the_last_lines_of_an_ended_attempt(tmp_path, size):
    """They come from its row, or from its file."""
    attempt = Attempt(tmp_path, tail_lines=1)
    attempt.print(_lines(size) + b"end\n")

    assert attempt.end() == b"end\n"


def test_an_output_that_was_lost_to_a_full_disk_is_marked():
    """Only its end is in the row; a line before it says how much is missing."""
    output = Output(size_bytes=5000, truncated=True, tail=b"end\n")

    assert b"".join(OutputReader().kept_in_row(output)) == GAP.lstrip() % 4996 + b"end\n"


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\n", 5, b"a\nb\n"),
        (b"a\n\n\n", 2, b"\n\n"),
        (b"a\n", 0, b""),
        (b"", 3, b""),
        (b"x" * 70_000 + b"\n" + b"y" * 70_000 + b"\n", 1, b"y" * 70_000 + b"\n"),
    ],
)
def test_the_start_of_the_last_lines_is_found(text, lines, expected):
    """The last line may lack its line break, and a line may be longer than a chunk."""
    start = tail_start(lambda length, begin: text[begin : begin + length], len(text), lines)

    assert text[start:] == expected

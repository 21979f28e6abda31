"""Reading the output of an attempt piece by piece, with and without its middle."""

from __future__ import annotations

import os

import pytest

from queuectl.core.models import Execution, Output
from queuectl.host.files import QueueFiles
from queuectl.runner.output_log import GAP, INLINE_BYTES, OutputLog
from queuectl.runner.output_reader import (
    OutputReader,
    last_line,
    last_line_of,
    last_line_so_far,
    tail_start,
)
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


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (b"", None),
        (b" \n\t\n", None),
        (b"one\ntwo\n", "two"),
        (b"one\ntwo", "two"),
        (b"one\r\n\r\n", "one"),
        (b"one\n  \n\n", "one"),
        (b"frame=1\rframe=2\r", "frame=2"),
        (b"\x1b[1;31mE:\x1b[0m no\tspace\n\x1b[0m", "E: no space"),
        (b"\x1b]0;title\x07done\n", "done"),
        (b"caf\xe9\x07 closed\n", "caf\ufffd\x07 closed"),
        ("夏休み\n".encode(), "夏休み"),
    ],
)
def test_the_last_line_that_is_not_blank(end, expected):
    """It is decoded with replacement; colours are left out, other control characters are not."""
    assert last_line_of(end, is_all=True) == expected


def test_a_last_line_whose_beginning_is_missing_is_marked():
    """Half a character at the beginning is left out."""
    assert last_line_of("み of it\n".encode()[1:], is_all=False) == "…of it"
    assert last_line_of(b"f it\nend\n", is_all=False) == "end"
    assert last_line_of(b"\x80\x80\n", is_all=False) is None


@pytest.mark.parametrize("size", [0, 64, 2 * INLINE_BYTES, 4 * INLINE_BYTES])
def test_the_last_line_of_an_ended_attempt_is_in_its_row(tmp_path, size):
    """So it is known without the file, whether the output is all in the row, in a file, or cut."""
    log = OutputLog(str(tmp_path / "worker.log"))
    log.begin(_LIMIT)
    os.write(log.descriptor, _lines(size) + b"last\n\n")
    kept = str(tmp_path / "kept.log")

    assert last_line(log.add_to(OK, kept).output) == "last"
    assert last_line(Output(size_bytes=5000, in_file=True, tail=b"x" * 1024)) == "…" + "x" * 1024


@pytest.fixture
def running(tmp_path):
    """An attempt of the worker w-1 that runs, and the files of its queue."""
    files = QueueFiles(str(tmp_path / "queue.db"))
    os.makedirs(os.path.dirname(files.worker_log("w-1")))
    log = OutputLog(files.worker_log("w-1"))
    fields = dict.fromkeys(Execution._fields)
    return files, log, Execution(**{**fields, "id": 1, "worker": "w-1", "output": Output()})


def test_the_last_line_of_a_running_attempt(running):
    """Only the end of the file is read, however large it is."""
    files, log, execution = running
    assert last_line_so_far(files, execution, lambda: True) is None

    os.write(log.descriptor, b"x" * 100_000 + b"\nframe=1\rframe=2\r")

    assert last_line_so_far(files, execution, lambda: True) == "frame=2"


def test_the_last_line_of_an_attempt_that_has_just_ended_is_unknown(running):
    """By then the file may hold the output of the next job."""
    files, log, execution = running
    os.write(log.descriptor, b"one\n")

    assert last_line_so_far(files, execution, lambda: False) is None


def test_the_last_line_without_a_file_is_unknown(running):
    """The output may be in memory, where nobody else can read it."""
    files, log, execution = running
    os.unlink(log.path)

    assert last_line_so_far(files, execution, lambda: True) is None

"""Reading parts of an output by position: kept in the row, in a file, and while it grows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.core.models import Execution, OutcomeKind, Output
from queuectl.core.times import utcnow
from queuectl.host.files import QueueFiles
from queuectl.runner.output_log import GAP
from queuectl.runner.output_window import everything, line_start, read_window, search

LIMIT = 1000
TEN = b"".join(b"line %d\n" % number for number in range(10))


def _execution(output: Output, *, outcome: OutcomeKind | None = OutcomeKind.OK) -> Execution:
    return Execution(
        id=7, job_seq=1, attempt=1, worker="a1b2c3d4-1", pid=None, started_at=utcnow(),
        finished_at=None, outcome=outcome, exit_code=0, signal=None, seconds=1.0, cpu_seconds=None,
        max_rss_bytes=None, leftovers=False, output=output,
    )  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> QueueFiles:
    made = QueueFiles(str(tmp_path / "queue.db"))
    os.makedirs(made.logs)
    os.makedirs(made.workers)
    return made


def _kept(files: QueueFiles, content: bytes, *, truncated: bool = False) -> Execution:
    Path(files.execution_log(7)).write_bytes(content)
    return _execution(Output(len(content), truncated, content[-10:], True))


def _running(files: QueueFiles, content: bytes) -> Execution:
    Path(files.worker_log("a1b2c3d4-1")).write_bytes(content)
    return _execution(Output(), outcome=None)


def test_a_short_output_is_in_the_row(files: QueueFiles) -> None:
    execution = _execution(Output(len(TEN), False, TEN, False))

    window = read_window(files, execution, LIMIT, lambda: True)

    assert window == (TEN, 0, len(TEN), len(TEN), 1)


def test_a_row_without_its_beginning(files: QueueFiles) -> None:
    """The file could not be kept: a line says how much is missing, and no line has a number."""
    execution = _execution(Output(500, True, b"end\n", False))

    window = read_window(files, execution, LIMIT, lambda: True)

    assert window is not None
    assert window.content == b"[queuectl: 496 bytes not kept]\nend\n"


def test_the_end_of_a_file_begins_with_a_line(files: QueueFiles) -> None:
    execution = _kept(files, TEN)

    window = read_window(files, execution, LIMIT, lambda: True, most=20)

    assert window == (b"line 8\nline 9\n", 56, 70, 70, 9)


def test_forward_and_back(files: QueueFiles) -> None:
    """Going back from a part leads to the part that ends where it begins."""
    execution = _kept(files, TEN)

    assert line_start(files, execution, LIMIT, 56, most=20) == 42
    window = read_window(files, execution, LIMIT, lambda: True, start=42, most=14)
    assert window == (b"line 6\nline 7\n", 42, 56, 70, 7)
    assert line_start(files, execution, LIMIT, 14, most=20) == 0
    past = read_window(files, execution, LIMIT, lambda: True, start=10_000)
    assert past == (b"", 70, 70, 70, 11)


def test_a_line_without_an_end(files: QueueFiles) -> None:
    """A megabyte without a line break is shown in parts."""
    execution = _kept(files, b"x" * 100)

    assert read_window(files, execution, LIMIT, lambda: True, most=20) == (
        b"x" * 20, 80, 100, 100, 1,
    )  # fmt: skip


def test_an_output_that_is_gone(files: QueueFiles) -> None:
    execution = _execution(Output(5000, False, b"tail", True))

    assert read_window(files, execution, LIMIT, lambda: True) is None
    assert search(files, execution, LIMIT, "tail", most=5) == []
    assert list(everything(files, execution, LIMIT)) == []


def test_a_running_attempt(files: QueueFiles) -> None:
    execution = _running(files, TEN)

    assert read_window(files, execution, LIMIT, lambda: True, start=63) == (
        b"line 9\n", 63, 70, 70, 10,
    )  # fmt: skip
    assert read_window(files, execution, LIMIT, lambda: False) is None


def test_a_running_attempt_whose_middle_is_cut_out(files: QueueFiles) -> None:
    """The line for the gap stands where the middle was, and positions go on behind it."""
    content = b"a" * 500 + b"\0" * 1000 + b"b" * 500
    execution = _running(files, content)

    whole = read_window(files, execution, LIMIT, lambda: True, start=0)
    inside = read_window(files, execution, LIMIT, lambda: True, start=700)
    after = read_window(files, execution, LIMIT, lambda: True, start=1600)

    assert whole == (b"a" * 500 + GAP % 1000 + b"b" * 500, 0, 2000, 2000, 1)
    assert inside == (GAP % 800 + b"b" * 500, 700, 2000, 2000, None)
    assert after == (b"b" * 400, 1600, 2000, 2000, None)


def test_search(files: QueueFiles) -> None:
    execution = _kept(files, b"One\ntwo\nthree one\n" + b"x" * 200_000 + b"ONE\nlast one")

    hits = search(files, execution, LIMIT, "one", most=10)

    assert [(hit.number, hit.position) for hit in hits][:2] == [(1, 0), (3, 8)]
    assert hits[0].line == b"One"
    assert hits[-1].line == b"last one"
    assert len(search(files, execution, LIMIT, "one", most=2)) == 2
    assert search(files, execution, LIMIT, "", most=2) == []


def test_everything_is_read(files: QueueFiles) -> None:
    content = TEN * 20_000

    assert b"".join(everything(files, _kept(files, content), LIMIT)) == content

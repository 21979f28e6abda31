"""Fixtures of all tests: a queue of their own, and nothing left behind by it."""

from __future__ import annotations

import gc
import signal
from pathlib import Path
from typing import Iterator

import pytest

from queuectl.host import files
from queuectl.storage import Storage
from support.clock import Clock
from support.queue import Queue, watch_report
from support.watch import file_watch

# What a shell script starts by `&` ignores these two, and all processes of the tests would as well.
for _number, _default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)


def pytest_collection_finish() -> None:
    """Keep what was collected out of the collector's sight.

    It touches all it sees, and each of the thousands of forks would have to copy those pages.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this process and those of all queues report what SQLite forbids."""
    report = watch_report(tmp_path_factory.getbasetemp())
    file_watch.install(str(report))
    return report


@pytest.fixture(autouse=True)
def sqlite_files_are_left_alone(watched: Path) -> Iterator[None]:
    """Fail if a file of SQLite was opened by hand, or open during a fork."""
    yield
    if watched.exists():
        faults = watched.read_text()
        watched.unlink()
        pytest.fail(faults)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """A queue of the test's own; nothing of it may be left running."""
    made = Queue(tmp_path)
    yield made
    left = made.close()
    assert not left, f"left running: {left}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """An open, empty storage."""
    opened = Storage.open(files.find(str(tmp_path / "queue.db"), None, False), create=True)
    yield opened
    opened.close()

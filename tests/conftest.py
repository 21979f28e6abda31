"""Fixtures of all tests: a queue of their own, and nothing left behind by it."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Iterator

import pytest
from hypothesis import HealthCheck, settings

from queuectl.host import files
from queuectl.storage import Storage
from support.clock import Clock
from support.job_clock import JobClock
from support.new_queues import open_new
from support.places import folder_in_memory
from support.queue import Queue
from support.watch import file_watch
from support.watch.file_watch import by_hand

# A shell script's `&` makes what it starts ignore INT and QUIT, and nohup HUP. All processes that
# the tests start would ignore them as well. The handler for HUP does nothing, so that a test run
# under nohup still survives the end of its terminal; what it executes gets the default again.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, lambda _number, _frame: None),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# The local time of the tests, and of everything that they start, is the same everywhere.
os.environ["TZ"] = "UTC"
time.tzset()

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

_LONGEST_FIRST = ("reliability", "benchmarks", "worker", "runner", "with_workers")
"""Directories whose tests take seconds, the longest first."""

_in_memory = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """With -n, let an idle process take tests from a busy one, unless --dist says otherwise."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_configure(config: pytest.Config) -> None:
    """Keep temporary folders in memory, unless --basetemp says where they are to be and to stay."""
    if config.option.basetemp is None:
        folder = folder_in_memory()
        if folder is not None:
            config.stash[_in_memory] = folder
            config.option.basetemp = str(folder / "pytest")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _in_memory in config.stash:
        shutil.rmtree(config.stash[_in_memory], ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With -n, start long tests first, so that no process waits for one at the end."""
    if hasattr(config, "workerinput"):
        order = {name: number for number, name in enumerate(_LONGEST_FIRST)}
        items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


def pytest_collection_finish() -> None:
    """Keep what was collected out of the collector's sight.

    It touches all it sees, and each of the thousands of forks would have to copy those pages.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this process and those of all queues report what SQLite forbids."""
    report = tmp_path_factory.getbasetemp() / "watch-report"
    file_watch.install(str(report))
    os.environ["TEST_WATCH"] = str(report)
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
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The folder of the test; with the mark `on_disk` it is never in memory."""
    if request.node.get_closest_marker("on_disk") is None:
        yield tmp_path
    else:
        folder = Path(tempfile.mkdtemp(prefix="queuectl-test-"))
        yield folder
        with by_hand():  # a folder that is called like a database
            shutil.rmtree(folder)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """A queue of the test's own; nothing of it may be left running."""
    made = Queue(tmp_path)
    yield made
    left = made.close()
    assert not left, f"left running: {left}"


@pytest.fixture
def job_clock(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> JobClock:
    """The clock by which the time of the queue's jobs counts."""
    return JobClock(queue, monkeypatch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """An open, empty storage."""
    opened = open_new(files.find(str(tmp_path / "queue.db"), None, False))
    yield opened
    opened.close()

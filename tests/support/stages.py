"""Stages that are small enough for tests."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Iterable, Iterator

import pytest

from queuectl.core.specs import JobSpec
from queuectl.storage import Storage
from queuectl.storage.moving import Mover
from queuectl.storage.staging import Stage
from support.queue import Queue

_LIMITS = {"enqueueing.MOST_AT_ONCE": 0, "moving._FIRST": 2, "moving._MOST": 2}
"""Everything is staged, and each transaction writes two rows."""

STAGING = (
    sys.executable,
    "-c",
    "import sys; del sys.path[0]; from queuectl.storage import enqueueing, moving; "
    + "; ".join(f"{place} = {value}" for place, value in _LIMITS.items())
    + "; del sys.argv[0]; from queuectl.cli import main; main()",
)
"""What to put before the words of a command, so that it does this in a process of its own."""


def stage_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each enqueue and import of this process go through a stage, in small steps."""
    for place, value in _LIMITS.items():
        monkeypatch.setattr(f"queuectl.storage.{place}", value)


class _Died(BaseException):
    """The process was killed."""


def leave_undecided(storage: Storage, specs: Iterable[JobSpec], *, now: datetime) -> None:
    """Let a process die when it has staged jobs."""
    with _dying(Stage, "_decide", 0):
        storage.enqueue(specs, now=now)


def leave_decided(
    storage: Storage, specs: Iterable[JobSpec], *, now: datetime, moved: int = 0
) -> None:
    """Let a process die when it has decided, and has so often moved two jobs."""
    with _dying(Mover, "move", moved):
        storage.enqueue(specs, now=now)


@contextmanager
def _dying(kind: type[object], name: str, after: int) -> Iterator[None]:
    """Let the process die when a method has been called so often; it cannot tidy up either."""
    original = getattr(kind, name)
    calls = 0

    def once_too_often(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls > after:
            raise _Died
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        stage_all(patch)
        patch.setattr(kind, name, once_too_often)
        patch.setattr(Stage, "_discard", lambda _: None)
        with pytest.raises(_Died):
            yield


def assert_no_stage(queue: Queue) -> None:
    """Check that nothing is left of a stage."""
    with closing(sqlite3.connect(str(queue.database))) as conn:
        for table in ("stage", "staged_jobs", "staged_needs"):
            (left,) = conn.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert (table, left) == (table, 0)

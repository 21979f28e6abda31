"""Living supervisors and workers: what their lock files say is believed only as far as proved."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from queuectl.host import processes
from queuectl.host.files import QueueFiles
from queuectl.host.lockfiles import ProcessLock
from queuectl.host.pools import LivingProcess, living_pools, living_processes
from support.processes import linux_only

_OWN_PID = os.getpid()
_OWN_TICKS = processes.start_ticks(_OWN_PID)
_UNSAID = LivingProcess("a1", os.geteuid(), None, None, None, ())

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def described(files: QueueFiles, about: Any, owner: str = "a1") -> LivingProcess:
    """What a held lock file says that holds this value as its JSON."""
    lock = ProcessLock.take(files, owner, {})
    try:
        with open(lock.path, "r+b") as text:
            text.seek(64)
            text.write(json.dumps(about).encode() + b"\n")
            text.truncate()
        (found,) = living_processes(files)
        return found
    finally:
        lock.remove()


def test_a_pool_and_its_worker(queue_files: QueueFiles) -> None:
    about = {"pid": 7, "start_ticks": 8, "queues": ["a", "b"]}

    assert described(queue_files, about) == LivingProcess(
        "a1", os.geteuid(), 7, 8, None, ("a", "b")
    )
    assert described(queue_files, about, "a1-2") == LivingProcess(
        "a1-2", os.geteuid(), 7, 8, "a1", ("a", "b")
    )


@pytest.mark.parametrize(
    "about",
    [
        *({"pid": pid} for pid in (-1, 0, 1, 1 << 31, 1 << 80, True, 7.0, "7", None, [7])),
        {"pid": -1, "queues": "abc"},
        {"start_ticks": "8", "queues": {"a": 1}},
        {"queues": [1, None, ["a"]]},
        [1],
        "text",
        None,
    ],
)
def test_what_no_lock_file_of_ours_says_counts_as_not_said(
    queue_files: QueueFiles, about: Any
) -> None:
    """Prevents: `worker stop` called kill(-1), and a wrong type ended in a traceback."""
    found = described(queue_files, about)

    assert found == _UNSAID
    assert not found.is_proved


def test_text_that_is_no_json_says_nothing(queue_files: QueueFiles) -> None:
    lock = ProcessLock.take(queue_files, "a1", {})
    Path(lock.path).write_bytes(b" " * 64 + b"[" * 100_000)

    assert living_pools(queue_files) == [_UNSAID]
    lock.remove()


@linux_only
def test_a_process_is_proved_by_its_start(queue_files: QueueFiles) -> None:
    """Prevents: without a start in the lock file, any process with that PID was signalled."""
    proved = {
        ticks: described(queue_files, {"pid": _OWN_PID, "start_ticks": ticks}).is_proved
        for ticks in (_OWN_TICKS, 1, None)
    }

    assert proved == {_OWN_TICKS: True, 1: False, None: False}


@linux_only
@only_root
def test_a_process_of_another_user_is_not_proved(queue_files: QueueFiles) -> None:
    """Prevents: a user names a process of root in a lock file, and root ends it."""
    lock = ProcessLock.take(queue_files, "a1", {"pid": _OWN_PID, "start_ticks": _OWN_TICKS})
    (own,) = living_pools(queue_files)
    os.chown(lock.path, 61_234, 61_234)
    (other,) = living_pools(queue_files)
    lock.remove()

    assert (own.is_proved, other.is_proved) == (True, False)


@pytest.mark.parametrize(
    ("queues", "asked", "expected"),
    [
        ((), (), True),
        ((), ("a", "b"), True),
        ((), ("@batch",), False),
        (("a", "b"), (), False),
        (("a", "b"), ("a",), True),
        (("a",), ("a", "b"), False),
        (("@batch",), ("@batch",), True),
    ],
)
def test_which_queues_a_pool_serves(
    queues: tuple[str, ...], asked: tuple[str, ...], expected: bool
) -> None:
    """Without names it serves all queues, but no batches: these must be named."""
    assert _UNSAID._replace(queues=queues).serves(asked) is expected

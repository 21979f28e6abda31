"""Reaping the job of a dead worker in its place, with the exit status written down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.core.settings import DEFAULT_SHELL
from queuectl.runner import exit_status
from queuectl.runner.exit_status import Status
from queuectl.worker import orphans
from support.queue import Queue
from support.waiting import wait_until

_WORKER = "abcdef01-1"


@pytest.mark.parametrize(
    ("command", "status"),
    [("exec sh -c 'exit 7'", Status(7, None)), ("kill -KILL $$", Status(None, 9))],
)
def test_a_status_is_written_though_the_lock_file_of_the_worker_is_gone(
    queue: Queue, command: str, status: Status
) -> None:
    """The shell of the job has told its PID, which nobody else knows.

    Prevents a bug: the attempt was lost, and its job ran again.
    """
    assert queue.storage
    path = queue.files.worker_status(_WORKER)
    Path(path).touch(0o600)
    told = _begin(f"until test -e go; do sleep 0.01; done; {command}", path, queue.work)
    wait_until(lambda: exit_status.read_pid(path, 7) == told)
    (queue.work / "go").touch()
    orphans.reap(queue.files, told, [])

    assert exit_status.read(path, 7) == status


def _begin(command: str, status: str, folder: Path) -> int:
    """Start a command as a worker does; return its PID."""
    environ = {**os.environ, **exit_status.variables(7), "QUEUECTL_STATUS": status}
    return os.posix_spawn(DEFAULT_SHELL, exit_status.arguments(f"cd {folder}; {command}"), environ)

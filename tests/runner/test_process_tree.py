"""Stopping all processes of an attempt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

from queuectl.host import processes
from queuectl.runner import process_tree
from support.processes import linux_only, status_field
from support.waiting import wait_until

pytestmark = linux_only

_MARK = "a-queue/1"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of the attempt, which are killed at the end."""
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for process in found:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _start(*words: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "QUEUECTL_EXECUTION": _MARK}
    return subprocess.Popen(words, env=env, start_new_session=True)


def test_a_process_that_others_wait_for_runs_on_while_another_one_is_about_to_stop(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Prevents a bug: it was stopped until all others were, and held its lock all the time."""
    never_read = tmp_path / "fifo"
    os.mkfifo(never_read)
    # It waits in the kernel (vfork) until its child, which waits for a reader, runs a program.
    starting = (
        "import os; os.posix_spawn('/bin/true', ['true'], {}, "
        f"file_actions=[(os.POSIX_SPAWN_OPEN, 1, {str(never_read)!r}, os.O_WRONLY, 0)])"
    )
    holder = _start("sleep", "300")
    started += [holder, _start(sys.executable, "-c", starting)]
    wait_until(lambda: processes.is_uninterruptible(started[1].pid))
    states = []

    def wait(_: float) -> None:
        states.append(status_field(holder.pid, "State")[0])

    attempt = process_tree.AttemptProcesses(frozenset([_MARK]))
    assert not process_tree.stop(attempt, lambda: {holder.pid}, wait)
    assert "T" not in states

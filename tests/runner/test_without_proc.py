"""Ending an attempt where processes are not visible: no /proc, or that of another namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import Sequence

import pytest

from queuectl.host import processes
from queuectl.runner import process_tree
from support.calls import COMMAND
from support.processes import alive
from support.queue import Queue
from support.waiting import wait_until


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no process be visible."""
    monkeypatch.setattr(processes, "are_visible", lambda: False)


@pytest.mark.parametrize("ignores_term", [False, True])
def test_the_group_of_the_job_is_ended(
    hidden: None, monkeypatch: pytest.MonkeyPatch, ignores_term: bool
) -> None:
    """Regression: nobody was found, so nobody was signalled."""
    trap = "trap '' TERM; " if ignores_term else ""
    words = ["sh", "-c", f"{trap}sleep 300 & echo $!; while :; do sleep 0.1; done"]
    leader = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    attempt = process_tree.AttemptProcesses(frozenset(["a-queue/1"]), leader=leader.pid)
    left = process_tree.end(attempt, 0.2, time.sleep)

    assert left == ()
    assert leader.wait(30) < 0
    leader.stdout.close()
    monkeypatch.undo()
    wait_until(lambda: not alive(child), what="the end of the other process, which was killed")


def _without_proc() -> Sequence[str]:
    words = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "-"]
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root on Linux")
    if subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    return words


def _with_foreign_proc() -> Sequence[str]:
    _without_proc()
    return ["unshare", "--pid", "--fork", "--kill-child"]


@pytest.mark.parametrize("kind", ["none", "of another namespace"])
def test_a_job_does_not_outlive_its_timeout_without_proc(queue: Queue, kind: str) -> None:
    """Regression: it ran to its own end. `worker start` and `doctor` tell what holds there."""
    before = _without_proc() if kind == "none" else _with_foreign_proc()
    queue.configure(kill_grace="0.3")
    job = queue.add("sleep 300; echo end", max_retries=1, timeout=0.5)
    ran = subprocess.run(
        [*before, COMMAND, "worker", "start", "--drain"],
        env=queue.env,
        cwd=queue.work,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    doctor = subprocess.run(
        [*before, COMMAND, "doctor"], env=queue.env, stdout=subprocess.PIPE, text=True, check=False
    )

    assert queue.outcomes(job) == ["timeout"]
    assert f"warn  processes: {processes.HIDDEN}" in doctor.stdout
    assert processes.HIDDEN in ran.stderr

"""`run` with 2,000 jobs: everything is killed again and again, and --resume goes on.

GNU parallel has to keep the same promise with --joblog --resume, if it is installed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Callable, Sequence

import pytest

from support.calls import COMMAND
from support.processes import linux_only
from support.queue import Queue
from support.tracing import long_only
from support.waiting import wait_until

pytestmark = linux_only

_JOBS = 2000
_KILLS = 5
_AT_ONCE = 4
_COMMAND = "echo {} >> began; sleep 0.01; echo {} >> ended"
_ARGUMENTS = [str(number) for number in range(_JOBS)]


@pytest.mark.timeout(600)
def test_run_loses_and_repeats_nothing(queue: Queue) -> None:
    """No job is lost, none that has completed runs again, and one --resume is enough."""

    def completed() -> set[str]:
        return {job.command.split()[1] for job in queue.jobs() if job.state.value == "completed"}

    words = [COMMAND, "run", "--resume", "-j", str(_AT_ONCE), _COMMAND, "::::", "arguments"]
    repeated = _kill_and_resume(queue, words, completed)

    assert completed() == set(_ARGUMENTS)
    assert {job.queue[-2:] for job in queue.jobs()} == {".1"}
    assert repeated <= _KILLS * _AT_ONCE


@pytest.mark.timeout(600)
@long_only
@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_parallel_loses_and_repeats_nothing(queue: Queue) -> None:
    """The test finds no fault with a tool that many rely on, so it is fair."""

    def completed() -> set[str]:
        lines = (queue.work / "log").read_text().splitlines()[1:]
        return {line.split("echo ")[1].split()[0] for line in lines if line.split("\t")[6] == "0"}

    words = ["parallel", f"-j{_AT_ONCE}", "--joblog", "log", "--resume"]
    repeated = _kill_and_resume(queue, [*words, _COMMAND, "::::", "arguments"], completed)

    assert completed() == set(_ARGUMENTS)
    assert repeated <= _KILLS * _AT_ONCE


def _kill_and_resume(queue: Queue, words: Sequence[str], completed: Callable[[], set[str]]) -> int:
    """Kill all processes some times, then let the command end; return how often a job ran again.

    Fails if a job that had completed before a kill ran again, or if one did not run at all.
    """
    (queue.work / "arguments").write_text("".join(f"{argument}\n" for argument in _ARGUMENTS))
    (queue.work / "ended").touch()
    randomly = random.Random(1)
    runs_of_completed: list[dict[str, int]] = []
    for _ in range(_KILLS):
        until = len(_lines(queue, "ended")) + randomly.randint(100, 300)
        process = _start(queue, words)
        wait_until(partial(_has, queue, until), timeout=120, what="some jobs")
        wait_until(lambda: not _kill_all(queue), what="the end of all processes")
        process.wait(60)
        began = Counter(_lines(queue, "began"))
        runs_of_completed.append({argument: began[argument] for argument in completed()})
    assert _start(queue, words).wait(300) == 0

    began = Counter(_lines(queue, "began"))
    for runs in runs_of_completed:
        assert runs
        assert {argument: began[argument] for argument in runs} == runs
    assert set(_lines(queue, "ended")) == set(_ARGUMENTS)
    return sum(began.values()) - _JOBS


def _kill_all(queue: Queue) -> list[int]:
    """Kill all processes; return them, since each may have just started another one."""
    pids = queue.pids()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pids


def _start(queue: Queue, words: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        cwd=queue.work,
        env=queue.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _has(queue: Queue, ended: int) -> bool:
    return len(_lines(queue, "ended")) >= ended


def _lines(queue: Queue, name: str) -> list[str]:
    return (queue.work / name).read_text().split()

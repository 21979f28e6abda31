"""Workers whose jobs run under another /bin/sh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Mapping, Sequence

import pytest

from support.queue import COMMAND, Queue
from support.waiting import wait_until


def own_shell() -> str:
    """Return the name of the shell that /bin/sh is on this machine."""
    return Path("/bin/sh").resolve().name


def in_shell(shell: str) -> list[str]:
    """Return what to put before a command so that its /bin/sh is another shell; skip if that
    cannot be had.
    """
    if own_shell() == shell:
        return []
    there = shutil.which(shell)
    if there is None or sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip(f"/bin/sh is {own_shell()}, and cannot be made {shell} for a test")
    swap = f'mount --bind {there} {Path("/bin/sh").resolve()} && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", swap, "-"]
    if subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    return words


def start_with(
    queue: Queue,
    before: Sequence[str],
    *args: str,
    workers: int = 1,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Run `BEFORE queuectl worker start ARGS`; return once its workers are there."""
    known = {worker["id"] for worker in queue.workers()}
    with (queue.folder / "workers.log").open("a") as log:
        process = subprocess.Popen(
            [*before, COMMAND, "worker", "start", "--count", str(workers), *args],
            env={**queue.env, **(env or {})},
            cwd=str(queue.work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            text=True,
        )
    queue.processes.append(process)
    wait_until(
        lambda: len({worker["id"] for worker in queue.workers()} - known) >= workers,
        what="the workers",
    )
    return process

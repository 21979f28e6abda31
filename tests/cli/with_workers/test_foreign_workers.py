"""`worker stop` signals only what lock files prove, and nothing that another user names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import pytest

from queuectl.host import processes
from support.calls import assert_refused
from support.processes import linux_only
from support.queue import Queue

pytestmark = [
    linux_only,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away"),
]

_OTHER = 61_234


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of root."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@contextmanager
def lock_file(queue: Queue, owner: str, about: dict[str, object]) -> Iterator[None]:
    """A lock file of another user that says this, held by a process."""
    path = Path(queue.files.process_lock(owner))
    path.write_text(" " * 63 + "\n" + json.dumps(about) + "\n")
    os.chown(path, _OTHER, _OTHER)
    with subprocess.Popen(["flock", str(path), "sleep", "60"], start_new_session=True) as holder:
        while subprocess.run(["flock", "-n", str(path), "true"], check=False).returncode == 0:
            pass
        try:
            yield
        finally:
            os.killpg(holder.pid, signal.SIGKILL)


def test_the_queue_of_another_user_is_refused(
    queue: Queue, victim: subprocess.Popen[bytes]
) -> None:
    """Prevents: `worker stop` opened the queue as one that only looks, and signalled its pids."""
    queue.ok("enqueue", "true")
    queue.ok("worker", "start", "--drain")
    with lock_file(queue, "abcd1234", {"pid": victim.pid, "queues": []}):
        os.chown(queue.database, _OTHER, _OTHER)
        called = queue.run("worker", "stop", "--timeout", "1")

    assert_refused(
        called,
        "queuectl worker stop",
        f"{queue.database} belongs to somebody else, who could run commands as you "
        "(use your own --db, or --allow-shared)",
        code=1,
    )
    assert victim.poll() is None


@pytest.mark.parametrize("options", [[], ["--now"]])
@pytest.mark.parametrize("owner", ["abcd1234", "abcd1234-1"])
@pytest.mark.parametrize("says_start", [True, False])
def test_a_lock_file_that_names_a_process_of_another_user_is_not_believed(
    queue: Queue, victim: subprocess.Popen[bytes], owner: str, options: list[str], says_start: bool
) -> None:
    """Also in a queue that is shared on purpose; the workers that can be stopped are stopped."""
    queue.ok("worker", "start", "--detach")
    about = {"pid": victim.pid, "queues": []}
    if says_start:
        about["start_ticks"] = processes.start_ticks(victim.pid)
    with lock_file(queue, owner, about):
        called = queue.run("--allow-shared", "worker", "stop", *options)
    left = queue.json("worker", "list")

    assert called.code == 1
    assert called.err == (
        f"queuectl worker stop: {owner} (pid {victim.pid}) cannot be seen from here "
        "(stop it in the container that it runs in)\n"
    )
    assert victim.poll() is None
    assert left == []

"""What SQLite forbids: a connection across a fork, and its files opened by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Queue, wait_until
from processes.conftest import Jobs, linux_only

pytestmark = linux_only

# Imported by every Python that is started with it. SQLite's own opens raise no audit event.
_WATCH = """
import os, sys

def note(what):
    descriptor = os.open(os.environ["TEST_AUDIT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (what + " in " + " ".join(sys.orig_argv if hasattr(sys, "orig_argv")
                                                   else sys.argv) + "\\n").encode())
    os.close(descriptor)

def of_a_database(path):
    return os.path.basename(path).startswith("queue.db") and path.endswith((".db", "-wal", "-shm"))

def hook(event, arguments):
    if event == "open":
        path = arguments[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        # Making it, before anybody can be connected, is allowed.
        if isinstance(path, str) and of_a_database(path) and not flags & os.O_EXCL:
            note(f"{path} was opened")
    elif event in ("os.fork", "os.forkpty"):
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                path = os.readlink("/proc/self/fd/" + descriptor)
            except OSError:
                continue
            if of_a_database(path):
                note(f"{path} was open at a fork")

if "TEST_AUDIT" in os.environ:
    sys.addaudithook(hook)
    note("watched")
"""


@pytest.fixture
def audit(queue: Queue) -> Path:
    """Watch every Python process of the queue; what they do wrong goes into this file."""
    watch = queue.folder / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(_WATCH)
    queue.env.update({"PYTHONPATH": str(watch), "TEST_AUDIT": str(queue.folder / "audit")})
    return queue.folder / "audit"


def test_the_watch_sees_both_faults(queue: Queue, audit: Path) -> None:
    """Who opens a file of SQLite, and forks with it, is written down twice."""
    queue.ok("enqueue", "true")
    wrong = f"import os; kept = open({str(queue.database)!r}, 'rb'); os.fork() or os._exit(0)"
    subprocess.run([sys.executable, "-c", wrong], env=queue.env, check=True)

    noted = [line for line in audit.read_text().splitlines() if not line.startswith("watched in ")]
    assert [line.split(" in ")[0] for line in noted] == [
        f"{queue.database} was opened",
        f"{queue.database} was open at a fork",
    ]


def test_no_connection_crosses_a_fork_and_no_file_is_opened_by_hand(
    queue: Queue, jobs: Jobs, audit: Path
) -> None:
    """Over all that works on a queue: closing a descriptor of its file would drop SQLite's locks.

    And a connection that two processes share has corrupted files within a minute.
    """
    jobs.configure(backoff_base="1", backoff_max="0.1", kill_grace="0.2")
    queue.start(workers=2)
    first = queue.enqueue("echo here; exit 0")
    jobs.until(first, "completed")
    assert queue.run("enqueue", "--wait", "--", "exit 3", "--max-retries=1").returncode != 0
    held = queue.enqueue("echo $$ > running; sleep 300")
    jobs.pid("running")
    os.kill(queue.json("worker", "list")[0]["pid"], 9)
    wait_until(lambda: len(queue.json("worker", "list")) == 2)
    queue.ok("cancel", held)
    jobs.until(held, "cancelled")
    for words in (
        "status", "list", "dlq list", "config list", "queue list", "doctor", "check --max-dlq 9",
        "worker list", f"show {first}", f"logs {first}", f"why {first}", f"retry {first}",
        "queue pause", "queue resume", "prune --older-than 0",
    ):  # fmt: skip
        queue.run(*words.split())
    exported = queue.ok("export")
    queue.run("import", "-", stdin=exported)
    queue.run("backup", str(queue.folder / "copy"))
    queue.ok("worker", "stop")
    assert queue.run("worker", "start", "--detach", "--drain").returncode == 0
    wait_until(lambda: not queue.json("worker", "list"))

    noted = audit.read_text().splitlines()
    assert len(noted) > 30
    assert [line for line in noted if not line.startswith("watched in ")] == []

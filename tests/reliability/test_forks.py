"""No connection crosses a fork, and no file of SQLite is opened by hand: SQLite forbids both."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from support.processes import linux_only
from support.queue import Queue
from support.waiting import wait_until
from support.watch.file_watch import by_hand

pytestmark = linux_only


def _opening(queue: Queue) -> str:
    return f"import os; kept = open({str(queue.database)!r}, 'rb'); os.fork() or os._exit(0)"


def _faults(report: Path) -> list[str]:
    """Return and delete the reports of the watch, so that this test does not fail for them."""
    noted = report.read_text().splitlines()
    report.unlink()
    return [line.partition(" in ")[0] for line in noted]


def test_the_watch_sees_both_faults(queue: Queue, watched: Path) -> None:
    """A process that opens a file of SQLite and then forks is reported twice; a job is, too.

    All processes of all tests are watched, and a test fails if there is a single report.
    """
    wrong = [f"{queue.database} was opened by hand", f"{queue.database} was open at a fork"]
    queue.enqueue("python -c " + shlex.quote(_opening(queue)))
    assert not watched.exists()
    subprocess.run([sys.executable, "-c", _opening(queue)], env=queue.env, check=True)
    assert _faults(watched) == wrong
    queue.drain()
    assert _faults(watched) == wrong


def test_the_watch_sees_faults_of_the_test_process(queue: Queue, watched: Path) -> None:
    """The test process and its forks are watched as well, except in a `with by_hand()` block."""
    queue.enqueue("true")
    with by_hand():
        queue.database.read_bytes()
    assert not watched.exists()
    with open(str(queue.database), "rb"):
        pid = os.fork()
        if pid == 0:
            os.open(str(queue.database) + "-wal", os.O_RDONLY | os.O_CREAT)
            os._exit(0)
        os.waitpid(pid, 0)

    assert _faults(watched) == [
        f"{queue.database} was opened by hand",
        f"{queue.database} was open at a fork",
        f"{queue.database}-wal was opened by hand",
    ]


def test_no_connection_crosses_a_fork_and_no_file_is_opened_by_hand(
    queue: Queue, watched: Path
) -> None:
    """Workers and commands do neither.

    Closing a descriptor of the file would drop the locks that SQLite has on it, and a connection
    that two processes share has corrupted files within a minute.
    """
    queue.configure(backoff_base="1", backoff_max="0.1", kill_grace="0.2")
    queue.start(workers=2)
    first = queue.enqueue("echo here; exit 0")
    queue.until(first, "completed")
    assert queue.run("enqueue", "--wait", "--", "exit 3", "--max-retries=1").code != 0
    held = queue.enqueue("echo $$ > running; sleep 300")
    queue.pid("running")
    os.kill(queue.workers()[0]["pid"], 9)
    wait_until(lambda: len(queue.workers()) == 2)
    queue.ok("cancel", held)
    queue.until(held, "cancelled")
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
    assert queue.run("worker", "start", "--detach", "--drain").code == 0
    wait_until(lambda: not queue.json("worker", "list"))

    assert not watched.exists()

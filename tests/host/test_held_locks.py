"""Which processes hold a lock of a queue."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from queuectl.host import held_locks
from queuectl.host.files import QueueFiles, find, turn_of
from support.processes import linux_only
from support.queue import Queue

pytestmark = linux_only


@pytest.fixture
def files(queue: Queue) -> QueueFiles:
    queue.ok("enqueue", "true")
    return queue.files


@pytest.mark.parametrize("name", ["write", "turn", "start", "stage", "batch"])
def test_a_lock_of_ours_is_seen_while_it_is_held(files: QueueFiles, name: str) -> None:
    """Its holder must not be stopped."""
    paths = {"write": files.write_lock, "turn": turn_of(files.write_lock),
             "start": files.start_lock, "stage": files.stage_lock,
             "batch": files.batch_lock}  # fmt: skip
    with Path(paths[name]).open("a") as lock:
        assert os.getpid() not in held_locks.holders(files)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert os.getpid() in held_locks.holders(files)
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert os.getpid() not in held_locks.holders(files)


def test_a_transaction_is_seen_and_an_open_database_is_not(files: QueueFiles) -> None:
    """A reader keeps the log from becoming shorter, a writer keeps others from writing."""
    with closing(sqlite3.connect(files.database, isolation_level=None)) as conn:
        conn.execute("SELECT count(*) FROM jobs").fetchone()
        assert os.getpid() not in held_locks.holders(files)
        for begin in ("BEGIN; SELECT count(*) FROM jobs", "BEGIN IMMEDIATE"):
            for statement in begin.split("; "):
                conn.execute(statement).fetchone()
            assert os.getpid() in held_locks.holders(files)
            conn.execute("ROLLBACK")
            assert os.getpid() not in held_locks.holders(files)


def test_a_process_that_closes_the_database_is_seen(files: QueueFiles) -> None:
    """Regression: it locks the file itself for a moment; stopped then, others found it busy."""
    # In another process: this one must not open the file by hand.
    locking = (
        "import fcntl, sys; database = open(sys.argv[1], 'r+b'); "
        "fcntl.lockf(database, fcntl.LOCK_EX, 1, 0x40000000); print('locked', flush=True); input()"
    )
    command = [sys.executable, "-S", "-E", "-c", locking, files.database]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.pid in held_locks.holders(files)
        process.communicate(b"\n")
    assert process.pid not in held_locks.holders(files)


def test_a_queue_that_is_not_there_has_no_locks(tmp_path: Path) -> None:
    """Nobody can hold them."""
    assert held_locks.holders(find(str(tmp_path / "none.db"), None, False)) == set()

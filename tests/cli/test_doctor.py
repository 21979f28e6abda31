"""`doctor`: each finding in a line, and exit 1 when one fails."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from contextlib import closing

import pytest

from queuectl.cli.commands.doctor import _has_wal_reset_bug
from queuectl.storage import schema
from support.queue import COMMAND, Queue
from support.shell import in_forks
from support.small_disk import on_small_disk
from support.states import opened

_EVERY_CHECK = {
    "file system", "free space", "open files", "integrity", "schema", "SQLite", "counts", "WAL",
    "jobs", "workers", "clock", "PATH", "owner and mode",
}  # fmt: skip


@pytest.fixture
def queue(queue):
    """What is told is the same in a fork, and sooner."""
    return in_forks(queue)


def levels(queue, code=0):
    """Return what each check found, by its name."""
    return levels_of(queue.run("doctor"), code)


def levels_of(done, code=0):
    """Return the same of a call that has ended."""
    assert done.returncode == code, done.stdout + done.stderr
    rows = [line.split(None, 1) for line in done.stdout.splitlines()]
    return {rest.split(":", 1)[0]: level for level, rest in rows}


def message(queue, check, code=0):
    """Return what it says of one check."""
    done = queue.run("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    (found,) = [f["message"] for f in json.loads(done.stdout) if f["check"] == check]
    return found


def sql(queue, statement, *values):
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute(statement, values)
        conn.commit()


def test_a_sound_queue_is_ok_throughout(queue):
    """After a drain every check says ok, and the exit code is 0."""
    queue.enqueue("true")
    queue.drain()

    assert levels(queue) == dict.fromkeys(_EVERY_CHECK, "ok")


def test_what_is_found_is_json_too(queue):
    """--json is a list of checks with their levels and messages."""
    queue.enqueue("true")
    found = queue.json("doctor")

    assert {tuple(finding) for finding in found} == {("check", "level", "message")}
    assert {"integrity", "schema", "counts", "workers", "clock"} <= {f["check"] for f in found}


def test_a_wrong_count_fails(queue):
    """The kept counts are held against the rows."""
    queue.enqueue("true")
    sql(queue, "UPDATE job_counts SET jobs = 5")

    assert levels(queue, code=1)["counts"] == "fail"


@pytest.mark.parametrize(("column", "value"), [("run_at", "soon"), ("env", "{")])
def test_a_job_that_cannot_be_read_fails(queue, column, value):
    """What another program has written is named: no worker gets past it, and no `list`."""
    queue.enqueue("true", "--id", "a")
    sql(queue, f"UPDATE jobs SET {column} = ?", value)

    assert levels(queue, code=1)["jobs"] == "fail"
    assert message(queue, "jobs", code=1).startswith("job a: ")


def test_a_file_that_others_can_write_fails(queue):
    """Whoever can write the queue can run commands as its workers."""
    queue.enqueue("true")
    (queue.folder / "queue.db.d" / "write.lock").chmod(0o666)

    assert levels(queue, code=1)["owner and mode"] == "fail"


@pytest.mark.parametrize(
    "name",
    ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db.d", "queue.db.d/logs",
     "queue.db.d/workers", "queue.db.d/write.lock", "queue.db.d/write.lock.turn"],
)  # fmt: skip
def test_a_file_that_others_can_read_fails(queue, name):
    """Commands and their output may hold secrets. Regression: the -wal file was passed over."""
    queue.enqueue("true")
    path = queue.folder / name
    with opened(queue) as storage:
        storage.set_key("max-retries", "5")  # of an empty -wal SQLite itself mends the mode
        path.chmod(path.stat().st_mode | 0o044)
        # A process: no connection may cross a fork.
        done = Queue.run(queue, "doctor")

    assert done.returncode == 1
    assert f"fail  owner and mode: others can read {path} (chmod go-rx)" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["queue.db", "queue.db.d/logs", "queue.db.d/write.lock"])
def test_a_file_of_somebody_else_fails(queue, name):
    """Whoever owns it can change what is run."""
    queue.enqueue("true")
    os.chown(queue.folder / name, 65534, 65534)

    assert "fail" in levels(queue, code=1).values()


def test_a_file_that_does_not_add_up_fails(queue):
    """The database is checked throughout: pages, indexes and constraints."""
    queue.enqueue("true")
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("PRAGMA ignore_check_constraints = ON")
        conn.execute("UPDATE jobs SET attempts = -1")
        conn.commit()

    assert levels(queue, code=1)["integrity"] == "fail"


def test_a_state_that_cannot_be_fails(queue):
    """In a line, like all others, and the rest is examined."""
    queue.enqueue("true")
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("PRAGMA ignore_check_constraints = ON")
        conn.execute("UPDATE jobs SET state = 'confused'")
        conn.commit()

    found = levels(queue, code=1)
    assert found["integrity"] == "fail"
    assert set(found) == _EVERY_CHECK


def test_a_newer_schema_fails(queue):
    """What made it is to be installed."""
    queue.enqueue("true")
    sql(queue, f"PRAGMA user_version = {schema.VERSION + 1}")
    done = queue.run("doctor")

    assert done.returncode == 1
    assert (
        f"fail  database: {queue.database} was made by a newer queuectl (install that one)\n"
        in done.stdout
    )


def test_a_large_log_of_changes_is_a_warning(queue):
    """It grows only while somebody reads for long, and slows everybody down."""
    queue.enqueue("true")
    with opened(queue):
        os.truncate(str(queue.database) + "-wal", 65 << 20)
        # A process: no connection may cross a fork.
        found = levels_of(Queue.run(queue, "doctor"))

    assert found["WAL"] == "warn"


@pytest.mark.parametrize(("size", "level"), [("8m", "fail"), ("64m", "warn")])
def test_little_free_space_is_told(queue, size, level):
    """Below 256 MiB it is a warning, below 16 MiB a failure."""
    with on_small_disk(queue, size):
        queue.enqueue("true")
        found = levels(queue, code=level == "fail")
        kind = message(queue, "file system") if level == "warn" else "tmpfs"

    assert (found["free space"], found["file system"], kind) == (level, "ok", "tmpfs")


def test_space_is_looked_for_where_the_default_place_will_be(queue):
    """Regression: before the first job it warned that there is no such folder."""
    done = queue.run("doctor", env={"QUEUECTL_DB": ""})

    assert re.search(rf"free space: \d+ [GMK]iB in {re.escape(str(queue.home))}\n", done.stdout)


def test_few_descriptors_are_a_warning(queue):
    """A pool needs one for each worker, and each of them some."""
    queue.enqueue("true")
    queue.drain()
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 32; exec "$0" doctor', COMMAND],
        env=queue.env, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert "warn  open files: at most 32 per process (ulimit -n)\n" in done.stdout


@pytest.mark.parametrize(("captured", "level"), [("PATH", "ok"), ("", "warn")])
def test_another_path_than_the_workers_is_a_warning(queue, captured, level):
    """Unless jobs bring theirs, they find other programs than this shell does."""
    queue.ok("config", "set", "capture-env", captured)
    queue.start(env={"PATH": "/opt/other:" + queue.env["PATH"]})

    assert levels(queue)["PATH"] == level


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ((3, 6, 23), False), ((3, 7, 0), True), ((3, 31, 1), True), ((3, 40, 1), True),
        ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 50, 6), True),
        ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)  # fmt: skip
def test_versions_of_sqlite_with_the_wal_reset_bug_are_known(version, has_it):
    """Mended in 3.51.3, and in two older lines."""
    assert _has_wal_reset_bug(version) == has_it


def test_the_version_of_sqlite_is_told(queue):
    """With the bug comes why queuectl is clear of it."""
    queue.enqueue("true")
    told = message(queue, "SQLite")

    assert told.startswith(sqlite3.sqlite_version)
    assert ("known bug (WAL reset)" in told) == _has_wal_reset_bug(sqlite3.sqlite_version_info)


def test_a_job_without_its_worker_is_a_warning(queue):
    """The next workers settle it, so nothing has failed."""
    job = queue.enqueue("true")
    sql(
        queue,
        "UPDATE jobs SET state = 'processing', locked_by = 'gone-1', locked_at = updated_at, "
        "execution_id = 1 WHERE id = ?",
        job,
    )

    assert levels(queue)["workers"] == "warn"


def test_a_clock_that_was_set_back_is_a_warning(queue):
    """The newest row must not lie in the future."""
    queue.enqueue("true")
    sql(queue, "UPDATE jobs SET updated_at = '2999-01-01T00:00:00.000000Z'")

    assert levels(queue)["clock"] == "warn"


def test_a_queue_that_is_not_there_yet_is_a_warning(queue):
    """Nothing is made, and nothing has failed."""
    assert levels(queue)["database"] == "warn"
    assert not queue.database.exists()


def test_another_programs_file_fails(queue):
    """It is named and left as it is."""
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("CREATE TABLE other (x)")
        conn.commit()

    assert levels(queue, code=1)["database"] == "fail"

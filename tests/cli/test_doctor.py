"""`doctor`: one line per check, and exit 1 if one fails."""

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
from support.calls import COMMAND
from support.screens import SIZES
from support.small_disk import on_small_disk
from support.terminal import on_terminal

_EVERY_CHECK = {
    "unused space", "bulk enqueue",
    "file system", "free space", "open files", "integrity", "schema", "SQLite", "counts", "WAL",
    "jobs", "workers", "clock", "retries", "schedules", "hooks", "PATH", "owner and mode",
}  # fmt: skip


def levels(queue, code=0):
    """Return the level of each check by its name."""
    return levels_of(queue.run("doctor"), code)


def levels_of(done, code=0):
    """Return the level of each check in the output of a call."""
    assert done.code == code, done.out + done.err
    rows = [line.split(None, 1) for line in done.out.splitlines()]
    return {rest.split(":", 1)[0]: level for level, rest in rows}


def message(queue, check, code=0):
    """Return the message of one check."""
    done = queue.run("doctor", "--json")
    assert done.code == code, done.out + done.err
    (found,) = [f["message"] for f in json.loads(done.out) if f["check"] == check]
    return found


def sql(queue, statement, *values):
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute(statement, values)
        conn.commit()


def test_a_healthy_queue_passes_every_check(queue):
    """After a drain every check is ok, and the exit code is 0."""
    queue.enqueue("true")
    queue.drain()

    assert levels(queue) == dict.fromkeys(_EVERY_CHECK, "ok")


@pytest.mark.parametrize("size", SIZES)
def test_findings_on_a_terminal(queue, size):
    """They are the same, broken between words; a last line says how many problems there are."""
    queue.enqueue("true")
    shown = on_terminal(queue, "doctor", size=size, env={"NO_COLOR": "1"})

    *lines, summary = shown.screen.splitlines()
    one_by_one = re.sub(r"\n {6}", " ", "\n".join(lines))
    assert one_by_one == queue.ok("doctor")
    assert summary == "no problems found"
    assert max(map(len, lines)) <= max(size[0], len(str(queue.database)) + 30)


def test_problems_are_counted_on_a_terminal(queue):
    """Warnings and failures, which are bold, each with the right number of the noun."""
    queue.enqueue("true")
    queue.database.chmod(0o644)
    sql(queue, "UPDATE jobs SET updated_at = '2099-01-31T12:00:00.000000Z'")
    shown = on_terminal(queue, "doctor", size=(80, 24))

    assert shown.code == 1
    assert shown.screen.endswith("\n1 problem and 1 warning found\n")
    assert "\x1b[31m\x1b[1mfail\x1b[0m  owner and mode: others can read" in shown.screen
    assert "\x1b[1mwarn\x1b[0m  clock: the system clock is " in shown.screen


def test_findings_as_json(queue):
    """--json prints an array of checks with their levels and messages."""
    queue.enqueue("true")
    found = queue.json("doctor")

    assert {tuple(finding) for finding in found} == {("check", "level", "message")}
    assert {"integrity", "schema", "counts", "workers", "clock"} <= {f["check"] for f in found}


def test_a_wrong_count_fails(queue):
    """The kept counts are compared with the rows."""
    queue.enqueue("true")
    sql(queue, "UPDATE job_counts SET jobs = 5")

    assert levels(queue, code=1)["counts"] == "fail"


def test_a_wrong_head_of_a_queue_fails(queue):
    """Claims go by the job that is kept as the next one of its queue."""
    queue.enqueue("true")
    sql(queue, "UPDATE job_counts SET head_seq = 5")

    assert message(queue, "counts", code=1) == "1 queues do not give out their first job: default"


def test_a_wrong_counter_of_activity_fails(queue):
    """What happened ever since is the sum of what happened on each day."""
    queue.enqueue("true")
    sql(queue, "UPDATE activity SET times = 7 WHERE period = ''")

    assert message(queue, "counts", code=1) == (
        "1 counters of activity are wrong: default enqueued: 7, but 1 by days"
    )


@pytest.mark.parametrize(("column", "value"), [("run_at", "soon"), ("env", "{")])
def test_an_unreadable_job_fails(queue, column, value):
    """A bad value that another program wrote would stop workers and `list`; the job is named."""
    queue.enqueue("true", "--id", "a")
    sql(queue, f"UPDATE jobs SET {column} = ?", value)

    assert levels(queue, code=1)["jobs"] == "fail"
    assert message(queue, "jobs", code=1).startswith("job a: ")


def test_a_file_that_others_can_write_fails(queue):
    """Anyone who can write the queue can run commands as the user of its workers."""
    queue.enqueue("true")
    (queue.folder / "queue.db.d" / "write.lock").chmod(0o666)

    assert levels(queue, code=1)["owner and mode"] == "fail"


@pytest.mark.parametrize(
    "name",
    ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db.d", "queue.db.d/logs",
     "queue.db.d/workers", "queue.db.d/write.lock", "queue.db.d/write.lock.turn"],
)  # fmt: skip
def test_a_file_that_others_can_read_fails(queue, name):
    """Commands and output may hold secrets. Regression: the -wal file was not checked."""
    queue.enqueue("true")
    path = queue.folder / name
    with queue.opened() as storage:
        storage.set_key("max-retries", "5")  # of an empty -wal SQLite itself mends the mode
        path.chmod(path.stat().st_mode | 0o044)
        # Run a process, not a fork: no connection may cross a fork.
        done = queue.run("doctor", as_process=True)

    assert done.code == 1
    assert f"fail  owner and mode: others can read {path} (chmod go-rx)" in done.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["queue.db", "queue.db.d/logs", "queue.db.d/write.lock"])
def test_a_file_of_another_user_fails(queue, name):
    """The owner of a file can change which commands are run."""
    queue.enqueue("true")
    os.chown(queue.folder / name, 65534, 65534)

    assert "fail" in levels(queue, code=1).values()


def test_a_corrupt_database_fails(queue):
    """Pages, indexes and constraints of the database are checked."""
    queue.enqueue("true")
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("PRAGMA ignore_check_constraints = ON")
        conn.execute("UPDATE jobs SET attempts = -1")
        conn.commit()

    assert levels(queue, code=1)["integrity"] == "fail"


def test_an_impossible_state_fails(queue):
    """It is one finding like others, and the remaining checks run."""
    queue.enqueue("true")
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("PRAGMA ignore_check_constraints = ON")
        conn.execute("UPDATE jobs SET state = 'confused'")
        conn.commit()

    found = levels(queue, code=1)
    assert found["integrity"] == "fail"
    assert set(found) == _EVERY_CHECK


def test_a_newer_schema_fails(queue):
    """The message says that a newer queuectl must be installed."""
    queue.enqueue("true")
    sql(queue, f"PRAGMA user_version = {schema.VERSION + 1}")
    done = queue.run("doctor")

    assert done.code == 1
    assert (
        f"fail  database: {queue.database} was made by a newer queuectl (install that one)\n"
        in done.out
    )


def test_a_large_write_ahead_log_is_a_warning(queue):
    """It grows only while a program reads for a long time, and it slows everything down."""
    queue.enqueue("true")
    with queue.opened():
        os.truncate(str(queue.database) + "-wal", 65 << 20)
        # Run a process, not a fork: no connection may cross a fork.
        found = levels_of(queue.run("doctor", as_process=True))

    assert found["WAL"] == "warn"


@pytest.mark.parametrize(("size", "level"), [("8m", "fail"), ("64m", "warn")])
def test_low_free_space(queue, size, level):
    """Below 256 MiB it is a warning, below 16 MiB a failure."""
    with on_small_disk(queue, size):
        queue.enqueue("true")
        found = levels(queue, code=level == "fail")
        kind = message(queue, "file system") if level == "warn" else "tmpfs"

    assert (found["free space"], found["file system"], kind) == (level, "ok", "tmpfs")


def test_a_file_system_without_inodes(queue):
    """There is space, but no file can be made."""
    with on_small_disk(queue, "512m,nr_inodes=5"):
        queue.run("enqueue", "true")
        done = queue.run("doctor")

    assert re.search(
        r"fail  free space: \d+ MiB in \S+, but no inodes are left \(df -i\)\n", done.out
    )


def test_free_space_of_a_default_queue_that_does_not_exist(queue):
    """Regression: before the first job, `doctor` warned that its folder does not exist."""
    done = queue.run("doctor", env={"QUEUECTL_DB": ""})

    assert re.search(rf"free space: \d+ [GMK]iB in {re.escape(str(queue.home))}\n", done.out)


def test_a_low_limit_of_open_files_is_a_warning(queue):
    """A supervisor needs a descriptor for each worker, and each worker needs some."""
    queue.enqueue("true")
    queue.drain()
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 32; exec "$0" doctor', COMMAND],
        env=queue.env, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert "warn  open files: at most 32 per process (ulimit -n)\n" in done.stdout


def test_a_queue_that_left_wal_mode_is_named(queue):
    """Prevents: doctor was content with a queue whose readers block all writers."""
    queue.enqueue("true")
    sql(queue, "PRAGMA journal_mode = TRUNCATE")
    warned = message(queue, "WAL")
    queue.enqueue("true")

    assert warned == "off, as in every backup: the next command that writes turns it on"
    assert message(queue, "WAL").startswith("the write-ahead log ")


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
    """The bug was fixed in 3.51.3 and in two older branches."""
    assert _has_wal_reset_bug(version) == has_it


def test_the_version_of_sqlite(queue):
    """If it has the bug, the message says why queuectl is not affected."""
    queue.enqueue("true")
    told = message(queue, "SQLite")

    assert told.startswith(sqlite3.sqlite_version)
    assert ("known bug (WAL reset)" in told) == _has_wal_reset_bug(sqlite3.sqlite_version_info)


def test_a_job_that_lost_its_worker_is_a_warning(queue):
    """The next workers recover it, so nothing has failed."""
    job = queue.enqueue("true")
    sql(
        queue,
        "UPDATE jobs SET state = 'processing', locked_by = 'gone-1', locked_at = updated_at, "
        "execution_id = 1 WHERE id = ?",
        job,
    )

    assert levels(queue)["workers"] == "warn"


def test_a_clock_that_was_set_back_is_a_warning(queue):
    """The newest job must not be in the future."""
    queue.enqueue("true")
    sql(queue, "UPDATE jobs SET updated_at = '2999-01-01T00:00:00.000000Z'")

    assert levels(queue)["clock"] == "warn"


def test_a_queue_that_does_not_exist_is_a_warning(queue):
    """Nothing is created, and nothing has failed."""
    assert levels(queue)["database"] == "warn"
    assert not queue.database.exists()


def test_a_file_of_another_program_fails(queue):
    """The file is named and not changed."""
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("CREATE TABLE other (x)")
        conn.commit()

    assert levels(queue, code=1)["database"] == "fail"


def add_schedule(queue, expression, zone):
    sql(
        queue,
        "INSERT INTO schedules (name, expression, timezone, spec, anchor, created_at, updated_at) "
        "VALUES ('nightly', ?1, ?2, '{\"command\": \"true\"}', ?3, ?3, ?3)",
        expression,
        zone,
        "2026-01-01T00:00:00.000000Z",
    )


def test_a_schedule_that_can_be_planned(queue):
    """`every D` needs neither a package nor a zone."""
    queue.enqueue("true")
    add_schedule(queue, "every 10m", None)

    assert message(queue, "schedules") == "1 schedule can be planned"


def test_a_schedule_in_an_unknown_zone_fails(queue):
    """It makes no jobs."""
    pytest.importorskip("cronsim")
    queue.enqueue("true")
    add_schedule(queue, "0 2 * * *", "Mars/Olympus")

    assert message(queue, "schedules", code=1) == (
        "nightly: unknown time zone Mars/Olympus (names are like Europe/Berlin)"
    )


def test_a_schedule_that_cannot_be_read_fails(queue):
    """Another program wrote it, and it makes no jobs."""
    queue.enqueue("true")
    add_schedule(queue, b"every 10m", None)
    assert message(queue, "schedules", code=1) == "nightly: expression is b'every 10m'"


def test_jobs_that_cannot_be_read_fail(queue):
    """Lists show other values in the place of what another program wrote."""
    for name in ("a", "b", "c"):
        queue.enqueue("true", "--id", name)
    sql(queue, "UPDATE jobs SET label = x'6162' WHERE id > 'a'")
    assert message(queue, "jobs", code=1) == "job b: label is b'ab' (and 1 more)"


def test_a_hook_that_cannot_be_read_fails(queue):
    """Another program wrote it, and it reports nothing."""
    for name in ("a", "b", "c"):
        queue.ok("hook", "add", name, "--on", "dead", "true")
    assert message(queue, "hooks") == "3 hooks can be read"
    sql(queue, "UPDATE hooks SET timeout = 'x' WHERE name > 'a'")
    assert message(queue, "hooks", code=1) == (
        "hook b: timeout is 'x' (and 1 more) (queuectl hook remove, or add --replace)"
    )


def test_the_secret_of_the_web_page_is_for_one_user_only(queue):
    """Also in a queue that a team shares."""
    queue.enqueue("true")
    key = queue.folder / "queue.db.d" / "web.key"
    key.touch(mode=0o600)
    assert levels(queue)["owner and mode"] == "ok"
    key.chmod(0o640)

    assert levels(queue, code=1)["owner and mode"] == "fail"

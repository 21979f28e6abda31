"""The database file: who may open it, what happens to it, and its transactions."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from queuectl.core.errors import (
    DiskFailure,
    NoQueue,
    QueueBusy,
    QueueReplaced,
    QueueUnusable,
    QueueUpgraded,
)
from queuectl.core.models import Outcome, OutcomeKind, Recorded, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.host import files
from queuectl.storage import Storage, schema
from queuectl.storage.database import Database
from queuectl.storage.write_lock import WriteLock
from support.forks import in_processes
from support.watch.file_watch import by_hand


def at(path, **kwargs):
    return files.find(str(path), None, kwargs.pop("allow_shared", False))


def open_database(path, *, create=False, **kwargs):
    return Database.open(at(path), create=create, **kwargs)


def raw(path):
    """Connect as another program does: without the write lock, and without waiting."""
    return sqlite3.connect(str(path), isolation_level=None, timeout=0)


def entries(folder):
    """Return every path below a folder with its type and mode."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
        found[path.relative_to(folder).as_posix()] = (kind, oct(status.st_mode & 0o777))
    return found


class Stop(BaseException):
    """Raised like a signal or the end of the program: it is no Exception."""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, Stop])
def test_a_transaction_rolls_back_on_any_exception(tmp_path, error):
    """This includes BaseException. The next transaction can begin."""
    database = open_database(tmp_path / "queue.db", create=True)

    def fail():
        with database.transaction() as conn:
            conn.execute("INSERT INTO meta VALUES ('test', '1')")
            raise error

    with pytest.raises(error):
        fail()
    with database.transaction() as conn:
        kept = conn.execute("SELECT count(*) FROM meta WHERE key = 'test'").fetchone()
    database.close()

    assert kept == (0,)


def test_a_broken_constraint_rolls_back_and_is_not_translated(tmp_path):
    """It shows a bug, not a state of the machine."""
    database = open_database(tmp_path / "queue.db", create=True)

    def fail():
        with database.transaction() as conn:
            conn.execute("INSERT INTO meta VALUES ('test', '1')")
            conn.execute("INSERT INTO meta VALUES ('test', '2')")

    with pytest.raises(sqlite3.IntegrityError):
        fail()
    with database.snapshot() as conn:
        kept = conn.execute("SELECT count(*) FROM meta WHERE key = 'test'").fetchone()
    database.close()

    assert kept == (0,)


def test_a_snapshot_sees_one_moment(tmp_path):
    """All queries of a snapshot see the file as the first one did."""
    path = tmp_path / "queue.db"
    database, writer = open_database(path, create=True), open_database(path)
    with database.snapshot() as conn:
        before = conn.execute("SELECT count(*) FROM meta").fetchone()
        with writer.transaction() as other:
            other.execute("INSERT INTO meta VALUES ('test', '1')")
        meanwhile = conn.execute("SELECT count(*) FROM meta").fetchone()
    with database.snapshot() as conn:
        after = conn.execute("SELECT count(*) FROM meta").fetchone()
    database.close()
    writer.close()

    assert (meanwhile, after) == (before, (before[0] + 1,))


def test_each_connection_has_its_settings(tmp_path):
    """WAL, FULL, foreign keys and no trusted schema, for the process that creates the file and for
    others.
    """
    path = tmp_path / "queue.db"
    for create in (True, False):
        database = open_database(path, create=create)
        pragmas = {
            name: database.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema",
                         "busy_timeout", "user_version", "application_id")
        }  # fmt: skip
        database.close()
        assert pragmas == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "trusted_schema": 0,
            "busy_timeout": 1000,
            "user_version": schema.VERSION,
            "application_id": schema.APPLICATION_ID,
        }


def test_a_missing_queue_is_created_only_on_request(tmp_path):
    """Reading it raises NoQueue, and creates nothing."""
    with pytest.raises(NoQueue, match=r"^no queue at .*/queue\.db yet \("):
        open_database(tmp_path / "queue.db")

    assert entries(tmp_path) == {}


def test_an_empty_file_is_a_queue_without_tables(tmp_path):
    """A process that is killed between creating the file and the tables leaves one."""
    path = tmp_path / "queue.db"
    with by_hand():
        path.touch(0o600)
    with pytest.raises(NoQueue):
        open_database(path)
    open_database(path, create=True).close()
    open_database(path).close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_everything_is_private_whatever_the_umask(tmp_path, umask):
    """Files are 0600 and folders 0700: a user who can write the queue can run commands as its
    workers.
    """
    before = os.umask(umask)
    try:
        storage = Storage.open(at(tmp_path / "queue.db"), create=True)
        try:
            made = entries(tmp_path)
        finally:
            storage.close()
    finally:
        os.umask(before)

    assert made == {
        "queue.db": ("file", "0o600"),
        "queue.db-shm": ("file", "0o600"),
        "queue.db-wal": ("file", "0o600"),
        "queue.db.d": ("folder", "0o700"),
        "queue.db.d/logs": ("folder", "0o700"),
        "queue.db.d/workers": ("folder", "0o700"),
        "queue.db.d/write.lock": ("file", "0o600"),
        "queue.db.d/write.lock.turn": ("file", "0o600"),
    }


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_others_can_write_is_refused(tmp_path, mode, there):
    """Nothing is written where others can put a file, whether the folder is sticky or not."""
    folder = tmp_path / "shared"
    folder.mkdir(0o700)
    path = folder / "queue.db"
    if there:
        Storage.open(at(path), create=True).close()
    before = entries(folder)
    folder.chmod(mode)
    with pytest.raises(QueueUnusable) as refused:
        Storage.open(at(path), create=True)

    assert str(refused.value) == (
        f"others can write {folder}, so they could run commands as you "
        f"(chmod go-w {folder}, or --allow-shared)"
    )
    assert entries(folder) == before


@pytest.mark.parametrize("mode", [0o620, 0o602])
@pytest.mark.parametrize("name", ["queue.db", "queue.db-wal", "queue.db-shm"])
def test_a_database_that_others_can_write_is_refused(tmp_path, mode, name):
    """Prevents a bug: in a folder of the user, a database of mode 0666 was accepted."""
    path = tmp_path / name
    with closing(Storage.open(at(tmp_path / "queue.db"), create=True)):
        path.chmod(mode)
        with pytest.raises(QueueUnusable) as refused:
            Storage.open(at(tmp_path / "queue.db"), write=True)

    assert str(refused.value) == (
        f"others can write {path}, so they could run commands as you "
        f"(chmod go-w {path}, or --allow-shared)"
    )


def test_a_shared_folder_can_be_allowed(tmp_path):
    """With --allow-shared the queue may be where others can write."""
    tmp_path.chmod(0o777)
    Storage.open(at(tmp_path / "queue.db", allow_shared=True), create=True).close()

    assert (tmp_path / "queue.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["link", "file", "writable"])
@pytest.mark.parametrize("name", ["queue.db.d", "queue.db.d/workers", "queue.db.d/logs"])
def test_a_private_folder_that_is_not_ours_alone_is_refused(tmp_path, name, kind):
    """A link, a file or a folder that others can write may have been put in its place."""
    (tmp_path / "elsewhere").mkdir()
    planted = tmp_path / name
    planted.parent.mkdir(0o700, exist_ok=True)
    if kind == "link":
        planted.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        planted.touch()
    else:
        planted.mkdir()
        planted.chmod(0o777)
    with pytest.raises(QueueUnusable, match=f"{planted}[ ,]"):
        Storage.open(at(tmp_path / "queue.db"), create=True)

    assert not (tmp_path / "queue.db").exists()


def test_a_link_to_a_database_leads_to_its_one_folder(tmp_path):
    """The same write lock is taken through a link as without it."""
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "queue.db")
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    Storage.open(at(tmp_path / "link.db"), create=True).close()

    paths = [tmp_path / "link.db", tmp_path / "folder" / "queue.db", tmp_path / "real/queue.db"]
    assert {at(path).write_lock for path in paths} == {
        str((tmp_path / "real" / "queue.db.d" / "write.lock").resolve())
    }
    assert not (tmp_path / "link.db.d").exists()


def foreign_tables(path):
    conn = raw(path)
    conn.execute("CREATE TABLE bookmarks (id INTEGER PRIMARY KEY, url TEXT)")
    conn.execute("INSERT INTO bookmarks VALUES (1, 'x')")
    conn.close()


def foreign_jobs(path):
    conn = raw(path)
    conn.execute("CREATE TABLE jobs (id TEXT, command TEXT, done INTEGER)")
    conn.close()


def foreign_version(path):
    foreign_tables(path)
    conn = raw(path)
    conn.execute("PRAGMA user_version = 1")
    conn.close()


def foreign_application(path):
    foreign_tables(path)
    conn = raw(path)
    conn.execute("PRAGMA application_id = 7")
    conn.close()


def newer(path):
    Storage.open(at(path), create=True).close()
    conn = raw(path)
    conn.execute("PRAGMA journal_mode = DELETE")
    conn.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    conn.close()


@by_hand()
def garbage(path):
    path.write_bytes(b"no database at all\n" * 100)


@by_hand()
def short_garbage(path):
    path.write_bytes(b"xy")


@by_hand()
def cut_short(path):
    foreign_tables(path)
    path.write_bytes(path.read_bytes()[:1000])


_ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(
    ("name", "statements"),
    [
        ("job_counts", [
            "DROP TABLE job_counts",
            f"CREATE VIEW job_counts AS {_ENDLESS} SELECT 'dead' AS state, 'q' AS queue, x AS jobs "
            "FROM n",
        ]),
        ("Meta", ["DROP TABLE meta", "CREATE VIEW Meta AS SELECT 'queue_id' AS key, 1 AS value"]),
        ("queues", ["DROP TABLE queues", "CREATE VIRTUAL TABLE queues USING fts5(name)"]),
        ("loop", [
            f"CREATE TRIGGER loop AFTER UPDATE ON jobs BEGIN {_ENDLESS} SELECT x FROM n; END",
        ]),
        ("count_new_job", [
            "DROP TRIGGER count_new_job",
            "CREATE TRIGGER count_new_job AFTER INSERT ON jobs BEGIN "
            "UPDATE jobs SET command = 'rm -rf /'; END",
        ]),
    ],
)  # fmt: skip
def test_a_file_that_runs_code_of_others_is_refused(tmp_path, name, statements, write):
    """Prevents: `status` of a file that somebody else made never ended, and used all memory."""
    path = tmp_path / "queue.db"
    Storage.open(at(path), create=True).close()
    with closing(raw(path)) as conn:
        for statement in statements:
            conn.execute(statement)
    with pytest.raises(QueueUnusable) as refused:
        Storage.open(at(path), write=write)

    assert str(refused.value) == (
        f"{path} is damaged or not a queue: another program made {name} in it (drop it with "
        "sqlite3)"
    )


def test_tables_views_and_indexes_beside_ours_harm_nothing(tmp_path):
    """An administrator may have added them, for reports."""
    path = tmp_path / "queue.db"
    Storage.open(at(path), create=True).close()
    with closing(raw(path)) as conn:
        conn.execute("CREATE TABLE notes (text)")
        conn.execute("CREATE VIEW dead AS SELECT * FROM jobs WHERE state = 'dead'")
        conn.execute("CREATE INDEX by_label ON jobs (label)")

    Storage.open(at(path), write=True).close()


@pytest.mark.parametrize("version", range(schema.VERSION))
def test_our_own_triggers_are_known_after_each_migration(tmp_path, version):
    """What a migration makes is what `sqlite_master` then holds."""
    with closing(raw(tmp_path / "queue.db")) as conn:
        for migration in schema.MIGRATIONS[:version]:
            migration(conn)
        schema.migrate(conn, version)
        assert schema.foreign_code(conn) is None


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign_tables, "{path} is not a queue (another program made it)"),
        (foreign_jobs, "{path} is not a queue (another program made it)"),
        (foreign_version, "{path} is not a queue (another program made it)"),
        (foreign_application, "{path} is not a queue (another program made it)"),
        (newer, "{path} was made by a newer queuectl (install that one)"),
        (garbage, "{path} is damaged or not a queue: file is not a database"),
        (short_garbage, "{path} is damaged or not a queue: file is not a database"),
        (cut_short, "{path} is damaged or not a queue: "),
    ],
)
def test_a_file_of_another_program_is_refused_and_unchanged(tmp_path, make, message, create):
    """The error names it, and nothing is created beside it."""
    path = tmp_path / "queue.db"
    make(path)
    with by_hand():
        before, beside = path.read_bytes(), entries(tmp_path)
    with pytest.raises(QueueUnusable) as refused:
        Storage.open(at(path), create=create)

    assert str(refused.value).startswith(message.format(path=path))
    with by_hand():
        assert path.read_bytes() == before
    assert entries(tmp_path) == beside


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_a_folder_or_a_fifo_is_refused(tmp_path, kind):
    """It is not opened, so that nothing can hang."""
    path = tmp_path / "queue.db"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(QueueUnusable, match=r"is not a file$"):
        Storage.open(at(path), create=True)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing/queue.db", "cannot use the folder {folder}/missing: No such file or directory"),
        ("plain/queue.db", "cannot look at {folder}/plain/queue.db: Not a directory"),
        ("x" * 300, "cannot look at {folder}/" + "x" * 300 + ": File name too long"),
    ],
)
def test_an_impossible_place_is_refused(tmp_path, path, message):
    """Folders are created at the default place only; the error says which part is wrong."""
    (tmp_path / "plain").touch(0o600)
    with pytest.raises(QueueUnusable) as refused:
        Storage.open(at(tmp_path / path), create=True)

    assert str(refused.value) == message.format(folder=tmp_path)
    assert entries(tmp_path) == {"plain": ("file", "0o600")}


@pytest.mark.parametrize(
    "name", ["a?b.db", "a#b.db", "a%41.db", "a b.db", "\u00e9.db", "a&mode=ro"]
)
def test_any_file_name_is_taken_literally(tmp_path, name):
    """Characters with a meaning in a URI are part of the name."""
    open_database(tmp_path / name, create=True).close()
    open_database(tmp_path / name).close()

    assert {path.name for path in tmp_path.iterdir()} == {name, name + ".d"}


def test_a_busy_queue_names_the_process_that_holds_it(tmp_path):
    """The error names the queuectl process that is writing, and nothing is changed."""
    path = tmp_path / "queue.db"
    database = open_database(path, create=True, wait_seconds=0.05)
    holder = WriteLock(at(path).write_lock)
    holder.acquire(1)
    with pytest.raises(QueueBusy) as busy:
        with database.transaction():
            pass
    holder.close()
    with database.transaction():
        pass
    database.close()

    assert str(busy.value) == (
        f"the queue stayed busy for 0 s: queuectl process {os.getpid()} is writing (try again)"
    )


def test_a_file_that_another_program_has_locked_is_busy(tmp_path):
    """The error says that it is another program; meanwhile our own lock is released."""
    path = tmp_path / "queue.db"
    database = open_database(path, create=True, wait_seconds=0.05)
    other = raw(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(QueueBusy) as busy:
        with database.transaction():
            pass
    free = WriteLock(at(path).write_lock)
    free.acquire(0)
    free.close()
    other.execute("ROLLBACK")
    other.close()
    with database.transaction():
        pass
    database.close()

    assert str(busy.value) == (
        f"the queue stayed busy for 0 s: another program is writing {path} (try again)"
    )


def test_a_process_that_waits_for_another_program_is_not_blamed(tmp_path, monkeypatch):
    """Regression: of several processes that waited for it, one named another, and a part of its
    wait.
    """
    path = tmp_path / "queue.db"
    database = open_database(path, create=True, wait_seconds=5)
    acquire, turns = database.lock.acquire, count()

    def beaten(wait_seconds):
        if next(turns):
            raise QueueBusy("another waiter was faster")
        acquire(wait_seconds)

    other = raw(path)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database.lock, "acquire", beaten)
    with pytest.raises(QueueBusy) as busy:
        with database.transaction():
            pass
    other.close()
    database.close()

    assert str(busy.value) == (
        f"the queue stayed busy for 5 s: another program is writing {path} (try again)"
    )


def test_a_write_to_a_full_disk_is_undone(tmp_path):
    """It raises DiskFailure, and the next write can begin."""
    database = open_database(tmp_path / "queue.db", create=True)
    pages = database.connection.execute("PRAGMA page_count").fetchone()[0]
    database.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFailure, match=r"^cannot write .*/queue\.db: the disk is full \("):
        with database.transaction() as conn:
            conn.execute("INSERT INTO meta VALUES ('test', ?)", ("x" * 100_000,))
    database.connection.execute("PRAGMA max_page_count = 1000000")
    with database.transaction() as conn:
        kept = conn.execute("SELECT count(*) FROM meta WHERE key = 'test'").fetchone()
    database.close()

    assert kept == (0,)


def upgrade(path, min_writer):
    """Change the file as a newer queuectl would, as far as this one can see."""
    conn = raw(path)
    conn.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    conn.execute("UPDATE meta SET value = ? WHERE key = 'min_writer'", (str(min_writer),))
    conn.close()


def test_after_an_upgrade_a_result_may_still_be_recorded(storage, clock):
    """A worker of the old schema claims no more jobs, but the result of its last one is kept."""
    storage.enqueue([JobSpec(command="true"), JobSpec(command="true")], now=clock.now)
    claim = storage.claim("w1", now=clock.now)
    upgrade(storage.files.database, schema.VERSION)
    ok, completed = Outcome(OutcomeKind.OK, exit_code=0), Verdict(JobState.COMPLETED)
    message = "^the queue was upgraded: start the workers again$"
    with pytest.raises(QueueUpgraded, match=message):
        storage.claim("w1", now=clock.now)
    with pytest.raises(QueueUpgraded, match=message):
        storage.record_and_claim(claim, ok, completed, "w1", now=clock.now)

    assert storage.get(claim.job.id).state is JobState.PROCESSING
    assert storage.record(claim, ok, completed, now=clock.now) is Recorded.DONE
    assert storage.get(claim.job.id).state is JobState.COMPLETED


def test_an_upgrade_can_shut_old_workers_out(storage, clock):
    """With a min_writer above ours, no result is written into tables that we do not know."""
    storage.enqueue([JobSpec(command="true")], now=clock.now)
    claim = storage.claim("w1", now=clock.now)
    upgrade(storage.files.database, schema.VERSION + 1)
    ok, completed = Outcome(OutcomeKind.OK, exit_code=0), Verdict(JobState.COMPLETED)
    with pytest.raises(QueueUpgraded):
        storage.record(claim, ok, completed, now=clock.now)

    assert storage.get(claim.job.id).state is JobState.PROCESSING


def test_32_processes_that_create_a_queue_at_once_all_succeed(tmp_path, clock):
    """Prevents a bug: 7 of 96 racing first openings failed, as the switch to WAL does not wait."""
    path = at(tmp_path / "queue.db")

    def open_and_enqueue():
        storage = Storage.open(path, create=True)
        made = storage.enqueue([JobSpec(command="true")], now=clock.now)
        storage.close()
        return made[0].id

    ids = in_processes([open_and_enqueue] * 32)
    storage = Storage.open(path)
    stored = storage.by_state()
    storage.close()

    assert len(set(ids)) == 32
    assert stored[JobState.PENDING] == 32


@pytest.mark.parametrize("write", [False, True])
def test_a_file_with_two_names_is_refused_under_both(tmp_path, write):
    """Prevents: each name had a log of its own, so that jobs were lost, and others ran twice."""
    first, second = tmp_path / "queue.db", tmp_path / "other" / "queue.db"
    Storage.open(at(first), create=True).close()
    second.parent.mkdir(0o700)
    os.link(first, second)
    for path in (first, second):
        with pytest.raises(QueueUnusable) as refused:
            Storage.open(at(path), write=write)
        assert str(refused.value) == (
            f"{path} has another name (a hard link), and two names would overwrite each other's "
            "changes (remove the other name; to copy a queue: queuectl backup)"
        )
    second.unlink()

    Storage.open(at(first), write=write).close()


@pytest.mark.parametrize("name", ["queue.db", "a b\\c\t.db"])
def test_a_file_that_is_mounted_is_refused(tmp_path, name):
    """Prevents: `docker run -v FILE:FILE` gives the file a second name, with its own log."""
    Storage.open(at(tmp_path / name), create=True).close()
    (tmp_path / "mnt").mkdir(0o700)
    target = tmp_path / "mnt" / name
    with by_hand():
        target.touch(0o600)
    if subprocess.run(["mount", "--bind", tmp_path / name, target], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(QueueUnusable) as refused:
            Storage.open(at(target), write=True)
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)

    assert str(refused.value) == (
        f"{target} is mounted as a single file, and its two names would overwrite each other's "
        "changes (mount the folder that contains it)"
    )


def mode_of(path):
    with closing(raw(path)) as conn:
        return conn.execute("PRAGMA journal_mode").fetchone()[0]


def leave_wal(path):
    with closing(raw(path)) as conn:
        assert conn.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete"


def test_a_file_that_left_wal_mode_is_put_back_by_the_next_write(tmp_path):
    """Prevents: a queue that came from a backup never was in WAL mode, so readers blocked it."""
    path = tmp_path / "queue.db"
    Storage.open(at(path), create=True).close()
    leave_wal(path)
    Storage.open(at(path)).close()
    after_reading = mode_of(path)
    Storage.open(at(path), write=True).close()

    assert (after_reading, mode_of(path)) == ("delete", "wal")


def test_a_reader_does_not_block_writers_of_a_queue_that_came_from_a_backup(tmp_path, clock):
    (tmp_path / "new").mkdir(0o700)
    path = tmp_path / "new" / "queue.db"
    with closing(Storage.open(at(tmp_path / "queue.db"), create=True)) as storage:
        storage.back_up(str(path), now=clock.now)
    with closing(Storage.open(at(path), write=True)) as storage, closing(raw(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchone()
        storage.enqueue([JobSpec(command="true")], now=clock.now)


def test_a_mode_that_cannot_be_changed_now_is_busy(tmp_path):
    """Another program reads the file meanwhile, which only WAL allows."""
    path = tmp_path / "queue.db"
    Storage.open(at(path), create=True).close()
    leave_wal(path)
    with closing(raw(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchone()
        with pytest.raises(QueueBusy):
            Storage.open(at(path), write=True, wait_seconds=0.1)

    Storage.open(at(path), write=True).close()
    assert mode_of(path) == "wal"


@pytest.mark.parametrize("write", [False, True])
def test_the_log_of_another_file_is_refused(tmp_path, clock, write):
    """Prevents: a backup was copied over the file, and SQLite applied the old log to it.

    So the restored queue silently became the old one, or was damaged.
    """
    path, copy = tmp_path / "queue.db", tmp_path / "copy.db"
    with closing(Storage.open(at(path), create=True)) as storage:
        storage.back_up(str(copy), now=clock.now)
        storage.enqueue([JobSpec(command="true")], now=clock.now)
        with by_hand():
            log = Path(f"{path}-wal").read_bytes()
    assert log
    with by_hand():
        os.replace(copy, path)
        Path(f"{path}-wal").write_bytes(log)
        Path(f"{path}-wal").chmod(0o600)
    with pytest.raises(QueueUnusable) as refused:
        Storage.open(at(path), write=write)

    assert str(refused.value) == (
        f"{path}-wal belongs to another database, as after a copy was put in the place of {path} "
        f"(remove it and {path}-shm; the right way: queuectl restore)"
    )
    Path(f"{path}-wal").unlink()
    with closing(Storage.open(at(path), write=write)) as storage:
        assert storage.newest() is None


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_nothing_is_acknowledged_in_a_file_that_is_gone(tmp_path, clock, how):
    """Prevents: a command that waited for its turn wrote into the old file, where nobody looks."""
    path = tmp_path / "queue.db"
    with closing(Storage.open(at(path), create=True)) as storage:
        storage.enqueue([JobSpec(command="true", id="a")], now=clock.now)
        claim = storage.claim("w-1", now=clock.now)
        if how == "replaced":
            storage.back_up(str(tmp_path / "copy.db"), now=clock.now)
            os.replace(tmp_path / "copy.db", path)
        else:
            path.unlink()
        with pytest.raises(QueueReplaced):
            storage.enqueue([JobSpec(command="true", id="b")], now=clock.now)
        with pytest.raises(QueueReplaced):
            storage.claim("w-1", now=clock.now)
        done = Outcome(OutcomeKind.OK, exit_code=0, seconds=1.0)
        recorded = storage.record(claim, done, Verdict(JobState.COMPLETED), now=clock.now)

        assert recorded is Recorded.DONE


def test_the_log_of_a_queue_on_a_small_disk_stays_small(tmp_path, monkeypatch):
    """A twentieth of the disk: else the write-ahead log alone could fill it."""
    limits = []
    for blocks in (2000, 10_000_000):
        place = os.statvfs_result((4096, 4096, blocks, 0, 0, 0, 0, 0, 0, 255))
        with monkeypatch.context() as small:
            small.setattr(os, "statvfs", lambda _, place=place: place)
            database = open_database(tmp_path / "queue.db", create=True)
        limits += [
            database.connection.execute(f"PRAGMA {pragma}").fetchone()[0]
            for pragma in ("wal_autocheckpoint", "journal_size_limit")
        ]
        database.close()

    assert limits == [200, 200 * 2 * 2048, 4000, 4000 * 2 * 2048]

"""The connection to SQLite, its settings, and transactions under the write lock."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from types import TracebackType
from typing import Callable

from queuectl.core.errors import (
    DiskFailure,
    NoQueue,
    QueueBusy,
    QueueReplaced,
    QueueUnusable,
    QueueUpgraded,
)
from queuectl.core.times import utcnow
from queuectl.host import places
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import own_mode
from queuectl.storage import schema
from queuectl.storage.write_lock import WriteLock

_BUSY_SECONDS = 1.0
_PAGE_BYTES = 2048
_CHECKPOINT_PAGES = 4000
"""SQLite's 1000 make one commit in 110 wait for the whole file to be synced: 2 % of a drain."""
_SMALLEST_BYTES = 512
_SHM_BYTES = 32768
"""By so much the -shm file grows."""
WAIT_SECONDS = 30.0
"""How long a command waits for the write lock before it gives up (exit 75)."""


class Database:
    """One connection of one process; it must not cross a fork.

    `wait_seconds` is how long a write transaction waits for its turn.
    """

    def __init__(
        self, files: QueueFiles, connection: sqlite3.Connection, wait_seconds: float
    ) -> None:
        self.files = files
        self.connection = connection
        self.wait_seconds = wait_seconds
        self.lock = WriteLock(files.write_lock)
        self._relaxed = False
        self._identity = _identity(files.database)

    @classmethod
    def open(
        cls,
        files: QueueFiles,
        *,
        create: bool,
        new_id: Callable[[], str],
        upgrade: bool = True,
        wait_seconds: float = WAIT_SECONDS,
        notice: Callable[[str], None] | None = None,
    ) -> Database:
        """Connect; make or upgrade the file first where that is needed.

        Without `create` a file that is not there raises NoQueue, without `upgrade` one that would
        have to be upgraded raises QueueUnusable. `notice` is told of an upgrade.
        """
        if not files.exists():
            if not create:
                raise NoQueue(files.database)
            places.refuse_network(files)
            places.prepare_to_write(files)
            places.create_database(files)
        database = cls(files, _connect(files.database), wait_seconds)
        try:
            if not database._is_current():
                if not upgrade:
                    raise QueueUnusable(f"{files.database} has yet to be upgraded")
                database._bring_up_to_date(create, new_id, notice)
            database._configure()
        except sqlite3.Error as error:
            database.close()
            raise translated(error, files.database) from error
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def empty(cls, files: QueueFiles) -> Database:
        """A queue in memory that holds nothing, to stand for one that has not been made yet.

        What is written to it, as by a verb that finds nothing to do, is forgotten.
        """
        connection = sqlite3.connect(":memory:", isolation_level=None)
        schema.migrate(connection, 0)
        database = cls(files, connection, 0.0)
        database.lock = _Unshared(files.write_lock)
        return database

    def close(self) -> None:
        """Give the connection and the lock's file back."""
        self.connection.close()
        self.lock.close()

    def refuse_replaced(self) -> None:
        """Raise QueueReplaced if what is at its path now is another file, or none: whoever enqueues
        or works does so elsewhere.
        """
        if _identity(self.files.database) not in (self._identity, None):
            raise QueueReplaced(f"{self.files.database} was removed or replaced")

    def relax(self, *, relaxed: bool) -> None:
        """Commit without waiting for the disk, or (as at first) with; outside a transaction.

        Relaxed, a power cut can take back the last commits of this connection: all that came
        before a commit of another that waited is safe.
        """
        if relaxed != self._relaxed:
            self.connection.execute(f"PRAGMA synchronous = {'NORMAL' if relaxed else 'FULL'}")
            self._relaxed = relaxed

    def transaction(self, *, finishing: bool = False) -> Transaction:
        """Begin a write: BEGIN IMMEDIATE … COMMIT under the write lock, rollback on any exception.

        `finishing` allows it beside a newer schema that still lets ours record results.
        """
        return Transaction(self, finishing)

    def snapshot(self) -> Snapshot:
        """Begin a read of several queries that all see the same moment; no lock."""
        return Snapshot(self)

    def _is_current(self) -> bool:
        version = _pragma(self.connection, "user_version")
        application = _pragma(self.connection, "application_id")
        if application == schema.APPLICATION_ID and version > schema.VERSION:
            raise QueueUnusable(
                f"{self.files.database} was made by a newer queuectl (install that one)"
            )
        if application != schema.APPLICATION_ID and (application or version):
            raise self._foreign()
        return application == schema.APPLICATION_ID and version == schema.VERSION

    def _is_unversioned(self) -> bool:
        return _pragma(self.connection, "application_id") == 0

    def _foreign(self) -> QueueUnusable:
        return QueueUnusable(f"{self.files.database} is not a queue (another program made it)")

    def _bring_up_to_date(
        self, create: bool, new_id: Callable[[], str], notice: Callable[[str], None] | None
    ) -> None:
        from queuectl.storage import (
            legacy,  # it and what it needs are 0.1 MB that few processes use
        )

        conn = self.connection
        has_tables = conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
        if not has_tables and 0 < os.stat(self.files.database).st_size < _SMALLEST_BYTES:
            raise self._foreign()  # to SQLite a file of one byte is empty
        if not has_tables and not create:
            raise NoQueue(self.files.database)
        # Before anything is put beside it. Asked last whether another made it a queue meanwhile.
        if has_tables and not legacy.is_legacy(conn) and self._is_unversioned():
            raise self._foreign()
        places.prepare_to_write(self.files)
        self.lock.acquire(self.wait_seconds)
        try:
            # Whoever held the lock before us may have done it all.
            if self._is_current():
                return
            version = _pragma(conn, "user_version")
            has_tables = conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
            old = version == 0 and has_tables
            if old and not legacy.is_legacy(conn):
                raise self._foreign()
            if old:
                kept = legacy.back_up(conn, self.files)
                # Whoever can read it reads what is run, secrets perhaps among it.
                os.chmod(self.files.database, own_mode(self.files.database))
            self._switch_to_wal()
            conn.execute("BEGIN IMMEDIATE")
            try:
                if old:
                    legacy.convert(conn, now=utcnow(), new_id=new_id)
                else:
                    schema.migrate(conn, version)
                conn.execute("COMMIT")
            except BaseException:
                _roll_back(conn)
                raise
        finally:
            self.lock.release()
        if old and notice:
            notice(f"upgraded {self.files.database}; the old file is kept as {kept}")

    def _switch_to_wal(self) -> None:
        # Of a new file only: a commit writes whole pages, and it changes little of each.
        self.connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        # The switch ignores busy_timeout, so it is made under the write lock and asked for again.
        deadline = time.monotonic() + self.wait_seconds
        while True:
            try:
                mode = self.connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)
                continue
            if mode != "wal":
                raise QueueUnusable(f"{self.files.database}: its file system does not allow WAL")
            return

    def _configure(self) -> None:
        # FULL: with NORMAL a power cut can take back an enqueue that was acknowledged.
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF",
                       "journal_size_limit = 16777216", "temp_store = MEMORY",
                       f"wal_autocheckpoint = {_CHECKPOINT_PAGES}"):  # fmt: skip
            self.connection.execute(f"PRAGMA {pragma}")
        if sys.platform == "darwin":
            # There fsync leaves data in the drive's cache.
            self.connection.execute("PRAGMA fullfsync = ON")
            self.connection.execute("PRAGMA checkpoint_fullfsync = ON")


class _Unshared(WriteLock):
    """The lock of a queue that nobody else can see: there is no folder for its file."""

    def acquire(self, wait_seconds: float) -> None:
        """Be the only one, as ever."""


class Transaction:
    """A write transaction as a context; see `Database.transaction`."""

    __slots__ = ("_database", "_finishing")

    def __init__(self, database: Database, finishing: bool) -> None:
        self._database = database
        self._finishing = finishing

    def __enter__(self) -> sqlite3.Connection:
        database = self._database
        conn, lock = database.connection, database.lock
        deadline = time.monotonic() + database.wait_seconds
        elsewhere = False
        while True:
            try:
                lock.acquire(max(0.0, deadline - time.monotonic()))
            except QueueBusy:
                # Whoever holds the lock now waits for the other program as well.
                if elsewhere:
                    raise self._busy_elsewhere() from None
                raise
            try:
                conn.execute("BEGIN IMMEDIATE")
                self._refuse_other_schema(conn)
                return conn
            except sqlite3.Error as error:
                _roll_back(conn)
                lock.release()
                if not is_busy(error):
                    raise translated(error, database.files.database) from error
                if time.monotonic() >= deadline:
                    raise self._busy_elsewhere() from None
                elsewhere = True
            except BaseException:
                _roll_back(conn)
                lock.release()
                raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        conn = self._database.connection
        try:
            if kind is None:
                try:
                    conn.execute("COMMIT")
                except sqlite3.Error as failure:
                    _roll_back(conn)
                    raise translated(failure, self._database.files.database) from failure
            else:
                _roll_back(conn)
                if isinstance(error, sqlite3.Error):
                    raise translated(error, self._database.files.database) from error
        finally:
            self._database.lock.release()

    def _busy_elsewhere(self) -> QueueBusy:
        database = self._database
        return QueueBusy(
            f"the queue stayed busy for {database.wait_seconds:.0f} s: another program"
            f" is writing {database.files.database} (try again)"
        )

    def _refuse_other_schema(self, conn: sqlite3.Connection) -> None:
        version = _pragma(conn, "user_version")
        if version == schema.VERSION:
            return
        if self._finishing and version > schema.VERSION:
            row = conn.execute("SELECT value FROM meta WHERE key = 'min_writer'").fetchone()
            if row and int(row[0]) <= schema.VERSION:
                return
        raise QueueUpgraded("the queue was upgraded: start the workers again")


class Snapshot:
    """A read transaction as a context; see `Database.snapshot`."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._database.connection.execute("BEGIN")
        except sqlite3.Error as error:
            raise translated(error, self._database.files.database) from error
        return self._database.connection

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        _roll_back(self._database.connection)
        if isinstance(error, sqlite3.Error):
            raise translated(error, self._database.files.database) from error


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else's lock was in the way. (Error codes come with Python 3.11 only.)"""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def translated(error: sqlite3.Error, path: str) -> Exception:
    """Return what a user can act on in place of SQLite's error; a bug stays what it is."""
    text = str(error)
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return error
    if is_busy(error):
        return QueueBusy(f"the queue is busy: another program has {path} locked (try again)")
    if "full" in text or ("disk I/O error" in text and _is_disk_full(path)):
        return DiskFailure(f"cannot write {path}: the disk is full")
    if "disk I/O error" in text:
        return DiskFailure(f"cannot read or write {path}: disk I/O error")
    if "readonly" in text or "unable to open" in text:
        if _is_read_only(path):
            return QueueUnusable(
                f"{path} is on a read-only file system, where a queue cannot even be read "
                "(mount it for writing, or copy the file and its -wal elsewhere and use --db)"
            )
        return QueueUnusable(f"cannot open {path} for writing: {text} (check owner and mode)")
    if "not a database" in text or "malformed" in text or "no such table" in text:
        return QueueUnusable(f"{path} is damaged or not a queue: {text}")
    return error


def _is_disk_full(path: str) -> bool:
    # SQLite calls it an I/O error if the -shm file cannot grow.
    place = _file_system(path)
    return place is not None and place.f_bavail * place.f_frsize < _SHM_BYTES


def _is_read_only(path: str) -> bool:
    # SQLite does not hand on what the system said: EROFS.
    place = _file_system(path)
    return place is not None and bool(place.f_flag & os.ST_RDONLY)


def _file_system(path: str) -> os.statvfs_result | None:
    try:
        return os.statvfs(os.path.dirname(path))
    except OSError:
        return None


def _connect(path: str) -> sqlite3.Connection:
    # As a URI, since only that can say: do not create. Its own special characters are escaped.
    escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    try:
        return sqlite3.connect(
            f"file:{escaped}?mode=rw", uri=True, isolation_level=None, timeout=_BUSY_SECONDS
        )
    except sqlite3.Error as error:
        raise translated(error, path) from error


def _identity(path: str) -> tuple[int, int] | None:
    """Return device and inode, zeros where there is no file, None if that cannot be known."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _pragma(conn: sqlite3.Connection, name: str) -> int:
    return int(conn.execute(f"PRAGMA {name}").fetchone()[0])


def _roll_back(conn: sqlite3.Connection) -> None:
    # Some errors have rolled back already.
    if conn.in_transaction:
        conn.execute("ROLLBACK")

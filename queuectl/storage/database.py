"""The connection to a queue's file: opened, brought up to date, and used in transactions."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from queuectl.core.errors import (
    DiskFailure,
    NoQueue,
    QueueBusy,
    QueueError,
    QueueReplaced,
    QueueUnusable,
    QueueUpgraded,
)
from queuectl.core.times import utcnow
from queuectl.host import places
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import own_mode
from queuectl.storage import schema
from queuectl.storage.connecting import as_text, connect, connected, identity, refuse_foreign_wal
from queuectl.storage.sqlite_errors import READING_ERRORS, disk_full, is_busy, translated
from queuectl.storage.wal import PAGE_BYTES, checkpoint_pages, log_bytes
from queuectl.storage.write_lock import WriteLock

WAIT_SECONDS = 30.0
"""How long a command waits for the write lock before it gives up (exit 75)."""
_INSTRUCTIONS_PER_LOOK = 10_000
"""How often a read with a deadline looks at the clock, in instructions of SQLite: every 0.5 ms.

More than a page of jobs takes would not do: Python 3.8 counts each query anew."""
_SMALLEST_BYTES = 512
"""A file that SQLite wrote is not smaller, unless it is empty."""


class Database:
    """One connection of one process; it must not cross a fork."""

    def __init__(
        self, files: QueueFiles, connection: sqlite3.Connection, wait_seconds: float
    ) -> None:
        """`wait_seconds` is how long a write transaction waits for the write lock."""
        self.files = files
        self.connection = connection
        self.wait_seconds = wait_seconds
        self.lock = WriteLock(files.write_lock)
        self._waits_for_disk = True
        self._is_open = True
        connected.append(files.database)
        self._after_batch: dict[tuple[Callable[..., object], tuple[Any, ...]], None] | None = None
        """Calls to make after the COMMIT of the batch, each once; None outside of a batch."""
        self._identity = identity(files.database)
        self._locks_others_out = False
        self.in_memory = False

    @classmethod
    def open(
        cls,
        files: QueueFiles,
        *,
        create: bool,
        write: bool = False,
        upgrade: bool = True,
        short_lived: bool = False,
        wait_seconds: float = WAIT_SECONDS,
        notice: Callable[[str], None] | None = None,
    ) -> Database:
        """Connect; first create the file or bring it up to date, if needed.

        Without `create` a missing file raises NoQueue. `write` refuses a place that others can
        write. Without `upgrade` an old file raises QueueUnusable. `notice` is called with a line
        for the user when the file of the old tool was converted. `short_lived` is for a process
        that may lock others out while the disk is full.
        """
        is_new = not files.exists()
        if is_new and not create:
            raise NoQueue(files.database)
        write = write or create
        if write:
            # Before SQLite connects: as root it takes over the owner of the files beside it.
            places.refuse_shared(files)
        if is_new:
            places.refuse_network(files)
            places.prepare(files)
            places.create_database(files)
        else:
            places.refuse_second_name(files)
            refuse_foreign_wal(files)
        before = identity(files.database)
        database = cls(files, connect(files.database), wait_seconds)
        try:
            database._do_without_shared_memory(allowed=short_lived)
            if database._identity != before:  # we may be connected to either file
                raise QueueReplaced(files.database)
            if not database._is_current():
                if not upgrade:
                    raise QueueUnusable(f"{files.database} has yet to be upgraded")
                database._refuse_foreign(create=create)
                if not write:
                    places.refuse_shared(files)
                places.prepare(files)
                database._bring_up_to_date(notice)
            elif write:
                places.prepare(files)
            database._configure()
            database._refuse_foreign_code()
            if write:
                database._restore_wal()
            database.refuse_replaced()
        except READING_ERRORS as error:
            database.close()
            raise translated(error, files.database) from error
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def empty(cls, files: QueueFiles) -> Database:
        """Return an empty queue in memory, which stands for a file that does not exist yet.

        So reading from the default place creates nothing. A verb that finds nothing to do may
        even write to this queue; it is forgotten.
        """
        connection = sqlite3.connect(":memory:", isolation_level=None)
        schema.migrate(connection, 0)
        database = cls(files, connection, 0.0)
        database.in_memory = True
        database.lock = _NoLock(files.write_lock)
        return database

    def close(self) -> None:
        """Close the connection and the file of the write lock."""
        self.connection.close()
        self.lock.close()
        if self._is_open:
            self._is_open = False
            connected.remove(self.files.database)

    @property
    def file_id(self) -> str:
        """Device and inode of the file, as text; empty if they cannot be known."""
        return as_text(self._identity)

    def is_replaced(self) -> bool:
        """Whether the file was removed, or replaced by another; False if that cannot be known.

        Other processes then use that other file: nobody sees what we would write.
        """
        return identity(self.files.database) not in (self._identity, None)

    def refuse_replaced(self) -> None:
        """Raise QueueReplaced if the file was removed, or replaced by another."""
        if self.is_replaced():
            raise QueueReplaced(self.files.database)

    def refuse_waiting(self) -> None:
        """Raise DiskFailure if nothing may wait with this connection: it locks others out."""
        if self._locks_others_out:
            raise DiskFailure(f"cannot write {self.files.database}: the disk is full")

    def refuse_full_disk(self, needed_bytes: int) -> None:
        """Raise DiskFailure if so much, and twice the usual log, does not fit on the disk any more.

        So some space is left for others, and for undoing what was begun.
        """
        path = self.files.database
        try:
            place = os.statvfs(path)
        except OSError:
            return
        free = place.f_bavail * place.f_frsize
        if free < needed_bytes + log_bytes(path):
            raise disk_full(path)

    def set_durability(self, *, waits_for_disk: bool) -> None:
        """Choose whether a commit waits for the disk, as it does at first; not in a transaction.

        If it does not, a power cut can take back the last commits of this connection. Everything
        is safe that came before a commit, of any connection, that waited.
        """
        if waits_for_disk != self._waits_for_disk:
            self.connection.execute(
                f"PRAGMA synchronous = {'FULL' if waits_for_disk else 'NORMAL'}"
            )
            self._waits_for_disk = waits_for_disk

    @contextmanager
    def transaction(self, *, finishing: bool = False) -> Iterator[sqlite3.Connection]:
        """Write: BEGIN IMMEDIATE … COMMIT under the write lock, rollback on any exception.

        `finishing` allows it in a file of a newer schema that still lets us record results.
        In a batch it becomes part of the transaction of the batch.
        """
        if self._after_batch is not None:
            with self._savepoint():
                yield self.connection
            return
        self._begin(finishing=finishing)
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException as error:
            _roll_back(self.connection)
            if isinstance(error, READING_ERRORS):
                raise translated(error, self.files.database) from error
            raise
        finally:
            self.lock.release()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Let all transactions inside commit as one: to wait for the disk takes most of their time.

        A QueueError undoes the transaction that raised it. Any other error undoes the batch.
        """
        with self.transaction():
            self._after_batch = {}
            try:
                yield
                actions = self._after_batch
            finally:
                self._after_batch = None
        for function, arguments in actions:
            function(*arguments)

    @contextmanager
    def reading_until(self, deadline: float) -> Iterator[None]:
        """Let a read that lasts until this time of the monotonic clock raise ReadTimeOut."""
        self.connection.set_progress_handler(
            lambda: time.monotonic() >= deadline, _INSTRUCTIONS_PER_LOOK
        )
        try:
            yield
        finally:
            self.connection.set_progress_handler(None, 0)

    def after_commit(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function now, or, in a batch, after its COMMIT, and there only once."""
        if self._after_batch is None:
            function(*arguments)
        else:
            self._after_batch[function, arguments] = None

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        # Errors of SQLite pass through: some of them have undone the whole transaction already.
        self.connection.execute("SAVEPOINT one")
        try:
            yield
        except QueueError:
            self.connection.execute("ROLLBACK TO one")
            self.connection.execute("RELEASE one")
            raise
        self.connection.execute("RELEASE one")

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read: several queries that all see the same moment. It takes no lock."""
        if self._after_batch is not None:
            yield self.connection
            return
        try:
            self.connection.execute("BEGIN")
            yield self.connection
        except READING_ERRORS as error:
            raise translated(error, self.files.database) from error
        finally:
            _roll_back(self.connection)

    def _begin(self, *, finishing: bool) -> None:
        deadline = time.monotonic() + self.wait_seconds
        is_other_program = False
        while True:
            try:
                self.lock.acquire(max(0.0, deadline - time.monotonic()))
            except QueueBusy:
                # The process that holds the lock now waits for the other program, too.
                if is_other_program:
                    raise self._busy_with_other_program() from None
                raise
            try:
                if not finishing:
                    # A result belongs to the file in which its job was claimed. Anything else that
                    # we wrote into a file that was replaced would be lost.
                    self.refuse_replaced()
                self.connection.execute("BEGIN IMMEDIATE")
                self._refuse_other_schema(finishing=finishing)
                return
            except BaseException as error:
                _roll_back(self.connection)
                self.lock.release()
                if not isinstance(error, READING_ERRORS):
                    raise
                if not is_busy(error):
                    raise translated(error, self.files.database) from error
                if time.monotonic() >= deadline:
                    raise self._busy_with_other_program() from None
                is_other_program = True

    def _busy_with_other_program(self) -> QueueBusy:
        return QueueBusy(
            f"the queue stayed busy for {self.wait_seconds:.0f} s: another program"
            f" is writing {self.files.database} (try again)"
        )

    def _refuse_other_schema(self, *, finishing: bool) -> None:
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if version == schema.VERSION:
            return
        if finishing and version > schema.VERSION:
            row = self.connection.execute(
                "SELECT value FROM meta WHERE key = 'min_writer'"
            ).fetchone()
            if row and str(row[0]).isdecimal() and int(row[0]) <= schema.VERSION:
                return
        raise QueueUpgraded("the queue was upgraded: start the workers again")

    def _do_without_shared_memory(self, *, allowed: bool) -> None:
        """If the disk is so full that SQLite cannot make its -shm file, lock others out instead.

        Then SQLite needs no such file. Nobody else has the file open, or the -shm file would exist.
        So people can still see the jobs, and delete some of them, which frees space.
        """
        if not allowed:
            return
        try:
            _pragma(self.connection, "user_version")
        except READING_ERRORS as error:
            if not isinstance(translated(error, self.files.database), DiskFailure):
                return
            self.connection.close()
            self.connection = connect(self.files.database)
            self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._locks_others_out = True

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

    def _has_tables(self) -> bool:
        row = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return bool(row[0])

    def _foreign(self) -> QueueUnusable:
        return QueueUnusable(f"{self.files.database} is not a queue (another program made it)")

    def _refuse_foreign(self, *, create: bool) -> None:
        """Refuse a file of another program, before anything is created beside it."""
        from queuectl.storage import legacy  # with its imports 0.1 MB, which few processes need

        if not self._has_tables():
            if 0 < os.stat(self.files.database).st_size < _SMALLEST_BYTES:
                raise self._foreign()  # SQLite takes a file of one byte for an empty one
            if not create:
                raise NoQueue(self.files.database)
        # The application id is read last: meanwhile another process may have made it a queue.
        elif (
            not legacy.is_legacy(self.connection)
            and _pragma(self.connection, "application_id") == 0
        ):
            raise self._foreign()

    def _refuse_foreign_code(self) -> None:
        name = schema.foreign_code(self.connection)
        if name is not None:
            raise QueueUnusable(
                f"{self.files.database} is damaged or not a queue: another program made {name} in "
                "it (drop it with sqlite3)"
            )

    def _bring_up_to_date(self, notice: Callable[[str], None] | None) -> None:
        """Create the tables, convert a file of the old tool, or migrate an older schema."""
        from queuectl.storage import legacy  # as above

        conn = self.connection
        self.lock.acquire(self.wait_seconds)
        try:
            if self._is_current():
                return  # the process that had the lock before us has done it
            version = _pragma(conn, "user_version")
            old = version == 0 and self._has_tables()
            if old and not legacy.is_legacy(conn):
                raise self._foreign()
            if old:
                kept = legacy.back_up(conn, self.files)
                # A reader of the file can read the commands, which may contain secrets.
                os.chmod(self.files.database, own_mode(self.files.database))
            self._switch_to_wal()
            conn.execute("BEGIN IMMEDIATE")
            try:
                if old:
                    legacy.convert(conn, now=utcnow())
                else:
                    schema.migrate(conn, version)
                schema.set_meta(conn, "file", self.file_id)
                conn.execute("COMMIT")
            except BaseException:
                _roll_back(conn)
                raise
        finally:
            self.lock.release()
        if old and notice:
            notice(f"upgraded {self.files.database}; the old file is kept as {kept}")

    def _restore_wal(self) -> None:
        """Put a file into WAL mode again that left it: a backup, or one that other programs used.

        In another mode a reader blocks all writers, and a writer all readers.
        """
        if self.connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return
        self.lock.acquire(self.wait_seconds)
        try:
            self._switch_to_wal()
        finally:
            self.lock.release()

    def _switch_to_wal(self) -> None:
        # This has an effect on a new file only.
        self.connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        # The switch ignores busy_timeout, so make it under the write lock and try again.
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
        pages = checkpoint_pages(self.files.database)
        # FULL: with NORMAL a power cut can take back an enqueue that was acknowledged.
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF",
                       f"journal_size_limit = {2 * pages * PAGE_BYTES}", "temp_store = MEMORY",
                       f"wal_autocheckpoint = {pages}"):  # fmt: skip
            self.connection.execute(f"PRAGMA {pragma}")
        if sys.platform == "darwin":
            # On macOS fsync leaves data in the drive's cache.
            self.connection.execute("PRAGMA fullfsync = ON")
            self.connection.execute("PRAGMA checkpoint_fullfsync = ON")


class _NoLock(WriteLock):
    """The lock of a queue in memory, which has no other users, and no folder for the lock file."""

    def acquire(self, wait_seconds: float) -> None:
        """Do nothing: there is nobody to wait for."""


def _pragma(conn: sqlite3.Connection, name: str) -> int:
    return int(conn.execute(f"PRAGMA {name}").fetchone()[0])


def _roll_back(conn: sqlite3.Connection) -> None:
    # After some errors SQLite has rolled back already.
    if conn.in_transaction:
        conn.execute("ROLLBACK")

"""The base of every part of the storage: one open queue."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from functools import partial
from typing import Callable, Iterator, TypeVar

from queuectl.core.errors import NoQueue, QueueUpgraded
from queuectl.core.settings import Settings, effective
from queuectl.host import places, wakeup
from queuectl.host.files import QueueFiles
from queuectl.storage import schema
from queuectl.storage.database import WAIT_SECONDS, Database
from queuectl.storage.sqlite_errors import READING_ERRORS, is_undecodable

_Self = TypeVar("_Self", bound="Base")

# A partial index serves only a query that repeats its condition word by word.
UNFINISHED = (
    "(state = 'scheduled' OR state = 'blocked' OR state = 'pending' "
    "OR state = 'processing' OR state = 'failed')"
)


_readable = partial(str, encoding="utf-8", errors="replace")


@contextmanager
def any_bytes(conn: sqlite3.Connection) -> Iterator[None]:
    """Read text that is not UTF-8 with U+FFFD, for a worker as well."""
    factory, conn.text_factory = conn.text_factory, _readable
    try:
        yield
    finally:
        conn.text_factory = factory


class Base:
    """One open queue of one process. It makes no decisions, and must not cross a fork."""

    of_worker = False
    """Whether this is for a worker: text that is not UTF-8 is an error then. For people it is read
    with U+FFFD. A worker also has a handler for Ctrl+Z; a command must not stop with the lock."""

    def __init__(self, database: Database) -> None:
        self._database = database
        if not self.of_worker:
            database.connection.text_factory = _readable
            database.lock.defers_suspension = True
        self._transaction = database.transaction
        self._snapshot = database.snapshot
        self._after_commit = database.after_commit
        self.batch = database.batch
        self.reading_until = database.reading_until

    @classmethod
    def open(
        cls: type[_Self],
        files: QueueFiles,
        *,
        create: bool = False,
        write: bool = False,
        upgrade: bool = True,
        wait_seconds: float = WAIT_SECONDS,
        notice: Callable[[str], None] | None = None,
    ) -> _Self:
        """Open the queue; with `create`, which implies `write`, create it if it does not exist.

        `write` refuses a place that others can write. A missing queue raises NoQueue, except at
        the default place, where it counts as an empty one. Without `upgrade` an old file raises
        QueueUnusable. `wait_seconds` is how long a transaction waits for its turn; `notice` is
        called with a line for the user when the file was upgraded.
        """
        try:
            return cls(
                Database.open(
                    files,
                    create=create,
                    write=write or create,
                    upgrade=upgrade,
                    short_lived=not cls.of_worker,
                    wait_seconds=wait_seconds,
                    notice=notice,
                )
            )
        except NoQueue:
            if not files.is_default:
                raise
            return cls.empty(files)

    @classmethod
    def empty(cls: type[_Self], files: QueueFiles) -> _Self:
        """Return an empty queue in memory, which stands for a file that does not exist yet."""
        return cls(Database.empty(files))

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    @property
    def files(self) -> QueueFiles:
        """The paths of the queue's files."""
        return self._database.files

    @property
    def in_memory(self) -> bool:
        """Whether this queue stands for a file that did not exist, or was not complete yet."""
        return self._database.in_memory

    @property
    def file_id(self) -> str:
        """Device and inode of the database: a moved file keeps them, and no copy has them."""
        return self._database.file_id

    def is_replaced(self) -> bool:
        """Whether the database was removed, or replaced by another file. It takes 1 µs."""
        return self._database.is_replaced()

    def keep_folder(self) -> None:
        """Create the private folders again, and open the write lock anew, if they were removed.

        Not within a transaction. Raises QueueUnusable.
        """
        places.prepare(self.files)
        self._database.lock.renew()

    def refuse_replaced(self) -> None:
        """Raise QueueReplaced if the database was removed, or replaced by another file.

        Called before each wait; raises DiskFailure if the disk is too full to wait for others.
        """
        self._database.refuse_waiting()
        self._database.refuse_replaced()

    def refuse_changed(self) -> None:
        """Raise QueueReplaced or QueueUpgraded, or DiskFailure as `refuse_replaced` does.

        For a process that only reads and keeps the queue open. A transaction that writes looks by
        itself. It takes 5 µs.
        """
        self.refuse_replaced()
        with self._snapshot() as conn:
            if conn.execute("PRAGMA user_version").fetchone()[0] != schema.VERSION:
                raise QueueUpgraded("the queue was upgraded")

    def limit_cache(self, kibibytes: int) -> None:
        """Let SQLite keep so much of the file in memory; by default 2 MB for each connection."""
        self._database.connection.execute(f"PRAGMA cache_size = -{int(kibibytes)}")

    def forbid_writes(self) -> None:
        """Let every later write with this connection fail."""
        self._database.connection.execute("PRAGMA query_only = ON")

    def set_durability(self, settings: Settings) -> None:
        """Commit from now on as the key durability says; for workers, never for enqueueing."""
        self._database.set_durability(waits_for_disk=settings.durability == "full")

    def _wake_workers(self) -> None:
        """Wake all workers; call it after COMMIT, when a job may have become claimable."""
        self._after_commit(wakeup.wake_up, self.files)

    def _settings(self, conn: sqlite3.Connection) -> Settings:
        return effective(self._stored_settings(conn), shared=self.files.allow_shared)

    def _stored_settings(self, conn: sqlite3.Connection) -> tuple[tuple[object, object], ...]:
        query = "SELECT key, value FROM config ORDER BY key"
        try:
            return tuple(conn.execute(query))
        except READING_ERRORS as error:
            if not is_undecodable(error):
                raise
        with any_bytes(conn):
            return tuple(conn.execute(query))

"""The space that the file of a queue takes, and giving back what pruned jobs have left."""

from __future__ import annotations

import sqlite3

from queuectl.core.named_tuples import NamedTuple
from queuectl.storage.base import Base
from queuectl.storage.sqlite_errors import translated


class Size(NamedTuple):
    """How large the database is, in bytes."""

    total: int
    """The size of the file, without what is still in the write-ahead log."""
    unused: int
    """The part of it that holds nothing, and that new jobs will use."""


class Space(Base):
    """The methods that measure the file and make it smaller."""

    def size(self) -> Size:
        """Return how large the database is."""
        with self._snapshot() as conn:
            pages, unused, page_bytes = (
                int(conn.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        return Size(pages * page_bytes, unused * page_bytes)

    def vacuum(self) -> None:
        """Rewrite the file without its unused space. Other writers wait meanwhile.

        It takes about as long as to copy what the queue holds, and needs room for it twice. (With
        auto_vacuum the file could shrink step by step, but each commit would write more.)
        """
        database = self._database
        database.lock.acquire(database.wait_seconds)
        try:
            # It builds the new content in a temporary database, which would be in memory.
            database.connection.execute("PRAGMA temp_store = FILE")
            database.connection.execute("VACUUM")
            database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            database.connection.execute("PRAGMA temp_store = MEMORY")
        except sqlite3.Error as error:
            raise translated(error, self.files.database) from error
        finally:
            database.lock.release()

"""What every part of the storage stands on: one database, its transactions and its bells."""

from __future__ import annotations

import os
import sqlite3

from queuectl import bell
from queuectl.database import Database, Snapshot, Transaction
from queuectl.files import QueueFiles
from queuectl.settings import Settings, effective


class Base:
    """One open queue of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def files(self) -> QueueFiles:
        """Where the queue's files are."""
        return self._database.files

    def heed_durability(self, settings: Settings) -> None:
        """Commit from now on as the key durability says; for workers, never for enqueueing."""
        self._database.relax(relaxed=settings.durability == "normal")

    def _transaction(self, *, finishing: bool = False) -> Transaction:
        return self._database.transaction(finishing=finishing)

    def _snapshot(self) -> Snapshot:
        return self._database.snapshot()

    def _ring(self) -> None:
        """Wake all workers; after COMMIT, when something may have become claimable."""
        bell.ring(self.files.workers)

    @staticmethod
    def _settings(conn: sqlite3.Connection) -> Settings:
        return effective(tuple(conn.execute("SELECT key, value FROM config ORDER BY key")))


def new_id() -> str:
    """Make an id: 12 hex digits. The caller meets a collision by asking again."""
    return os.urandom(6).hex()

"""What every part of the storage stands on: one database, its transactions and its bells."""

from __future__ import annotations

import os
import re
import sqlite3
from typing import Callable, TypeVar

from queuectl.core.errors import AmbiguousJob, DuplicateId, NoQueue, NoSuchJob
from queuectl.core.settings import Settings, effective
from queuectl.host import places, wakeup
from queuectl.host.files import QueueFiles
from queuectl.storage.database import WAIT_SECONDS, Database, Snapshot, Transaction

_Self = TypeVar("_Self", bound="Base")
_NAMED_WHEN_AMBIGUOUS = 5
_ANY_SEQ = (1 << 63) - 1

# A partial index serves only a query that repeats its condition word by word.
UNFINISHED = (
    "(state = 'scheduled' OR state = 'blocked' OR state = 'pending' "
    "OR state = 'processing' OR state = 'failed')"
)


class Base:
    """One open queue of one process. It makes no decisions, and must not cross a fork."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        """Open the queue; with `create` make it if need be, which implies `write`.

        `write` refuses a place that others can write. A queue that is not there raises NoQueue,
        at the default place it is taken for an empty one. Without `upgrade` an old file raises
        QueueUnusable. `wait_seconds` is how long a transaction waits for its turn; `notice` is
        told, in a line, of an upgrade of the file.
        """
        write = write or create
        try:
            database = Database.open(
                files,
                create=create,
                new_id=new_id,
                upgrade=upgrade,
                wait_seconds=wait_seconds,
                notice=notice,
            )
        except NoQueue:
            if not files.is_default:
                raise
            return cls(Database.empty(files))
        if write:
            try:
                places.prepare_to_write(files)
            except BaseException:
                database.close()
                raise
        return cls(database)

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    @property
    def files(self) -> QueueFiles:
        """Where the queue's files are."""
        return self._database.files

    def refuse_replaced(self) -> None:
        """Raise QueueReplaced if what is at its path now is another file, or none."""
        self._database.refuse_replaced()

    def set_durability(self, settings: Settings) -> None:
        """Commit from now on as the key durability says; for workers, never for enqueueing."""
        self._database.relax(relaxed=settings.durability == "normal")

    def _transaction(self, *, finishing: bool = False) -> Transaction:
        return self._database.transaction(finishing=finishing)

    def _snapshot(self) -> Snapshot:
        return self._database.snapshot()

    def _wake_workers(self) -> None:
        """Wake all workers; after COMMIT, when something may have become claimable."""
        wakeup.wake_up(self.files)

    @staticmethod
    def _settings(conn: sqlite3.Connection) -> Settings:
        return effective(tuple(conn.execute("SELECT key, value FROM config ORDER BY key")))


def find_seq(conn: sqlite3.Connection, job: str, *, made_until: int = _ANY_SEQ) -> int:
    """Return the seq of a job named by its id, or by the first 4 to 11 digits of a made id.

    Raises NoSuchJob, or AmbiguousJob when several made ids begin so. A whole id wins. Only ids of
    jobs up to the seq `made_until` are abbreviated.
    """
    try:
        job.encode()
    except UnicodeEncodeError:
        raise NoSuchJob(job) from None
    rows = conn.execute("SELECT seq, id FROM jobs WHERE id = ?", (job,)).fetchall()
    if not rows and re.fullmatch("[0-9a-f]{4,11}", job):
        # Digits sort before "g", so this is the range of ids that begin like `job`.
        rows = conn.execute(
            """
            SELECT seq, id
              FROM jobs
             WHERE id >= :first
               AND id < :end
               AND id_made = 1
               AND length(id) = 12
               AND seq <= :made_until
             ORDER BY id
             LIMIT :limit
            """,
            {
                "first": job,
                "end": job + "g",
                "made_until": made_until,
                "limit": _NAMED_WHEN_AMBIGUOUS,
            },
        ).fetchall()
    if not rows:
        raise NoSuchJob(job)
    if len(rows) > 1:
        raise AmbiguousJob(job, [found[1] for found in rows])
    seq: int = rows[0][0]
    return seq


def last_seq(conn: sqlite3.Connection) -> int:
    """Return the seq of the newest job, 0 without any: whatever comes in now has a higher one."""
    seq: int = conn.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()[0]
    return seq


def duplicate(conn: sqlite3.Connection, job_id: str, *, before: int) -> DuplicateId | None:
    """Return the error for an id that is taken, None if it is free.

    Jobs with a seq above `before` came with the same call.
    """
    row = conn.execute("SELECT seq, state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return None
    return DuplicateId(job_id, row[1] if row[0] <= before else None)


def new_id() -> str:
    """Make an id: 12 hex digits. The caller meets a collision by asking again."""
    return os.urandom(6).hex()

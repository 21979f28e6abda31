"""Every verb of the queue and all of its SQL: transitions that take and return frozen values."""

from __future__ import annotations

from typing import Callable, Optional

from queuectl.database import WAIT_SECONDS, Database
from queuectl.errors import NoQueue
from queuectl.files import QueueFiles
from queuectl.storage.attempts import Attempts, Ready
from queuectl.storage.base import new_id
from queuectl.storage.carrying import Carrying
from queuectl.storage.configuration import Configuration
from queuectl.storage.control import Control
from queuectl.storage.insight import Insight, Need
from queuectl.storage.intake import Enqueued, Intake
from queuectl.storage.pool import Pool
from queuectl.storage.queues import Queues
from queuectl.storage.reading import Count, Reading
from queuectl.storage.retention import Retention
from queuectl.storage.soundness import Soundness


class Storage(
    Intake,
    Attempts,
    Carrying,
    Reading,
    Insight,
    Control,
    Queues,
    Retention,
    Configuration,
    Pool,
    Soundness,
):
    """One open queue of one process. It makes no decisions, and must not cross a fork."""

    @classmethod
    def open(
        cls,
        files: QueueFiles,
        *,
        create: bool = False,
        write: bool = False,
        wait_seconds: float = WAIT_SECONDS,
        notice: Optional[Callable[[str], None]] = None,
    ) -> Storage:
        """Open the queue; with `create` make it if need be, which implies `write`.

        `write` refuses a place that others can write. A queue that is not there raises NoQueue,
        at the default place it is read as an empty one. `wait_seconds` is how long a transaction
        waits for its turn; `notice` is told, in a line, of an upgrade of the file.
        """
        write = write or create
        try:
            database = Database.open(
                files, create=create, new_id=new_id, wait_seconds=wait_seconds, notice=notice
            )
        except NoQueue:
            if not files.is_default:
                raise
            return cls(Database.empty(files))
        if write:
            try:
                files.prepare_to_write()
            except BaseException:
                database.close()
                raise
        return cls(database)

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()


__all__ = ["Count", "Enqueued", "Need", "Ready", "Storage"]

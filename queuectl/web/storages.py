"""The storages of a web server: one for each of its threads, since a connection belongs to one."""

from __future__ import annotations

import threading

from queuectl.core.errors import NoQueue, QueueError, QueueReplaced
from queuectl.host.files import QueueFiles
from queuectl.storage import Storage
from queuectl.storage.bulk import Bulk
from queuectl.storage.deaths import Deaths
from queuectl.storage.schedules import Schedules
from queuectl.storage.searching import Searching

_WAIT_SECONDS = 5.0
"""How long an action waits for its turn to write: somebody is looking at a spinning browser."""


_CACHE_KIBIBYTES = 256
"""How much of the file each thread keeps in memory. The system keeps it, too, once for all."""


class WebStorage(Storage, Schedules, Searching, Deaths, Bulk):
    """One open queue of one thread: all methods, with those that only pages need."""


class Storages:
    """Opens a storage for each thread that asks, and keeps it open."""

    def __init__(self, files: QueueFiles, *, read_only: bool) -> None:
        self.files = files
        self._read_only = read_only
        self._of_thread = threading.local()
        # While a first connection is opened, no other may look at the file beside it.
        self._opening = threading.Lock()
        self._file_id: str | None = None
        """The file that the first thread has opened: all others must show the same queue."""

    def current(self) -> WebStorage:
        """Return the storage of this thread, which sees the queue as it is now.

        A queue that does not exist yet is an empty one in memory. Raises QueueReplaced,
        QueueUpgraded, or QueueUnusable.
        """
        storage: WebStorage | None = getattr(self._of_thread, "storage", None)
        if storage is not None and storage.in_memory and self.files.exists():
            self.close()
            storage = None
        if storage is None:
            storage = self._open()
        elif not storage.in_memory:
            storage.refuse_changed()
        return storage

    def close(self) -> None:
        """Close the storage of this thread."""
        storage: WebStorage | None = getattr(self._of_thread, "storage", None)
        if storage is not None:
            storage.close()
            self._of_thread.storage = None

    def _open(self) -> WebStorage:
        with self._opening:
            try:
                if not self.files.exists():
                    raise NoQueue(self.files.database)
                storage = WebStorage.open(
                    self.files, write=not self._read_only, upgrade=False, wait_seconds=_WAIT_SECONDS
                )
            except NoQueue:
                if self._file_id is not None:
                    raise QueueReplaced(self.files.database) from None
                storage = WebStorage.empty(self.files)
            else:
                if storage.file_id != (self._file_id or storage.file_id):
                    storage.close()
                    raise QueueReplaced(self.files.database)
                self._file_id = storage.file_id
        storage.limit_cache(_CACHE_KIBIBYTES)
        if self._read_only:
            storage.forbid_writes()
        self._of_thread.storage = storage
        if not storage.in_memory:
            try:
                # Also refuses a connection that locks others out because the disk is full.
                storage.refuse_changed()
            except QueueError:
                self.close()
                raise
        return storage

"""The files by which others find a worker: made again when somebody removed them."""

from __future__ import annotations

from queuectl.core.errors import QueueError
from queuectl.host.lockfiles import ProcessLock
from queuectl.host.log import log as _log
from queuectl.host.wakeup import WakeUpFifo
from queuectl.storage.for_workers import WorkerStorage


class Presence:
    """The lock file and the FIFO of one worker, and the folders that they are in."""

    def __init__(
        self, storage: WorkerStorage, worker_id: str, lock: ProcessLock, fifo: WakeUpFifo
    ) -> None:
        self._storage = storage
        self._worker_id = worker_id
        self._lock = lock
        self._fifo = fifo

    def keep(self) -> None:
        """Look at the files; it takes some microseconds. What cannot be made now has to wait."""
        try:
            if self._storage.is_replaced():
                return  # nobody looks for this worker there
            self._storage.keep_folder()
            if self._lock.keep(self._storage.files, self._worker_id):
                _log.warning("made the lock file of worker %s again", self._worker_id)
            self._fifo.keep()
        except (OSError, QueueError):  # on a full disk for example: try again in a second
            pass

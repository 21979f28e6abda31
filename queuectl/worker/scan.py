"""Looking through the lock files of a queue for dead workers that no supervisor has noticed."""

from __future__ import annotations

from typing import AbstractSet

from queuectl.core.errors import QueueError
from queuectl.host import lockfiles, wakeup
from queuectl.host.files import QueueFiles
from queuectl.host.log import log as _log


class Scan:
    """The lock files of a queue, as one supervisor sees them."""

    def __init__(self, files: QueueFiles) -> None:
        self._files = files
        self._failed = False

    def owners(self) -> list[str]:
        """Return the ids of all processes that have a lock file, dead or alive.

        None of them if that cannot be known now, which is logged once.
        """
        try:
            owners = lockfiles.owners(self._files)
        except QueueError as error:
            if not self._failed:
                _log.warning("%s; trying again", error)
            self._failed = True
            return []
        self._failed = False
        return owners

    def dead_workers(self, ignored: AbstractSet[str]) -> list[str]:
        """Return the ids of dead workers, `ignored` ones left out.

        Also removes what needs no recovery: the lock files of dead supervisors, lock files that
        were never finished, and FIFOs without a lock file.
        """
        try:
            lockfiles.remove_unfinished(self._files)
            fifos = wakeup.owners(self._files)
        except OSError:  # the next scan tries again
            fifos = set()
        owners = self.owners()
        # A worker takes its lock before it makes its FIFO, and keeps it for longer.
        for owner in fifos.difference(owners) if owners else ():
            wakeup.remove(self._files, owner)
        dead = [
            owner
            for owner in owners
            if owner not in ignored and lockfiles.is_alive(self._files, owner) is False
        ]
        for owner in filter(lockfiles.is_supervisor, dead):
            self.remove_lock(owner)
        return [owner for owner in dead if not lockfiles.is_supervisor(owner)]

    def remove_lock(self, owner: str) -> None:
        """Remove the lock file of a dead process that left nothing to recover."""
        try:
            lock = lockfiles.take_stale(self._files, owner)
            if lock is not None:
                lock.remove()
        except (OSError, QueueError):  # a later scan tries again
            pass

"""Telling those who started a pool how it is doing: a waiting caller, a service manager, a person.

The supervisor calls an announcer at each step of the pool's life.
"""

from __future__ import annotations

import os
from typing import Callable

from queuectl.host.log import log as _log
from queuectl.worker.tally import Tally

_STATUS_SECONDS = 5.0


class Announcer:
    """Only logs the end."""

    def ready(self) -> None:
        """Tell that the workers can be seen and woken, or one has ended already. Called once."""

    def look(self, now: float) -> None:
        """Tell how the pool is doing; called every few seconds, with the monotonic time."""

    def stopping(self) -> None:
        """Tell that the pool has begun to stop."""

    def left(self) -> None:
        """Tell that all workers have left."""
        _log.info("all workers have left")


class CountingAnnouncer(Announcer):
    """Only counts how jobs end, for the exit code of the pool, and logs the end."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def look(self, now: float) -> None:
        """Count."""
        self._tally.read()

    def left(self) -> None:
        """Count the last ones."""
        self._tally.read()
        super().left()


class CallerAnnouncer(Announcer):
    """Tells the waiting caller of `worker start --detach` the id of the supervisor."""

    def __init__(self, pipe: int, supervisor_id: str) -> None:
        self._pipe = pipe
        self._supervisor_id = supervisor_id

    def ready(self) -> None:
        """Write the id into the pipe."""
        try:
            os.write(self._pipe, f"{self._supervisor_id}\n".encode("ascii"))
        except OSError:  # the caller does not wait any more; the workers stay
            pass
        os.close(self._pipe)


class ServiceAnnouncer(CountingAnnouncer):
    """Tells a service manager, such as systemd, see sd_notify(3)."""

    def __init__(self, address: str, tally: Tally) -> None:
        super().__init__(tally)
        self._address = address
        self._status: str | None = None
        self._next_status = float("inf")

    def ready(self) -> None:
        """Tell that the service has started."""
        self._tell("READY=1")
        self._next_status = 0.0

    def look(self, now: float) -> None:
        """Tell how many jobs run and wait, now and then, if that has changed."""
        self._tally.read()
        status = self._tally.status()
        if status is not None and status != self._status and now >= self._next_status:
            self._status, self._next_status = status, now + _STATUS_SECONDS
            self._tell(f"STATUS={status}")

    def stopping(self) -> None:
        """Tell that the service stops."""
        self._tell("STOPPING=1")

    def _tell(self, assignment: str) -> None:
        from queuectl.host import service_manager  # its socket: only a service manager asks for it

        service_manager.tell(self._address, assignment)


class TerminalAnnouncer(CountingAnnouncer):
    """Tells a person at the terminal, at the end, what the pool has done."""

    def __init__(self, say: Callable[[str], None], tally: Tally) -> None:
        super().__init__(tally)
        self._say = say

    def left(self) -> None:
        """Tell how the jobs of the pool ended, and what is left."""
        self._tally.read()
        self._say(self._tally.summary())

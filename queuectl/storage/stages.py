"""The stage: jobs on their way into the queue, whose process lives or is dead."""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime
from typing import Callable, TypeVar

from queuectl.core.errors import QueueBusy, Reserved
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import utcnow
from queuectl.storage.base import Base

_Result = TypeVar("_Result")

_POLL_SECONDS = 0.05


class StageState(NamedTuple):
    """The stage of a bulk enqueue or import."""

    token: str
    """A name that no other stage has."""
    phase: str
    """`filling`, `decided` (the jobs are part of the queue) or `discarded`."""
    first_seq: int
    """The first seq that was reserved for its jobs."""
    pid: int
    """The process that began it, as that process sees itself."""

    @property
    def is_decided(self) -> bool:
        """Whether its jobs are part of the queue, though not all can be seen yet."""
        return self.phase == "decided"

    def is_still_undecided(self, begun: StageState) -> bool:
        """Whether this is still the stage that a process began, and is not decided yet."""
        return self.token == begun.token and self.phase == "filling"


def read_stage(conn: sqlite3.Connection) -> StageState | None:
    """Return the stage; None if there is none."""
    row = conn.execute(
        "SELECT token, phase, first_seq, pid FROM stage ORDER BY only_one"
    ).fetchone()
    return None if row is None else StageState(*row)


class Stages(Base):
    """The methods by which other processes deal with a stage."""

    def stage(self) -> StageState | None:
        """Return the stage of a bulk enqueue or import; None if there is none."""
        with self._snapshot() as conn:
            return read_stage(conn)

    def has_decided_stage(self) -> bool:
        """Whether jobs are part of the queue that cannot be seen yet."""
        stage = self.stage()
        return stage is not None and stage.is_decided

    def jobs_to_come(self) -> int:
        """Return how many jobs are part of the queue, but cannot be seen yet."""
        with self._snapshot() as conn:
            stage = read_stage(conn)
            if stage is None or not stage.is_decided:
                return 0
            return int(conn.execute("SELECT count(*) FROM staged_jobs").fetchone()[0])

    def is_stage_alive(self) -> bool:
        """Whether a process lives that has a stage, or finishes that of a dead one."""
        from queuectl.host import lockfiles  # only when it is needed

        return lockfiles.is_held(self.files.stage_lock)

    def finish_dead_stage(self, *, now: datetime, seconds: float = float("inf")) -> bool:
        """Finish what a dead process staged: make its jobs visible, or discard them if undecided.

        Stops after `seconds`. Returns whether there was anything to do. Returns False if the
        process lives, or if another process is doing this.
        """
        if self.stage() is None:
            return False
        from queuectl.host import lockfiles  # almost never needed

        descriptor = lockfiles.try_hold(self.files.stage_lock)
        if descriptor is None:
            return False
        from queuectl.storage.moving import finish  # as above

        try:
            until = time.monotonic() + seconds
            return finish(self._database, self._wake_workers, now=now, until=until)
        finally:
            lockfiles.let_go(descriptor)

    def unless_reserved(self, write: Callable[[], _Result]) -> _Result:
        """Call a function that adds jobs, again while it meets what is reserved for staged jobs.

        Raises QueueBusy if that takes too long.
        """
        deadline = time.monotonic() + self._database.wait_seconds
        while True:
            try:
                return write()
            except Reserved as error:
                if time.monotonic() >= deadline:
                    raise QueueBusy(f"{error}, for a long time already (try again)") from None
            if not self.finish_dead_stage(now=utcnow()):
                time.sleep(_POLL_SECONDS)

"""How the jobs of a pool end, and how many are left: told to the supervisor through one pipe."""

from __future__ import annotations

import os
import re
from contextlib import suppress

from queuectl.core.named_tuples import NamedTuple

_LEFT = re.compile(rb"\[(\d+) (\d+) (\d+)\]")
_READ_BYTES = 1 << 16


class Left(NamedTuple):
    """The unfinished jobs of the queues that a pool serves, whichever pool runs them."""

    running: int
    """How many run."""
    pending: int
    """How many could start now."""
    failed: int
    """How many wait for a retry."""


class Tally:
    """A pipe from the workers of a pool to its supervisor, which never opens the database.

    The end of a job is one byte, so that the pipe holds 65,536 of them until the supervisor looks.
    No worker waits for that: what does not fit is not counted.
    """

    COMPLETED, DEAD, CANCELLED, RELEASED = b"c", b"d", b"x", b"r"

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._ends = dict.fromkeys((self.COMPLETED, self.DEAD, self.CANCELLED, self.RELEASED), 0)
        self._left: Left | None = None

    def add(self, end: bytes) -> None:
        """Tell, in a worker, how a job ended."""
        self._write(end)

    def show(self, left: Left) -> None:
        """Tell, in a worker, how many jobs are left."""
        self._write(b"[%d %d %d]" % left)

    def read(self) -> None:
        """Take in, in the supervisor, what the workers have told."""
        told = b"".join(iter(self._read, b""))
        for found in _LEFT.finditer(told):
            self._left = Left(*map(int, found.groups()))
        for end in self._ends:
            self._ends[end] += told.count(end)

    @property
    def dead(self) -> int:
        """How many jobs of the pool died."""
        return self._ends[self.DEAD]

    def status(self) -> str | None:
        """Return how many jobs run and wait: `3 running, 40 pending`; None if that is unknown."""
        if self._left is None:
            return None
        running, pending, failed = self._left
        retried = f", {failed} to be retried" if failed else ""
        return f"{running} running, {pending} pending{retried}"

    def summary(self) -> str:
        """Return what the pool has done, and what is left: `292 completed, 8 dead, 40 pending`."""
        running, pending, failed = self._left or Left(0, 0, 0)
        counts = (
            (self._ends[self.COMPLETED], "completed"),
            (self._ends[self.DEAD], "dead"),
            (self._ends[self.CANCELLED], "cancelled"),
            (self._ends[self.RELEASED], "put back"),
            (failed, "to be retried"),
            (pending, "pending"),
            (running, "still running"),
        )
        return ", ".join(f"{count} {word}" for count, word in counts if count) or "no job was run"

    def _read(self) -> bytes:
        try:
            return os.read(self._reader, _READ_BYTES)
        except BlockingIOError:  # nothing more by now
            return b""

    def _write(self, told: bytes) -> None:
        with suppress(OSError):  # the pipe is full
            os.write(self._writer, told)

"""The clock by which the time of jobs counts, put forward by a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.host import processes
from support.queue import Queue

_FOLLOW = """
from queuectl.host import processes
kernel_clock = processes.clock
def clock():
    with open({path!r}) as ahead:
        return kernel_clock() + float(ahead.read())
processes.clock = clock
"""


class JobClock:
    """The clock of timeouts and pauses, for all pools that are started later, and all commands.

    With it a timeout can be so long that no job comes near it, however busy the machine is, and
    still passes at once when the test says so. A job that was started after a change seems older
    once it is adopted.
    """

    def __init__(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = queue.folder / "job-clock"
        self._ahead = 0.0
        self.advance(0.0)
        queue.env.update(queue.hooked(_FOLLOW.format(path=str(self._path))))
        kernel_clock = processes.clock
        monkeypatch.setattr(processes, "clock", lambda: kernel_clock() + self._ahead)

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self._ahead += seconds
        new = Path(f"{self._path}.new")
        new.write_text(str(self._ahead))
        os.replace(new, self._path)

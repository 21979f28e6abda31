"""The jobs of a queue, reached through the storage, without a process for each look."""

from __future__ import annotations

from typing import Any

from queuectl.core.models import Execution, Job
from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from support.queue import Queue
from support.waiting import PATIENCE_SECONDS, wait_until


class Jobs:
    """The jobs of a queue, reached through the storage; they run in the queue's work folder."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._opened: Storage | None = None

    @property
    def storage(self) -> Storage:
        if self._opened is None:
            self._opened = Storage.open(self._queue.files, create=True)
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def configure(self, **keys: str) -> None:
        """Set keys, each under its name with `_` for `-`."""
        for key, value in keys.items():
            self.storage.set_key(key.replace("_", "-"), value)

    def add(self, *commands: str, **fields: Any) -> list[str]:
        """Enqueue a job a command, all in one transaction; return their ids."""
        fields.setdefault("cwd", str(self._queue.work))
        specs = [JobSpec(command=command, **fields) for command in commands]
        enqueued = self.storage.enqueue(specs, now=utcnow(), environ=self._queue.env)
        return [one.id for one in enqueued]

    def one(self, command: str, **fields: Any) -> str:
        """Enqueue one job; return its id."""
        return self.add(command, **fields)[0]

    def get(self, job: str) -> Job:
        return self.storage.get(job)

    def state(self, job: str) -> str:
        return self.get(job).state.value

    def attempts(self, job: str) -> list[Execution]:
        return list(self.storage.executions(self.get(job)))

    def outcomes(self, job: str) -> list[str | None]:
        """Return how each attempt ended, None for one that runs."""
        return [one.outcome and one.outcome.value for one in self.attempts(job)]

    def counts(self) -> dict[str, int]:
        """Return the states that hold jobs, with their counts."""
        return {state.value: n for state, n in self.storage.by_state().items() if n}

    def until(self, job: str, *states: str, timeout: float = PATIENCE_SECONDS) -> Job:
        """Wait until a job is in one of these states; return it."""
        wait_until(lambda: self.state(job) in states, timeout, f"{job} to be {' or '.join(states)}")
        return self.get(job)

    def text(self, name: str, timeout: float = PATIENCE_SECONDS) -> str:
        """Wait until a job has written a whole line into a file; return its text, stripped."""
        path = self._queue.work / name
        wait_until(lambda: path.exists() and path.read_text().endswith("\n"), timeout, name)
        return path.read_text().strip()

    def pid(self, name: str) -> int:
        """Wait until a job has written a process number into a file; return it."""
        return int(self.text(name))

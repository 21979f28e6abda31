"""Actions on many jobs that go on in a thread, while their page shows how far they are."""

from __future__ import annotations

import logging
import secrets
import threading
from datetime import datetime
from typing import Callable, Sequence

from queuectl.core.counts import counted
from queuectl.core.errors import QueueError
from queuectl.core.escaping import escape
from queuectl.core.times import utcnow
from queuectl.storage.bulk import AT_ONCE, Many, Refused
from queuectl.web.storages import Storages, WebStorage

_log = logging.getLogger(__name__)

_MOST_KEPT = 100
_MOST_RUNNING = 4
_MOST_LISTED = 20


class Task:
    """One action on many jobs. Its thread writes the fields, pages read them."""

    def __init__(self, verb: str, words: str, back: str) -> None:
        self.name = secrets.token_hex(6)
        self.verb = verb
        """What is done: `retry`, `change`, `cancel` or `delete`."""
        self.words = words
        """Which jobs it is about."""
        self.back = back
        """The page on which it was asked for."""
        self.started_at = utcnow()
        self.ended_at: datetime | None = None
        self.total: int | None = None
        """How many jobs it is about; None until they are known."""
        self.done = 0
        self.refused = 0
        self.listed: list[Refused] = []
        """The first jobs that were refused."""
        self.problem: str | None = None
        """Why it ended early; None if it did not."""
        self._ended = threading.Event()

    @property
    def share(self) -> float:
        """How much of it is done, between 0 and 1."""
        if not self.total:
            return float(self.ended_at is not None)
        return (self.done + self.refused) / self.total

    @property
    def is_clean(self) -> bool:
        """Whether it has done everything that it was asked for."""
        return self.ended_at is not None and self.problem is None and not self.refused

    def said(self) -> str:
        """Return what has become of the jobs so far: `11 of 11 jobs run again; 0 refused`."""
        total = self.total or 0
        became = {"cancel": "cancelled", "delete": "deleted"}.get(self.verb)
        verbs = (f"is {became}", f"are {became}") if became else ("runs again", "run again")
        return f"{self.done:,} of {counted(total, 'job', *verbs)}; {self.refused:,} refused"

    def wait(self, seconds: float) -> bool:
        """Wait for its end for so many seconds; return whether it has ended."""
        return self._ended.wait(seconds)

    def _add(self, many: Many) -> None:
        self.done += many.done
        self.refused += len(many.refused)
        self.listed += many.refused[: _MOST_LISTED - len(self.listed)]

    def _end(self, problem: str | None) -> None:
        self.problem = problem
        self.ended_at = utcnow()
        self._ended.set()


class Tasks:
    """The actions of one server, by name. They are forgotten when it ends."""

    def __init__(self, storages: Storages, tell: Callable[[], None]) -> None:
        self._storages = storages
        self._tell = tell
        """Lets open pages ask for themselves again."""
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Task | None:
        """Return the task of this name; None if it is not known any more."""
        return self._tasks.get(name)

    def start(
        self,
        task: Task,
        find: Callable[[WebStorage], Sequence[int]],
        act: Callable[[WebStorage, Sequence[int]], Many],
    ) -> None:
        """Do something to the jobs that `find` returns, some hundred at a time, in a thread.

        Raises QueueError if too many others are going on.
        """
        with self._lock:
            running = [one for one in self._tasks.values() if one.ended_at is None]
            if len(running) >= _MOST_RUNNING:
                raise QueueError(f"{len(running)} such actions are going on: wait for their end")
            while len(self._tasks) >= _MOST_KEPT:
                ended = next(name for name, one in self._tasks.items() if one.ended_at is not None)
                del self._tasks[ended]
            self._tasks[task.name] = task
        threading.Thread(
            target=self._run, args=(task, find, act), name=f"task {task.name}", daemon=True
        ).start()

    def _run(
        self,
        task: Task,
        find: Callable[[WebStorage], Sequence[int]],
        act: Callable[[WebStorage, Sequence[int]], Many],
    ) -> None:
        problem = None
        try:
            storage = self._storages.current()
            seqs = find(storage)
            task.total = len(seqs)
            for start in range(0, len(seqs), AT_ONCE):
                task._add(act(storage, seqs[start : start + AT_ONCE]))
        except QueueError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 (the outermost loop of a thread)
            _log.exception("unexpected error in %s", task.verb)
            problem = f"{type(error).__name__}. The log of queuectl web says more."
        finally:
            self._storages.close()
            task._end(problem)
            self._tell()
        _log.info("%s %s: %s%s", task.verb, escape(task.words), task.said(),
                  escape(f"; {problem}" if problem else ""))  # fmt: skip

"""A queue whose short commands run in forks of the test process."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Mapping

from queuectl.core.models import Outcome, OutcomeKind, Verdict
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from support.calls import Call, call_forked
from support.queue import Queue
from support.states import opened
from support.waiting import wait_until


class Shell(Queue):
    """The queue of a test; its short calls run in forks, its workers are processes as ever."""

    def __init__(self, queue: Queue, call: Call) -> None:
        self.__dict__.update(queue.__dict__)
        self._call = call

    def run(
        self,
        *args: str | bytes,
        stdin: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        if args[:2] == ("worker", "start") or cwd is not None:
            return super().run(*args, stdin=stdin, env=env, cwd=cwd, timeout=timeout)
        given = stdin.encode() if isinstance(stdin, str) else stdin or b""
        called = self._call(*args, env=env, stdin=given)
        return subprocess.CompletedProcess(args, called.code, called.out, called.err)

    def configure(self, **keys: str) -> None:
        """Set keys, each under its name with `_` for `-`."""
        for key, value in keys.items():
            self.ok("config", "set", "-q", key.replace("_", "-"), value)

    def ids(self, *args: str) -> list[str]:
        """Return what `list --ids ARGS` prints."""
        return self.ok("list", "--ids", *args).splitlines()

    def text(self, name: str) -> str:
        """Wait until a job has written a whole line into a file; return its text, stripped."""
        path = self.work / name
        wait_until(lambda: path.exists() and path.read_text().endswith("\n"), what=name)
        return path.read_text().strip()

    def run_as_if(self, state: str, *, code: int = 1) -> None:
        """Claim the next job and record, without a worker, that it became dead, failed, completed.

        A failed one has its retry in an hour.
        """
        good = state == "completed"
        kind = OutcomeKind.OK if good else OutcomeKind.EXIT
        reason = None if good else f"exit {code}"
        outcome = Outcome(kind, exit_code=0 if good else code, reason=reason, seconds=1.5)
        run_at = utcnow() + timedelta(hours=1) if state == "failed" else None
        with opened(self) as storage:
            claim = storage.claim("5a5a5a5a-1", now=utcnow())
            assert claim is not None
            verdict = Verdict(JobState(state), run_at, reason)
            storage.record(claim, outcome, verdict, now=utcnow())

    def export(self, *args: str) -> list[Any]:
        """Return the lines of `export`."""
        return self.ok("export", *args).splitlines()


def in_forks(queue: Queue) -> Shell:
    """Return a queue with its short calls in forks; no storage may be open meanwhile."""
    return Shell(queue, partial(call_forked, queue))

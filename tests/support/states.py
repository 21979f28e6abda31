"""A queue with one job in each state, and the contents of queues and folders."""

from __future__ import annotations

from pathlib import Path
from typing import (
    Any,
)

from queuectl.core.models import Outcome, OutcomeKind, Output, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from support.clock import noon
from support.queue import Queue


def every_state(queue: Queue) -> None:
    """Make one job in each state, whose id is the state's name; times are seconds after `noon`."""
    failed = Outcome(OutcomeKind.EXIT, exit_code=3, reason="exit code 3", pid=7, seconds=2.0)
    killed = Outcome(OutcomeKind.SIGNAL, signal=9, reason="killed by SIGKILL", pid=8, seconds=3.0)
    done = Outcome(
        OutcomeKind.OK, exit_code=0, pid=9, seconds=0.25, cpu_seconds=0.01,
        max_rss_bytes=10 << 20, output=Output(3, False, b"ok\n", False),
    )  # fmt: skip
    with queue.opened() as storage:

        def enqueue(state: str, seconds: int, **fields: Any) -> None:
            spec = JobSpec(command=f"run {state}", id=state, cwd="/tmp", **fields)
            storage.enqueue([spec], now=noon(seconds))

        def end(outcome: Outcome, verdict: Verdict, seconds: int) -> None:
            claim = storage.claim("5a5a5a5a-1", now=noon(seconds))
            assert claim is not None
            storage.record(claim, outcome, verdict, now=noon(seconds + 1))

        enqueue("completed", 0, env={"TOKEN": "secret"}, label="a label", queue="q", priority=7)
        end(done, Verdict(JobState.COMPLETED), 10)
        enqueue("failed", 1, max_retries=5)
        end(failed, Verdict(JobState.FAILED, noon(10**9), "exit code 3"), 20)
        enqueue("dead", 2, max_retries=1)
        end(killed, Verdict(JobState.DEAD, last_error="killed by SIGKILL"), 30)
        enqueue("processing", 3)
        storage.claim("5a5a5a5a-2", now=noon(40))
        enqueue("pending", 4)
        enqueue("scheduled", 5, run_at=noon(10**9))
        enqueue("blocked", 6, after=("pending",))
        enqueue("cancelled", 7)
        storage.cancel(storage.get("cancelled"), now=noon(50))


def everything(queue: Queue) -> Any:
    """Return everything in a queue that a command could change."""
    with queue.opened() as storage:
        kept = storage.counts(), storage.stored_settings(), storage.workers()
    return queue.jobs(), kept


def tree(folder: Path) -> list[str]:
    """Return the relative paths of everything in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

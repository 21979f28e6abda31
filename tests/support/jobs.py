"""Jobs and workers that are in no queue, for what shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from queuectl.core.models import Job, Worker
from queuectl.core.states import JobState
from support.clock import noon


def a_job(seq: int, command: str, **fields: Any) -> Job:
    """Return a pending job, unless the fields say otherwise."""
    known: dict[str, Any] = dict.fromkeys(Job._fields)
    known.update(
        id=f"{seq:012x}", state=JobState.PENDING, queue="default", priority=0, attempts=0,
        interruptions=0, max_retries=3, timeout=300.0, created_at=noon(0), updated_at=noon(0),
        env={}, cancel_requested=False, id_made=True,
    )  # fmt: skip
    return Job(**{**known, **fields, "seq": seq, "command": command})


def running(seq: int, command: str, since: datetime, **fields: Any) -> Job:
    """Return a job that runs since then."""
    return a_job(
        seq, command, state=JobState.PROCESSING, locked_by="a1b2c3d4-1", locked_at=since, **fields
    )


def dead(seq: int, command: str, at: datetime, **fields: Any) -> Job:
    """Return a job that died then."""
    fields.setdefault("last_error", "exit 1")
    return a_job(seq, command, state=JobState.DEAD, finished_at=at, **fields)


def a_worker(number: int, job: str | None = None, **fields: Any) -> Worker:
    """Return a worker that serves all queues, idle unless it runs a job."""
    known: dict[str, Any] = {
        "id": f"a1b2c3d4-{number}", "supervisor": "a1b2c3d4", "pid": 100 + number,
        "start_ticks": 1, "boot_id": None, "host": "vm", "queues": (), "started_at": noon(0),
        "job": job, "job_since": None if job is None else noon(0),
    }  # fmt: skip
    return Worker(**{**known, **fields})

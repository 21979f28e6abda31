"""The command `status`: what is in the queue, and who works on it."""

from __future__ import annotations

from typing import Dict, List, Optional

import click

from queuectl import liveness
from queuectl.cli import output
from queuectl.cli.command import QueueCommand, json_option, open_storage, usage_error
from queuectl.models import Worker
from queuectl.printable import escape
from queuectl.states import JobState
from queuectl.storage import Storage
from queuectl.times import utcnow

_RULE = "=" * 50
_THIN_RULE = "-" * 50
_SEED_ROWS = (
    ("Pending", JobState.PENDING),
    ("Processing", JobState.PROCESSING),
    ("Completed", JobState.COMPLETED),
    ("Failed", JobState.FAILED),
    ("Dead (DLQ)", JobState.DEAD),
)
_ADDED_ROWS = (
    ("Scheduled", JobState.SCHEDULED),
    ("Blocked", JobState.BLOCKED),
    ("Cancelled", JobState.CANCELLED),
)


@click.command("status", cls=QueueCommand)
@click.option("--watch", is_flag=True, help="Redraw it once a second, on a terminal.")
@json_option
def status(watch: bool, as_json: bool) -> None:
    """Show how many jobs are in which state, and the workers.

    Example: queuectl status --watch
    """
    if watch and as_json:
        usage_error("--watch and --json exclude each other")
    storage = open_storage()
    if watch and output.can_animate():
        from queuectl.cli.watching import watch_lines  # only here

        watch_lines(lambda: _lines(storage))
    if as_json:
        output.emit_json(_json(storage, storage.by_state(), living_workers(storage)))
    else:
        for line in _lines(storage):
            output.emit(line)


def _lines(storage: Storage) -> List[str]:
    counts = storage.by_state()
    return [*_block(counts), "", *_workers_and_file(storage, counts, living_workers(storage))]


def living_workers(storage: Storage) -> List[Worker]:
    """Return the workers that are alive, as their locks prove."""
    return [
        worker
        for worker in storage.workers()
        if liveness.is_alive(storage.files.workers, worker.id)
    ]


def _block(counts: Dict[JobState, int]) -> List[str]:
    total = sum(counts.values())
    rows = [f"  {label + ':':<13}{counts[state]:>6}" for label, state in _SEED_ROWS]
    rows += [
        f"  {label + ':':<13}{counts[state]:>6}" for label, state in _ADDED_ROWS if counts[state]
    ]
    return [
        "Job Queue Status",
        _RULE,
        "",
        "Jobs by State:",
        *rows,
        _THIN_RULE,
        f"  {'Total:':<13}{total:>6}",
        "",
        "Completion Rate:",
        _rate(counts[JobState.COMPLETED], total),
        "",
        "Permanent Failures:",
        _rate(counts[JobState.DEAD], total),
        "",
        f"Active/Pending Work: {counts[JobState.PENDING] + counts[JobState.PROCESSING]} job(s)",
        _RULE,
    ]


def _rate(part: int, total: int) -> str:
    return f"  {100 * part / total if total else 0:.1f}% ({part}/{total})"


def _workers_and_file(
    storage: Storage, counts: Dict[JobState, int], workers: List[Worker]
) -> List[str]:
    now = utcnow()
    lines = []
    if workers:
        lines.append(f"Workers: {len(workers)}")
        for worker in workers:
            queues = escape(", ".join(worker.queues)) or "all queues"
            doing = "idle"
            if worker.job is not None:
                since = output.ago(worker.job_since, now=now)
                doing = f"runs {escape(worker.job)} since {since}"
            lines.append(f"  {worker.id} (pid {worker.pid}, {queues}): {doing}")
    else:
        to_run = (JobState.PENDING, JobState.FAILED, JobState.SCHEDULED, JobState.PROCESSING)
        hint = " (start some: queuectl worker start)" if any(counts[s] for s in to_run) else ""
        lines.append(f"Workers: none{hint}")
    lines += [f"Paused: {name} (queuectl queue resume)" for name in _paused(storage)]
    if counts[JobState.DEAD]:
        lines.append("Dead jobs: queuectl dlq list")
    absent = "" if storage.files.exists() else " (not made yet)"
    lines.append(f"Database: {escape(storage.files.database)}{absent}")
    return lines


def _paused(storage: Storage) -> List[str]:
    if storage.all_paused():
        return ["all queues"]
    return [escape(queue.name) for queue in storage.queues() if queue.paused]


def _json(
    storage: Storage, counts: Dict[JobState, int], workers: List[Worker]
) -> Dict[str, object]:
    total = sum(counts.values())

    def rate(state: JobState) -> Optional[float]:
        return counts[state] / total if total else None

    return {
        "database": storage.files.database,
        "jobs": {state.value: counts[state] for state in JobState},
        "total": total,
        "completion_rate": rate(JobState.COMPLETED),
        "failure_rate": rate(JobState.DEAD),
        "workers": [output.worker_json(worker) for worker in workers],
    }

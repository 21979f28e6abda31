"""The command `status`: how many jobs are in which state, and what the workers do."""

from __future__ import annotations

from typing import Mapping, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, json_option, open_storage, usage_error
from queuectl.cli.json_shapes import worker_json
from queuectl.cli.moments import relative_time
from queuectl.core.models import Worker
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage import Storage

_RULE = "=" * 50
_THIN_RULE = "-" * 50
_ROWS = (
    ("Pending", JobState.PENDING),
    ("Processing", JobState.PROCESSING),
    ("Completed", JobState.COMPLETED),
    ("Failed", JobState.FAILED),
    ("Dead (DLQ)", JobState.DEAD),
)
_OPTIONAL_ROWS = (
    ("Scheduled", JobState.SCHEDULED),
    ("Blocked", JobState.BLOCKED),
    ("Cancelled", JobState.CANCELLED),
)


@click.command("status", cls=QueueCommand)
@click.option("--watch", is_flag=True, help="On a terminal, update the display once a second.")
@json_option
def status(watch: bool, as_json: bool) -> None:
    """Show how many jobs are in each state, and what the workers do.

    \b
    Examples:
      queuectl status
      queuectl status --watch
    """
    if watch and as_json:
        usage_error("--watch and --json cannot be used together")
    storage = open_storage()
    if watch and output.can_animate():
        from queuectl.cli.terminal import watch_lines  # only here

        watch_lines(lambda: _lines(storage))
    if as_json:
        output.print_json(_json(storage))
    else:
        for line in _lines(storage):
            output.print_line(line)


def _lines(storage: Storage) -> list[str]:
    counts = storage.by_state()
    lines = [*_block(counts), "", *_workers(storage.living_workers(), counts)]
    lines += [f"Paused: {name} (queuectl queue resume)" for name in _paused(storage)]
    if counts[JobState.DEAD]:
        lines.append("Dead jobs: queuectl dlq list")
    absent = "" if storage.files.exists() else " (not created yet)"
    lines.append(f"Database: {storage.files.database}{absent}")
    return lines


def _block(counts: Mapping[JobState, int]) -> list[str]:
    total = sum(counts.values())
    rows = [f"  {label + ':':<13}{counts[state]:>6}" for label, state in _ROWS]
    rows += [
        f"  {label + ':':<13}{counts[state]:>6}" for label, state in _OPTIONAL_ROWS if counts[state]
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


def _workers(workers: Sequence[Worker], counts: Mapping[JobState, int]) -> list[str]:
    if not workers:
        to_run = (JobState.PENDING, JobState.FAILED, JobState.SCHEDULED, JobState.PROCESSING)
        hint = " (start some: queuectl worker start)" if any(counts[s] for s in to_run) else ""
        return [f"Workers: none{hint}"]
    now = utcnow()
    lines = [f"Workers: {len(workers)}"]
    for worker in workers:
        queues = ", ".join(worker.queues) or "all queues"
        doing = "idle"
        if worker.job is not None:
            started = relative_time(worker.job_since, now=now)
            doing = f"runs {worker.job}, started {started}"
        problem = "" if worker.problem is None else f"; {worker.problem}"
        lines.append(f"  {worker.id} (pid {worker.pid}, {queues}): {doing}{problem}")
    return lines


def _paused(storage: Storage) -> list[str]:
    if storage.all_paused():
        return ["all queues"]
    return [queue.name for queue in storage.queues() if queue.paused]


def _json(storage: Storage) -> dict[str, object]:
    counts = storage.by_state()
    total = sum(counts.values())

    def rate(state: JobState) -> float | None:
        return counts[state] / total if total else None

    return {
        "database": storage.files.database,
        "jobs": {state.value: counts[state] for state in JobState},
        "total": total,
        "completion_rate": rate(JobState.COMPLETED),
        "failure_rate": rate(JobState.DEAD),
        "workers": [worker_json(worker) for worker in storage.living_workers()],
    }

"""The JSON objects that `--json` prints for jobs, attempts and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from queuectl.core.settings import DEFAULT_SHELL
from queuectl.core.times import optional_text, to_text

if TYPE_CHECKING:
    from queuectl.cli.progress import QueueProgress
    from queuectl.core.findings import Finding
    from queuectl.core.models import Execution, Job, LastRun, Worker

MASK = "***"


def job_json(job: Job, last: LastRun | None, *, show_env: bool) -> dict[str, Any]:
    """Return a job and its last attempt as JSON shows them.

    The values of its variables are masked unless asked for.
    """
    return {
        "id": job.id,
        "number": job.seq,
        "queue": job.queue,
        "label": job.label,
        "command": job.command,
        "state": job.state.value,
        "priority": job.priority,
        "attempts": job.attempts,
        "interruptions": job.interruptions,
        "max_retries": job.max_retries,
        "retry_delay": job.retry_delay,
        "backoff": job.backoff,
        "timeout": job.timeout,
        "run_at": optional_text(job.run_at),
        "created_at": to_text(job.created_at),
        "updated_at": to_text(job.updated_at),
        "started_at": None if last is None else to_text(last.started_at),
        "finished_at": optional_text(job.finished_at),
        "seconds": None if last is None else last.seconds,
        "output_bytes": None if last is None else last.output_bytes,
        "locked_by": job.locked_by,
        "locked_at": optional_text(job.locked_at),
        "paused_at": optional_text(job.paused_at),
        "cwd": job.cwd,
        "env": masked(job.env, show_env=show_env),
        "shell": job.shell or DEFAULT_SHELL,
        "input_bytes": job.input_bytes,
        "unique_key": job.unique_key,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "last_error": job.last_error,
        "cancel_requested": job.cancel_requested,
        "cancel_reason": job.cancel_reason,
        "schedule": job.schedule,
        "scheduled_for": optional_text(job.scheduled_for),
        "on_success": job.on_success,
        "on_failure": job.on_failure,
        "on_finish": job.on_finish,
        "hook": job.hook,
        "hook_of": job.hook_of,
        "event_id": job.event_id,
    }


def execution_json(execution: Execution, *, running_pid: int | None = None) -> dict[str, Any]:
    """Return an attempt as JSON shows it; `running_pid` is its process while it runs."""
    return {
        "id": execution.id,
        "attempt": execution.attempt,
        "worker": execution.worker,
        "pid": running_pid if execution.outcome is None else execution.pid,
        "started_at": to_text(execution.started_at),
        "finished_at": optional_text(execution.finished_at),
        "outcome": None if execution.outcome is None else execution.outcome.value,
        "exit_code": execution.exit_code,
        "signal": execution.signal,
        "seconds": execution.seconds,
        "cpu_seconds": execution.cpu_seconds,
        "max_rss_bytes": execution.max_rss_bytes,
        "output_bytes": execution.output.size_bytes,
        "output_truncated": execution.output.truncated,
        "leftovers": execution.leftovers,
    }


def worker_json(worker: Worker) -> dict[str, Any]:
    """Return a worker as JSON shows it."""
    return {
        "id": worker.id,
        "supervisor": worker.supervisor,
        "pid": worker.pid,
        "host": worker.host,
        "started_at": to_text(worker.started_at),
        "queues": list(worker.queues),
        "job": worker.job,
        "job_pid": worker.job_pid,
        "problem": worker.problem,
    }


def progress_json(progress: QueueProgress) -> dict[str, Any]:
    """Return how far a queue has come as JSON shows it."""
    estimate = progress.estimate
    return {
        "name": progress.status.name,
        "left": progress.left,
        "per_second": estimate.per_second,
        "seconds_left": estimate.seconds,
        "held_by": None if estimate.hold is None else estimate.hold.value,
    }


def running_json(job: Job) -> dict[str, Any]:
    """Return a running job as `status` shows it as JSON."""
    return {
        "id": job.id,
        "number": job.seq,
        "queue": job.queue,
        "label": job.label,
        "command": job.command,
        "started_at": optional_text(job.locked_at),
        "worker": job.locked_by,
    }


def masked(env: Mapping[str, str], *, show_env: bool) -> dict[str, str]:
    """Return environment variables; their values, which may be secret, only if asked for.

    PATH is no secret, and explains why a command was not found.
    """
    if show_env:
        return dict(env)
    return {name: value if name == "PATH" else MASK for name, value in env.items()}


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON shows it."""
    return {**finding._asdict(), "severity": finding.severity.value}

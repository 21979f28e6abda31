"""The command `show`: one job and its attempts."""

from __future__ import annotations

from datetime import datetime
from itertools import chain
from typing import Any, Iterator, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, json_option, open_storage
from queuectl.cli.json_shapes import execution_json, job_json, masked
from queuectl.cli.looking import Looking, looking_options
from queuectl.cli.moments import relative_time
from queuectl.cli.tables import Cell, Column, print_fields, print_table
from queuectl.core.models import Execution, Job, signal_name
from queuectl.core.times import format_duration, utcnow
from queuectl.host import lockfiles
from queuectl.storage import Storage
from queuectl.storage.explaining import Need

_MOST_LISTED = 10


@click.command("show", cls=QueueCommand)
@looking_options
@click.option(
    "--show-env",
    is_flag=True,
    help="Print the values of environment variables (default: ***).",
)
@json_option
def show(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    show_env: bool,
    as_json: bool,
) -> int:
    """Show jobs and their attempts.

    On a terminal the default is the job that was enqueued last. With --json, several jobs make a
    list.

    \b
    Examples:
      queuectl show @17
      queuectl show --json nightly-backup
      queuectl show --state dead
    """
    looking = Looking(jobs, queues, states)
    storage = open_storage()
    if as_json:
        _print_json(storage, looking, show_env=show_env)
        return looking.code
    separator = ""
    for job in looking.jobs(storage):
        output.print_data(separator, line_break=False)
        _print_job(storage, job, show_env=show_env)
        separator = "\n"
    return looking.code


def _print_json(storage: Storage, looking: Looking, *, show_env: bool) -> None:
    if looking.is_several:
        shapes = (
            {**shape, "executions": list(executions)}
            for shape, executions in (
                _json(storage, job, show_env=show_env) for job in looking.jobs(storage)
            )
        )
        output.print_json_array(shapes)
        return
    shape, executions = _json(storage, looking.one(storage), show_env=show_env)
    output.print_json_object(shape, "executions", executions)


def _json(
    storage: Storage, job: Job, *, show_env: bool
) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Return what JSON shows of a job, and of its attempts."""
    needs = storage.needs(job)
    shape = {
        **job_json(job, show_env=show_env),
        "after": [need.job.id for need in needs if not need.any_outcome],
        "after_any": [need.job.id for need in needs if need.any_outcome],
        "needed_by": storage.dependants(job),
    }
    pid = _running_pid(storage, job)
    executions = storage.executions(job)
    return shape, (execution_json(execution, running_pid=pid) for execution in executions)


def _running_pid(storage: Storage, job: Job) -> int | None:
    """Return the process id of a running job; None if it does not run or cannot be seen."""
    last = None if job.locked_by is None else storage.last_execution(job)
    if job.locked_by is None or last is None:
        return None
    return lockfiles.seen_job_pid(storage.files, job.locked_by, last.id)


def _print_job(storage: Storage, job: Job, *, show_env: bool) -> None:
    _print_fields(storage, job, show_env=show_env)
    _print_attempts(storage.executions(job))
    last = storage.last_execution(job)
    if last is not None:
        _print_hints(job, last)


def _print_fields(storage: Storage, job: Job, *, show_env: bool) -> None:
    now = utcnow()
    pid = _running_pid(storage, job)
    needs, dependants = storage.needs(job), storage.dependants(job)
    env = masked(job.env, show_env=show_env)
    print_fields(
        [
            ("ID", job.id),
            ("Label", job.label or None),
            ("Command", job.command),
            ("State", job.state),
            ("Queue", job.queue),
            ("Priority", job.priority),
            ("Attempts", f"{job.attempts} of {job.max_retries}"),
            ("Interrupted", _times(job.interruptions)),
            ("Timeout", format_duration(job.timeout) if job.timeout else "none"),
            ("Not before", _time(job.run_at, now)),
            ("Enqueued", _time(job.created_at, now)),
            ("Finished", _time(job.finished_at, now)),
            ("Worker", job.locked_by),
            ("Since", _time(job.locked_at, now)),
            ("Process", pid),
            ("Folder", job.cwd or "the worker's"),
            ("Env", " ".join(f"{name}={env[name]}" for name in sorted(env)) or None),
            ("Unique key", job.unique_key or None),
            ("Last error", job.last_error or None),
            ("Cancel reason", job.cancel_reason or None),
            ("Waits for", _listed([_need(need) for need in needs])),
            ("Needed by", _listed(dependants)),
        ]
    )


def _need(need: Need) -> str:
    """Return a job that another waits for, with its state and what would meet the need."""
    met_by = "finish" if need.any_outcome else "complete"
    return f"{need.job.id} ({need.job.state.value}, must {met_by})"


def _listed(names: Sequence[str]) -> str | None:
    """Return the first few of some names, and how many more there are."""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return (", ".join(names[:_MOST_LISTED]) + more) or None


def _times(number: int) -> str | None:
    if not number:
        return None
    return "once (not counted)" if number == 1 else f"{number} times (not counted)"


def _time(instant: datetime | None, now: datetime) -> str | None:
    return None if instant is None else relative_time(instant, now=now)


def _print_attempts(executions: Iterator[Execution]) -> None:
    first = next(executions, None)
    if first is None:
        return
    now = utcnow()
    output.print_data("")
    names = ("ATTEMPT", "STARTED", "OUTCOME", "TIME", "CPU", "MEMORY", "OUTPUT", "WORKER")
    rows = (_attempt_row(execution, now) for execution in chain([first], executions))
    print_table([Column(name, least=6) for name in names], rows)


def _attempt_row(execution: Execution, now: datetime) -> list[Cell]:
    memory = execution.max_rss_bytes
    return [
        execution.attempt,
        relative_time(execution.started_at, now=now),
        _ending(execution),
        _duration(execution.seconds),
        _duration(execution.cpu_seconds),
        "-" if memory is None else f"{memory / 1048576:.0f} MiB",
        execution.output.size_bytes,
        execution.worker,
    ]


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _ending(execution: Execution) -> str:
    if execution.outcome is None:
        return "running"
    if execution.signal is not None:
        return f"{execution.outcome.value} {signal_name(execution.signal)}"
    if execution.exit_code:
        return f"{execution.outcome.value} {execution.exit_code}"
    return execution.outcome.value


def _print_hints(job: Job, last: Execution) -> None:
    if last.leftovers:
        output.print_data("")
        output.print_line("The last attempt left processes running (config key: leftovers).")
    if last.output.size_bytes:
        output.print_data("")
        output.print_line(f"Output: queuectl logs {job.id}")

"""The command `show`: one job and its attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Iterator, Sequence, Tuple

import click

from queuectl.cli import output
from queuectl.cli.colors import bad, faint
from queuectl.cli.command import QueueCommand, json_option, open_storage, option
from queuectl.cli.json_shapes import execution_json, job_json, masked
from queuectl.cli.looking import Looking, looking_options, shown_name
from queuectl.cli.shown_times import local_time, own_retries
from queuectl.cli.tables import Cell, Column, Styled, print_fields, print_table
from queuectl.core.counts import and_more
from queuectl.core.models import Execution, Job, Need, OutcomeKind, signal_name
from queuectl.core.moments import local, span
from queuectl.core.naming import hook_title, number, quoted
from queuectl.core.sizes import size
from queuectl.core.states import WAITING_STATES
from queuectl.core.times import format_duration, utcnow
from queuectl.host import lockfiles
from queuectl.runner.usage import so_far
from queuectl.storage import Storage

_Field = Tuple[str, object]

_MOST_LISTED = 10
_ATTEMPT = (
    Column("RUN"),
    Column("STARTED"),
    Column("OUTCOME", least=7),
    *(Column(name, right=True) for name in ("TIME", "CPU", "MEMORY", "OUTPUT")),
    Column("WORKER"),
)
_ROOM_FOR_WORKERS = 100
"""Narrower terminals do not show which worker ran an attempt."""
_MEMORY = "MEMORY: peak of the largest process, which begins as a copy of the worker."
_FINE = (None, OutcomeKind.OK, OutcomeKind.CANCELLED, OutcomeKind.INTERRUPTED)
"""The outcomes that are no failure; None: it is running."""
_MEANINGS = {"exit 126": "it cannot be executed", "exit 127": "command not found, see PATH"}
"""The meaning of these exit codes in shells."""


@click.command("show", cls=QueueCommand)
@looking_options
@option(
    "--show-env",
    is_flag=True,
    help="Print the values of environment variables (default: *** except for PATH).",
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
    [(_, last)] = storage.with_last_runs([job])
    shape = {
        **job_json(job, last, show_env=show_env),
        "after": [need.job.id for need in needs if not need.any_outcome],
        "after_any": [need.job.id for need in needs if need.any_outcome],
        "needed_by": [key.id for key in storage.dependants(job)],
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
    last = storage.last_execution(job)
    print_fields(
        [
            *_identity(job),
            *_times(job),
            *_running(storage, job, last),
            *_settings(job, show_env=show_env),
            ("Last error", _last_error(job, last)),
            ("Cancel reason", job.cancel_reason or None),
            ("Waits for", _listed([_need(need) for need in storage.needs(job)])),
            ("Needed by", _listed([shown_name(key) for key in storage.dependants(job)])),
            ("Hooks", _listed([_hook(each) for each in storage.hook_jobs_of(job)])),
        ]
    )
    if last is not None:
        _print_attempts(storage.executions(job))
        _print_hints(job, last)


def _identity(job: Job) -> list[_Field]:
    counted = f"{job.attempts} of {job.max_retries}"
    return [
        ("ID", job.id),
        ("Number", number(job)),
        ("Label", job.label or None),
        ("Command", job.command),
        ("State", job.state),
        ("Paused", _paused(job)),
        ("Queue", job.queue),
        ("Priority", job.priority),
        ("Attempts", counted),
        ("Interrupted", _uncounted(job.interruptions)),
        ("Retries", own_retries(job.retry_delay, job.backoff)),
        ("Timeout", f"{format_duration(job.timeout)} per attempt" if job.timeout else "none"),
    ]


def _times(job: Job) -> list[_Field]:
    now = utcnow()

    def shown(instant: datetime | None) -> str | None:
        return None if instant is None else local_time(instant, now=now)

    starts = job.run_at if job.state in WAITING_STATES else None
    return [
        ("Enqueued", shown(job.created_at)),
        ("Schedule", job.schedule),
        ("Planned for", shown(job.scheduled_for)),
        ("Not before", shown(starts)),
        ("Started", shown(job.locked_at)),
        ("Finished", shown(job.finished_at)),
    ]


def _running(storage: Storage, job: Job, last: Execution | None) -> list[_Field]:
    """Return the fields of a running job: its worker, and what it has used so far."""
    if job.locked_by is None or last is None:
        return []
    used = so_far(storage.files, last, job.locked_by)
    if used is None:
        return [("Worker", job.locked_by)]
    several = used.processes > 1
    process = f"{used.pid} ({used.processes} processes)" if several else str(used.pid)
    cpu, memory, printed = used.cpu_seconds, used.memory_bytes, used.output_bytes
    return [
        ("Worker", job.locked_by),
        ("Process", process),
        ("CPU", None if cpu is None else f"{span(cpu)} so far"),
        ("Memory", None if memory is None else f"{size(memory)} now"),
        ("Output", None if printed is None else f"{size(printed)} so far"),
    ]


def _settings(job: Job, *, show_env: bool) -> list[_Field]:
    env = masked(job.env, show_env=show_env)
    return [
        ("Folder", job.cwd or "the worker's"),
        ("Shell", job.shell),
        ("Input", None if job.input_bytes is None else size(job.input_bytes)),
        ("Env", tuple(f"{name}={env[name]}" for name in sorted(env)) or None),
        ("Unique key", job.unique_key or None),
        ("On success", job.on_success),
        ("On failure", job.on_failure),
        ("On finish", job.on_finish),
        ("Hook", hook_title(job)),
        ("Event", job.event_id),
    ]


def _last_error(job: Job, last: Execution | None) -> str | None:
    """Return why the job did not complete, unless the table of attempts says the same."""
    error = job.last_error or None
    if error is None or last is None:
        return error
    if last.outcome is OutcomeKind.EXIT and error == f"exit {last.exit_code}":
        return f"{error} ({_MEANINGS[error]})" if error in _MEANINGS else None
    if last.outcome is OutcomeKind.SIGNAL and last.signal is not None:
        name = signal_name(last.signal)
        return None if error == f"killed by signal {last.signal} ({name})" else error
    return error


def _need(need: Need) -> str:
    """Return a job that another waits for, with its state and what would meet the need."""
    met_by = "finish" if need.any_outcome else "complete"
    return f"{shown_name(need.job)} ({need.job.state.value}, must {met_by})"


def _hook(job: Job) -> str:
    """Return a hook's job as the job that it reports shows it, with its result."""
    result = job.state.value if job.last_error is None else f"{job.state.value}: {job.last_error}"
    return f"{number(job)} {job.hook} ({result})"


def _listed(names: Sequence[str]) -> str | None:
    """Return the first few of some names, and how many more there are."""
    return (", ".join(names[:_MOST_LISTED]) + and_more(len(names) - _MOST_LISTED)) or None


def _paused(job: Job) -> str | None:
    if job.paused_at is None:
        return None
    since = local_time(job.paused_at, now=utcnow())
    return f"since {since} (queuectl resume {quoted(shown_name(job))})"


def _uncounted(times: int) -> str | None:
    if not times:
        return None
    return "once (not counted)" if times == 1 else f"{times} times (not counted)"


def _print_attempts(executions: Iterator[Execution]) -> None:
    output.print_data("")
    width = output.line_width()
    shown = _ATTEMPT[:-1] if width is not None and width < _ROOM_FOR_WORKERS else _ATTEMPT
    print_table(shown, (_attempt(execution)[: len(shown)] for execution in executions))


def _attempt(execution: Execution) -> list[Cell]:
    seconds, cpu, memory = execution.seconds, execution.cpu_seconds, execution.max_rss_bytes
    return [
        execution.attempt,
        local(execution.started_at),
        Styled(_ending(execution), str if execution.outcome in _FINE else bad),
        "-" if seconds is None else span(seconds),
        "-" if cpu is None else span(cpu),
        "-" if memory is None else size(memory),
        "-" if execution.outcome is None else size(execution.output.size_bytes),
        execution.worker,
    ]


def _ending(execution: Execution) -> str:
    if execution.outcome is None:
        return "running"
    if execution.signal is not None:
        return f"{execution.outcome.value} {signal_name(execution.signal)}"
    if execution.exit_code:
        return f"{execution.outcome.value} {execution.exit_code}"
    return execution.outcome.value


def _print_hints(job: Job, last: Execution) -> None:
    hints = []
    if last.max_rss_bytes is not None and output.on_terminal():
        output.print_data(faint(_MEMORY))
    if last.leftovers:
        is_retried = last.outcome is not OutcomeKind.OK and last.attempt < job.max_retries
        what = "before a retry they are ended" if is_retried else "config key: leftovers"
        hints.append(f"The last attempt left processes running ({what}).")
    if last.output.size_bytes or last.outcome is None:
        follow = "--follow " if last.outcome is None else ""
        hints.append(f"Output: queuectl logs {follow}{quoted(shown_name(job))}")
    for hint in hints:
        output.print_data("")
        output.print_line(hint)

"""The commands that look at jobs: `list` and `show`."""

from __future__ import annotations

from typing import Any, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, json_option, open_storage, usage_error
from queuectl.cli.selection import (
    job_argument,
    queue_names,
    queue_option,
    state_names,
    state_option,
    the_job,
)
from queuectl.core.escaping import escape
from queuectl.core.models import Execution, Job, Selection
from queuectl.core.states import JobState
from queuectl.core.times import format_duration, utcnow
from queuectl.storage import Storage

_ON_A_TERMINAL = 100


@click.command("list", cls=QueueCommand)
@state_option
@queue_option
@click.option("-n", "newest", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@click.option("--ids", is_flag=True, help="Print ids only.")
@click.option("--show-env", is_flag=True, help="With --json: do not mask the values of env.")
@json_option
def list_jobs(
    states: Sequence[Any],
    queues: Sequence[str],
    newest: int | None,
    ids: bool,
    show_env: bool,
    as_json: bool,
) -> None:
    """List jobs in the order of their entry, newest last.

    Example: queuectl list --state failed,dead
    """
    if ids and as_json:
        usage_error("--ids and --json exclude each other")
    selection = Selection(queues=queue_names(queues), states=state_names(states))
    storage = open_storage()
    hidden = 0
    if newest is None and output.on_terminal() and not (ids or as_json):
        newest = _ON_A_TERMINAL
        hidden = storage.count(selection) - newest
    jobs = storage.jobs(selection, newest=newest)
    if as_json:
        output.jobs_json(jobs, show_env=show_env)
    elif ids:
        for job in jobs:
            output.print_data(job.id)
    else:
        if not output.pages(jobs, output.jobs_table):
            output.message("no jobs")
        if hidden > 0:
            output.message(f"{hidden} more (queuectl list -n N)")
        _mention_dead(storage, selection)


def _mention_dead(storage: Storage, selection: Selection) -> None:
    if selection.states != (JobState.FAILED,) or storage.count(selection):
        return
    dead = storage.count(Selection(queues=selection.queues, states=(JobState.DEAD,)))
    if dead:
        output.message(f"{dead} {'is' if dead == 1 else 'are'} dead: queuectl dlq list")


@click.command("show", cls=QueueCommand)
@job_argument
@click.option("--show-env", is_flag=True, help="Do not mask the values of env.")
@json_option
def show(job: str | None, show_env: bool, as_json: bool) -> None:
    """Show one job and its attempts.

    Example: queuectl show nightly-backup
    """
    storage = open_storage()
    found = the_job(storage, job)
    executions = storage.executions(found)
    if as_json:
        output.job_and_attempts_json(found, executions, show_env=show_env)
        return
    _print_job(found, show_env)
    output.pages(executions, _print_executions)
    last = storage.last_execution(found)
    if last is not None:
        _print_output_hint(found, last)


def _print_job(job: Job, show_env: bool) -> None:
    now = utcnow()
    env = output.masked(job.env, show_env=show_env)
    output.fields(
        [
            ("ID", escape(job.id)),
            ("Label", None if job.label is None else escape(job.label)),
            ("Command", escape(job.command)),
            ("State", output.state(job.state)),
            ("Queue", escape(job.queue)),
            ("Priority", str(job.priority)),
            ("Runs", f"{job.attempts} of {job.max_retries}"),
            ("Timeout", format_duration(job.timeout) if job.timeout else "none"),
            ("Runs at", None if job.run_at is None else output.ago(job.run_at, now=now)),
            ("Enqueued", output.ago(job.created_at, now=now)),
            ("Finished", None if job.finished_at is None else output.ago(job.finished_at, now=now)),
            ("Worker", job.locked_by),
            ("Since", None if job.locked_at is None else output.ago(job.locked_at, now=now)),
            ("Folder", "the worker's" if job.cwd is None else escape(job.cwd)),
            ("Env", escape(" ".join(f"{k}={v}" for k, v in sorted(env.items()))) or None),
            ("Unique key", None if job.unique_key is None else escape(job.unique_key)),
            ("Last error", None if job.last_error is None else escape(job.last_error)),
        ]
    )


def _print_executions(executions: Sequence[Execution], first: bool) -> None:
    now = utcnow()
    if first:
        output.print_data("")
    rows = []
    for execution in executions:
        memory = execution.max_rss_bytes
        rows.append(
            [
                str(execution.attempt),
                output.ago(execution.started_at, now=now),
                _ending(execution),
                output.seconds(execution.seconds) or "-",
                output.seconds(execution.cpu_seconds) or "-",
                "-" if memory is None else f"{memory / 1048576:.0f} MiB",
                str(execution.output.size_bytes),
                execution.worker,
            ]
        )
    headers = ("RUN", "STARTED", "OUTCOME", "TIME", "CPU", "MEMORY", "OUTPUT", "WORKER")
    output.print_data(output.table(headers if first else (), rows))


def _ending(execution: Execution) -> str:
    if execution.outcome is None:
        return "running"
    if execution.signal is not None:
        from queuectl.runner.run import signal_name  # 1.5 ms that others need not wait

        return f"{execution.outcome.value} {signal_name(execution.signal)}"
    if execution.exit_code:
        return f"{execution.outcome.value} {execution.exit_code}"
    return execution.outcome.value


def _print_output_hint(job: Job, last: Execution) -> None:
    if last.leftovers:
        output.print_data("\nIt left processes running, which queuectl let be (key leftovers).")
    if last.output.size_bytes:
        output.print_data(f"\nOutput: queuectl logs {escape(job.id)}")

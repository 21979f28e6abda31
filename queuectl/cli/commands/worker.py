"""The commands that start, stop, scale and list workers."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Iterable, Sequence, TypeVar

import click

from queuectl.cli import offers, output, stopping
from queuectl.cli.command import (
    QueueCommand,
    QueueGroup,
    fail,
    json_option,
    open_storage,
    option,
    queue_files,
    quiet_option,
    usage_error,
)
from queuectl.cli.inside_job import own_job, own_worker
from queuectl.cli.json_shapes import worker_json
from queuectl.cli.listings import print_workers
from queuectl.cli.looking import shown_name
from queuectl.cli.parameters import DURATION, WholeNumber
from queuectl.cli.selection import queue_names
from queuectl.core.batches import serves
from queuectl.core.errors import NoSuchJob, QueueError
from queuectl.core.models import Job, Worker
from queuectl.core.moments import lasting
from queuectl.core.naming import number, quoted
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.host import places
from queuectl.host.files import QueueFiles, with_tilde
from queuectl.host.pool_size import MOST_WORKERS
from queuectl.host.program import words_for_services
from queuectl.storage import Storage

if TYPE_CHECKING:
    from queuectl.worker.plan import Plan

_TIME_RAN_OUT = 124
_Function = TypeVar("_Function", bound=Callable[..., Any])


_SECTIONS = {
    "Which workers": "--count --queue",
    "When they exit": "--drain --max-jobs --max-runtime --fail",
    "How they are started": "--unless-running --detach --log-file",
}
"""The sections of the options of `worker start`."""


def _pool_options(function: _Function) -> _Function:
    """Add the options that say how many workers a pool has, and which queues they serve."""
    count = option(
        "-c",
        "--count",
        type=WholeNumber(1, MOST_WORKERS),
        default=1,
        metavar="N",
        help="Number of worker processes (default: 1).",
    )
    queues = option(
        "--queue",
        "queues",
        multiple=True,
        metavar="QUEUE",
        shell_complete=offers.queues,
        help="Run only jobs of this queue (repeatable, or A,B; default: all).",
    )
    return count(queues(function))


@click.group("worker", cls=QueueGroup)
def worker() -> None:
    """Start, stop, scale and list workers."""


@worker.command("start", cls=QueueCommand, sections=_SECTIONS)
@_pool_options
@option(
    "--drain", is_flag=True, help="Exit when no job is pending, running or waiting for a retry."
)
@option(
    "--fail",
    "fails",
    is_flag=True,
    help="With --drain: exit with 1 if a job that these workers ran is dead.",
)
@option(
    "--max-jobs",
    type=WholeNumber(1),
    metavar="N",
    help="Each worker exits after N jobs (default: no limit).",
)
@option(
    "--max-runtime",
    type=DURATION,
    metavar="DURATION",
    help="Start no new jobs after this long, then exit (default: no limit).",
)
@option(
    "--unless-running",
    is_flag=True,
    help="Exit at once if workers for the same queues are already running.",
)
@option(
    "--detach",
    is_flag=True,
    help="Run in the background: return when the workers are ready, and print an id.",
)
@option(
    "--log-file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Append the log to FILE (default: stderr; with --detach, beside the queue).",
)
@option("-q", "--quiet", is_flag=True, help="Log only warnings.")
@click.pass_context
def worker_start(
    ctx: click.Context,
    count: int,
    queues: Sequence[str],
    drain: bool,
    fails: bool,
    max_jobs: int | None,
    max_runtime: float | None,
    unless_running: bool,
    detach: bool,
    log_file: str | None,
    quiet: bool,
) -> None:
    """Run jobs until told to stop.

    Press Ctrl+C (or send TERM) once to stop after the running jobs. The second time kills them and
    puts them back in the queue; the interrupted attempt does not count.

    \b
    Examples:
      queuectl worker start --count 4
      queuectl worker start --count 4 --detach
      queuectl worker start --drain && queuectl status
      * * * * * queuectl worker start --drain --unless-running -q
    """
    from queuectl.host.processes import close_inherited_descriptors
    from queuectl.worker.plan import Plan
    from queuectl.worker.start import refuse_low_limits, start_pool

    close_inherited_descriptors()
    files = queue_files(ctx)
    if fails and (detach or not drain):
        usage_error("--fail requires --drain, and cannot be used with --detach")
    plan = Plan(count, queue_names(queues), drain, max_jobs, max_runtime, fails)
    places.refuse_network(files)
    refuse_low_limits(files, plan)
    ends = detach or max_jobs is not None or max_runtime is not None
    _prepare(files, None if ends else plan, quiet=quiet)
    supervisor_id = start_pool(
        files,
        plan,
        log_file=log_file,
        detach=detach,
        unless_running=unless_running,
        quiet=quiet,
        colored=output.wants_color(ctx.find_root().params.get("color")),
    )
    if supervisor_id is not None and not quiet:
        output.print_line(supervisor_id)
        plural = "s run" if count > 1 else " runs"
        output.hint(f"{count} worker{plural} in the background (to stop: queuectl worker stop)")
        output.hint(f"log: {with_tilde(os.path.abspath(log_file or files.detached_log))}")


def _prepare(files: QueueFiles, endless: Plan | None, *, quiet: bool) -> None:
    """Create or upgrade the queue before a pool starts, so that its problems are reported here.

    Refuses a pool without an end (`endless`) that a job of its own queues would wait for.
    """
    storage = open_storage(create=True)
    given_up = storage.name_copy(now=utcnow())
    if given_up is not None and not quiet:
        lost = f" (jobs that run there count as lost here: {given_up})" if given_up else ""
        output.message(f"{files.database} was a copy, and is a queue of its own from now on{lost}")
    own = None if endless is None else own_job(storage)
    storage.close()  # before any fork
    if endless is None or own is None or own.state is not JobState.PROCESSING:
        return
    if serves(endless.queues, own.queue):
        raise QueueError(
            f"job {own.id} of this queue would wait for ever for workers that it runs itself"
            " (use --detach)"
        )


@worker.command("stop", cls=QueueCommand)
@click.argument("workers", nargs=-1, metavar="[WORKER]...", shell_complete=offers.workers)
@option(
    "--queue",
    "queues",
    multiple=True,
    metavar="QUEUE",
    shell_complete=offers.queues,
    help="Only workers that were started for this queue (repeatable, or A,B).",
)
@option(
    "--now",
    is_flag=True,
    help="Kill running jobs and put them back in the queue; the attempt does not count.",
)
@option("--leave-jobs", is_flag=True, help="Leave running jobs alone; the next workers adopt them.")
@option(
    "--timeout",
    type=DURATION,
    metavar="DURATION",
    help="Give up waiting after this long, with exit code 124 (default: never).",
)
@quiet_option
def worker_stop(
    workers: Sequence[str],
    queues: Sequence[str],
    now: bool,
    leave_jobs: bool,
    timeout: float | None,
    quiet: bool,
) -> None:
    """Stop workers after their running jobs.

    Returns when they have exited. WORKER is the id of a worker, or of a supervisor, which stands
    for all its workers (default: all workers). Inside a job, the worker that runs the job exits
    after it and is not waited for.

    \b
    Examples:
      queuectl worker stop
      queuectl worker stop --timeout 1m || queuectl worker stop --now
    """
    if now and leave_jobs:
        usage_error("--now and --leave-jobs cannot be used together")
    chosen = queue_names(queues)
    files = queue_files()
    # This acts on what the lock files say, so nobody else may be able to write them.
    places.refuse_shared(files)
    if leave_jobs and open_storage().settings().on_worker_death == "kill":
        raise QueueError(
            "on-worker-death is kill: the next workers would end the jobs"
            " (queuectl config set on-worker-death adopt)"
        )
    targets = stopping.targets(files, workers, chosen)
    if not targets:
        _tell_of_no_workers(files, chosen, quiet=quiet)
        return
    own = None if leave_jobs else own_worker(files)
    others = stopping.without_own(files, targets, own, now=now)
    tell = None if quiet or now or leave_jobs else _tell_running_jobs
    if not stopping.stop(
        others, now=now, leave_jobs=leave_jobs, timeout_seconds=timeout, waits_for=tell
    ):
        fail("still running, time ran out; nothing was killed", _TIME_RAN_OUT)
    if quiet:
        return
    stopped = [target.id for target in targets if target in others]
    if stopped:
        output.print_line(f"stopped {', '.join(stopped)}")
    for target in targets:
        if target not in others:
            output.print_line(f"stopping {target.id}; this job is not waited for")


def _tell_of_no_workers(files: QueueFiles, chosen: Sequence[str], *, quiet: bool) -> None:
    """Say that there is no worker to stop; raise QueueError if one only cannot be found."""
    # An error, for example because there is no queue, comes first.
    hidden = stopping.hidden_workers(open_storage(write=True))
    if hidden:
        raise QueueError(
            f"{', '.join(f'{one.id} (pid {one.pid})' for one in hidden)} cannot be found: the "
            "lock file was removed (try again in a second; a worker makes it again)"
        )
    if not quiet:
        others = chosen and stopping.targets(files, (), ())
        only = f"no worker was started with --queue {', '.join(chosen)}"
        output.print_line(only if others else "no worker is running")


@worker.command("scale", cls=QueueCommand)
@click.argument("workers", type=WholeNumber(1, MOST_WORKERS), metavar="N")
@click.argument("pool", required=False, metavar="[POOL]", shell_complete=offers.pools)
@quiet_option
def worker_scale(workers: int, pool: str | None, quiet: bool) -> None:
    """Change how many workers a running pool has.

    POOL is the id that `queuectl worker start --detach` printed; it is needed only if there are
    several pools. A pool that becomes smaller lets running jobs end first.

    \b
    Examples:
      queuectl worker scale 8
      queuectl worker scale 2 4bae92f0
    """
    from queuectl.cli import scaling  # only when it is needed

    files = queue_files()
    # This acts on what the lock files say, so nobody else may be able to write them.
    places.refuse_shared(files)
    try:
        found = scaling.the_pool(files, pool)
    except scaling.SeveralPools as error:
        raise QueueError(f"{error} (name one: queuectl worker scale {workers} POOL)") from None
    before = scaling.workers_of(files, found)
    scaling.scale(files, found, workers)
    if not quiet:
        output.print_line(f"{found.id}: {before} -> {workers} workers")


def _tell_running_jobs(targets: Iterable[stopping.Target]) -> None:
    """Say on a terminal which jobs the workers finish before they exit, else only paused ones."""
    ids = {target.id for target in targets}
    try:
        storage = open_storage()
        running = [
            (worker.job_since, storage.get(worker.job))
            for worker in storage.living_workers()
            if worker.job is not None and worker.job_since and ids & {worker.id, worker.supervisor}
        ]
    except QueueError:  # workers can be stopped while the queue cannot be read
        return
    paused = [job for _, job in running if job.paused_at is not None]
    if paused:
        _tell_paused_jobs(paused)
    if len(running) == len(paused) or not sys.stderr.isatty():
        return
    since, job = min(running, key=lambda found: found[0])
    what = f"{number(job)} (running {lasting(since, now=utcnow())})"
    if len(running) > 1:
        output.hint(f"waiting for {len(running)} jobs, the longest {what}; --now ends them")
    else:
        output.hint(f"waiting for {what}; --now ends it")


def _tell_paused_jobs(paused: Sequence[Job]) -> None:
    """Say which paused jobs keep workers from exiting, perhaps for ever."""
    one = shown_name(paused[0])
    which, them, name = f"{one}, which is", "it", quoted(one)
    if len(paused) > 1:
        which, them, name = f"{len(paused)} jobs that are", "them", "--all"
    output.message(
        f"waiting for {which} paused (queuectl resume {name} lets {them} go on,"
        f" queuectl worker stop --now puts {them} back)"
    )


@worker.command("unit", cls=QueueCommand)
@option(
    "--user",
    "scope",
    flag_value="user",
    default="user",
    help="Print a unit of your own (the default).",
)
@option(
    "--system",
    "scope",
    flag_value="system",
    help="Print a unit of the system, which runs jobs as you.",
)
@_pool_options
def worker_unit(scope: str, count: int, queues: Sequence[str]) -> None:
    """Print a unit by which systemd keeps workers running.

    When the unit is stopped, running jobs have 90 seconds to end; then they are put back in the
    queue. See `queuectl help systemd`.

    \b
    Examples:
      queuectl worker unit --count 4 > queuectl.service
    """
    from queuectl.cli.systemd_unit import Service, unit  # only when it is needed
    from queuectl.host.processes import user_name

    files = queue_files()
    is_system = scope == "system"
    text = unit(
        Service(
            program=words_for_services(),
            workers=count,
            queues=queue_names(queues),
            database=files.database if is_system or not files.is_default else None,
            user=user_name() if is_system else None,
        )
    )
    for line in text.splitlines():
        output.print_line(line)


@worker.command("list", cls=QueueCommand)
@json_option
def worker_list(as_json: bool) -> None:
    """List the running workers and their jobs.

    \b
    Examples:
      queuectl worker list
      queuectl worker list --json | jq length        how many
    """
    storage = open_storage()
    living: list[Worker] = storage.living_workers()
    if as_json:
        output.print_json([worker_json(worker) for worker in living])
    elif living:
        print_workers(living, lambda worker: _job_of(storage, worker))
    else:
        output.message("no worker is running (queuectl worker start)")


def _job_of(storage: Storage, worker: Worker) -> Job | None:
    """Return the job that a worker runs; None if it is idle, or if its job is gone by now."""
    with suppress(NoSuchJob):
        return None if worker.job is None else storage.get(worker.job)
    return None

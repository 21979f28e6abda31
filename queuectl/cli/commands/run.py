"""The command `run`: a batch of jobs, stored and run at once by workers of its own."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from typing import Any, Iterable, Iterator, Mapping, Sequence

import click

from queuectl.cli import offers, output
from queuectl.cli.command import each, json_option, open_storage, option, quiet_option, usage_error
from queuectl.cli.command_line import CommandLine, is_template, template_of, template_options
from queuectl.cli.commands.enqueue_many import (
    Batch,
    NumberedFields,
    line_jobs,
    read_jobs,
    template_jobs,
)
from queuectl.cli.commands.enqueue_notes import point_out_mistakes
from queuectl.cli.job_options import (
    check_options,
    command_text,
    current_folder,
    env_option,
    option_fields,
    own_hook_options,
)
from queuectl.cli.jsonlines import Spool
from queuectl.cli.parameters import WholeNumber
from queuectl.cli.running import BatchRun, Reporting
from queuectl.cli.storing import storing
from queuectl.core.batches import PREFIX, lane_of, series_name
from queuectl.core.errors import QueueError, WrongState
from queuectl.core.models import Job, JobKey, Selection
from queuectl.core.specs import JobSpec
from queuectl.core.states import UNFINISHED_STATES, JobState
from queuectl.core.times import utcnow
from queuectl.core.values import check_queue
from queuectl.host.pools import no_other_stores_a_batch
from queuectl.host.signals import die_by
from queuectl.storage import Storage

_WITHOUT_OPTIONS: Mapping[str, Any] = {
    "id": None, "queue": None, "delay": None, "at": None, "unique_key": None, "if_dup": None,
}  # fmt: skip


_POLL_SECONDS = 0.05
_GOES_ON = "the same command with --resume goes on"
_SECTIONS = {
    "How it runs": "--jobs --output --keep-order --resume --batch",
    "Each job": "--timeout --max-retries --retry-delay --backoff --priority --cwd --env "
    "--shell --input --label",
    "When a job ends": "--on-success --on-failure --on-finish",
    "Arguments": "--null --dry-run",
}


@click.command("run", cls=CommandLine, sections=_SECTIONS)
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="COMMAND [ARG]... [::: ARG...] | -",
    shell_complete=offers.command,
)
@option(
    "-j",
    "--jobs",
    "workers",
    type=WholeNumber(1, 1000),
    metavar="N",
    help="Run N jobs at the same time (default: the number of cores).",
)
@option(
    "--output",
    "shown",
    type=click.Choice(["none", "on-failure", "always"]),
    default="on-failure",
    help="Print the output of no job, of those that fail (on-failure, the default), or of all.",
)
@option(
    "--keep-order",
    is_flag=True,
    help="Print outputs in the order of the arguments (default: as jobs end).",
)
@option(
    "--resume",
    is_flag=True,
    help="Go on with the last batch of the same command in the same folder: run only what has not "
    "completed, and new arguments.",
)
@option(
    "--batch",
    metavar="NAME",
    shell_complete=offers.batches,
    help="Name of the batch (default: made from the command).",
)
@option(
    "--timeout",
    metavar="DURATION",
    help="Kill an attempt that takes longer (default: no limit).",
)
@option(
    "--max-retries",
    type=WholeNumber(),
    metavar="N",
    help="Run each job at most N times in all (default: 1).",
)
@option(
    "--retry-delay",
    metavar="DURATION",
    help="Wait this long before each retry, in place of the backoff.",
)
@option(
    "--backoff",
    metavar="BASE",
    help="Wait BASE, BASE**2, BASE**3 ... seconds before the retries (default: 2).",
)
@option(
    "--priority",
    type=WholeNumber(),
    metavar="N",
    help="Jobs with a higher number start first (default: 0).",
)
@option(
    "--cwd",
    metavar="DIR",
    shell_complete=offers.path("dir"),
    help="Run the jobs in this folder (default: the current one).",
)
@env_option
@option(
    "--shell",
    metavar="PATH",
    shell_complete=offers.path(),
    help="Run the commands with this shell (default: /bin/sh).",
)
@option(
    "--input",
    metavar="FILE",
    shell_complete=offers.path(),
    help="Store FILE, or stdin for -, and let each job read it from its stdin.",
)
@option("--label", metavar="TEXT", shell_complete=offers.labels, help="A name to show in lists.")
@own_hook_options
@template_options
@json_option
@quiet_option
def run(
    words: tuple[str, ...],
    literal: bool,
    workers: int | None,
    shown: str,
    keep_order: bool,
    resume: bool,
    batch: str | None,
    env: Sequence[str],
    null: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Run a command once per argument, and wait for all jobs.

    The jobs are stored before the first one starts, and run by workers that serve only them. So
    nothing is lost if this command, the terminal or the machine dies: the same command with
    --resume goes on, and does not run again what has completed. Arguments are written as for
    enqueue; with -, each line of stdin is a command.

    The exit code is 0 if all jobs completed, else 1. Ctrl+C stops after the running jobs, and a
    second Ctrl+C puts these back in the queue. Jobs have one attempt and no timeout, unless asked
    otherwise.

    \b
    Examples:
      queuectl run -j 4 ffmpeg -nostdin -i {} {.}.mp4 ::: *.mkv
      queuectl run --resume -j 4 ffmpeg -nostdin -i {} {.}.mp4 ::: *.mkv
      find . -name '*.log' -print0 | queuectl run -0 gzip :::: -
    """
    if shown == "always" and as_json:
        usage_error("--output always and --json cannot be used together")
    now = utcnow()
    options = {**_WITHOUT_OPTIONS, **options}
    if options["input"] == "-" and "-" in words and (words == ("-",) or is_template(words)):
        usage_error("stdin is read for the jobs already (--input needs a file)")
    defaults = check_options(option_fields(options, env), now=now)
    defaults = {"timeout": 0.0, "max_retries": 1, **defaults}
    folder = defaults.setdefault("cwd", current_folder())
    common = Batch(defaults, now=now, quiet=quiet, dry_run=dry_run)
    template, jobs = _jobs(words, literal=literal, null=null)
    specs, _ = read_jobs(jobs, "line" if words == ("-",) else "command", common)
    if dry_run:
        for spec in specs:
            output.print_line(spec.command)
        return 0
    if not (quiet or literal or words == ("-",)):
        point_out_mistakes(words)
    storage = open_storage(create=True)
    with no_other_stores_a_batch(storage.files):
        # Jobs that an interrupted call stored may be invisible yet; a worker may be adding them.
        while resume and storage.has_decided_stage() and not storage.finish_dead_stage(now=now):
            time.sleep(_POLL_SECONDS)
        queue = _queue(storage, series_name(template, folder), batch, resume=resume)
        _store(storage, specs, queue, now)
    reporting = Reporting(storage, queue, shown="none" if as_json else shown, quiet=quiet)
    batch_run = BatchRun(storage, queue, reporting, in_order=keep_order)
    batch_run.run(workers or _cores())
    counts = reporting.counts()
    if as_json:
        output.print_json(_json(storage, queue, counts))
    _summarize(storage, queue, counts, quiet=quiet)
    if batch_run.stopped_by is not None:
        die_by(batch_run.stopped_by)
    return 0 if counts[JobState.COMPLETED] == sum(counts.values()) else 1


def _jobs(
    words: tuple[str, ...], *, literal: bool, null: bool
) -> tuple[Sequence[str], Iterator[NumberedFields]]:
    """Return the words that name the batch, and its jobs."""
    if not words:
        usage_error("no command given (example: queuectl run gzip ::: *.log)")
    if words == ("-",) and not literal:
        return words, line_jobs(None, as_commands=True)
    if not literal and is_template(words):
        template, sources = template_of(words)
        return template, template_jobs(template, sources, null=null)
    if null:
        usage_error("--null requires arguments from a file (::::)")
    if not literal and words[0].startswith("{"):
        usage_error("run takes no JSON object (put -- before it if it is a command)")
    command = command_text(words, literal=literal)
    return words, iter([(1, {"command": command})])


def _cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def _queue(storage: Storage, series: str, batch: str | None, *, resume: bool) -> str:
    """Return the queue of the batch: a new one, or with `resume` the last one if there is any."""
    known = {count.queue for count in storage.counts()}
    if batch is not None:
        queue = check_queue(PREFIX + batch, "--batch")
        if queue in known and not resume:
            raise QueueError(f"there is a batch {batch} already (use --resume, or another name)")
        return queue
    numbers = [
        int(name[len(series) + 1 :])
        for name in known
        if name.startswith(f"{series}.") and name[len(series) + 1 :].isdecimal()
    ]
    last = max(numbers, default=0)
    return f"{series}.{last if resume and last else last + 1}"


def _store(storage: Storage, specs: Iterable[JobSpec], queue: str, now: datetime) -> None:
    """Enqueue the jobs that the batch does not have yet, and retry those that are dead."""
    known: dict[str, list[Job]] = {}
    for job in storage.jobs(Selection(queues=(queue,))):
        known.setdefault(job.command, []).append(job)
    retried = []
    new = Spool(JobSpec)  # to store many jobs is faster if their number is known
    for spec in specs:
        before = known.get(spec.command)
        if not before:
            new.add(spec._replace(queue=queue), len(spec.command))
            continue
        job = before.pop(0)
        if job.state is JobState.DEAD:
            retried.append(JobKey(job.seq, job.id))
    if len(new):
        with storing(len(new), hint=_GOES_ON) as state:
            storage.enqueue_each(new, state.added, now=now, environ=os.environ, moved=state.moved)

    def retry(key: JobKey) -> None:
        try:
            storage.retry(key, now=now)
        except WrongState:  # somebody else has retried it meanwhile
            pass

    each(retried, retry, storage.batch)


def _json(storage: Storage, queue: str, counts: Mapping[JobState, int]) -> dict[str, object]:
    return {
        "batch": queue,
        "jobs": {state.value: jobs for state, jobs in counts.items()},
        "ids": [key.id for key in storage.keys(Selection(queues=(queue,)))],
    }


def _summarize(
    storage: Storage, queue: str, counts: Mapping[JobState, int], *, quiet: bool
) -> None:
    """Print how the batch ended: on a terminal always, elsewhere if not all jobs completed."""
    retries = storage.by_state([lane_of(queue)])[JobState.FAILED]
    if retries and not quiet:
        output.message(f"hooks that wait for a retry: {retries:,} (any worker will run them)")
    left = sum(counts[state] for state in UNFINISHED_STATES)
    bad = sum(counts.values()) - counts[JobState.COMPLETED]
    if not bad and (quiet or not sys.stderr.isatty()):
        return
    ended = (JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED)
    parts = [f"{counts[state]} {state.value}" for state in ended if counts[state]]
    if left:
        parts.append(f"{left} left")
    output.message(f"{queue}: {', '.join(parts) or 'no jobs'}")
    if left and any(each.paused for each in storage.queues() if each.name == queue):
        output.message("the queue is paused (queuectl queue resume)")
    if left or counts[JobState.DEAD]:
        output.message(_GOES_ON)

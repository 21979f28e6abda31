"""The command `wait`: block until jobs have finished, and exit with their code."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, NoReturn, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import (
    Failure,
    QueueCommand,
    json_option,
    open_storage,
    option,
    usage_error,
)
from queuectl.cli.looking import shown_name
from queuectl.cli.parameters import DURATION, SINCE
from queuectl.cli.selection import (
    Choice,
    choose,
    jobs_argument,
    label_option,
    queue_names,
    queue_option,
    state_option,
)
from queuectl.cli.wait_progress import (
    WaitForAll,
    progress_of,
    reporter_of_jobs,
    sum_up,
    tally_of,
)
from queuectl.cli.waiting import (
    COULD_NOT_WAIT,
    TIME_RAN_OUT,
    Ending,
    WaitFailure,
    count_unfinished,
    ending_when_given_up,
    late,
    wait_for_all,
    wait_for_jobs,
)
from queuectl.core.batches import is_lane
from queuectl.core.counts import and_more
from queuectl.core.errors import InvalidInput, QueueError, ReadTimeOut
from queuectl.core.models import Job, Selection
from queuectl.core.states import FINISHED_STATES, UNFINISHED_STATES, JobState
from queuectl.storage import Storage

_JOBS_PER_LOOK = 500
"""After how many jobs the clock is looked at while jobs are read."""


class _WaitCommand(QueueCommand):
    """Exits with 125 when queuectl fails, so that this is not taken for a failure of the job."""

    failure_code = COULD_NOT_WAIT

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every error but wrong usage and the end of a job becomes 125."""
        try:
            return click.Command.invoke(self, ctx)
        except InvalidInput as error:
            raise Failure(ctx.command_path, str(error), error.exit_code) from error
        except QueueError as error:
            code = error.exit_code if isinstance(error, WaitFailure) else COULD_NOT_WAIT
            raise Failure(ctx.command_path, str(error), code) from error


@click.command("wait", cls=_WaitCommand)
@jobs_argument(*UNFINISHED_STATES)
@queue_option
@state_option()
@label_option
@option("--all", "everything", is_flag=True, help="Wait until no job is unfinished.")
@option("--any", "any_one", is_flag=True, help="Return when the first job finishes; print its id.")
@option(
    "--fail",
    "fails",
    is_flag=True,
    help="With --all: exit with 1 also if a job was dead before this command was called.",
)
@option(
    "--since",
    type=SINCE,
    metavar="WHEN",
    help="With --fail: only if a job has died since then (default: if any is dead).",
)
@option(
    "--timeout",
    type=DURATION,
    metavar="DURATION",
    help="Give up after this long, with exit code 124 (default: never).",
)
@json_option
@click.pass_context
def wait(
    ctx: click.Context,
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    label: str | None,
    everything: bool,
    any_one: bool,
    fails: bool,
    since: datetime | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Wait until jobs have finished, retries included.

    With --json it prints a list with one object per job, or for --all one object of counts.

    \b
    Exit codes:
      of one job   the exit code of the job
      of several   0 if all of them completed, else 1
      124          the time ran out, or the job exceeded its timeout
      125          queuectl itself failed, or the job can never finish
      126          the job could not be started
      137          the job was lost with its worker
      143          the job was cancelled
      128+N        the job was killed by signal N

    \b
    Examples:
      queuectl wait "$id" && echo done
      queuectl wait --timeout 10m @17
      queuectl enqueue --lines - < commands.txt | queuectl wait -
      queuectl wait --all --queue photos
      queuectl wait --all --fail --since 1h
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    for_all = everything and not (jobs or states or any_one or label is not None)
    if fails and not for_all:
        usage_error("--fail requires --all, and no choice of jobs but --queue or --batch")
    if since is not None and not fails:
        usage_error("--since requires --fail")
    if for_all:
        storage, names = open_storage(), queue_names(queues)
        _wait_for_all(ctx, storage, names, deadline, as_json=as_json)
        dead = _count_dead(storage, names, since) if fails else 0
        if dead:
            _fail(ctx, f"{dead} {'is' if dead == 1 else 'are'} dead (queuectl dlq list)", 1)
        return
    among = UNFINISHED_STATES
    choice = choose(jobs, queues, states, label=label, everything=everything, among=among)
    if jobs and not choice.named:  # the command that should have printed ids has failed
        _fail(ctx, "no ids on stdin", COULD_NOT_WAIT)
    storage = open_storage()
    chosen, are_all = _read(storage, choice, deadline)
    if not are_all:
        _give_up_reading(ctx, chosen, as_json=as_json)
    endings = _endings(storage, chosen, deadline, any_one=any_one, as_json=as_json)
    if any_one and not as_json and endings and endings[0].job.state in FINISHED_STATES:
        output.print_line(endings[0].job.id)
    _end(ctx, endings, single=any_one or len(chosen) == 1)


def _read(storage: Storage, choice: Choice, deadline: float | None) -> tuple[list[Job], bool]:
    """Return the chosen jobs; if the time runs out before all are read, those read, and False."""
    jobs: list[Job] = []
    if deadline is None:
        return list(choice.jobs(storage)), True
    try:
        with storage.reading_until(deadline):
            for job in choice.jobs(storage):
                jobs.append(job)
                if len(jobs) % _JOBS_PER_LOOK == 0 and time.monotonic() >= deadline:
                    return jobs, False
    except ReadTimeOut:
        return jobs, False
    return jobs, True


def _give_up_reading(ctx: click.Context, jobs: Sequence[Job], *, as_json: bool) -> NoReturn:
    if as_json:
        output.print_json([_ending_json(late(job)) for job in jobs])
    _fail(ctx, "time ran out while the jobs were read from the queue", TIME_RAN_OUT)


def _endings(
    storage: Storage,
    jobs: Sequence[Job],
    deadline: float | None,
    *,
    any_one: bool,
    as_json: bool,
) -> list[Ending]:
    """Wait for jobs and return their endings, which are printed before, if as JSON."""
    try:
        with progress_of(1 if any_one else len(jobs)) as show:
            report = reporter_of_jobs(storage, show)
            endings = wait_for_jobs(
                storage, jobs, any_one=any_one, deadline=deadline, report=report
            )
    except WaitFailure as failure:
        if as_json:
            given_up = (ending_when_given_up(storage, job, failure) for job in jobs)
            output.print_json([_ending_json(ending) for ending in given_up])
        raise
    if as_json:
        output.print_json([_ending_json(ending) for ending in endings])
    sum_up(1 if any_one else len(jobs), lambda: tally_of(endings))
    return endings


def _end(ctx: click.Context, endings: Sequence[Ending], *, single: bool) -> None:
    """End the command with the exit code that these endings make, and say why it is not 0."""
    unfinished = [shown_name(end.job) for end in endings if end.job.state not in FINISHED_STATES]
    if unfinished:
        _fail(ctx, f"time ran out, unfinished: {', '.join(unfinished[:3])}", TIME_RAN_OUT)
    bad = [ending for ending in endings if ending.code]
    if not bad:
        return
    if single:
        _fail(ctx, f"{shown_name(bad[0].job)} {bad[0].why}", bad[0].code)
    listed = ", ".join(f"{shown_name(ending.job)} {ending.why}" for ending in bad[:3])
    listed += and_more(len(bad) - 3)
    _fail(ctx, f"{len(bad)} of {len(endings)} did not complete: {listed}", 1)


def _wait_for_all(
    ctx: click.Context,
    storage: Storage,
    queues: Sequence[str],
    deadline: float | None,
    *,
    as_json: bool,
) -> None:
    ended_badly, total = storage.bad_ends(queues), count_unfinished(storage, queues)
    everything = WaitForAll(storage, queues, total)
    given_up: WaitFailure | None = None
    try:
        with progress_of(total) as show:
            report = everything.reporter(show)
            left = wait_for_all(storage, queues, deadline=deadline, report=report)
    except WaitFailure as failure:
        given_up, left = failure, count_unfinished(storage, queues)
    failed = storage.bad_ends(queues) - ended_badly if total else 0
    if as_json:
        output.print_json({"waited_for": total, "not_completed": failed, "unfinished": left})
    if given_up is not None:
        raise given_up
    sum_up(total, lambda: everything.tally(left))
    if left:
        _fail(ctx, f"time ran out, {left} unfinished", TIME_RAN_OUT)
    if failed:
        _fail(ctx, f"{failed} did not complete (queuectl dlq list)", 1)


def _count_dead(storage: Storage, queues: tuple[str, ...], since: datetime | None) -> int:
    """Return how many jobs of these queues (of all but lanes, if none is named) are dead."""
    dead = Selection(queues, (JobState.DEAD,), since=since)
    lanes = {each.queue for each in storage.counts() if is_lane(each.queue)}
    hooks = storage.count(dead._replace(queues=tuple(lanes))) if lanes and not queues else 0
    return storage.count(dead) - hooks


def _fail(ctx: click.Context, message: str, code: int) -> NoReturn:
    raise Failure(ctx.command_path, message, code)


def _ending_json(ending: Ending) -> dict[str, Any]:
    return {
        "id": ending.job.id,
        "state": ending.job.state.value,
        "exit_code": ending.job.exit_code,
        "signal": ending.job.signal,
        "code": ending.code,
        "message": ending.why,
    }

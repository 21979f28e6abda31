"""The command `wait`: until jobs have ended, and with what exit code."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import (
    Any,
    Callable,
    Container,
    Iterator,
    NamedTuple,
    NoReturn,
    Sequence,
)

import click

from queuectl.cli import output
from queuectl.cli.command import Failure, QueueCommand, json_option, open_storage
from queuectl.cli.selection import (
    DURATION,
    choose,
    jobs_argument,
    queue_names,
    queue_option,
    state_option,
)
from queuectl.core.errors import InvalidInput, NoSuchJob, QueueError
from queuectl.core.models import Job, OutcomeKind, Selection
from queuectl.core.states import FINISHED_STATES, UNFINISHED_STATES, JobState
from queuectl.host.lockfiles import living_pools
from queuectl.runner.run import SPAWN_FAILED, signal_name
from queuectl.storage import Storage

TIME_RAN_OUT = 124
COULD_NOT = 125
_CANCELLED = 143
_LOST = 137
_POLL_SECONDS = 0.04
_SEARCH_SECONDS = 2.0


class Ending(NamedTuple):
    """How a job ended, or that it did not in time: the exit code for it, and why in words."""

    job: Job
    code: int
    why: str


class WaitFailure(QueueError):
    """queuectl itself could not wait, because of one job."""

    def __init__(self, job_id: str, why: str, code: int) -> None:
        super().__init__(f"{job_id} {why}")
        self.job_id = job_id
        self.why = why
        self.exit_code = code  # type: ignore[misc]


class _WaitCommand(QueueCommand):
    """Tells the failures of queuectl from those of the job: 125."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what is no usage error and no end of a job becomes 125."""
        try:
            return click.Command.invoke(self, ctx)
        except InvalidInput as error:
            raise Failure(ctx.command_path, str(error), error.exit_code) from error
        except QueueError as error:
            code = error.exit_code if isinstance(error, WaitFailure) else COULD_NOT
            raise Failure(ctx.command_path, str(error), code) from error


@click.command("wait", cls=_WaitCommand)
@jobs_argument(*UNFINISHED_STATES)
@queue_option
@state_option
@click.option("--all", "everything", is_flag=True, help="Until nothing is unfinished.")
@click.option("--any", "any_one", is_flag=True, help="Until the first of them ends; prints its id.")
@click.option("--timeout", type=DURATION, metavar="D", help="Wait no longer (exit 124).")
@json_option
@click.pass_context
def wait(
    ctx: click.Context,
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    everything: bool,
    any_one: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Wait until jobs have ended, across their retries.

    The exit code is the job's own; of several jobs 0 if all completed, else 1. --json prints a list
    with an object a job, for --all one object of counts; also when the time ran out, or one of
    them can never end.

    Example: queuectl wait "$id" && echo done
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    if everything and not (jobs or states or any_one):
        names = queue_names(queues)
        _wait_for_all(ctx, open_storage(), names, deadline, as_json=as_json)
        return
    choice = choose(jobs, queues, states, everything=everything, among=UNFINISHED_STATES)
    if jobs and not choice.named:  # whatever was to print them has failed
        _fail(ctx, "no ids on stdin", COULD_NOT)
    storage = open_storage()
    ids = choice.ids(storage)
    waited_for = [storage.get(name) for name in ids]
    try:
        with _progress(len(waited_for)) as advance:
            endings = wait_for(
                storage, waited_for, any_one=any_one, deadline=deadline, advance=advance
            )
    except WaitFailure as failure:
        if as_json:
            standing = [_standing(storage, job, failure) for job in waited_for]
            output.print_json([_ending_json(ending) for ending in standing])
        raise
    if as_json:
        output.print_json([_ending_json(ending) for ending in endings])
    elif any_one and endings and endings[0].job.state in FINISHED_STATES:
        output.print_data(endings[0].job.id)
    _finish(ctx, endings, single=any_one or len(ids) == 1)


def _finish(ctx: click.Context, endings: Sequence[Ending], *, single: bool) -> None:
    unfinished = [end.job.id for end in endings if end.job.state not in FINISHED_STATES]
    if unfinished:
        _fail(ctx, f"time ran out, unfinished: {', '.join(unfinished[:3])}", TIME_RAN_OUT)
    bad = [ending for ending in endings if ending.code]
    if not bad:
        return
    if single:
        _fail(ctx, f"{bad[0].job.id} {bad[0].why}", bad[0].code)
    listed = ", ".join(f"{ending.job.id} {ending.why}" for ending in bad[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    _fail(ctx, f"{len(bad)} of {len(endings)} did not complete: {listed}{more}", 1)


def _fail(ctx: click.Context, message: str, code: int) -> NoReturn:
    raise Failure(ctx.command_path, message, code)


def wait_for(
    storage: Storage,
    jobs: Sequence[Job],
    *,
    any_one: bool = False,
    deadline: float | None = None,
    advance: Callable[[int], None] = lambda _: None,
    warns: bool = True,
) -> list[Ending]:
    """Wait until all of these jobs have ended, or the first; return their endings in order.

    `deadline` is a time of the monotonic clock. When it is over, those that have not ended are
    among the endings in their present state. Raises WaitFailure when a job can never end by itself,
    or is deleted.
    """
    refuse_own_job(storage, jobs)
    if warns:
        warn_unserved(storage, {job.queue for job in jobs if job.state not in FINISHED_STATES})
    waiting: dict[int, Job] = {job.seq: job for job in jobs}
    endings: dict[int, Ending] = {}
    dead_ends = _DeadEnds(storage, among=waiting)
    version = None
    while waiting:
        before, version = version, storage.version()
        changed = version != before
        if changed:
            found = storage.states_of(list(waiting))
            for seq, job in list(waiting.items()):
                if seq not in found:
                    raise WaitFailure(job.id, "was deleted", COULD_NOT)
                if found[seq] in FINISHED_STATES:
                    ended = storage.get(job.id)
                    if ended.seq != seq or ended.state not in FINISHED_STATES:
                        continue  # since then it was run again, or deleted: the next look tells
                    endings[seq] = ending_of(storage, ended)
                    del waiting[seq]
                    advance(1)
                    if any_one:
                        return [endings[seq]]
            if not waiting:
                break
        dead_ends.refuse(changed=changed)
        if deadline is not None and time.monotonic() >= deadline:
            late = [_late(storage.get(job.id)) for job in waiting.values()]
            if not any(end.job.state in FINISHED_STATES for end in late):
                endings.update((end.job.seq, end) for end in late)
                break
        storage.refuse_replaced()
        time.sleep(_POLL_SECONDS)
    return [endings[job.seq] for job in jobs]


def _late(job: Job) -> Ending:
    return Ending(job, TIME_RAN_OUT, f"is {job.state.value}: time ran out")


def _standing(storage: Storage, job: Job, failure: WaitFailure) -> Ending:
    """Return how a job stands when the wait was given up; one that is deleted as it was seen."""
    try:
        job = storage.get(job.id)
    except NoSuchJob:
        return Ending(job, COULD_NOT, "was deleted")
    if job.state in FINISHED_STATES:
        return ending_of(storage, job)
    if job.id == failure.job_id:
        return Ending(job, failure.exit_code, failure.why)
    return Ending(job, failure.exit_code, f"is {job.state.value}: no longer waited for")


def ending_of(storage: Storage, job: Job) -> Ending:
    """Return how a finished job ended, as an exit code and in words."""
    if job.state is JobState.COMPLETED:
        return Ending(job, 0, "completed")
    if job.state is JobState.CANCELLED:
        reason = f": {job.cancel_reason}" if job.cancel_reason else ""
        return Ending(job, _CANCELLED, f"was cancelled{reason}")
    last = storage.last_execution(job)
    outcome = None if last is None else last.outcome
    if outcome is OutcomeKind.TIMEOUT:
        return Ending(job, TIME_RAN_OUT, f"is dead: {job.last_error}")
    if outcome is OutcomeKind.LOST:
        return Ending(job, _LOST, f"is dead: {job.last_error}")
    if outcome is OutcomeKind.SPAWN_ERROR:
        return Ending(job, SPAWN_FAILED, f"is dead: {job.last_error}")
    if job.signal is not None:
        return Ending(job, 128 + job.signal, f"was killed by signal {signal_name(job.signal)}")
    code = job.exit_code or 1
    return Ending(job, code, f"is dead: {job.last_error or f'exit {code}'}")


def refuse_own_job(storage: Storage, jobs: Sequence[Job]) -> None:
    """Raise when the caller runs inside one of these jobs: it would wait for ever."""
    own = _own_job(storage)
    if own is not None and own.seq in {job.seq for job in jobs}:
        raise WaitFailure(own.id, "cannot wait for itself", 1)


def _own_job(storage: Storage) -> Job | None:
    """Return the job of this queue that the caller runs inside, if any."""
    own = os.environ.get("QUEUECTL_JOB_ID")
    if own is None or os.environ.get("QUEUECTL_DB") != storage.files.database:
        return None
    try:
        return storage.get(own)
    except NoSuchJob:
        return None


def warn_unserved(storage: Storage, queues: set[str]) -> None:
    """Say, once, that no worker serves what is waited for."""
    pools = living_pools(storage.files)
    unserved = sorted(queue for queue in queues if not any(p.serves([queue]) for p in pools))
    if unserved:
        output.message(f"no worker serves {', '.join(unserved)} (queuectl worker start)")


class _DeadEnds:
    """Looks out for a job that can never end among those waited for.

    To search at each change would cost too much. Only a bad end or a newly blocked job makes one,
    and the kept counts tell of both; but between two looks one change may make up for another. So
    what changed is searched a little later in any case.
    """

    def __init__(
        self,
        storage: Storage,
        queues: Sequence[str] = (),
        among: Container[int] | None = None,
    ) -> None:
        self._storage = storage
        self._queues = queues
        self._among = among
        self._ended_badly, self._blocked = -1, 0
        self._search_at = float("inf")

    def refuse(self, *, changed: bool) -> None:
        """Raise WaitFailure if there is one; `changed` tells that the queue has changed."""
        now = time.monotonic()
        if changed:
            counts = self._storage.by_state()
            before = self._ended_badly, self._blocked
            self._ended_badly = counts[JobState.DEAD] + counts[JobState.CANCELLED]
            self._blocked = counts[JobState.BLOCKED]
            if self._ended_badly != before[0] or self._blocked > before[1]:
                self._search_at = now
            else:
                self._search_at = min(self._search_at, now + _SEARCH_SECONDS)
        if not self._blocked or now < self._search_at:
            return
        self._search_at = float("inf")
        stuck = self._storage.first_stuck(self._queues, self._among)
        needed = None if stuck is None else self._storage.stuck_on(stuck)
        if stuck is not None and needed is not None:
            raise WaitFailure(
                stuck.id,
                f"can never end: it waits for {needed.id}, which is {needed.state.value}",
                COULD_NOT,
            )


def _wait_for_all(
    ctx: click.Context,
    storage: Storage,
    queues: Sequence[str],
    deadline: float | None,
    *,
    as_json: bool,
) -> None:
    """Wait until nothing is unfinished, by the kept counts: the number of jobs costs nothing."""
    ended_badly = storage.bad_ends(queues)
    unfinished = Selection(queues=tuple(queues), states=UNFINISHED_STATES)
    total = storage.count(unfinished)
    given_up: WaitFailure | None = None
    try:
        own = _own_job(storage)
        if own is not None and (not queues or own.queue in queues):
            refuse_own_job(storage, [own])
        left = _until_none_is_left(storage, unfinished, total, deadline)
    except WaitFailure as failure:
        given_up, left = failure, storage.count(unfinished)
    failed = storage.bad_ends(queues) - ended_badly if total else 0
    if as_json:
        output.print_json({"waited_for": total, "not_completed": failed, "unfinished": left})
    if given_up is not None:
        raise given_up
    if left:
        _fail(ctx, f"time ran out, {left} unfinished", TIME_RAN_OUT)
    if failed:
        _fail(ctx, f"{failed} did not complete (queuectl dlq list)", 1)


def _until_none_is_left(
    storage: Storage, unfinished: Selection, total: int, deadline: float | None
) -> int:
    """Wait for the unfinished jobs of these queues; return how many the deadline left."""
    queues = unfinished.queues
    warn_unserved(
        storage,
        {
            count.queue
            for count in storage.counts()
            if count.state in UNFINISHED_STATES and (not queues or count.queue in queues)
        },
    )
    dead_ends = _DeadEnds(storage, queues)
    left, version = total, None
    with _progress(total) as advance:
        while left:
            before, version = version, storage.version()
            changed = version != before
            if changed:
                now_left = storage.count(unfinished)
                advance(max(0, left - now_left))
                left = now_left
                if not left:
                    break
            dead_ends.refuse(changed=changed)
            if deadline is not None and time.monotonic() >= deadline:
                break
            storage.refuse_replaced()
            time.sleep(_POLL_SECONDS)
    return left


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show how far it is, on a terminal and with several jobs."""
    if total < 2 or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    from queuectl.cli.terminal import progress  # only here

    with progress(total, "jobs") as advance:
        yield advance


def _ending_json(ending: Ending) -> dict[str, Any]:
    return {
        "id": ending.job.id,
        "state": ending.job.state.value,
        "exit_code": ending.job.exit_code,
        "signal": ending.job.signal,
        "code": ending.code,
        "message": ending.why,
    }

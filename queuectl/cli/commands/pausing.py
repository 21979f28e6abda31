"""The commands that hold jobs back and let them go on: `pause` and `resume`."""

from __future__ import annotations

from typing import Any, Sequence

import click

from queuectl.cli.command import QueueCommand, each, open_storage, quiet_option, usage_error
from queuectl.cli.looking import shown_name
from queuectl.cli.selection import (
    all_option,
    choose,
    jobs_argument,
    label_option,
    queue_option,
    state_option,
)
from queuectl.cli.summary import Summary, verbose_option
from queuectl.core.errors import NoSuchJob, QueueError, WrongState
from queuectl.core.models import Job, JobKey
from queuectl.core.naming import quoted
from queuectl.core.states import UNFINISHED_STATES, JobState
from queuectl.core.times import utcnow
from queuectl.host import processes
from queuectl.storage import Storage


@click.command("pause", cls=QueueCommand)
@jobs_argument(*UNFINISHED_STATES)
@queue_option
@state_option(*UNFINISHED_STATES)
@label_option
@all_option("Pause all unfinished jobs.")
@verbose_option
@quiet_option
def pause(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    label: str | None,
    everything: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Hold jobs back, running ones as well, until `queuectl resume`.

    A waiting job does not start. A running job is stopped (SIGSTOP) with all processes that it
    started: it uses no CPU, keeps its memory and its worker, and the clock of its timeout stands
    still. To pause a whole queue, also for new jobs: `queuectl queue pause`.

    \b
    Examples:
      queuectl pause @17
      queuectl pause @running
      queuectl pause --queue photos --state pending
    """
    _check_given("pause", jobs, queues, states, label, everything=everything)
    choice = choose(
        jobs, queues, states, label=label, everything=everything, among=UNFINISHED_STATES
    )
    storage = open_storage(write=True)

    def pause_one(key: JobKey | str) -> str | None:
        job = _found(storage, key, "pause")
        try:
            state = storage.pause(job, now=utcnow(), clock=processes.clock())
        except WrongState as error:
            raise error.with_name(shown_name(job)) from None
        stopping = state is JobState.PROCESSING
        return None if quiet else f"{shown_name(job)} is {'being ' if stopping else ''}paused"

    summary = Summary(choice, verbose=verbose)
    code = each(choice.keys(storage), pause_one, storage.batch, summary.add)
    if not quiet:
        summary.show(storage, none="no unfinished jobs")
    return code


@click.command("resume", cls=QueueCommand)
@jobs_argument(*UNFINISHED_STATES)
@queue_option
@state_option(*UNFINISHED_STATES)
@label_option
@all_option("Resume all paused jobs.")
@verbose_option
@quiet_option
def resume(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    label: str | None,
    everything: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Let paused jobs go on.

    A running job goes on where it was stopped (SIGCONT), and so does the clock of its timeout. A
    waiting job may start. Options choose only paused jobs. To end the pause of a queue: `queuectl
    queue resume`.

    \b
    Examples:
      queuectl resume @17
      queuectl resume --all
      queuectl resume --queue photos
    """
    _check_given("resume", jobs, queues, states, label, everything=everything)
    choice = choose(
        jobs, queues, states, label=label, everything=everything, among=UNFINISHED_STATES
    )
    if choice.selection is not None:
        choice = choice._replace(selection=choice.selection._replace(paused=True))
    storage = open_storage(write=True)

    def resume_one(key: JobKey | str) -> str | None:
        job = _found(storage, key, "resume")
        resumed = storage.resume(job, now=utcnow(), clock=processes.clock())
        what = "not paused" if resumed is None else "resumed"
        return None if quiet else f"{shown_name(job)} is {what}"

    summary = Summary(choice, verbose=verbose)
    code = each(choice.keys(storage), resume_one, storage.batch, summary.add)
    if not quiet:
        summary.show(storage, none="no paused jobs")
    return code


def _check_given(command: str, *chosen: object, everything: bool) -> None:
    """End with exit code 2 if nothing says which jobs: perhaps queues are meant."""
    if not (any(chosen) or everything):
        usage_error(
            "no jobs given (give their ids, --queue, --state or --all;"
            f" for whole queues: queuectl queue {command})"
        )


def _found(storage: Storage, key: JobKey | str, command: str) -> Job | JobKey:
    if not isinstance(key, str):
        return key
    try:
        return storage.get(key)
    except NoSuchJob:
        if key not in {queue.name for queue in storage.queues()}:
            raise
        name = quoted(key)
        raise QueueError(
            f"no such job: {key}, but a queue has this name (queuectl queue {command} {name})"
        ) from None

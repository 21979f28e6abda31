"""The commands that hold jobs back and let them go on: `pause` and `resume`."""

from __future__ import annotations

from typing import Any, Sequence

import click

from queuectl.cli.command import QueueCommand, open_storage, quiet_option, usage_error
from queuectl.cli.looking import shown_name
from queuectl.cli.selection import Choice, choose, choosing_options
from queuectl.cli.summary import act_on, verbose_option
from queuectl.core.errors import NoSuchJob, QueueError, WrongState
from queuectl.core.models import Job, JobKey
from queuectl.core.naming import quoted
from queuectl.core.states import UNFINISHED_STATES, JobState
from queuectl.core.times import utcnow
from queuectl.host import processes
from queuectl.storage import Storage


@click.command("pause", cls=QueueCommand)
@choosing_options(*UNFINISHED_STATES, everything="Pause all unfinished jobs.")
@verbose_option
@quiet_option
def pause(*, verbose: bool, quiet: bool, **chosen: Any) -> int:
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
    choice = _choice("pause", **chosen)
    storage = open_storage(write=True)

    def pause_one(key: JobKey | str) -> str | None:
        job = _found(storage, key, "pause")
        try:
            state = storage.pause(job, now=utcnow(), clock=processes.clock())
        except WrongState as error:
            raise error.with_name(shown_name(job)) from None
        stopping = state is JobState.PROCESSING
        return None if quiet else f"{shown_name(job)} is {'being ' if stopping else ''}paused"

    return act_on(
        choice,
        storage,
        pause_one,
        verbose=verbose,
        quiet=quiet,
        doing="pausing",
        none="no unfinished jobs",
    )


@click.command("resume", cls=QueueCommand)
@choosing_options(*UNFINISHED_STATES, everything="Resume all paused jobs.")
@verbose_option
@quiet_option
def resume(*, verbose: bool, quiet: bool, **chosen: Any) -> int:
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
    choice = _choice("resume", **chosen)
    if choice.selection is not None:
        choice = choice._replace(selection=choice.selection._replace(paused=True))
    storage = open_storage(write=True)

    def resume_one(key: JobKey | str) -> str | None:
        job = _found(storage, key, "resume")
        resumed = storage.resume(job, now=utcnow(), clock=processes.clock())
        what = "not paused" if resumed is None else "resumed"
        return None if quiet else f"{shown_name(job)} is {what}"

    return act_on(
        choice,
        storage,
        resume_one,
        verbose=verbose,
        quiet=quiet,
        doing="resuming",
        none="no paused jobs",
    )


def _choice(
    command: str,
    *,
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    label: str | None,
    everything: bool,
) -> Choice:
    """Return the chosen jobs; ends with exit code 2 if there is no choice: queues may be meant."""
    if not (jobs or queues or states or label or everything):
        usage_error(
            "no jobs given (give their ids, --queue, --state or --all;"
            f" for whole queues: queuectl queue {command})"
        )
    return choose(jobs, queues, states, label=label, everything=everything, among=UNFINISHED_STATES)


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

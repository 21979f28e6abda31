"""`enqueue --wait`: stay with one job until it has ended, showing what it prints."""

from __future__ import annotations

import signal
import sys

import click

from queuectl.cli import output
from queuectl.cli.command import Failure
from queuectl.cli.commands.logs import follow_job, print_last_attempt
from queuectl.cli.waiting import (
    COULD_NOT_WAIT,
    WaitFailure,
    refuse_own_job,
    wait_for_jobs,
    warn_unserved,
)
from queuectl.core.errors import QueueError
from queuectl.core.models import Job
from queuectl.core.states import JobState
from queuectl.host.signals import die_by
from queuectl.storage import Storage


def wait_attached(storage: Storage, job: Job, shown: str, *, quiet: bool) -> None:
    """Wait for a job's end and end the command with its code.

    `shown`: always (as it is printed), on-failure (the last attempt's, unless it completed), none.
    Ctrl+C detaches: the job goes on.
    """
    ctx = click.get_current_context()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        try:
            refuse_own_job(storage, [job])
            if not quiet:
                warn_unserved(storage, {job.queue})
            if shown == "always":
                follow_job(storage, job)
            ending = wait_for_jobs(storage, [job], warns=False)[0]
            if shown == "on-failure" and ending.job.state is not JobState.COMPLETED:
                print_last_attempt(storage, ending.job)
        except QueueError as error:
            code = error.exit_code if isinstance(error, WaitFailure) else COULD_NOT_WAIT
            raise Failure(ctx.command_path, str(error), code) from error
    except KeyboardInterrupt:
        if not quiet:
            if sys.stderr.isatty():
                click.echo("\r", nl=False, err=True)  # over the ^C that the terminal shows
            output.message(f"{job.id} goes on: queuectl wait {job.id}, or queuectl cancel {job.id}")
        die_by(signal.SIGINT)
        raise
    if ending.code:
        raise Failure(ctx.command_path, f"{job.id} {ending.why}", ending.code)
    ctx.exit(0)

"""`enqueue --wait`: wait for the new job's end and print what it prints."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import click

from queuectl.cli import output
from queuectl.cli.command import Failure
from queuectl.cli.job_output import follow_job, print_last_attempt
from queuectl.cli.looking import shown_name
from queuectl.cli.waiting import (
    COULD_NOT_WAIT,
    Ending,
    WaitFailure,
    refuse_own_job,
    wait_for_jobs,
    warn_of_workers,
)
from queuectl.core.errors import QueueError
from queuectl.core.models import Job
from queuectl.core.naming import quoted, title
from queuectl.core.states import JobState
from queuectl.host import processes
from queuectl.host.signals import die_by
from queuectl.storage import Storage

_MOST_CELLS = 100


def wait_attached(storage: Storage, job_id: str, shown: str, *, quiet: bool) -> NoReturn:
    """Wait for a job's end and end the command with the job's exit code.

    `shown` says what to print: always (everything, while the job prints it), on-failure (what the
    last attempt printed, unless it completed), or none. Ctrl+C ends only the command, not the job.
    """
    ctx = click.get_current_context()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    name = job_id
    try:
        job = storage.get(job_id)
        name = shown_name(job)
        ending = _follow_to_its_end(storage, job, shown, quiet=quiet)
    except QueueError as error:
        code = error.exit_code if isinstance(error, WaitFailure) else COULD_NOT_WAIT
        raise Failure(ctx.command_path, str(error), code) from error
    except KeyboardInterrupt:
        if not quiet:
            if sys.stderr.isatty():
                click.echo("\r", nl=False, err=True)  # over the ^C that the terminal shows
            word = quoted(name)
            output.message(f"{name} goes on: queuectl wait {word}, or queuectl cancel {word}")
        die_by(signal.SIGINT)
        raise
    if ending.code:
        raise Failure(ctx.command_path, _failure(ending), ending.code)
    ctx.exit(0)


def _failure(ending: Ending) -> str:
    """Return how the job ended, in one line that still tells what it was in a mail from cron.

    On a terminal the host is known, and nobody has seen a generated id.
    """
    job = ending.job
    number = f"; attempt {job.attempts} of {job.max_retries}" if job.attempts else ""
    name = title(job, cells=_MOST_CELLS)
    where = "" if output.on_terminal() else f" on {processes.host_name()}"
    return f"{shown_name(job)}{where} {ending.why}{number}: {name}"


def _follow_to_its_end(storage: Storage, job: Job, shown: str, *, quiet: bool) -> Ending:
    """Print what the job prints, as `shown` says, and return how it ended."""
    refuse_own_job(storage, [job])
    warn_of_workers(storage, [job], quiet=quiet)
    if shown == "always":
        follow_job(storage, job, quiet=quiet)
    ending = wait_for_jobs(storage, [job], warns=False)[0]
    if shown == "on-failure" and ending.job.state is not JobState.COMPLETED:
        print_last_attempt(storage, ending.job)
    return ending

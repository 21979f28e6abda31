"""The command `logs`: what jobs printed, byte by byte."""

from __future__ import annotations

import sys
from typing import Any, Sequence

import click

from queuectl.cli import output
from queuectl.cli.colors import strong
from queuectl.cli.command import QueueCommand, open_storage, option, usage_error
from queuectl.cli.inside_job import own_job
from queuectl.cli.job_output import OutputPrinter, follow_job
from queuectl.cli.looking import Looking, looking_options, shown_name
from queuectl.cli.parameters import WholeNumber
from queuectl.core.cells import width
from queuectl.core.errors import QueueError
from queuectl.core.escaping import escape
from queuectl.core.models import Execution, Job
from queuectl.core.naming import quoted, title
from queuectl.core.reasons import short_reason
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.storage import Storage

_WITH_ERROR = (JobState.FAILED, JobState.DEAD)
_SHORTEST_TITLE = 12


@click.command("logs", cls=QueueCommand)
@looking_options
@option(
    "-f",
    "--follow",
    is_flag=True,
    help="Print new output as it comes, until the job has finished, retries included.",
)
@option(
    "-n",
    "--tail",
    type=WholeNumber(0),
    metavar="LINES",
    help="Begin with the last LINES (default: all).",
)
@option(
    "--attempt",
    type=WholeNumber(1),
    metavar="N",
    help="Print the output of attempt N (default: the latest).",
)
def logs(
    jobs: Sequence[str],
    queues: Sequence[str],
    states: Sequence[Any],
    follow: bool,
    tail: int | None,
    attempt: int | None,
) -> int:
    """Print the output of jobs.

    Its bytes are printed unchanged, stdout and stderr in one stream; with several jobs, each output
    has a header. On a terminal the default is the job that is running, or else ran last.

    \b
    Examples:
      queuectl logs @17
      queuectl logs --follow @running
      queuectl logs --state dead --tail 5
      queuectl logs --attempt 1 nightly-backup
    """
    looking = Looking(jobs, queues, states)
    if follow and not looking.is_single:
        usage_error("--follow takes a single job")
    storage = open_storage()
    if follow:
        _follow(storage, looking, tail, attempt)
        return 0
    separator = ""
    for job in looking.jobs(storage, default=_ran_last):
        with looking.going_on():
            if looking.is_several or (looking.is_vague and output.on_terminal()):
                output.print_data(separator, line_break=False)
                _print_header(job)
                separator = "\n"
            last_byte = _print_output(storage, job, tail, attempt)
            if looking.is_several and last_byte not in (b"", b"\n"):
                output.print_data("")
    return looking.code


def _ran_last(storage: Storage) -> Job | None:
    return storage.ran_last() or storage.newest()


def _follow(storage: Storage, looking: Looking, tail: int | None, attempt: int | None) -> None:
    job = looking.one(storage, default=_ran_last)
    own = own_job(storage)
    if own is not None and own.seq == job.seq and job.state not in FINISHED_STATES:
        raise QueueError(f"{job.id} cannot follow itself")  # it would print what it prints
    execution = _execution(storage, job, attempt)
    if looking.is_vague and output.on_terminal():
        _print_header(job)
    if execution is None and job.state not in FINISHED_STATES:
        _note(f"waiting for {shown_name(job)} to start (queuectl why {quoted(shown_name(job))})")
    if attempt is None or execution is None:
        any_output = follow_job(storage, job, execution, tail)
    else:
        printer = OutputPrinter(storage, execution, tail)
        printer.follow()
        any_output = bool(printer.last_byte)
    if not any_output and tail != 0:
        _note(f"{shown_name(job)} has printed nothing")


def _print_output(storage: Storage, job: Job, tail: int | None, attempt: int | None) -> bytes:
    """Print the output so far of an attempt of a job; return the last byte of it."""
    execution = _execution(storage, job, attempt)
    if execution is None:
        yet = "" if job.state in FINISHED_STATES else " yet"
        _note(f"{shown_name(job)} has not run{yet} (queuectl why {quoted(shown_name(job))})")
        return b""
    printer = OutputPrinter(storage, execution, tail)
    printer.print_once()
    if not printer.last_byte and tail != 0:
        yet = " yet" if execution.outcome is None else ""
        _note(f"{shown_name(job)} has printed nothing{yet}")
    return printer.last_byte


def _execution(storage: Storage, job: Job, attempt: int | None) -> Execution | None:
    """Return an attempt of a job, the last one if `attempt` is None; None if it never ran."""
    execution = storage.last_execution(job, attempt=attempt)
    if execution is None and attempt is not None:
        raise QueueError(f"{job.id} has no attempt {attempt}")
    return execution


def _print_header(job: Job) -> None:
    error = ""
    if job.last_error and job.state in _WITH_ERROR:
        error = f", {short_reason(job.last_error)}"
    begin = escape(f"==> {shown_name(job)} {job.state.value}{error}: ")
    end = " <=="
    line = output.line_width()
    room = None if line is None else max(_SHORTEST_TITLE, line - width(begin + end))
    output.print_data(strong(begin + title(job, cells=room) + end))


def _note(text: str) -> None:
    """Tell somebody on a terminal why nothing is printed."""
    if sys.stderr.isatty():
        output.message(text)

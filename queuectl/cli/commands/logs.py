"""The command `logs`: what a job printed, byte by byte."""

from __future__ import annotations

import os
import time

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, open_storage
from queuectl.cli.inside_job import own_job
from queuectl.cli.parameters import WholeNumber
from queuectl.cli.selection import job_argument, the_job
from queuectl.core.errors import QueueError
from queuectl.core.models import Execution, Job
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.host.filesystem import open_to_read
from queuectl.runner.output_reader import OutputReader, open_running
from queuectl.storage import Storage

_POLL_SECONDS = 0.1


@click.command("logs", cls=QueueCommand)
@job_argument
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Print new output as it comes, until the job has finished, retries included.",
)
@click.option(
    "-n",
    "--tail",
    type=WholeNumber(0),
    metavar="LINES",
    help="Begin with the last LINES (default: all).",
)
@click.option(
    "--attempt",
    type=WholeNumber(1),
    metavar="N",
    help="Print the output of attempt N (default: the latest).",
)
def logs(job: str | None, follow: bool, tail: int | None, attempt: int | None) -> None:
    """Print the output of a job.

    Its bytes are printed unchanged, stdout and stderr in one stream. JOB is an id (the first 4
    characters of a generated id are enough), a number such as @17, or @last, @running or @failed.
    On a terminal the default is the job that was enqueued last.

    Example: queuectl logs --follow nightly-backup
    """
    storage = open_storage()
    found = the_job(storage, job)
    execution = storage.last_execution(found, attempt=attempt)
    if execution is None and attempt is not None:
        raise QueueError(f"{found.id} has no attempt {attempt}")
    if follow:
        _refuse_own(storage, found)
    if follow and attempt is None:
        follow_job(storage, found, execution, tail)
    elif execution is not None:
        printer = _Printer(storage, execution, tail)
        (printer.follow if follow else printer.print_once)()


def _refuse_own(storage: Storage, job: Job) -> None:
    """Refuse to follow the job that the caller runs inside: it would print what it prints."""
    own = own_job(storage)
    if own is not None and own.seq == job.seq and job.state not in FINISHED_STATES:
        raise QueueError(f"{job.id} cannot follow itself")


def print_last_attempt(storage: Storage, job: Job) -> None:
    """Print the output of the last attempt of a job, if there was one."""
    execution = storage.last_execution(job)
    if execution is not None:
        _Printer(storage, execution).print_once()


def follow_job(
    storage: Storage,
    job: Job,
    execution: Execution | None = None,
    tail: int | None = None,
) -> None:
    """Print the output of a job until it has finished, from this attempt on, or from the first.

    Returns early when the job can never finish by itself.
    """
    while True:
        if execution is not None:
            _Printer(storage, execution, tail).follow()
            tail = None
        last = execution.id if execution is not None else 0
        execution = _next_attempt(storage, job, last)
        if execution is None:
            return


def _next_attempt(storage: Storage, job: Job, last: int) -> Execution | None:
    """Wait for the attempt after the one with the id `last`; None if there will be none."""
    while True:
        current = storage.get(job.id)
        execution = storage.next_execution(current, last)
        if execution is not None or current.state in FINISHED_STATES:
            return execution
        if current.state is JobState.BLOCKED and storage.stuck_on(current):
            return None
        storage.refuse_replaced()
        time.sleep(_POLL_SECONDS)


class _Printer:
    """Prints the output of one attempt, while it runs and afterwards."""

    def __init__(self, storage: Storage, execution: Execution, tail: int | None = None) -> None:
        self._storage = storage
        self._execution = execution
        self._reader = OutputReader(tail)

    def print_once(self) -> None:
        """Print the output so far."""
        self._print_running()
        self._print_ended()

    def follow(self) -> None:
        """Print the output until the attempt ends."""
        while not self._print_ended():
            if not self._print_running():
                self._storage.refuse_replaced()
                time.sleep(_POLL_SECONDS)

    def _print_running(self) -> bool:
        """Print new output if the attempt runs; return whether there was any."""
        if not self._is_running():
            return False
        descriptor = open_running(self._storage.files, self._execution)
        if descriptor is None:
            return False
        printed = False
        limit = self._storage.settings().output_limit
        try:
            for chunk in self._reader.running(descriptor, limit, self._is_running):
                output.print_bytes(chunk)
                printed = True
        finally:
            os.close(descriptor)
        return printed

    def _is_running(self) -> bool:
        current = self._storage.execution(self._execution.id)
        return current is not None and current.outcome is None

    def _print_ended(self) -> bool:
        """Print the rest of the output if the attempt has ended; return whether it has."""
        current = self._storage.execution(self._execution.id)
        if current is None:  # deleted
            return True
        if current.outcome is None:
            return False
        kept = current.output
        if not kept.in_file:
            for chunk in self._reader.kept_in_row(kept):
                output.print_bytes(chunk)
            return True
        path = self._storage.files.execution_log(current.id)
        try:
            descriptor = open_to_read(path)
        except OSError as error:
            raise QueueError(f"its log is gone: {error.strerror}") from None
        limit = self._storage.settings().output_limit
        try:
            for chunk in self._reader.kept_in_file(descriptor, kept, limit):
                output.print_bytes(chunk)
        finally:
            os.close(descriptor)
        return True

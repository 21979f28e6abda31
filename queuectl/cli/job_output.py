"""Printing what a job prints, byte by byte, while it runs and afterwards."""

from __future__ import annotations

import os
import sys
import time

from queuectl.cli import output
from queuectl.core.errors import QueueError
from queuectl.core.models import Execution, Job
from queuectl.core.moments import upcoming
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import utcnow
from queuectl.host.filesystem import open_to_read
from queuectl.runner.output_reader import OutputReader, open_running
from queuectl.storage import Storage

_POLL_SECONDS = 0.1


def print_last_attempt(storage: Storage, job: Job) -> None:
    """Print the output of the last attempt of a job, if there was one."""
    execution = storage.last_execution(job)
    if execution is not None:
        OutputPrinter(storage, execution).print_once()


def follow_job(
    storage: Storage,
    job: Job,
    execution: Execution | None = None,
    tail: int | None = None,
    *,
    quiet: bool = False,
) -> bool:
    """Print the output of a job until it has finished, from this attempt on, or from the first.

    Returns whether there was any; returns early when the job can never finish by itself. On a
    terminal a line says where the next attempt begins, unless `quiet`.
    """
    any_output = False
    last_byte = b"\n"
    while True:
        if execution is not None:
            printer = OutputPrinter(storage, execution, tail)
            printer.follow()
            any_output = any_output or bool(printer.last_byte)
            last_byte = printer.last_byte or last_byte
            tail = None
        last = execution.id if execution is not None else 0
        says_more = last > 0 and sys.stderr.isatty() and not quiet
        execution = _next_attempt(storage, job, last, after=last_byte if says_more else None)
        if execution is None:
            return any_output


def _next_attempt(
    storage: Storage, job: Job, last: int, *, after: bytes | None
) -> Execution | None:
    """Wait for the attempt after the one with the id `last`; None if there will be none.

    A line says when it begins, unless `after` is None. That is the last byte that was printed.
    """
    while True:
        current = storage.get(job.id)
        execution = storage.next_execution(current, last)
        if execution is not None:
            if after is not None:
                _say_attempt(execution.attempt, current, after)
            return execution
        if current.state in FINISHED_STATES:
            return None
        if after is not None and current.state is JobState.FAILED:
            _say_attempt(current.attempts + 1, current, after)
            after = None
        if current.state is JobState.BLOCKED and storage.stuck_on(current):
            return None
        storage.refuse_replaced()
        time.sleep(_POLL_SECONDS)


def _say_attempt(number: int, job: Job, after: bytes) -> None:
    """Say which attempt comes next, and when; on a line of its own."""
    if after != b"\n" and sys.stdout.isatty():
        output.message("")
    when = ""
    if job.state is JobState.FAILED and job.run_at is not None:
        when = f" {upcoming(job.run_at, now=utcnow())}"
    output.message(f"attempt {number} of {job.max_retries}{when}")


class OutputPrinter:
    """Prints the output of one attempt, while it runs and afterwards."""

    def __init__(self, storage: Storage, execution: Execution, tail: int | None = None) -> None:
        self._storage = storage
        self._execution = execution
        self._reader = OutputReader(tail)
        self.last_byte = b""
        """The last byte that was printed; empty if there was none."""

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
                self._print(chunk)
                printed = True
        finally:
            os.close(descriptor)
        return printed

    def _print(self, chunk: bytes) -> None:
        output.print_bytes(chunk)
        self.last_byte = chunk[-1:] or self.last_byte

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
                self._print(chunk)
            return True
        path = self._storage.files.execution_log(current.id)
        try:
            descriptor = open_to_read(path)
        except OSError as error:
            raise QueueError(f"its log is gone: {error.strerror}") from None
        limit = self._storage.settings().output_limit
        try:
            for chunk in self._reader.kept_in_file(descriptor, kept, limit):
                self._print(chunk)
        finally:
            os.close(descriptor)
        return True

"""The command `logs`: what a job printed, as it printed it."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Callable

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, open_storage
from queuectl.cli.selection import job_argument, the_job
from queuectl.core.errors import QueueError
from queuectl.core.models import Execution, Job
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.host import lockfiles
from queuectl.runner.output_log import GAP
from queuectl.storage import Storage

_CHUNK_BYTES = 1 << 16
_POLL_SECONDS = 0.1


@click.command("logs", cls=QueueCommand)
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the job's end, across retries.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last.")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="N", help="Of this run (else the last)."
)
def logs(job: str | None, follow: bool, tail: int | None, attempt: int | None) -> None:
    """Print what a job printed.

    Byte by byte, stdout and stderr as one.

    Example: queuectl logs --follow nightly-backup
    """
    storage = open_storage()
    found = the_job(storage, job)
    execution = _execution(storage, found, attempt)
    if follow and attempt is None:
        follow_job(storage, found, execution, tail)
    elif execution is not None:
        printer = _Printer(storage, tail)
        (printer.follow if follow else printer.print_now)(execution)


def _execution(storage: Storage, job: Job, attempt: int | None) -> Execution | None:
    execution = storage.last_execution(job, attempt=attempt)
    if execution is None and attempt is not None:
        raise QueueError(f"{job.id} has no attempt {attempt}")
    return execution


def print_last_attempt(storage: Storage, job: Job) -> None:
    """Print what the last attempt of a job printed, if there was one."""
    execution = storage.last_execution(job)
    if execution is not None:
        _Printer(storage, None).print_now(execution)


def follow_job(
    storage: Storage,
    job: Job,
    execution: Execution | None = None,
    tail: int | None = None,
) -> None:
    """Print what a job prints until its end, from an attempt on, or from the first.

    Returns early when the job can never end by itself.
    """
    while True:
        if execution is not None:
            _Printer(storage, tail).follow(execution)
            tail = None
        last = execution.id if execution is not None else 0
        while True:
            current = storage.get(job.id)
            execution = storage.next_execution(current, last)
            if execution is not None:
                break
            if current.state in FINISHED_STATES:
                return
            if current.state is JobState.BLOCKED and storage.stuck_on(current):
                return
            storage.refuse_replaced()
            time.sleep(_POLL_SECONDS)


class _Printer:
    """Prints the output of one attempt, from its file while it runs and from its record after."""

    def __init__(self, storage: Storage, tail: int | None) -> None:
        self._storage = storage
        self._tail = tail
        self._position = 0

    def print_now(self, execution: Execution) -> None:
        """Print what there is."""
        if not (execution.outcome is None and self._print_running(execution, whole=True)):
            current = self._storage.execution(execution.id)
            if current is not None:
                self._print_ended(current)

    def follow(self, execution: Execution) -> None:
        """Print until the attempt ends."""
        while True:
            current = self._storage.execution(execution.id)
            if current is None:
                return
            if current.outcome is not None:
                self._print_ended(current)
                return
            if not self._print_running(current, whole=False):
                self._storage.refuse_replaced()
                time.sleep(_POLL_SECONDS)

    def _print_running(self, execution: Execution, *, whole: bool) -> bool:
        """Print what the running attempt has printed by now; whether there was anything.

        One file serves a worker's jobs one after the other: what was read counts only if the
        attempt still runs afterwards.
        """
        files, limit = self._storage.files, self._storage.settings().output_limit
        running = lockfiles.job_process(files, execution.worker)
        if running is not None and running.execution_id != execution.id:
            return False  # it is just being started: the file may hold what the last one printed
        try:
            descriptor = os.open(files.worker_log(execution.worker), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return False
        printed = False
        try:
            size = os.fstat(descriptor).st_size
            if self._tail is not None:
                start = _tail_start(partial(os.pread, descriptor), size, self._tail)
                current = self._storage.execution(execution.id)
                if current is None or current.outcome is not None:
                    return False
                self._position, self._tail = start, None
            while self._position < size:
                half = limit // 2
                if size > limit and half <= self._position < size - half:
                    self._skip(size - half - self._position)
                    continue
                # A chunk ends where the middle that is not kept begins, or may begin later.
                most = half - self._position if self._position < half else _CHUNK_BYTES
                chunk = os.pread(descriptor, min(most, _CHUNK_BYTES), self._position)
                current = self._storage.execution(execution.id)
                if not chunk or current is None or current.outcome is not None:
                    return False
                grown = os.fstat(descriptor).st_size
                if grown > limit and half <= self._position < grown - half:
                    size = grown  # what was read may have been taken away just before
                    continue
                output.print_bytes(chunk)
                printed = True
                self._position += len(chunk)
        finally:
            os.close(descriptor)
        return printed or whole

    def _skip(self, count: int) -> None:
        output.print_bytes(GAP % count)
        self._position += count

    def _print_ended(self, execution: Execution) -> None:
        """Print the rest of what an ended attempt printed."""
        kept = execution.output
        if not kept.in_file:
            if kept.truncated:
                output.print_bytes(GAP.lstrip() % (kept.size_bytes - len(kept.tail)))
            start = self._position
            if self._tail is not None:
                start = _tail_start(lambda length, begin: kept.tail[begin : begin + length],
                                    len(kept.tail), self._tail)  # fmt: skip
            output.print_bytes(kept.tail[start:])
            return
        try:
            descriptor = os.open(
                self._storage.files.execution_log(execution.id), os.O_RDONLY | os.O_NOFOLLOW
            )
        except OSError as error:
            raise QueueError(f"its log is gone: {error.strerror}") from None
        try:
            size = os.fstat(descriptor).st_size
            if self._tail is not None:
                self._position = _tail_start(partial(os.pread, descriptor), size, self._tail)
            elif kept.truncated and self._position:
                # Past the head, count from the end: there the file and what was printed agree.
                half = self._storage.settings().output_limit // 2
                rest = kept.size_bytes - self._position
                self._position = size - rest if rest <= half else min(self._position, half)
            while True:
                chunk = os.pread(descriptor, _CHUNK_BYTES, self._position)
                if not chunk:
                    return
                output.print_bytes(chunk)
                self._position += len(chunk)
        finally:
            os.close(descriptor)


def _tail_start(read: Callable[[int, int], bytes], size: int, lines: int) -> int:
    """Return where the last so many lines begin; `read` takes a length and a start."""
    if lines == 0:
        return size
    wanted, end, first = lines, size, True
    while end > 0:
        begin = max(0, end - _CHUNK_BYTES)
        chunk = read(end - begin, begin)
        position = len(chunk)
        if first and chunk.endswith(b"\n"):
            position -= 1
        first = False
        while True:
            position = chunk.rfind(b"\n", 0, position)
            if position < 0:
                break
            wanted -= 1
            if wanted == 0:
                return begin + position + 1
        end = begin
    return 0

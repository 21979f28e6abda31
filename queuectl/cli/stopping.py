"""Telling living workers to stop, and waiting until they have exited."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Callable, Sequence

from queuectl.core.errors import QueueError
from queuectl.core.models import Worker
from queuectl.host import lockfiles, processes
from queuectl.host.files import QueueFiles
from queuectl.host.pools import LivingProcess, living_processes
from queuectl.host.signals import KILL_SIGNAL, LEAVE_SIGNAL, STOP_SIGNAL
from queuectl.storage import Storage

_POLL_SECONDS = 0.02
_LOOK_SECONDS = 0.5

_SOON_SECONDS = 0.5
"""Idle workers have exited by then."""


class Target:
    """A process to stop: a supervisor with its workers, or a single worker."""

    def __init__(self, process: LivingProcess, files: QueueFiles) -> None:
        self.id = process.id
        self._process = process
        self._files = files

    @property
    def is_running(self) -> bool:
        """Whether the process has not exited yet."""
        # The process releases its lock before it exits. Wait for the exit: the caller may be about
        # to remove the program.
        return bool(lockfiles.is_alive(self._files, self.id)) or (
            self._process.start_ticks is not None and self._process.is_seen
        )

    def stop(self, *, now: bool, leave_jobs: bool) -> None:
        """Signal the process. Raises QueueError if that is not possible from here."""
        process = self._process
        if leave_jobs and process.supervisor is not None:
            raise QueueError(f"--leave-jobs is for a supervisor with its workers, not {self.id}")
        if not process.is_proved:
            # It has exited, or it is in another container, where its PID means another process.
            # Or its lock file does not tell the truth.
            if self.is_running:
                raise QueueError(
                    f"{self.id} (pid {process.pid or 'unknown'}) cannot be seen from here"
                    " (stop it in the container that it runs in)"
                )
            return
        order = KILL_SIGNAL if now else self._order(leave_jobs=leave_jobs)
        assert process.pid is not None
        try:
            os.kill(process.pid, order)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise QueueError(f"{self.id} (pid {process.pid}) belongs to another user") from None

    def go_on(self) -> None:
        """Continue the process, and the workers of a supervisor, if they are stopped (Ctrl+Z)."""
        for process in living_processes(self._files):
            if (
                self.id in (process.id, process.supervisor)
                and process.pid is not None
                and processes.is_suspended(process.pid)
                and process.is_proved
            ):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGCONT)

    def _order(self, *, leave_jobs: bool) -> int:
        # To a supervisor, LEAVE_SIGNAL means that its workers leave their jobs alone.
        is_worker = self._process.supervisor is not None
        return LEAVE_SIGNAL if is_worker or leave_jobs else STOP_SIGNAL


def targets(files: QueueFiles, names: Sequence[str], queues: Sequence[str]) -> list[Target]:
    """Return the processes with these ids, or those that serve one of the queues, or all.

    Only lock files are asked: workers can be stopped while the database cannot be read.
    """
    living = living_processes(files)
    if not names:
        supervisors = {process.id for process in living if process.supervisor is None}
        return [
            Target(process, files)
            for process in living
            # A worker whose supervisor was killed still finishes its job.
            if process.supervisor not in supervisors
            and (not queues or set(queues) & set(process.queues))
        ]
    known = {process.id: Target(process, files) for process in living}
    for name in names:
        if name not in known:
            raise QueueError(f"no such worker is running: {name} (queuectl worker list)")
    return [known[name] for name in dict.fromkeys(names)]


def without_own(
    files: QueueFiles, chosen: Sequence[Target], own_worker: str | None, *, now: bool
) -> list[Target]:
    """Stop the worker that runs the job of the caller, and return the other processes to stop.

    That worker exits after the job, even with `now`: it must not kill the caller, which would come
    back and stop the next workers. Its supervisor exits after it, so neither can be waited for. The
    other workers of that supervisor take its place among the processes to stop.
    """
    living = {process.id: process for process in living_processes(files)}
    worker = living.get(own_worker or "")
    own = [target for target in chosen if worker and target.id in (worker.id, worker.supervisor)]
    if worker is None or not own:
        return list(chosen)
    for target in own:
        target.stop(now=False, leave_jobs=False)
        target.go_on()
    others = {target.id: target for target in chosen if target not in own}
    if worker.supervisor in {target.id for target in own}:
        for process in living.values():
            if process.supervisor == worker.supervisor and process.id != worker.id:
                others.setdefault(process.id, Target(process, files))
    return list(others.values())


def hidden_workers(storage: Storage) -> list[Worker]:
    """Return the workers that run, but whose lock files are gone: they cannot be stopped."""
    return [
        worker
        for worker in storage.workers()
        if lockfiles.is_alive(storage.files, worker.id) is None
        and processes.same_process(worker.pid, worker.start_ticks, worker.boot_id)
    ]


def stop(
    chosen: Sequence[Target],
    *,
    now: bool,
    leave_jobs: bool,
    timeout_seconds: float | None,
    waits_for: Callable[[Sequence[Target]], None] | None = None,
) -> bool:
    """Stop processes and wait until they have exited; False if that took too long.

    `waits_for` is called once with those that have not exited soon.
    Raises QueueError if one cannot be stopped from here; the others are stopped all the same.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    waiting, errors = [], []
    for target in chosen:
        try:
            target.stop(now=now, leave_jobs=leave_jobs)
            waiting.append(target)
        except QueueError as error:
            errors.append(str(error))
    next_look = 0.0
    soon = time.monotonic() + _SOON_SECONDS
    while any(target.is_running for target in waiting):
        now_seconds = time.monotonic()
        if waits_for is not None and now_seconds >= soon:
            waits_for([target for target in waiting if target.is_running])
            waits_for = None
        if now_seconds >= next_look:
            next_look = now_seconds + _LOOK_SECONDS
            for target in waiting:
                target.go_on()
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    if errors:
        raise QueueError("; ".join(errors))
    return True

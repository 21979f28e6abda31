"""Following a command that a dead worker started, to its end."""

from __future__ import annotations

import os
import time
from typing import Callable

from queuectl.core.models import Outcome, OutcomeKind
from queuectl.host import processes
from queuectl.host.lockfiles import JobProcess
from queuectl.runner import exit_status, process_tree
from queuectl.runner.attempt import (
    Command,
    Events,
    describe_end,
    end_processes,
    processes_of,
    with_left,
)
from queuectl.runner.children import ProcessName
from queuectl.runner.output_log import OutputLog
from queuectl.runner.suspension import Suspension

_LOOK_SECONDS = 0.05
_ADOPTION_SECONDS = 5.0
"""The time within which a worker adopts the job of a dead one, while a pool runs."""

_REAPER_SECONDS = 3.0
"""How long to wait until an ended command is reaped. It may stay a zombie for ever."""

_REAPER_LOOK_SECONDS = 0.02


def take_over(
    command: Command, leader: JobProcess, log: OutputLog, kept_log: str, events: Events
) -> Outcome:
    """Follow a command that a dead worker started, to its end; return the outcome.

    The command keeps its timeout and its output limit. It is not our child, so its shell or the
    process that reaps it must report how it ended. The outcome is LOST if neither does.
    """
    cause: OutcomeKind | None = None
    unended: tuple[ProcessName, ...] = ()
    attempt = processes_of(command, log, leader.pid, leader.start_ticks)
    suspension = Suspension(attempt, events, adopted=True)
    while _is_running(leader, log):
        cause = events.cut_short()
        left = events.pause.time_left(command.timeout_seconds, age_seconds(leader) or 0.0)
        if cause is None and left <= 0:
            cause = OutcomeKind.TIMEOUT
            command = command._replace(grace_seconds=_grace_left(command.grace_seconds, -left))
        if cause is not None:
            unended = end_processes(command, log, events.wait, leader.pid, leader.start_ticks)
            break
        suspension.follow()
        events.wait(min(left, log.enforce_limit(), _LOOK_SECONDS))
    if cause is None:
        suspension.end_with_job()
    seconds = age_seconds(leader)
    outcome = reported_outcome(command, leader, cause, events.wait)._replace(seconds=seconds)
    succeeded = outcome.kind is OutcomeKind.OK
    is_lost = outcome.kind is OutcomeKind.LOST
    if is_lost or (cause is None and command.ends_leftovers(succeeded=succeeded)):
        unended = end_processes(command, log, events.wait, leader.pid, leader.start_ticks)
    return log.add_to(with_left(outcome, unended, _left(command, log, leader)), kept_log)


def _left(command: Command, log: OutputLog, leader: JobProcess) -> tuple[ProcessName, ...]:
    """Return the processes that an adopted command left running."""
    return process_tree.living(processes_of(command, log, leader.pid, leader.start_ticks))


def reported_outcome(
    command: Command,
    leader: JobProcess,
    cause: OutcomeKind | None,
    wait: Callable[[float], None],
) -> Outcome:
    """Return how a command ended that nobody here can reap, as its status file says; or LOST.

    `cause` is why it was cut short, None if it was not. `wait` sleeps for a number of seconds.
    """
    give_up_at = time.monotonic() + _REAPER_SECONDS
    while True:
        # The reaper knows the status better than the shell, and writes it before it frees the PID.
        # So check the PID first, and read the status second.
        is_unreaped = leader.start_ticks is not None and processes.is_unreaped(
            leader.pid, leader.start_ticks
        )
        status = exit_status.read(command.status_path, leader.execution_id)
        if not is_unreaped or time.monotonic() >= give_up_at:
            break
        wait(_REAPER_LOOK_SECONDS)
    if status is None and cause is None:
        cause = OutcomeKind.LOST
    return describe_end(
        cause,
        status or exit_status.Status(None, None),
        command,
        pid=leader.pid,
        seconds=None if status is None else _reported_seconds(command, leader),
    )


def age_seconds(leader: JobProcess) -> float | None:
    """Return how long ago a command started; None if the kernel does not tell its start."""
    return None if leader.start_ticks is None else processes.age_seconds(leader.start_ticks)


def _is_running(leader: JobProcess, log: OutputLog) -> bool:
    if leader.start_ticks is None:  # the kernel does not tell its start
        return log.is_held()
    return processes.same_process(leader.pid, leader.start_ticks, processes.boot_id())


def _grace_left(grace_seconds: float, overdue_seconds: float) -> float:
    """Return how much grace time is left for an adopted command that is past its timeout.

    Adoption is quick, so a command that is overdue by little has had some of its grace time under
    the dead worker, and must not get all of it again from each worker that adopts it. A command
    that is overdue by more was without a worker, and has had none.
    """
    if overdue_seconds > grace_seconds + _ADOPTION_SECONDS:
        return grace_seconds
    return max(0.0, grace_seconds - overdue_seconds)


def _reported_seconds(command: Command, leader: JobProcess) -> float | None:
    """Return how long a command ran until its status was written, while nobody watched it.

    None if that cannot be known. After a reboot, for example, the start would be counted from the
    wrong boot, and seem to come after the end.
    """
    age = age_seconds(leader)
    try:
        reported_at = os.stat(command.status_path).st_mtime
    except OSError:  # somebody removed the file
        return None
    seconds = -1.0 if age is None else age - (time.time() - reported_at)
    return seconds if seconds >= 0 else None

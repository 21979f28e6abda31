"""Following a command that a dead worker started: its end, told by its shell or its reaper."""

from __future__ import annotations

import os
import time
from typing import Callable

from queuectl.core.models import Outcome, OutcomeKind
from queuectl.host import lockfiles, processes
from queuectl.runner import exit_status
from queuectl.runner.output_log import OutputLog
from queuectl.runner.run import Command, Events, conclude, end_attempt, with_output

_ADOPTED_LOOK_SECONDS = 0.05
_SUCCESSION_SECONDS = 5.0
"""Within so long a dead worker has an heir, if a pool is there."""

_ZOMBIE_SECONDS = 3.0
_ZOMBIE_LOOK_SECONDS = 0.02


def take_over(
    command: Command,
    leader: lockfiles.JobProcess,
    log: OutputLog,
    kept_log: str,
    events: Events,
) -> Outcome:
    """Attend to a command that a dead worker started, to its end; return the facts.

    It keeps its timeout and its cap. Nobody here can reap it: how it ended its shell tells, or who
    reaped it; LOST if neither does.
    """
    kind = None
    while _goes_on(leader, log):
        kind = events.cut_short()
        left = (command.timeout_seconds or float("inf")) - (age_seconds(leader) or 0.0)
        if kind is None and left <= 0:
            kind = OutcomeKind.TIMEOUT
            command = command._replace(grace_seconds=_grace_left(command.grace_seconds, -left))
        if kind is not None:
            end_attempt(command, log, leader.pid, events, leader.start_ticks)
            break
        events.wait(min(left, log.watch(), _ADOPTED_LOOK_SECONDS))
    seconds = age_seconds(leader)
    outcome = reported_outcome(command, leader, kind, events.wait)._replace(seconds=seconds)
    if outcome.kind is OutcomeKind.LOST:
        end_attempt(command, log, None, events)
    return with_output(outcome, command, log, kept_log, events)


def _grace_left(grace: float, overdue: float) -> float:
    """Return what an heir gives an adopted command that should have ended `overdue` seconds ago.

    The dead worker may have begun the time of grace, as heirs come soon: no heir begins it anew.
    Where nobody came for longer nobody had begun it.
    """
    if overdue > grace + _SUCCESSION_SECONDS:
        return grace
    return max(0.0, grace - overdue)


def reported_outcome(
    command: Command,
    leader: lockfiles.JobProcess,
    kind: OutcomeKind | None,
    pause: Callable[[float], None],
) -> Outcome:
    """Return how a command ended that nobody here could reap, by the word it left; or LOST."""
    patience = time.monotonic() + _ZOMBIE_SECONDS
    while True:
        # Whoever reaps it says first how it ended, and knows it better than its shell: so its
        # number is asked for before its word.
        unreaped = leader.start_ticks is not None and processes.is_unreaped(
            leader.pid, leader.start_ticks
        )
        status = exit_status.read(command.status_path, leader.execution_id)
        if not unreaped or time.monotonic() >= patience:
            break
        pause(_ZOMBIE_LOOK_SECONDS)
    if status is None and kind is None:
        kind = OutcomeKind.LOST
    return conclude(
        kind,
        status or exit_status.Status(None, None),
        command,
        pid=leader.pid,
        seconds=None if status is None else _reported_seconds(command, leader),
    )


def age_seconds(leader: lockfiles.JobProcess) -> float | None:
    """Return how long an adopted command runs; None where the kernel tells no start."""
    return None if leader.start_ticks is None else processes.age_seconds(leader.start_ticks)


def _reported_seconds(command: Command, leader: lockfiles.JobProcess) -> float | None:
    """Return how long a command ran until it left its word, with nobody there to watch it.

    None if that cannot be known, as after a reboot: its start is counted from a boot, and counted
    from this one it comes after the word.
    """
    age = age_seconds(leader)
    try:
        told_at = os.stat(command.status_path).st_mtime
    except OSError:  # somebody took it away
        return None
    seconds = -1.0 if age is None else age - (time.time() - told_at)
    return seconds if seconds >= 0 else None


def _goes_on(leader: lockfiles.JobProcess, log: OutputLog) -> bool:
    """Whether an adopted command still runs; where the kernel tells no start, its log is held."""
    if leader.start_ticks is None:
        return log.is_held()
    return processes.same_process(leader.pid, leader.start_ticks, processes.boot_id())

"""One attempt of a job: its command, the end of its processes, its outcome."""

from __future__ import annotations

from types import MappingProxyType
from typing import AbstractSet, Callable, Mapping, Protocol, Sequence

from queuectl.core.counts import and_more
from queuectl.core.models import LeftProcess, Outcome, OutcomeKind, signal_name
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import DEFAULT_SHELL
from queuectl.core.times import format_duration
from queuectl.host import processes
from queuectl.runner import exit_status, process_tree
from queuectl.runner.children import Children, ProcessName
from queuectl.runner.output_log import OutputLog

_MOST_LEFT = 100
"""How many of the processes that an attempt left running are noted."""


class PauseState(NamedTuple):
    """Whether a job is paused, and for how long it was."""

    is_paused: bool = False
    """Whether its processes are to be stopped now."""
    seconds: float = 0.0
    """How long the earlier pauses of this attempt took together."""
    is_known: bool = True
    """False for an adopted job until its new worker has asked the queue."""

    def time_left(self, timeout_seconds: float, age_seconds: float) -> float:
        """Return how long an attempt of such an age may run on; infinite without a limit.

        The clock of a timeout stands still during a pause.
        """
        if not timeout_seconds or self.is_paused or not self.is_known:
            return float("inf")
        return timeout_seconds + self.seconds - age_seconds


class Events(Protocol):
    """How a worker waits, and learns of orders, while its job runs."""

    pause: PauseState
    """The pause of the job; `cut_short` keeps it up to date."""

    def may_not_stop(self) -> AbstractSet[int]:
        """Return the PIDs of processes that must run on, because others wait for them."""

    def wait(self, seconds: float) -> None:
        """Sleep until a child ends, an order arrives, or the time is over."""

    def cut_short(self) -> OutcomeKind | None:
        """Return CANCELLED or INTERRUPTED if the job must be ended now."""


class Command(NamedTuple):
    """The command of an attempt, with its limits."""

    shell_text: str
    """The command, for the shell."""
    mark: str
    """The attempt's own value of QUEUECTL_EXECUTION, which marks all processes of the attempt."""
    environ: Mapping[str, str]
    """Its environment, without `own_environ`."""
    cwd: str | None
    """The folder in which to run it; None for the current one."""
    status_path: str
    """The file into which its shell writes how it ended."""
    timeout_seconds: float
    """How long it may run; 0 for no limit."""
    grace_seconds: float
    """How long it has between TERM and KILL."""
    shell: str = DEFAULT_SHELL
    """The path of the shell that runs it."""
    kills_leftovers: bool = False
    """Whether processes that it left running are killed when it ends."""
    read_input: Callable[[], bytes | None] | None = None
    """Returns what it reads from stdin, None if that is lost; without this, stdin is empty."""
    may_be_retried: bool = False
    """Whether another attempt follows if it fails: nothing of this one may be left then."""
    own_environ: Mapping[str, str] = MappingProxyType({})
    """Variables of this attempt alone, which win over the others: `mark` is QUEUECTL_EXECUTION,
    `status_path` QUEUECTL_STATUS."""

    def ends_leftovers(self, *, succeeded: bool) -> bool:
        """Whether processes that it left running are ended."""
        return self.kills_leftovers or (self.may_be_retried and not succeeded)


def end_processes(
    command: Command,
    log: OutputLog,
    wait: Callable[[float], None],
    leader: int | None,
    leader_ticks: int | None = None,
    children: Children | None = None,
) -> tuple[ProcessName, ...]:
    """End every process of an attempt: first TERM, then KILL after the grace time.

    `leader` is the PID of the command's own process, if that may still run. `leader_ticks` is its
    start, if it may be reaped meanwhile. `children` are those of this process, if it started the
    command. `wait` sleeps for a number of seconds, or for less. Returns what cannot be ended.
    """
    found_by = processes_of(command, log, leader, leader_ticks, children)
    return process_tree.end(found_by, command.grace_seconds, wait)


def processes_of(
    command: Command,
    log: OutputLog,
    leader: int | None,
    leader_ticks: int | None = None,
    children: Children | None = None,
) -> process_tree.AttemptProcesses:
    """Return how the processes of a command are recognised; parameters as in `end_processes`."""
    return process_tree.AttemptProcesses(
        frozenset([command.mark]),
        frozenset([log.identity]),
        leader,
        leader_ticks,
        children=children,
    )


def with_left(
    outcome: Outcome, unended: Sequence[ProcessName], kept: Sequence[ProcessName] = ()
) -> Outcome:
    """Add to an outcome the processes that outlived the attempt.

    `unended` ones were to be ended, which failed; `kept` ones were not.
    """
    if not (unended or kept):
        return outcome
    boot = processes.boot_id()
    names = sorted({*unended, *kept})[:_MOST_LEFT]
    outcome = outcome._replace(
        leftovers=True, left_processes=tuple(LeftProcess(*name, boot) for name in names)
    )
    if not unended:
        return outcome
    reasons = [outcome.reason, describe_unended(unended)]
    return outcome._replace(reason="; ".join(filter(None, reasons)))


def describe_unended(names: Sequence[ProcessName]) -> str:
    """Say which processes cannot be ended, for people."""
    pid = names[0][0]
    owner = processes.user(pid)
    user = "" if owner is None else f" of user {owner}"
    return f"process {pid}{user}{and_more(len(names) - 1)} cannot be ended"


def describe_end(
    cause: OutcomeKind | None,
    status: exit_status.Status,
    command: Command,
    *,
    pid: int,
    seconds: float | None,
    cpu_seconds: float | None = None,
    max_rss_bytes: int | None = None,
) -> Outcome:
    """Return the outcome of an attempt, still without its output.

    `cause` is why it was cut short or lost; None if it ended by itself.
    """
    kind = cause or _kind_of_end(status)
    return Outcome(
        kind=kind,
        exit_code=status.exit_code,
        signal=status.signal,
        reason=_reason(kind, status, command.timeout_seconds),
        pid=pid,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        max_rss_bytes=max_rss_bytes,
    )


def _kind_of_end(status: exit_status.Status) -> OutcomeKind:
    if status.exit_code == 0:
        return OutcomeKind.OK
    return OutcomeKind.EXIT if status.signal is None else OutcomeKind.SIGNAL


def _reason(kind: OutcomeKind, status: exit_status.Status, timeout_seconds: float) -> str | None:
    if kind is OutcomeKind.OK:
        return None
    if kind is OutcomeKind.TIMEOUT:
        return f"killed after {format_duration(timeout_seconds)} by its timeout"
    if kind is OutcomeKind.EXIT:
        return f"exit {status.exit_code}"
    if kind is OutcomeKind.SIGNAL and status.signal is not None:
        return f"killed by signal {status.signal} ({signal_name(status.signal)})"
    if kind is OutcomeKind.LOST:
        return "lost with its worker"
    return str(kind.value)

"""Running one command: its own session, its time, its end, and the facts of it."""

from __future__ import annotations

import os
import resource  # noqa: F401 (os.wait4 loads it: better once, before the fork, than in each worker)
import signal
import sys
import time
from typing import Callable, Mapping, NamedTuple, Protocol

from queuectl.core.models import SPAWN_FAILED, Outcome, OutcomeKind, signal_name
from queuectl.core.times import format_duration
from queuectl.host import processes
from queuectl.runner import exit_status, process_tree
from queuectl.runner.output_log import OutputLog

_LOCKED_LOG_DESCRIPTOR = 8
"""Where a job has its locked log besides 1 and 2, should it redirect itself; 9 is the idiom of
flock(1)."""

_SHORT_SECONDS = 0.02

_RESET_SIGNALS = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}


class Events(Protocol):
    """What a running command's worker must not miss meanwhile."""

    def wait(self, seconds: float) -> None:
        """Sleep until a child ended, something was ordered, or the time is over."""

    def cut_short(self) -> OutcomeKind | None:
        """Return CANCELLED or INTERRUPTED when the command is to be ended now."""


class Command(NamedTuple):
    """What is run, and within what bounds: `timeout_seconds` 0 is no limit."""

    shell_text: str
    mark: str
    environ: Mapping[str, str]
    cwd: str | None
    status_path: str
    timeout_seconds: float
    grace_seconds: float
    kills_leftovers: bool = False


def run(
    command: Command,
    log: OutputLog,
    kept_log: str,
    events: Events,
    started: Callable[[int, int | None], None],
) -> Outcome:
    """Run a command to its end and return the facts.

    `started` is told the process at once, and again with its start in clock ticks if it goes on
    (asking the kernel for that takes its time). `kept_log` is where a large output goes. The
    command is over when its own process is; what that leaves running is not waited for.
    """
    began = time.monotonic()
    environ = {
        **command.environ,
        "QUEUECTL_EXECUTION": command.mark,
        "QUEUECTL_STATUS": command.status_path,
    }
    try:
        if command.cwd is not None:
            os.chdir(command.cwd)
            # As `cd` would, so that a name with links in it stays the one that the user knows.
            environ["PWD"] = command.cwd
    except OSError as error:
        gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
        why = "is gone" if gone else f"cannot be used: {error.strerror}"
        return _not_started(f"cwd {command.cwd} {why}", began)
    try:
        pid = _spawn(exit_status.PRELUDE + command.shell_text, environ, log.descriptor)
    except (OSError, ValueError) as error:
        return _not_started(f"it could not be started: {error}", began)
    finally:
        # A worker must not keep a file system busy.
        os.chdir("/")
    started(pid, None)
    kind, status, usage = _attend(
        pid,
        command,
        log,
        events,
        began,
        lambda: started(pid, processes.start_ticks(pid)),
    )
    outcome = conclude(
        kind,
        exit_status.Status.decode(status),
        command,
        pid=pid,
        seconds=time.monotonic() - began,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        # KiB on Linux, bytes on macOS (getrusage(2)).
        max_rss_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )
    return with_output(outcome, command, log, kept_log, events)


def conclude(
    kind: OutcomeKind | None,
    status: exit_status.Status,
    command: Command,
    *,
    pid: int,
    seconds: float | None,
    cpu_seconds: float | None = None,
    max_rss_bytes: int | None = None,
) -> Outcome:
    """Put the facts together; `kind` says why it was cut short, None that it ended by itself."""
    if kind is None:
        kind = _kind_of_end(status)
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


def with_output(
    outcome: Outcome,
    command: Command,
    log: OutputLog,
    kept_log: str,
    events: Events,
) -> Outcome:
    """Add what it printed, and whether it left anything running."""
    if command.kills_leftovers:
        # On Linux all are found without the number of a process that is reaped.
        end_attempt(command, log, None if sys.platform == "linux" else outcome.pid, events)
    output, leftovers = log.collect(kept_log)
    leftovers = leftovers and not command.kills_leftovers
    return outcome._replace(output=output, leftovers=leftovers)


def end_attempt(
    command: Command,
    log: OutputLog,
    leader: int | None,
    events: Events,
    leader_ticks: int | None = None,
) -> None:
    """End what is left of a command."""
    attempt = process_tree.Attempt(
        frozenset([command.mark]), frozenset([log.identity]), leader, leader_ticks
    )
    process_tree.end(attempt, command.grace_seconds, events.wait)


def _attend(
    pid: int,
    command: Command,
    log: OutputLog,
    events: Events,
    began: float,
    goes_on: Callable[[], None],
) -> tuple[OutcomeKind | None, int, os.struct_rusage]:  # type: ignore[name-defined]
    """Wait for the end or bring it about; return why it was cut short, if it was, and its status.

    The number of a process, and of its group, is its own until it is reaped: so it is signalled
    first and reaped after.
    """
    deadline = began + (command.timeout_seconds or float("inf"))
    events.wait(min(command.timeout_seconds or _SHORT_SECONDS, _SHORT_SECONDS))
    told = False
    while True:
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if reaped:
            return None, status, usage
        kind = events.cut_short()
        now = time.monotonic()
        if kind is None and now >= deadline:
            kind = OutcomeKind.TIMEOUT
        if kind is not None:
            end_attempt(command, log, pid, events)
            while not reaped:
                reaped, status, usage = os.wait4(pid, os.WNOHANG)
                if not reaped:
                    events.wait(0.1)
            return kind, status, usage
        if not told:
            goes_on()
            told = True
        events.wait(min(deadline - now, log.watch()))


def _spawn(shell_text: str, environ: Mapping[str, str], log: int) -> int:
    argv = ["sh", "-c", shell_text]
    try:
        return os.posix_spawn(
            "/bin/sh",
            argv,
            environ,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, log, _LOCKED_LOG_DESCRIPTOR),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_RESET_SIGNALS,
        )
    except (NotImplementedError, AttributeError):
        return _spawn_by_popen(argv, environ, log)


def _spawn_by_popen(argv: list[str], environ: Mapping[str, str], log: int) -> int:
    """Start it where posix_spawn knows no new session."""

    import subprocess  # half a MB, which workers elsewhere need not carry

    def prepare() -> None:
        # In the child only: here that descriptor may well be one of the database.
        os.dup2(log, _LOCKED_LOG_DESCRIPTOR)
        for number in _RESET_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    process = subprocess.Popen(
        argv,
        executable="/bin/sh",
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        close_fds=False,  # all of ours close by themselves
        preexec_fn=prepare,  # noqa: PLW1509 (a worker has one thread)
        start_new_session=True,
    )
    # We reap it ourselves: Popen must not, and must not complain of it.
    process.returncode = 0
    return process.pid


def _not_started(reason: str, began: float) -> Outcome:
    return Outcome(
        kind=OutcomeKind.SPAWN_ERROR,
        exit_code=SPAWN_FAILED,
        reason=reason,
        seconds=time.monotonic() - began,
    )


def _kind_of_end(status: exit_status.Status) -> OutcomeKind:
    if status.signal is not None:
        return OutcomeKind.SIGNAL
    return OutcomeKind.OK if status.exit_code == 0 else OutcomeKind.EXIT


def _reason(kind: OutcomeKind, status: exit_status.Status, timeout: float) -> str | None:
    if kind is OutcomeKind.OK:
        return None
    if kind is OutcomeKind.TIMEOUT:
        return f"killed after {format_duration(timeout)} by its timeout"
    if kind is OutcomeKind.EXIT:
        return f"exit {status.exit_code}"
    if kind is OutcomeKind.SIGNAL and status.signal is not None:
        return f"killed by signal {status.signal} ({signal_name(status.signal)})"
    if kind is OutcomeKind.LOST:
        return "lost with its worker"
    return str(kind.value)

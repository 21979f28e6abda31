"""Running one command: its own session, its time, its end, and the facts of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Callable, Mapping, Optional, Protocol, Tuple

from queuectl import processtree
from queuectl.joblog import JobLog
from queuectl.models import Outcome, OutcomeKind
from queuectl.times import format_duration

SPAWN_FAILED = 126
"""The exit code of a command that could not be started, as in a shell."""

_LOCKED_LOG_DESCRIPTOR = 8
"""Where a job has its locked log besides 1 and 2, should it redirect itself; 9 is the idiom of
flock(1)."""

_RESET_SIGNALS = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}


class Attention(Protocol):
    """What a running command's worker must not miss meanwhile."""

    def wait(self, seconds: float) -> None:
        """Sleep until a child ended, something was ordered, or the time is over."""

    def cut_short(self) -> Optional[OutcomeKind]:
        """Return CANCELLED or INTERRUPTED when the command is to be ended now."""


@dataclass(frozen=True)
class Command:
    """What is run, and within what bounds: `timeout_seconds` 0 is no limit."""

    shell_text: str
    mark: str
    environ: Mapping[str, str]
    cwd: Optional[str]
    timeout_seconds: float
    grace_seconds: float
    kills_leftovers: bool = False


def run(
    command: Command,
    log: JobLog,
    kept_log: str,
    attention: Attention,
    started: Callable[[int], None],
) -> Outcome:
    """Run a command to its end and return the facts.

    `started` is told the process at once; `kept_log` is where a large output goes. The command is
    over when its own process is; what that leaves running is not waited for.
    """
    began = time.monotonic()
    environ = {**command.environ, "QUEUECTL_EXECUTION": command.mark}
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
        pid = _spawn(command.shell_text, environ, log.descriptor)
    except (OSError, ValueError) as error:
        return _not_started(f"it could not be started: {error}", began)
    finally:
        # A worker must not keep a file system busy.
        os.chdir("/")
    started(pid)
    attempt = processtree.Attempt(frozenset([command.mark]), frozenset([log.identity]), pid)
    kind, status, usage = _attend(pid, command, attempt, log, attention, began)
    seconds = time.monotonic() - began
    if command.kills_leftovers:
        processtree.end(attempt, command.grace_seconds, attention.wait)
    output, leftovers = log.collect(kept_log)
    exit_code, ended_by = _decode(status)
    if kind is None:
        kind = _kind_of_end(exit_code, ended_by)
    return Outcome(
        kind=kind,
        exit_code=exit_code,
        signal=ended_by,
        reason=_reason(kind, exit_code, ended_by, command.timeout_seconds),
        pid=pid,
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        # KiB on Linux, bytes on macOS (getrusage(2)).
        max_rss_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        output=output,
        leftovers=leftovers and not command.kills_leftovers,
    )


def _attend(
    pid: int,
    command: Command,
    attempt: processtree.Attempt,
    log: JobLog,
    attention: Attention,
    began: float,
) -> Tuple[Optional[OutcomeKind], int, os.struct_rusage]:  # type: ignore[name-defined]
    """Wait for the end or bring it about; return why it was cut short, if it was, and its status.

    The number of a process, and of its group, is its own until it is reaped: so it is signalled
    first and reaped after.
    """
    deadline = began + (command.timeout_seconds or float("inf"))
    while True:
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if reaped:
            return None, status, usage
        kind = attention.cut_short()
        now = time.monotonic()
        if kind is None and now >= deadline:
            kind = OutcomeKind.TIMEOUT
        if kind is not None:
            processtree.end(attempt, command.grace_seconds, attention.wait)
            while not reaped:
                reaped, status, usage = os.wait4(pid, os.WNOHANG)
                if not reaped:
                    attention.wait(0.1)
            return kind, status, usage
        attention.wait(min(deadline - now, log.watch()))


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


def _decode(status: int) -> Tuple[Optional[int], Optional[int]]:
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None


def _kind_of_end(exit_code: Optional[int], ended_by: Optional[int]) -> OutcomeKind:
    if ended_by is not None:
        return OutcomeKind.SIGNAL
    return OutcomeKind.OK if exit_code == 0 else OutcomeKind.EXIT


def _reason(
    kind: OutcomeKind, exit_code: Optional[int], ended_by: Optional[int], timeout: float
) -> Optional[str]:
    if kind is OutcomeKind.OK:
        return None
    if kind is OutcomeKind.TIMEOUT:
        return f"killed after {format_duration(timeout)} by its timeout"
    if kind is OutcomeKind.EXIT:
        return f"exit {exit_code}"
    if kind is OutcomeKind.SIGNAL and ended_by is not None:
        return f"killed by signal {ended_by} ({signal_name(ended_by)})"
    return str(kind.value)


def signal_name(number: int) -> str:
    """Return `TERM` for 15; the number where the signal has no name."""
    try:
        return signal.Signals(number).name[3:]
    except ValueError:
        return str(number)

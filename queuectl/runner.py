"""Running one command: its own session, its time, its end, and the facts of it."""

from __future__ import annotations

import os
import resource  # noqa: F401 (os.wait4 loads it: better once, before the fork, than in each worker)
import signal
import sys
import time
from typing import Callable, Mapping, NamedTuple, Optional, Protocol, Tuple

from queuectl import jobstatus, liveness, processtree
from queuectl.joblog import JobLog
from queuectl.models import Outcome, OutcomeKind
from queuectl.times import format_duration

SPAWN_FAILED = 126
"""The exit code of a command that could not be started, as in a shell."""

_LOCKED_LOG_DESCRIPTOR = 8
"""Where a job has its locked log besides 1 and 2, should it redirect itself; 9 is the idiom of
flock(1)."""

_SHORT_SECONDS = 0.02
_ADOPTED_LOOK_SECONDS = 0.05
_SUCCESSION_SECONDS = 5.0
"""Within so long a dead worker has an heir, if a pool is there."""

_ZOMBIE_SECONDS = 3.0
_ZOMBIE_LOOK_SECONDS = 0.02
_RESET_SIGNALS = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}


class Attention(Protocol):
    """What a running command's worker must not miss meanwhile."""

    def wait(self, seconds: float) -> None:
        """Sleep until a child ended, something was ordered, or the time is over."""

    def cut_short(self) -> Optional[OutcomeKind]:
        """Return CANCELLED or INTERRUPTED when the command is to be ended now."""


class Command(NamedTuple):
    """What is run, and within what bounds: `timeout_seconds` 0 is no limit."""

    shell_text: str
    mark: str
    environ: Mapping[str, str]
    cwd: Optional[str]
    status_path: str
    timeout_seconds: float
    grace_seconds: float
    kills_leftovers: bool = False


def run(
    command: Command,
    log: JobLog,
    kept_log: str,
    attention: Attention,
    started: Callable[[int, Optional[int]], None],
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
        pid = _spawn(jobstatus.PRELUDE + command.shell_text, environ, log.descriptor)
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
        attention,
        began,
        lambda: started(pid, liveness.start_ticks(pid)),
    )
    outcome = conclude(
        kind,
        jobstatus.Status.decode(status),
        command,
        pid=pid,
        seconds=time.monotonic() - began,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        # KiB on Linux, bytes on macOS (getrusage(2)).
        max_rss_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )
    return _with_output(outcome, command, log, kept_log, attention)


def take_over(
    command: Command,
    leader: liveness.Running,
    log: JobLog,
    kept_log: str,
    attention: Attention,
) -> Outcome:
    """Attend to a command that a dead worker started, to its end; return the facts.

    It keeps its timeout and its cap. Nobody here can reap it: how it ended its shell tells, or who
    reaped it; LOST if neither does.
    """
    kind = None
    while _goes_on(leader, log):
        kind = attention.cut_short()
        left = (command.timeout_seconds or float("inf")) - (age_seconds(leader) or 0.0)
        if kind is None and left <= 0:
            kind = OutcomeKind.TIMEOUT
            command = command._replace(grace_seconds=_grace_left(command.grace_seconds, -left))
        if kind is not None:
            _end(command, log, leader.pid, attention, leader.start_ticks)
            break
        attention.wait(min(left, log.watch(), _ADOPTED_LOOK_SECONDS))
    seconds = age_seconds(leader)
    outcome = told_outcome(command, leader, kind, attention.wait)._replace(seconds=seconds)
    if outcome.kind is OutcomeKind.LOST:
        _end(command, log, None, attention)
    return _with_output(outcome, command, log, kept_log, attention)


def _grace_left(grace: float, overdue: float) -> float:
    """Return what an heir gives an adopted command that should have ended `overdue` seconds ago.

    The dead worker may have begun the time of grace, as heirs come soon: no heir begins it anew.
    Where nobody came for longer nobody had begun it.
    """
    if overdue > grace + _SUCCESSION_SECONDS:
        return grace
    return max(0.0, grace - overdue)


def told_outcome(
    command: Command,
    leader: liveness.Running,
    kind: Optional[OutcomeKind],
    pause: Callable[[float], None],
) -> Outcome:
    """Return how a command ended that nobody here could reap, by the word it left; or LOST."""
    patience = time.monotonic() + _ZOMBIE_SECONDS
    while True:
        # Whoever reaps it says first how it ended, and knows it better than its shell: so its
        # number is asked for before its word.
        unreaped = leader.start_ticks is not None and liveness.is_unreaped(
            leader.pid, leader.start_ticks
        )
        status = jobstatus.read(command.status_path, leader.execution_id)
        if not unreaped or time.monotonic() >= patience:
            break
        pause(_ZOMBIE_LOOK_SECONDS)
    if status is None and kind is None:
        kind = OutcomeKind.LOST
    return conclude(
        kind,
        status or jobstatus.Status(None, None),
        command,
        pid=leader.pid,
        seconds=None if status is None else _told_seconds(command, leader),
    )


def conclude(
    kind: Optional[OutcomeKind],
    status: jobstatus.Status,
    command: Command,
    *,
    pid: int,
    seconds: Optional[float],
    cpu_seconds: Optional[float] = None,
    max_rss_bytes: Optional[int] = None,
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


def _with_output(
    outcome: Outcome,
    command: Command,
    log: JobLog,
    kept_log: str,
    attention: Attention,
) -> Outcome:
    """Add what it printed, and whether it left anything running."""
    if command.kills_leftovers:
        # On Linux all are found without the number of a process that is reaped.
        _end(command, log, None if sys.platform == "linux" else outcome.pid, attention)
    output, leftovers = log.collect(kept_log)
    leftovers = leftovers and not command.kills_leftovers
    return outcome._replace(output=output, leftovers=leftovers)


def _end(
    command: Command,
    log: JobLog,
    leader: Optional[int],
    attention: Attention,
    leader_ticks: Optional[int] = None,
) -> None:
    """End what is left of a command."""
    attempt = processtree.Attempt(
        frozenset([command.mark]), frozenset([log.identity]), leader, leader_ticks
    )
    processtree.end(attempt, command.grace_seconds, attention.wait)


def age_seconds(leader: liveness.Running) -> Optional[float]:
    """Return how long an adopted command runs; None where the kernel tells no start."""
    return None if leader.start_ticks is None else liveness.age_seconds(leader.start_ticks)


def _told_seconds(command: Command, leader: liveness.Running) -> Optional[float]:
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


def _goes_on(leader: liveness.Running, log: JobLog) -> bool:
    """Whether an adopted command still runs; where the kernel tells no start, its log is held."""
    if leader.start_ticks is None:
        return log.is_held()
    return liveness.same_process(leader.pid, leader.start_ticks, liveness.boot_id())


def _attend(
    pid: int,
    command: Command,
    log: JobLog,
    attention: Attention,
    began: float,
    goes_on: Callable[[], None],
) -> Tuple[Optional[OutcomeKind], int, os.struct_rusage]:  # type: ignore[name-defined]
    """Wait for the end or bring it about; return why it was cut short, if it was, and its status.

    The number of a process, and of its group, is its own until it is reaped: so it is signalled
    first and reaped after.
    """
    deadline = began + (command.timeout_seconds or float("inf"))
    attention.wait(min(command.timeout_seconds or _SHORT_SECONDS, _SHORT_SECONDS))
    told = False
    while True:
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if reaped:
            return None, status, usage
        kind = attention.cut_short()
        now = time.monotonic()
        if kind is None and now >= deadline:
            kind = OutcomeKind.TIMEOUT
        if kind is not None:
            _end(command, log, pid, attention)
            while not reaped:
                reaped, status, usage = os.wait4(pid, os.WNOHANG)
                if not reaped:
                    attention.wait(0.1)
            return kind, status, usage
        if not told:
            goes_on()
            told = True
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


def _kind_of_end(status: jobstatus.Status) -> OutcomeKind:
    if status.signal is not None:
        return OutcomeKind.SIGNAL
    return OutcomeKind.OK if status.exit_code == 0 else OutcomeKind.EXIT


def _reason(kind: OutcomeKind, status: jobstatus.Status, timeout: float) -> Optional[str]:
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


def signal_name(number: int) -> str:
    """Return `TERM` for 15; the number where the signal has no name."""
    try:
        return signal.Signals(number).name[3:]
    except ValueError:
        return str(number)

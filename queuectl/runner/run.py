"""Running a command as our own child, from its spawn to its end."""

from __future__ import annotations

import errno
import os
import resource  # noqa: F401 (os.wait4 loads it: better once, before the fork, than in each worker)
import signal
import sys
import time
from typing import Callable, Mapping, NamedTuple

from queuectl.core.escaping import storable
from queuectl.core.models import SPAWN_FAILED, Outcome, OutcomeKind
from queuectl.host import processes
from queuectl.runner import exit_status
from queuectl.runner.attempt import (
    Command,
    Events,
    collect_output,
    describe_end,
    end_processes,
)
from queuectl.runner.output_log import OutputLog

_LOG_DESCRIPTOR = 8
"""A job has its locked log as this descriptor, besides 1 and 2 which it may redirect. Not 9, which
shell scripts use for flock(1)."""

_SHORT_SECONDS = 0.02
_REAP_SECONDS = 0.1

_RESET_SIGNALS = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}

Started = Callable[[int, "int | None"], None]


_HOST_ERRORS = frozenset((errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE))


class HostCannotStart(Exception):
    """The host cannot start processes now, whatever the command is; nothing of it has run.

    The message says why. A host that was out of processes for 15 seconds would otherwise use up all
    attempts of a thousand jobs.
    """


class _CannotStart(Exception):
    """The command could not be started; the message says why."""


class _End(NamedTuple):
    """How our child ended."""

    cause: OutcomeKind | None
    """Why we ended it; None if it ended by itself."""
    status: int
    """Its status, as wait4 returned it."""
    usage: os.struct_rusage  # type: ignore[name-defined]
    """The resources that it used."""


def run(
    command: Command, log: OutputLog, kept_log: str, events: Events, started: Started
) -> Outcome:
    """Run a command to its end and return the outcome.

    Raises HostCannotStart if no command could be started now.

    The command is over when its own process ends; nothing waits for processes that it left
    running. `kept_log` is the file for an output that does not fit into the attempt's row.

    `started` is called with the PID at once. If the command goes on, it is called again with the
    PID and the start in clock ticks, which costs a look into /proc.
    """
    began = time.monotonic()
    try:
        pid = _start(command, log)
    except _CannotStart as error:
        return Outcome(
            kind=OutcomeKind.SPAWN_ERROR,
            exit_code=SPAWN_FAILED,
            reason=storable(str(error)),
            seconds=time.monotonic() - began,
        )
    started(pid, None)
    end = _wait_for_end(pid, command, log, events, began, started)
    outcome = describe_end(
        end.cause,
        exit_status.Status.decode(end.status),
        command,
        pid=pid,
        seconds=time.monotonic() - began,
        cpu_seconds=end.usage.ru_utime + end.usage.ru_stime,
        # KiB on Linux, bytes on macOS (getrusage(2)).
        max_rss_bytes=end.usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )
    return collect_output(outcome, command, log, kept_log, events)


def _wait_for_end(
    pid: int, command: Command, log: OutputLog, events: Events, began: float, started: Started
) -> _End:
    """Wait until our child ends, or end it at its timeout or at an order.

    Until a process is reaped, its PID and its process group cannot be given to another process. So
    signal it first, and reap it afterwards.
    """
    deadline = began + (command.timeout_seconds or float("inf"))
    events.wait(min(command.timeout_seconds or _SHORT_SECONDS, _SHORT_SECONDS))
    is_noted = False
    while True:
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if reaped:
            return _End(None, status, usage)
        cause = events.cut_short()
        now = time.monotonic()
        if cause is None and now >= deadline:
            cause = OutcomeKind.TIMEOUT
        if cause is not None:
            end_processes(command, log, events.wait, pid)
            while not reaped:
                reaped, status, usage = os.wait4(pid, os.WNOHANG)
                if not reaped:
                    events.wait(_REAP_SECONDS)
            return _End(cause, status, usage)
        if not is_noted:
            started(pid, processes.start_ticks(pid))
            is_noted = True
        events.wait(min(deadline - now, log.enforce_limit()))


def _start(command: Command, log: OutputLog) -> int:
    """Start a command in its folder; return its PID."""
    try:
        if command.cwd is not None:
            os.chdir(command.cwd)
    except OSError as error:
        if error.errno in _HOST_ERRORS:
            raise HostCannotStart(error.strerror) from None
        gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
        why = "is gone" if gone else f"cannot be used: {error.strerror}"
        raise _CannotStart(f"cwd {command.cwd} {why}") from None
    try:
        return _spawn(exit_status.PRELUDE + command.shell_text, command.environ, log.descriptor)
    except MemoryError:
        raise HostCannotStart(os.strerror(errno.ENOMEM)) from None
    except ValueError as error:
        raise _CannotStart(f"it could not be started: {error}") from None
    except OSError as error:
        # What is started is always /bin/sh. So of the kernel's reasons only the size of the
        # command and its environment is about the job.
        if error.errno == errno.E2BIG:
            raise _CannotStart(f"it could not be started: {error}") from None
        raise HostCannotStart(error.strerror) from None
    finally:
        # A worker must not keep the file system of a job's folder busy.
        os.chdir("/")


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
                (os.POSIX_SPAWN_DUP2, log, _LOG_DESCRIPTOR),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_RESET_SIGNALS,
        )
    except (NotImplementedError, AttributeError):
        return _spawn_by_popen(argv, environ, log)


def _spawn_by_popen(argv: list[str], environ: Mapping[str, str], log: int) -> int:
    """Start a command where posix_spawn cannot start a new session."""

    import subprocess  # half a MB, which workers elsewhere need not carry

    def prepare() -> None:
        # Only in the child: in the worker this descriptor may be one of the database.
        os.dup2(log, _LOG_DESCRIPTOR)
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
    # We reap the process ourselves. Popen must not do it, nor warn that it is still running.
    process.returncode = 0
    return process.pid

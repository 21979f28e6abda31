"""Running a command as our own child, from its spawn to its end."""

from __future__ import annotations

import errno
import os
import resource  # noqa: F401 (os.wait4 loads it: better once, before the fork, than in each worker)
import signal
import sys
from typing import Callable, Mapping

from queuectl.core.escaping import storable
from queuectl.core.models import NO_SHELL, SPAWN_FAILED, Outcome, OutcomeKind
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import DEFAULT_SHELL
from queuectl.host import processes
from queuectl.runner import exit_status
from queuectl.runner.attempt import (
    Command,
    Events,
    describe_end,
    end_processes,
    processes_of,
    with_left,
)
from queuectl.runner.children import Children, ProcessName
from queuectl.runner.output_log import OutputLog
from queuectl.runner.suspension import Suspension

_SHORT_SECONDS = 0.02
_REAP_SECONDS = 0.1

_RESET_SIGNALS = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""The unit of `ru_maxrss`: KiB on Linux, bytes on macOS (getrusage(2))."""

Started = Callable[[int, "int | None"], None]
"""Is called with the PID of a command and its start in clock ticks; None if that is not known."""


_HOST_ERRORS = frozenset((errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
_MISSING = frozenset((errno.ENOENT, errno.ENOTDIR))
_NO_PROGRAM = _MISSING | {
    errno.EACCES,
    errno.ENOEXEC,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}
"""The errors of the kernel for a path that leads to no program that this user may execute."""


class HostCannotStart(Exception):
    """The host cannot start processes now, whatever the command is; nothing of it has run.

    The message says why. A host that was out of processes for 15 seconds would otherwise use up all
    attempts of a thousand jobs.
    """


class _CannotStart(Exception):
    """The command could not be started; the message says why."""

    def __init__(self, why: str, exit_code: int = SPAWN_FAILED) -> None:
        super().__init__(why)
        self.exit_code = exit_code


class _LastEnviron:
    """The last environment with its values as bytes: the next job usually has the same mapping.

    To encode 40 values takes 8,000 instructions.
    """

    def __init__(self) -> None:
        self._environ: Mapping[str, str] = {}
        self._encoded: dict[str, str | bytes] = {}

    def encoded(self, environ: Mapping[str, str]) -> Mapping[str, str | bytes]:
        """Return these variables with encoded values. UnicodeEncodeError if one has none."""
        if environ is not self._environ:
            self._encoded = {name: os.fsencode(value) for name, value in environ.items()}
            self._environ = environ
        return self._encoded


_shared = _LastEnviron()


class _End(NamedTuple):
    """How our child ended."""

    cause: OutcomeKind | None
    """Why we ended it; None if it ended by itself."""
    status: exit_status.Status
    """Its exit status; unknown if it could not be ended."""
    usage: os.struct_rusage | None  # type: ignore[name-defined]
    """The resources that it used; None if it could not be ended."""
    unended: tuple[ProcessName, ...]
    """The processes of the attempt that could not be ended."""


def run(
    command: Command,
    log: OutputLog,
    kept_log: str,
    events: Events,
    started: Started,
    children: Children,
) -> Outcome:
    """Run a command to its end and return the outcome.

    Raises HostCannotStart if no command could be started now.

    The command is over when its own process ends; nothing waits for processes that it left
    running. `kept_log` is the file for an output that does not fit into the attempt's row.

    `started` is called with the PID at once. If the command goes on, it is called again with the
    start, too. To read that while the shell is loaded would take 90 us, a tenth of a short job.
    """
    began = processes.clock()
    try:
        pid = _start(command, log)
    except _CannotStart as error:
        return Outcome(
            kind=OutcomeKind.SPAWN_ERROR,
            exit_code=error.exit_code,
            reason=storable(str(error)),
            seconds=processes.clock() - began,
        )
    started(pid, None)
    end = _wait_for_end(pid, command, log, events, began, started, children)
    usage = end.usage
    outcome = describe_end(
        end.cause,
        end.status,
        command,
        pid=pid,
        seconds=processes.clock() - began,
        cpu_seconds=None if usage is None else usage.ru_utime + usage.ru_stime,
        max_rss_bytes=None if usage is None else usage.ru_maxrss * _RSS_UNIT,
    )
    outcome = _deal_with_leftovers(outcome, end, command, log, events, children)
    return log.add_to(outcome, kept_log)


def _wait_for_end(
    pid: int,
    command: Command,
    log: OutputLog,
    events: Events,
    began: float,
    started: Started,
    children: Children,
) -> _End:
    """Wait until our child ends, or end it at its timeout or at an order.

    Until a process is reaped, its PID and its process group cannot be given to another process. So
    signal it first, and reap it afterwards.
    """
    suspension: Suspension | None = None
    events.wait(min(command.timeout_seconds or _SHORT_SECONDS, _SHORT_SECONDS))
    is_noted = False
    while True:
        succeeded = children.has_ended(pid)
        if succeeded is not None:
            unended: tuple[ProcessName, ...] = ()
            if suspension is not None:
                suspension.end_with_job()
            if not children.adopts_orphans and command.ends_leftovers(succeeded=succeeded):
                unended = end_processes(command, log, events.wait, pid)
            return _reap(pid, None, unended, events, children)
        cause = events.cut_short()
        left = events.pause.time_left(command.timeout_seconds, processes.clock() - began)
        if cause is None and left <= 0:
            cause = OutcomeKind.TIMEOUT
        if cause is not None:
            unended = end_processes(command, log, events.wait, pid, children=children)
            return _reap(pid, cause, unended, events, children)
        if not is_noted:
            started(pid, processes.start_ticks(pid))
            is_noted = True
        if suspension is None and events.pause.is_paused:
            attempt = processes_of(command, log, pid, children=children)
            suspension = Suspension(attempt, events)
        if suspension is not None:
            left = min(left, suspension.follow())
        events.wait(min(left, log.enforce_limit()))


def _reap(
    pid: int,
    cause: OutcomeKind | None,
    unended: tuple[ProcessName, ...],
    events: Events,
    children: Children,
) -> _End:
    """Reap our child, which is ending; unless it could not be ended."""
    while True:
        reaped = children.reap(pid)
        if reaped is not None:
            status, usage = reaped
            return _End(cause, exit_status.Status.decode(status), usage, unended)
        if any(pid == left for left, _ in unended):
            # It is reaped later, with the other children.
            return _End(cause, exit_status.Status(None, None), None, unended)
        events.wait(_REAP_SECONDS)


def _deal_with_leftovers(
    outcome: Outcome,
    end: _End,
    command: Command,
    log: OutputLog,
    events: Events,
    children: Children,
) -> Outcome:
    """End what an attempt left running, if that is wanted; note what is left then."""
    unended = end.unended
    if not children.are_left():
        return with_left(outcome, unended)
    succeeded = outcome.kind is OutcomeKind.OK
    if end.cause is None and command.ends_leftovers(succeeded=succeeded):
        # Reported, unless the configuration says that they do not matter.
        outcome = outcome._replace(leftovers=not command.kills_leftovers)
        unended = end_processes(command, log, events.wait, None, children=children)
        children.are_left()  # reaps them
    return with_left(outcome, unended, children.keep_rest())


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
        # Where processes are not visible, the lock alone proves that one of a job is alive.
        passes_lock = not processes.are_visible()
        shell = command.shell
        argv = exit_status.arguments(command.shell_text, shell)
        execution_id = command.mark.rpartition("/")[2]
        added = exit_status.variables(execution_id, shell=shell, passes_lock=passes_lock)
        environ = {**_shared.encoded(command.environ), **command.own_environ, **added}
        if command.read_input is None:
            return _spawn(shell, argv, environ, log.descriptor)
        content = command.read_input()
        if content is None:
            raise _CannotStart("its input is missing in the queue")
        stdin = _file_of(content)
        try:
            return _spawn(shell, argv, environ, log.descriptor, stdin)
        finally:
            os.close(stdin)
    except MemoryError:
        raise HostCannotStart(os.strerror(errno.ENOMEM)) from None
    except ValueError as error:
        raise _CannotStart(f"it could not be started: {error}") from None
    except OSError as error:
        # What is started is usually /bin/sh. So only two errors are about the job: its command and
        # environment are too large, or its own shell cannot be executed.
        if error.errno == errno.E2BIG:
            raise _CannotStart(f"it could not be started: {error}") from None
        if command.shell != DEFAULT_SHELL and error.errno in _NO_PROGRAM:
            is_missing = error.errno in _MISSING
            why = "does not exist" if is_missing else f"cannot be executed: {error.strerror}"
            raise _CannotStart(
                f"the shell {command.shell} {why}", NO_SHELL if is_missing else SPAWN_FAILED
            ) from None
        raise HostCannotStart(error.strerror) from None
    finally:
        # A worker must not keep the file system of a job's folder busy.
        os.chdir("/")


def _spawn(
    shell: str,
    argv: list[str],
    environ: Mapping[str, str | bytes],
    log: int,
    stdin: int | None = None,
) -> int:
    if stdin is None:
        first: tuple[object, ...] = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
    else:
        first = (os.POSIX_SPAWN_DUP2, stdin, 0)
    try:
        return os.posix_spawn(
            shell,
            argv,
            environ,
            file_actions=(
                first,
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, log, exit_status.LOCK_DESCRIPTOR),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_RESET_SIGNALS,
        )
    except (NotImplementedError, AttributeError):
        return _spawn_by_popen(shell, argv, environ, log, stdin)


def _file_of(content: bytes) -> int:
    """Return a descriptor of a file without a name that holds this, to be read from its beginning.

    Unlike a pipe, it takes all of it at once, and the process can be followed by another worker.
    """
    try:
        descriptor = os.memfd_create("input")
    except (AttributeError, OSError):  # not on macOS, nor in every sandbox
        import tempfile  # rarely needed

        with tempfile.TemporaryFile(buffering=0) as file:
            descriptor = os.dup(file.fileno())
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _spawn_by_popen(
    shell: str, argv: list[str], environ: Mapping[str, str | bytes], log: int, stdin: int | None
) -> int:
    """Start a command where posix_spawn cannot start a new session."""

    import subprocess  # half a MB, which workers elsewhere need not carry

    def prepare() -> None:
        # Only in the child: in the worker this descriptor may be one of the database.
        os.dup2(log, exit_status.LOCK_DESCRIPTOR)
        for number in _RESET_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    process = subprocess.Popen(
        argv,
        executable=shell,
        env=environ,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=log,
        stderr=log,
        close_fds=False,  # all of ours close by themselves
        preexec_fn=prepare,  # noqa: PLW1509 (a worker has one thread)
        start_new_session=True,
    )
    # We reap the process ourselves. Popen must not do it, nor warn that it is still running.
    process.returncode = 0
    return process.pid

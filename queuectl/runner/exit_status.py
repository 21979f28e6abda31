"""How a job ended, as its own shell reports it: its worker may be dead and unable to reap it."""

from __future__ import annotations

import os
from functools import lru_cache

from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import DEFAULT_SHELL
from queuectl.host.filesystem import open_private, open_to_read

_LINE_BYTES = 256
_FATAL_SIGNALS = "ABRT ALRM PIPE SYS TRAP USR1 USR2 VTALRM XCPU XFSZ"
_POSIX_SHELLS = frozenset(
    "ash bash busybox dash ksh lksh mksh oksh pdksh posh rbash sh yash zsh".split()
)


def _report(execution_id: object, *, is_dash: bool) -> str:
    # `command`, because a job may define a function named echo. The report overwrites the file in
    # place and never truncates it: one file serves job after job, so a job costs no change of the
    # folder.
    text = f"""_qctl(){{ command echo "/{execution_id} $1" 1<>"$QUEUECTL_STATUS";}};"""
    if is_dash:
        return text
    # `command echo` is a program in zsh, unless that is called sh.
    in_zsh = text.replace("command", "builtin")
    return f"{text}case $ZSH_VERSION in ?*) eval '{in_zsh}';; esac;"


def _traps(*, is_dash: bool) -> str:
    # First the shell tells its own PID: the command may kill the worker before that has noted the
    # PID, and then hide from the worker that looks for it.
    traps = ["_qctl p$$", "trap '_qctl $?' 0"]
    # Without a trap for the signal, bash reports 0 for a job that TERM killed. After its report,
    # the shell kills itself by the same signal, so that a living worker sees what it always saw.
    # KILL leaves no report. HUP, INT and TERM, by their numbers, because each character of this
    # text takes the shell of each job 20 ns.
    traps += [f"trap 'trap - 0 {n};_qctl s{n};kill -{n} $$' {n}" for n in (1, 2, 15)]
    if not is_dash:
        # For other signals bash would report 0 as well. So it reports nothing. SEGV and similar
        # signals must not be trapped: a shell that traps its own fault runs into it again for ever.
        silent = 'trap "trap - 0 $queuectl_signal; kill -$queuectl_signal \\$\\$" $queuectl_signal'
        traps.append(
            f"case $BASH_VERSION in ?*) eval 'for queuectl_signal in {_FATAL_SIGNALS}; "
            f"do {silent}; done; unset queuectl_signal';; esac"
        )
    return ";".join(traps) + ";"


_VARIABLE = "_QUEUECTL_PROLOGUE"
"""The environment variable with the shell text that goes before a command, and calls it: it reports
its PID, and sets traps that report the end. It is in the environment, and unset before the command
begins, so that `ps` shows the command and not this text.

A job that uses `exec`, or sets its own EXIT trap, leaves no report. Then only the process that
reaps it knows how it ended.
"""

LOCK_DESCRIPTOR = 8
"""The shell of a job has the locked log as this descriptor, besides 1 and 2 which the job may
redirect: the lock proves that the job runs. Not 9, which shell scripts use for flock(1)."""


def arguments(command: str, shell: str = DEFAULT_SHELL) -> list[str]:
    """Return the arguments of the shell that runs a command, with `variables`, and reports its end.

    `ps` shows them. The first one is the shell's own name, as in a login: under the name sh, bash
    and zsh would behave like sh. A shell with a syntax of its own, such as fish, reports nothing.
    """
    name = os.path.basename(shell)
    if not _kind_of(shell):
        return [name, "-c", command]
    return [name, "-c", f'eval "${_VARIABLE}"', name, command]


def variables(
    execution_id: object, *, shell: str = DEFAULT_SHELL, passes_lock: bool = False
) -> dict[str, str]:
    """Return the variables that the shell with `arguments` needs, and hides from the command.

    What the command starts does not get LOCK_DESCRIPTOR unless `passes_lock`: programs such as LVM
    complain of it. The shell itself keeps it, under a number that it closes at each exec.
    """
    kind = _kind_of(shell)
    if not kind:
        return {}
    report, traps = _report(execution_id, is_dash=kind == "dash"), _traps_of(kind)
    close = "" if passes_lock else f" {LOCK_DESCRIPTOR}>&-"
    return {_VARIABLE: f'{report}{traps}unset {_VARIABLE};eval "shift; $1"{close}'}


@lru_cache(maxsize=4)
def _kind_of(shell: str) -> str:
    """Return the plain name of a shell with the syntax of POSIX, `zsh` for /bin/zsh-5.9; else ''.

    Kept, to follow symbolic links only once.
    """
    program = os.path.basename(os.path.realpath(shell))
    name = program.partition("-")[0].rstrip("0123456789.")
    return name if name in _POSIX_SHELLS else ""


@lru_cache(maxsize=4)
def _traps_of(kind: str) -> str:
    return _traps(is_dash=kind == "dash")


class Status(NamedTuple):
    """How a process ended."""

    exit_code: int | None
    """Its exit code; None if a signal ended it, or if nobody knows."""
    signal: int | None
    """The signal that ended it; None if it exited by itself, or if nobody knows."""

    @classmethod
    def decode(cls, status: int) -> Status:
        """Decode a status as wait(2) returns it."""
        if os.WIFSIGNALED(status):
            return cls(None, os.WTERMSIG(status))
        return cls(os.WEXITSTATUS(status), None)


def read(path: str, execution_id: int) -> Status | None:
    """Return how an attempt ended; None if there is no complete report of this attempt."""
    report = _read_report(path, execution_id)
    by_signal = report.startswith(b"s")
    try:
        number = int(report[by_signal:])
    except ValueError:
        return None
    # For `exit 256` dash writes 256, though the kernel keeps only eight bits of it.
    return Status(None, number) if by_signal else Status(number & 0xFF, None)


def read_pid(path: str, execution_id: int) -> int | None:
    """Return the PID of the shell of an attempt; None if it has not begun, or has reported its end.

    A job that hides its traces is still known by this PID if it uses `exec`.
    """
    begun = read_begun(path)
    return begun[1] if begun is not None and begun[0] == execution_id else None


def read_begun(path: str) -> tuple[int, int] | None:
    """Return the attempt that has begun and not reported its end, and the PID of its shell."""
    mark, report = _read_line(path)
    number, digits = mark.rpartition(b"/")[2], report[1:]
    if report[:1] != b"p" or not (number.isdigit() and digits.isdigit()):
        return None
    return int(number), int(digits)


def _read_report(path: str, execution_id: int) -> bytes:
    """Return the last report of an attempt's shell; empty if there is none."""
    mark, report = _read_line(path)
    return report if mark.rpartition(b"/")[2] == b"%d" % execution_id else b""


def _read_line(path: str) -> tuple[bytes, bytes]:
    """Return the attempt that reported last, and its report; both empty if there is none."""
    try:
        descriptor = open_to_read(path)
    except OSError:
        return b"", b""
    try:
        line, newline, _ = os.pread(descriptor, _LINE_BYTES, 0).partition(b"\n")
    except OSError:
        return b"", b""
    finally:
        os.close(descriptor)
    mark, _, report = line.partition(b" ")
    return (mark, report.strip()) if newline else (b"", b"")


def write(path: str, execution_id: int, status: Status) -> None:
    """Report how an attempt ended, after reaping it in place of its dead worker."""
    report = f"s{status.signal}" if status.signal is not None else str(status.exit_code)
    descriptor = open_private(path)
    try:
        os.pwrite(descriptor, f"/{execution_id} {report}\n".encode(), 0)
    finally:
        os.close(descriptor)

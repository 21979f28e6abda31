"""How a job ended, as its own shell reports it: its worker may be dead and unable to reap it."""

from __future__ import annotations

import os
from typing import NamedTuple

from queuectl.host.filesystem import open_private, open_to_read

_LINE_BYTES = 256
# `command`, because a job may define a function named echo.
_REPORT = 'command echo "$QUEUECTL_EXECUTION {}" 1<>"$QUEUECTL_STATUS"'
_FATAL_SIGNALS = "ABRT ALRM PIPE SYS TRAP USR1 USR2 VTALRM XCPU XFSZ"


def _prelude() -> str:
    # The report overwrites the file in place and never truncates it: one file serves job after job,
    # so a job costs no change of the folder.
    # First the shell tells its own PID: the command may kill the worker before that has noted the
    # PID, and then hide from the worker that looks for it.
    traps = [_REPORT.format("p$$"), f"trap '{_REPORT.format('$?')}' EXIT"]
    # Without a trap for the signal, bash reports 0 for a job that TERM killed. After its report,
    # the shell kills itself by the same signal, so that a living worker sees what it always saw.
    # KILL leaves no report.
    for number, name in ((1, "HUP"), (2, "INT"), (15, "TERM")):
        report = _REPORT.format(f"s{number}")
        traps.append(f"trap 'trap - EXIT {name}; {report}; kill -{name} $$' {name}")
    # For other signals bash would report 0 as well. So it reports nothing. SEGV and similar signals
    # must not be trapped: a shell that traps its own fault runs into it again for ever.
    silent = 'trap "trap - EXIT $queuectl_signal; kill -$queuectl_signal \\$\\$" $queuectl_signal'
    # Quoted, so that other shells need not parse it: this saves 5 us per job.
    traps.append(
        f"case $BASH_VERSION in ?*) eval 'for queuectl_signal in {_FATAL_SIGNALS}; "
        f"do {silent}; done; unset queuectl_signal';; esac"
    )
    return "; ".join(traps) + "; "


_PRELUDE = _prelude()
"""Shell text that goes before a command: it reports its PID, and sets traps that report the end.

A job that uses `exec`, or sets its own EXIT trap, leaves no report. Then only the process that
reaps it knows how it ended.
"""

LOCK_DESCRIPTOR = 8
"""The shell of a job has the locked log as this descriptor, besides 1 and 2 which the job may
redirect: the lock proves that the job runs. Not 9, which shell scripts use for flock(1)."""


def arguments(command: str, *, passes_lock: bool = False) -> list[str]:
    """Return the arguments of the shell that runs a command and reports how it ended.

    What the command starts does not get LOCK_DESCRIPTOR unless `passes_lock`: programs such as LVM
    complain of it. The shell itself keeps it, under a number that it closes at each exec.
    """
    close = "" if passes_lock else f" {LOCK_DESCRIPTOR}>&-"
    return ["sh", "-c", f'{_PRELUDE}eval "shift; $1"{close}', "sh", command]


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
    report = _read_report(path, execution_id)
    return int(report[1:]) if report[:1] == b"p" and report[1:].isdigit() else None


def _read_report(path: str, execution_id: int) -> bytes:
    """Return the last report of an attempt's shell; empty if there is none."""
    try:
        descriptor = open_to_read(path)
    except OSError:
        return b""
    try:
        line, newline, _ = os.pread(descriptor, _LINE_BYTES, 0).partition(b"\n")
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    mark, _, report = line.partition(b" ")
    is_ours = newline and mark.rpartition(b"/")[2] == b"%d" % execution_id
    return report.strip() if is_ours else b""


def write(path: str, execution_id: int, status: Status) -> None:
    """Report how an attempt ended, after reaping it in place of its dead worker."""
    report = f"s{status.signal}" if status.signal is not None else str(status.exit_code)
    descriptor = open_private(path)
    try:
        os.pwrite(descriptor, f"/{execution_id} {report}\n".encode(), 0)
    finally:
        os.close(descriptor)

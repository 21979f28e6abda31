"""How a job ended, told by its own shell: for when the worker that would reap it is dead."""

from __future__ import annotations

import os
from typing import NamedTuple

from queuectl.host.filesystem import open_private

_BYTES = 256
# As a command: a job may have a function of that name.
_REPORT = 'command echo "$QUEUECTL_EXECUTION {}" 1<>"$QUEUECTL_STATUS"'
_FATAL = "ABRT ALRM PIPE SYS TRAP USR1 USR2 VTALRM XCPU XFSZ"


def _prelude() -> str:
    # Written in place, never truncated: the file serves job after job, and so costs no change of
    # the folder. Without traps on signals bash writes 0 for a job killed by TERM; each dies by its
    # signal after all, so that a living worker sees what it always saw. KILL leaves no word.
    traps = [f"trap '{_REPORT.format('$?')}' EXIT"]
    for number, name in ((1, "HUP"), (2, "INT"), (15, "TERM")):
        say = _REPORT.format(f"s{number}")
        traps.append(f"trap 'trap - EXIT {name}; {say}; kill -{name} $$' {name}")
    # Of the other signals bash would say 0 as well; so it says nothing. (Not SEGV and its like: a
    # shell that traps its own fault meets it again for ever.)
    silent = 'trap "trap - EXIT $queuectl_signal; kill -$queuectl_signal \\$\\$" $queuectl_signal'
    # In quotes, so that other shells need not parse it: 5 us a job.
    traps.append(
        f"case $BASH_VERSION in ?*) eval 'for queuectl_signal in {_FATAL}; do {silent}; done; "
        "unset queuectl_signal';; esac"
    )
    return "; ".join(traps) + "; "


PRELUDE = _prelude()
"""What stands before a command, on its own line: it sets the shell's traps.

`exec` in a job, or an EXIT trap of its own, leave no word; then only a reaper knows.
"""


class Status(NamedTuple):
    """An exit code, or the signal that ended it; the other is None."""

    exit_code: int | None
    signal: int | None

    @classmethod
    def decode(cls, status: int) -> Status:
        """Read what wait(2) returned."""
        if os.WIFSIGNALED(status):
            return cls(None, os.WTERMSIG(status))
        return cls(os.WEXITSTATUS(status), None)


def read(path: str, execution_id: int) -> Status | None:
    """Return how an attempt ended, if its shell came to say so; a torn line does not count."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line, newline, _ = os.pread(descriptor, _BYTES, 0).partition(b"\n")
    except OSError:  # a folder or a FIFO that somebody put there
        return None
    finally:
        os.close(descriptor)
    mark, _, word = line.partition(b" ")
    if not newline or mark.rpartition(b"/")[2] != b"%d" % execution_id:
        return None
    signalled = word.startswith(b"s")
    try:
        number = int(word[signalled:])
    except ValueError:
        return None
    # dash writes `exit 256` as it stands, though the kernel keeps eight bits of it.
    return Status(None, number) if signalled else Status(number & 0xFF, None)


def write(path: str, execution_id: int, status: Status) -> None:
    """Say how an attempt ended, for whoever reaped it in place of its worker."""
    word = f"s{status.signal}" if status.signal is not None else str(status.exit_code)
    descriptor = open_private(path)
    try:
        os.pwrite(descriptor, f"/{execution_id} {word}\n".encode(), 0)
    finally:
        os.close(descriptor)

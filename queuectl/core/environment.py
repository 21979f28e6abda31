"""Variables that are meant for one process alone, and not for what that starts."""

from __future__ import annotations

_NAMES = frozenset(
    # of make, for a recipe: the descriptors that they name are closed in a job
    "MAKEFLAGS MFLAGS MAKELEVEL MAKE_TERMOUT MAKE_TERMERR "
    # of systemd, for the main process of a unit
    "NOTIFY_SOCKET INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID MANAGERPID WATCHDOG_PID "
    "WATCHDOG_USEC LISTEN_FDS LISTEN_PID LISTEN_PIDFDID LISTEN_FDNAMES MEMORY_PRESSURE_WATCH "
    "MEMORY_PRESSURE_WRITE".split()
)


def is_for_one_process(name: str) -> bool:
    """Whether a variable is about the process that got it, so that a job must not take it over.

    With MAKEFLAGS, for example, every `make` in a job would look for a job server that is closed.
    """
    return name in _NAMES

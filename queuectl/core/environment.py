"""Which variables are about one process or one terminal alone, and not for what runs later."""

from __future__ import annotations

_NAMES = frozenset(
    # of make, for a recipe: the descriptors that they name are closed in a job
    "MAKEFLAGS MFLAGS MAKELEVEL MAKE_TERMOUT MAKE_TERMERR "
    # of systemd, for the main process of a unit
    "NOTIFY_SOCKET INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID MANAGERPID WATCHDOG_PID "
    "WATCHDOG_USEC LISTEN_FDS LISTEN_PID LISTEN_PIDFDID LISTEN_FDNAMES MEMORY_PRESSURE_WATCH "
    "MEMORY_PRESSURE_WRITE".split()
)


_OF_A_TERMINAL = frozenset(
    "_ SHLVL PWD OLDPWD TERM TERMCAP COLUMNS LINES WINDOWID BASHOPTS SHELLOPTS".split()
)


_OURS = "QUEUECTL_"
_ABOUT_AN_EVENT = ("EVENT", "PARENT_", "HOOK", "SCHEDULE", "MISSED")


def is_captured(name: str) -> bool:
    """Whether a job takes over a variable of the shell that enqueues it, if it takes all.

    The others describe that shell and its terminal, or are functions that only bash can read.
    Variables of queuectl describe the job that enqueues this one.
    """
    return not (
        name in _OF_A_TERMINAL
        or name.startswith(("BASH_FUNC_", _OURS, f"_{_OURS}"))
        or is_for_one_process(name)
    )


def is_about_an_event(name: str) -> bool:
    """Whether the jobs of hooks or of schedules keep a variable that queuectl gave to them."""
    return name.startswith(_OURS) and name[len(_OURS) :].startswith(_ABOUT_AN_EVENT)


def is_for_one_process(name: str) -> bool:
    """Whether a variable is about the process that got it, so that a job must not take it over.

    With MAKEFLAGS, for example, every `make` in a job would look for a job server that is closed.
    """
    return name in _NAMES

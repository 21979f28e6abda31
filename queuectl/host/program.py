"""How this process was called, and replacing it by the same program (exec)."""

from __future__ import annotations

import os
import sys


def called_as() -> list[str]:
    """Return the words that call this program again, so that it looks the same in a list of
    processes.
    """
    given: list[str] | None = getattr(sys, "orig_argv", None)  # since Python 3.10
    if given is None:
        is_module = os.path.basename(sys.argv[0]) in ("__main__.py", "-c")
        given = ["", *(("-m", "queuectl") if is_module else sys.argv[:1]), *sys.argv[1:]]
    return [sys.executable, *given[1:]]


def another_call(*words: str) -> list[str]:
    """Return the words that call this program with other arguments."""
    called = called_as()
    return [*called[: len(called) - len(sys.argv[1:])], *words]


def words_for_services() -> list[str]:
    """Return the words by which a service manager calls this program: from anywhere, without PATH.

    A link to the program, as pipx makes it, is kept: what it leads to changes with an upgrade.
    """
    program = os.path.abspath(sys.argv[0])
    is_module = os.path.basename(program) in ("__main__.py", "-c")
    return [sys.executable, "-m", "queuectl"] if is_module else [program]


def run_in_utf_8() -> None:
    """Replace this process by one whose encoding is UTF-8; return if that is impossible.

    Commands, folders and variables are stored as UTF-8. With any other encoding, Python would
    change their bytes on the way in, or fail to give them to the system on the way out.
    """
    program, *words = called_as()
    try:
        os.execv(program, [program, "-X", "utf8", *words])
    except OSError:
        pass

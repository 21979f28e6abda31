"""Reports processes that open a file of SQLite by hand, or fork while one is open.

Closing any descriptor of a database drops all locks that its process holds on it, and a connection
that two processes share has corrupted files within a minute. Files that SQLite itself opens raise
no audit event.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import Any, Iterator

_ENDS = (".db", ".db-wal", ".db-shm")
_LOOKER = "refuse_foreign_wal"
_by_hand: list[bool] = []


def install(report: str) -> None:
    """Watch this process and its forks from now on; each fault becomes one line of a file."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (bytes, os.PathLike)):
                path = os.fsdecode(path)
            if not isinstance(path, str) or not path.endswith(_ENDS) or _by_hand:
                return
            # Creating a database is no fault: no connection to it exists yet.
            if isinstance(flags, int) and flags & os.O_EXCL:
                return
            # One function may look at it, if it really comes before the first connection.
            if sys._getframe(1).f_code.co_name == _LOOKER and not _is_open(path):
                return
            _note(report, f"{path} was opened by hand")
        elif event in ("os.fork", "os.forkpty"):
            for path in _open_files():
                if path.endswith(_ENDS):
                    _note(report, f"{path} was open at a fork")

    sys.addaudithook(hook)


@contextmanager
def by_hand() -> Iterator[None]:
    """Allow this process to open such files, because it has no connection to them."""
    _by_hand.append(True)
    try:
        yield
    finally:
        _by_hand.pop()


def _note(report: str, fault: str) -> None:
    words = " ".join(getattr(sys, "orig_argv", sys.argv))
    descriptor = os.open(report, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{fault} in {words}\n".encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)


def _is_open(path: str) -> bool:
    return os.path.realpath(path) in map(os.path.realpath, _open_files())


def _open_files() -> Iterator[str]:
    try:
        descriptors = os.listdir("/proc/self/fd")
    except OSError:
        return  # only Linux has this folder
    for descriptor in descriptors:
        try:
            yield os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # the descriptor of the folder itself

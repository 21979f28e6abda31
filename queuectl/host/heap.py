"""The heap of a process with several threads."""

from __future__ import annotations

from queuectl.host.processes import load_libc

_M_ARENA_MAX = -8


def share_among_threads() -> None:
    """Let all threads that are started later use one heap, where the C library is that of GNU.

    By default each thread gets a heap of its own, and each heap keeps what its thread once needed.
    Only one thread at a time runs Python anyway.
    """
    library = load_libc()
    if library is not None and hasattr(library, "mallopt"):
        library.mallopt(_M_ARENA_MAX, 1)

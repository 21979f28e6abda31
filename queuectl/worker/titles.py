"""The titles of our processes in `ps`, if the optional package setproctitle is installed."""

from __future__ import annotations

import os
from typing import Callable


def _setter() -> Callable[[str], None] | None:
    try:
        from setproctitle import setproctitle
    except (ImportError, OSError):  # not installed, or it cannot be read just now
        return None
    setter: Callable[[str], None] = setproctitle
    return setter


# Found before the workers are forked, so that they share the memory that it takes.
_set = _setter()


def set_title(title: str) -> None:
    """Show this process under a title; does nothing without setproctitle."""
    if _set is None:
        return
    # Without this variable the title overwrites the memory of the environment, in which the mark
    # of a job is searched: a pool that a job has started could not be found there any more.
    previous = os.environ.get("SPT_NOENV")
    os.environ["SPT_NOENV"] = "1"
    try:
        _set(title)
    finally:
        if previous is None:
            del os.environ["SPT_NOENV"]
        else:
            os.environ["SPT_NOENV"] = previous

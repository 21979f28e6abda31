"""Modules that are loaded only when they are needed, in the middle of a transaction."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

from queuectl.core.errors import QueueUnusable


@contextmanager
def loading() -> Iterator[None]:
    """Raise QueueUnusable if an import in this block fails, for example without a descriptor.

    A worker then tries again until its result is written. Otherwise it would crash, and lose it.
    """
    try:
        yield
    except (ImportError, OSError) as error:
        raise QueueUnusable(f"a part of queuectl cannot be loaded: {error}") from error

"""The queue in its database: all SQL, in methods that take and return frozen values.

`Storage` has all methods. It is imported when it is first used, so that a command which needs only
one part, as `enqueue` needs `storage.enqueueing`, starts without importing the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queuectl.storage.full import Storage


def __getattr__(name: str) -> Any:
    """Import `Storage` when it is first used (PEP 562)."""
    if name == "Storage":
        from queuectl.storage.full import Storage

        return Storage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Storage"]

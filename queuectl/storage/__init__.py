"""Every verb of the queue and all of its SQL: transitions that take and return frozen values.

`Storage` has them all. It is imported when it is first asked for: a command that needs one part
alone, as `enqueue` needs `storage.intake`, starts without the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queuectl.storage.full import Storage


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name == "Storage":
        from queuectl.storage.full import Storage

        return Storage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Storage"]

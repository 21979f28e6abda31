"""Hooks in words for people: which jobs they are about, and what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuectl.core.hooks import Hook, NewHook


def scope(hook: Hook | NewHook) -> str:
    """Return which jobs a hook is about: `mail; label nightly*`, or `all queues`."""
    parts = []
    if hook.schedules:
        parts.append(f"schedule {hook.schedules}")
    if hook.queues:
        parts.append(", ".join(hook.queues))
    if hook.labels != "*":
        parts.append(f"label {hook.labels}")
    return "; ".join(parts) or "all queues"


def target(hook: Hook) -> str:
    """Return the command that a hook runs, or its URL without the parts that may be secret."""
    if hook.url is None:
        return hook.command or ""
    from queuectl.core.webhooks import masked_url  # most hooks run a command

    return masked_url(hook.url)

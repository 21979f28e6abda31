"""Actions on hooks: pausing and resuming."""

from __future__ import annotations

from flask import Blueprint, Response

from queuectl.core.times import utcnow
from queuectl.web.acting import done
from queuectl.web.guard import storage

hook_actions = Blueprint("hook_actions", __name__)


@hook_actions.post("/hooks/<name>/pause")
def pause(name: str) -> Response:
    """Let a hook report nothing."""
    storage().pause_hook(name, now=utcnow())
    return done("pause hook", [name], f"{name} is paused: it reports nothing until it is resumed.")


@hook_actions.post("/hooks/<name>/resume")
def resume(name: str) -> Response:
    """Let a hook report again that was paused, or that its receiver refused."""
    storage().resume_hook(name)
    return done("resume hook", [name], f"{name} reports again.")

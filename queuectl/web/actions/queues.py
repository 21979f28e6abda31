"""Actions on queues: pause, resume and limit."""

from __future__ import annotations

from flask import Blueprint, Response, request

from queuectl.core.errors import InvalidInput
from queuectl.core.times import utcnow
from queuectl.core.values import check_any_queue
from queuectl.web.acting import by, done, reason
from queuectl.web.guard import storage

queue_actions = Blueprint("queue_actions", __name__)

_LARGEST_LIMIT = 1_000_000


@queue_actions.post("/queues/pause")
def pause() -> Response:
    """Start no more jobs of a queue."""
    name = _name()
    storage().pause_queue(name, by=by(), reason=reason(), now=utcnow())
    return done("pause queue", [name], f"{name} is paused. Jobs that run are not affected.")


@queue_actions.post("/queues/resume")
def resume() -> Response:
    """Start jobs of a queue again."""
    name = _name()
    storage().resume_queue(name)
    still = " All queues are still paused by one switch." if storage().all_paused() else ""
    return done("resume queue", [name], f"{name} is resumed.{still}")


@queue_actions.post("/queues/limit")
def limit() -> Response:
    """Limit how many jobs of a queue run at once; an empty field lifts the limit."""
    name = _name()
    text = request.form["limit"].strip()
    number = None
    if text and text != "none":
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST_LIMIT))
        number = int(text) if digits else 0
        if not 1 <= number <= _LARGEST_LIMIT:
            raise InvalidInput(
                f"the limit must be a whole number from 1 to {_LARGEST_LIMIT}, not {text!r}"
            )
    storage().limit_queue(name, number)
    said = "has no limit." if number is None else f"runs at most {number} at once."
    return done("limit queue", [name], f"{name} {said}")


@queue_actions.post("/queues/pause-all")
def pause_all() -> Response:
    """Start no more jobs of any queue, by one switch."""
    storage().pause_queue(None, by=by(), reason=reason(), now=utcnow())
    return done("pause all", [], "All queues are paused. Jobs that run are not affected.")


@queue_actions.post("/queues/resume-all")
def resume_all() -> Response:
    """Lift every pause of a queue."""
    storage().resume_queue(None)
    return done("resume all", [], "All queues are resumed.")


def _name() -> str:
    """Return the queue of the form, which is there or could be. Raises InvalidInput."""
    name = request.form["queue"]
    if name and any(one.name == name for one in storage().queues()):
        return name
    return check_any_queue(name, "queue")

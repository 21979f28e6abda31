"""The page of an action on many jobs: how far it is, and what was refused."""

from __future__ import annotations

from flask import Blueprint, abort

from queuectl.web.frame import render
from queuectl.web.guard import serving

tasks_page = Blueprint("tasks", __name__)

_DOING = {"cancel": "Cancelling", "delete": "Deleting"}


@tasks_page.get("/bulk/<name>")
def task(name: str) -> str:
    """Show an action. It survives a reload of the page, but not an end of the server."""
    found = serving().tasks.get(name)
    if found is None:
        abort(404)
    return render(
        "task.html",
        title=f"{found.share:.0%}" if found.ended_at is None else "Done",
        nav="",
        task=found,
        doing=_DOING.get(found.verb, "Retrying"),
    )

"""The first page: what is wrong, how much waits and runs, and in which queue."""

from __future__ import annotations

from flask import Blueprint

from queuectl.core.states import UNFINISHED_STATES
from queuectl.web.frame import render
from queuectl.web.guard import storage

overview_page = Blueprint("overview", __name__)


@overview_page.get("/")
def overview() -> str:
    """Show how the queue is doing."""
    queue = storage()
    counts = queue.by_state()
    return render(
        "overview.html",
        title="queuectl",
        nav="overview.overview",
        workers=queue.living_workers(),
        is_new=not any(counts.values()),
        unfinished=sum(counts[state] for state in UNFINISHED_STATES),
        queues=queue.queues(),
    )

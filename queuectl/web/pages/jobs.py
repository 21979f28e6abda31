"""The list of jobs."""

from __future__ import annotations

from flask import Blueprint

from queuectl.core.models import Selection
from queuectl.web.frame import render
from queuectl.web.guard import storage

jobs_page = Blueprint("jobs", __name__)

_PAGE = 50


@jobs_page.get("/jobs")
def jobs() -> str:
    """Show the jobs that were enqueued last."""
    found = list(storage().jobs(Selection(), newest=_PAGE))[::-1]
    return render("jobs.html", title="Jobs", nav="jobs.jobs", jobs=found)

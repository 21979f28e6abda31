"""The list of jobs, and the page of one job."""

from __future__ import annotations

from flask import Blueprint

from queuectl.core.models import Selection
from queuectl.core.naming import title
from queuectl.storage.actions import RETRYABLE_STATES
from queuectl.web.frame import render
from queuectl.web.guard import storage

jobs_pages = Blueprint("jobs", __name__)

_PAGE = 50


@jobs_pages.get("/jobs")
def jobs() -> str:
    """Show the jobs that were enqueued last."""
    found = list(storage().jobs(Selection(), newest=_PAGE))[::-1]
    return render("jobs.html", title="Jobs", nav="jobs.jobs", jobs=found)


@jobs_pages.get("/jobs/<job>")
def job(job: str) -> str:
    """Show one job."""
    found = storage().get(job)
    name = title(found, cells=60)
    return render(
        "job.html",
        title=f"{found.state.value} · {name}",
        nav="jobs.jobs",
        job=found,
        retryable=RETRYABLE_STATES,
    )

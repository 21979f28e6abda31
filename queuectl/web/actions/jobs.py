"""Actions on one job."""

from __future__ import annotations

from flask import Blueprint, Response

from queuectl.core.naming import number
from queuectl.core.times import utcnow
from queuectl.web.acting import done
from queuectl.web.guard import storage

job_actions = Blueprint("job_actions", __name__)


@job_actions.post("/jobs/<job>/retry")
def retry(job: str) -> Response:
    """Run a job again that has ended, or that waits for its retry."""
    found = storage().get(job)
    storage().retry(found, now=utcnow())
    return done("retry", [found.id], f"{number(found)} runs again as soon as a worker is free.")

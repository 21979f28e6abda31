"""Actions on one job."""

from __future__ import annotations

from flask import Blueprint, Response, abort, request, url_for

from queuectl.core.errors import QueueError
from queuectl.core.naming import number
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage.actions import RETRYABLE_STATES
from queuectl.web import changes
from queuectl.web.acting import done, is_script, reason
from queuectl.web.guard import may_see_env, storage
from queuectl.web.pages.edit import edit_form

job_actions = Blueprint("job_actions", __name__)


@job_actions.post("/jobs/<job>/retry")
def retry(job: str) -> Response:
    """Run a job again that has ended, or that waits for its retry."""
    found = storage().get(job)
    storage().retry(found, now=utcnow())
    return done("retry", [found.id], f"{number(found)} runs again as soon as a worker is free.")


@job_actions.post("/jobs/<job>/cancel")
def cancel(job: str) -> Response:
    """End a job for good that waits or runs."""
    found = storage().get(job)
    state = storage().cancel(found, reason=reason(), now=utcnow())
    said = "is cancelled."
    if state is JobState.PROCESSING:
        said = "is being cancelled: its worker was asked to end it."
    return done("cancel", [found.id], f"{number(found)} {said}")


@job_actions.post("/jobs/<job>/delete")
def delete(job: str) -> Response:
    """Delete a job that has ended."""
    found = storage().get(job)
    result = storage().delete_many([found.seq], now=utcnow())
    if not result.done:
        raise QueueError(result.refused[0].why)
    return done("delete", [found.id], f"{number(found)} is deleted.", to=url_for("jobs.jobs"))


@job_actions.post("/jobs/<job>/edit")
def edit(job: str) -> Response | tuple[str, int]:
    """Change a job that waits or is dead, or change one and run it again, in one transaction."""
    found = storage().get(job)
    action = request.form["do"]
    if action not in ("save", "retry"):
        abort(400)
    now = utcnow()
    try:
        made = changes.read(request.form, job=found, with_env=may_see_env(), now=now)
        if action == "save" and not made:
            raise QueueError("nothing is changed")
        if action == "save":
            storage().edit(found, made, now=now)
        else:
            storage().retry(found, made, now=now, states=RETRYABLE_STATES)
    except QueueError as error:
        if is_script():
            raise
        # What was typed must not be lost.
        return edit_form(found, request.form, str(error)), 409
    said = "is changed."
    if action == "retry":
        said = f"{'is changed and ' if made else ''}runs again as soon as a worker is free."
    to = url_for("job.job", job=found.id)
    return done(action, [found.id], f"{number(found)} {said}", to=to)

"""The page on which a job is changed, perhaps to be run again."""

from __future__ import annotations

from typing import Mapping

from flask import Blueprint

from queuectl.core.models import Job
from queuectl.core.naming import number
from queuectl.core.states import WAITING_STATES, JobState
from queuectl.storage.actions import RETRYABLE_STATES
from queuectl.web import changes
from queuectl.web.frame import render
from queuectl.web.guard import storage

edit_page = Blueprint("edit", __name__)


@edit_page.get("/jobs/<job>/edit")
def edit(job: str) -> str:
    """Show the fields of a job."""
    return edit_form(storage().get(job), {}, None)


def edit_form(job: Job, typed: Mapping[str, str], problem: str | None) -> str:
    """Return the page; `typed` has what was sent before, if that could not be done."""
    values = {
        name: typed.get(changes.FIELD + name, value) for name, value in changes.written(job).items()
    }
    return render(
        "edit.html",
        title=f"Edit {number(job)}",
        nav="jobs.jobs",
        job=job,
        names=changes.NAMES,
        values=values,
        variables=typed.get(f"{changes.FIELD}env", ""),
        problem=problem,
        can_save=can_edit(job),
        can_retry=job.state in RETRYABLE_STATES,
        live=False,
    )


def can_edit(job: Job) -> bool:
    """Whether a job can be changed without running it again."""
    return job.state in WAITING_STATES or job.state is JobState.DEAD

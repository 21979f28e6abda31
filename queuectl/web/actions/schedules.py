"""Actions on one schedule."""

from __future__ import annotations

from flask import Blueprint, Response, request

from queuectl.core.times import utcnow
from queuectl.web.acting import by, done, reason
from queuectl.web.guard import storage

schedule_actions = Blueprint("schedule_actions", __name__)


@schedule_actions.post("/schedules/<name>/run")
def run(name: str) -> Response:
    """Make the job of a schedule now; its planned times stay as they are."""
    job = storage().run_schedule(name, force="force" in request.form, now=utcnow())
    return done("run-schedule", [name, job], f"{name} has made the job {job}.")


@schedule_actions.post("/schedules/<name>/pause")
def pause(name: str) -> Response:
    """Let a schedule make no more jobs."""
    storage().pause_schedule(name, by=by(), reason=reason(), now=utcnow())
    return done("pause-schedule", [name], f"{name} makes no jobs until it is resumed.")


@schedule_actions.post("/schedules/<name>/resume")
def resume(name: str) -> Response:
    """Let a schedule make jobs again."""
    skip_missed = "skip_missed" in request.form
    storage().resume_schedule(name, skip_missed=skip_missed, now=utcnow())
    return done("resume-schedule", [name], f"{name} is resumed.")

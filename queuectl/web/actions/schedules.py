"""Actions on schedules: making a job now, pausing and resuming."""

from __future__ import annotations

from flask import Blueprint, Response, request

from queuectl.core.times import utcnow
from queuectl.web.acting import by, done
from queuectl.web.guard import storage

schedule_actions = Blueprint("schedule_actions", __name__)


@schedule_actions.post("/schedules/<name>/run")
def run(name: str) -> Response:
    """Make a job of a schedule now, whatever its times."""
    job_id = storage().run_schedule(name, now=utcnow())
    return done("run schedule", [name, job_id], f"{name} made the job {job_id}.")


@schedule_actions.post("/schedules/<name>/pause")
def pause(name: str) -> Response:
    """Let a schedule make no more jobs."""
    reason = request.form.get("reason", "").strip() or None
    storage().pause_schedule(name, by=by(), reason=reason, now=utcnow())
    return done(
        "pause schedule", [name], f"{name} is paused: it makes no jobs until it is resumed."
    )


@schedule_actions.post("/schedules/<name>/resume")
def resume(name: str) -> Response:
    """Let a schedule make jobs again."""
    storage().resume_schedule(name, skip_missed=False, now=utcnow())
    return done("resume schedule", [name], f"{name} makes jobs again.")

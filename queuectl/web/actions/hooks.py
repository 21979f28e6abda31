"""Actions on hooks: testing, pausing, resuming, and retrying what is dead."""

from __future__ import annotations

from flask import Blueprint, Response

from queuectl.core.counts import counted
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.web import hook_tests
from queuectl.web.acting import done, refused
from queuectl.web.guard import serving, storage
from queuectl.web.pages.hooks import LAST

hook_actions = Blueprint("hook_actions", __name__)


@hook_actions.post("/hooks/<name>/test")
def test(name: str) -> Response:
    """Send a test event now, and say what the receiver answered, or how the command ended."""
    found = storage().hook(name)
    files = serving().options.files
    tested = hook_tests.run(files, found.name, is_webhook=found.url is not None)
    said = f": {tested.said}" if tested.said else ""
    if tested.is_good:
        return done("test hook", [name], f"The test of {name} succeeded{said}")
    return refused(f"the test of {name} failed{said}", 502)


@hook_actions.post("/hooks/<name>/pause")
def pause(name: str) -> Response:
    """Let a hook report nothing."""
    storage().pause_hook(name, now=utcnow())
    return done("pause hook", [name], f"{name} is paused: it reports nothing until it is resumed.")


@hook_actions.post("/hooks/<name>/retry")
def retry(name: str) -> Response:
    """Run the dead ones among the last jobs of a hook again."""
    queue = storage()
    queue.hook(name)
    jobs = [job for job in queue.hook_jobs(name, most=LAST) if job.state is JobState.DEAD]
    with queue.batch():
        for job in jobs:
            queue.retry(job, now=utcnow(), states=(JobState.DEAD,))
    said = f"Retried {counted(len(jobs), 'job')} of {name}."
    return done("retry hook", [name, *(job.id for job in jobs)], said)


@hook_actions.post("/hooks/<name>/resume")
def resume(name: str) -> Response:
    """Let a hook report again that was paused, or that its receiver refused."""
    storage().resume_hook(name)
    return done("resume hook", [name], f"{name} reports again.")

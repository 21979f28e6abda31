"""The pages of hooks: what each reports and to whom, and how its last jobs went."""

from __future__ import annotations

from shlex import quote

from flask import Blueprint

from queuectl.core.hook_words import scope, target
from queuectl.core.hooks import show_events
from queuectl.core.models import Job
from queuectl.core.states import JobState
from queuectl.web.frame import render
from queuectl.web.guard import storage

hooks_page = Blueprint("hooks", __name__)

LAST = 50
"""So many of the last jobs of a hook are shown, and are those that its button retries."""


@hooks_page.get("/hooks")
def hooks() -> str:
    """List the hooks."""
    found = storage().hooks()
    return render(
        "hooks.html",
        title="Hooks",
        nav="hooks.hooks",
        hooks=found.hooks,
        unreadable=found.unreadable[:LAST],
        target=target,
        scope=scope,
        events=show_events,
    )


@hooks_page.get("/hooks/<name>")
def hook(name: str) -> str:
    """Show one hook with its last jobs."""
    found = storage().hook(name)
    jobs = storage().hook_jobs(name, most=LAST)
    return render(
        "hook.html",
        title=f"{name} · hook",
        nav="hooks.hooks",
        hook=found,
        target=target(found),
        scope=scope(found),
        events=show_events(found.events),
        quoted=quote(found.name),
        event_of=event_of,
        dead=sum(job.state is JobState.DEAD for job in jobs),
        jobs=list(storage().with_last_runs(jobs)),
    )


def event_of(job: Job) -> str:
    """Return the event that the job of a hook reports: `dead`; empty if it is not known."""
    return job.env.get("QUEUECTL_EVENT", "").partition(".")[2]

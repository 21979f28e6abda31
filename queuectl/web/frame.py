"""What surrounds every page: navigation, find box, footer; and how templates print values."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask, render_template, request
from jinja2 import DictLoader, StrictUndefined
from markupsafe import Markup

from queuectl import __version__
from queuectl.core import moments
from queuectl.core.counts import and_more, counted
from queuectl.core.escaping import escape
from queuectl.core.models import Job
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.naming import number
from queuectl.core.reasons import short_reason
from queuectl.core.sizes import size
from queuectl.core.states import SIGNS, JobState
from queuectl.core.times import format_duration, to_text, utcnow
from queuectl.host.processes import host_name, user_name
from queuectl.web import messages
from queuectl.web.guard import may_change, may_see_env, serving, storage
from queuectl.web.static_files import static

_FOLDER = Path(__file__).parent / "templates"
_PAGES = (
    ("Overview", "overview.overview"),
    ("Jobs", "jobs.jobs"),
    ("Dead", "dead.dead"),
    ("Queues", "queues.queues"),
    ("Schedules", "schedules.schedules"),
    ("Hooks", "hooks.hooks"),
    ("Workers", "workers.workers"),
)
"""The navigation: what each page is called, and its endpoint."""

_CHIPS = {
    JobState.BLOCKED: "later",
    JobState.SCHEDULED: "later",
    JobState.PENDING: "wait",
    JobState.PROCESSING: "run",
    JobState.COMPLETED: "ok",
    JobState.FAILED: "retry",
    JobState.DEAD: "dead",
    JobState.CANCELLED: "off",
}
"""The colours of a state, as classes of the style sheet."""


class Place(NamedTuple):
    """The queue's file, for the footer."""

    path: str
    size: str
    free: str


def render(template: str, *, title: str, nav: str, **values: Any) -> str:
    """Return a page. `title` is for the tab; `nav` is the endpoint of the page in the navigation.

    The template extends `base.html`. It has `now`, what surrounds a page, and all names that
    `prepare` gives to templates. Raises QueueError if the queue cannot be read.
    """
    return render_bare(template, title=title, nav=nav, **_frame(), **values)


def render_bare(template: str, *, title: str, **values: Any) -> str:
    """Return a page without navigation and figures, whose template extends `bare.html`."""
    return render_template(template, title=title, now=utcnow(), **values)


def prepare(app: Flask) -> None:
    """Set up the templates of an app."""
    app.jinja_options = {
        "autoescape": True,
        "undefined": StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
        "finalize": _finalized,
    }
    # Read now, so that an upgrade of queuectl does not mix its templates with our code.
    app.jinja_env.loader = DictLoader(
        {path.name: path.read_text("utf-8") for path in sorted(_FOLDER.glob("*.html"))}
    )
    app.jinja_env.filters.update(
        ago=lambda instant: moments.distance(instant, now=utcnow()),
        size=size,
        span=moments.span,
        exact=moments.local,
        machine=to_text,
        duration=format_duration,
        span_or_dash=lambda seconds: "-" if seconds is None else moments.span(seconds),
        capitalize_first=lambda text: text[:1].upper() + text[1:],
        thousands=lambda count: f"{count:,}",
        counted=counted,
        and_more=and_more,
        reason=short_reason,
        number=number,
    )
    app.jinja_env.globals.update(
        static=static,
        chips=_CHIPS,
        signs=SIGNS,
        may_change=may_change,
        may_see_env=may_see_env,
        program=f"queuectl {__version__}",
        owner=f"{user_name()}@{host_name()}",
        zone=_zone(),
    )


def _frame() -> dict[str, Any]:
    """Return what surrounds a page. Raises QueueError."""
    return {
        "pages": _PAGES,
        "database": os.path.basename(serving().options.files.database),
        "counts": storage().by_state(),
        "place": _place(),
        "here": _here(),
        "message": messages.take(),
    }


def _here() -> str:
    """Return the address of this page, where a name may have characters such as # or %."""
    query = request.query_string.decode("ascii", "replace")
    return quote(request.path) + (f"?{query}" if query else "")


def _place() -> Place:
    path = serving().options.files.database
    bytes_used, free = 0, None
    with suppress(OSError):
        bytes_used = os.stat(path).st_size
    with suppress(OSError):
        disk = os.statvfs(os.path.dirname(path))
        free = disk.f_bavail * disk.f_frsize
    return Place(path, size(bytes_used), "" if free is None else f"{size(free)} free")


def _finalized(value: Any) -> Any:
    """Return what a template prints for a value.

    Text may come from anybody who can enqueue a job, so control characters and those that change
    the direction of text are shown as escapes. Jinja then escapes what means something in HTML.
    """
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape(value)
    return value


def job_when(job: Job, now: datetime) -> tuple[datetime, str]:
    """Return the time that matters in the job's state, and what happens at that time, in words."""
    if job.state is JobState.PROCESSING and job.locked_at is not None:
        return job.locked_at, moments.lasting(job.locked_at, now=now)
    if job.state in (JobState.SCHEDULED, JobState.FAILED) and job.run_at is not None:
        return job.run_at, moments.upcoming(job.run_at, now=now)
    if job.finished_at is not None:
        return job.finished_at, moments.distance(job.finished_at, now=now)
    return job.updated_at, moments.lasting(job.updated_at, now=now)


def _zone() -> str:
    """Return the name of the local time zone, for the footer."""
    name = os.environ.get("TZ", "")
    if not name:
        with suppress(OSError):
            name = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    return name or time.tzname[0]

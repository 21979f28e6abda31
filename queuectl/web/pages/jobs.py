"""The list of jobs: what a query finds, the newest first, page by page."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Iterator

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from queuectl.core import moments
from queuectl.core.errors import InvalidInput, QueueError
from queuectl.core.job_query import FIELDS, JobQuery, parse
from queuectl.core.models import Job, LastRun
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.core.times import to_text, utcnow
from queuectl.storage.searching import JobPage
from queuectl.web.frame import job_when, render
from queuectl.web.guard import storage

jobs_page = Blueprint("jobs", __name__)

_PAGE = 50
_SECONDS = 0.3
_STATE_TERM = re.compile(r"(?:^|\s)state:\S+")
_NAME = re.compile(r"@[0-9]+|[0-9a-f]{12}")


class Row(NamedTuple):
    """A job as the list shows it."""

    job: Job
    at: datetime
    """The time that matters in its state."""
    when: str
    """What it says of that time: `for 12 min`, `in 4 s`, `3 min ago`."""
    took: str
    """How long its last attempt took; empty if it has not run, or still runs."""


class Filter(NamedTuple):
    """A link that shows only the jobs in a state."""

    state: JobState | None
    """The state; None stands for all of them."""
    jobs: int
    url: str
    is_on: bool


@jobs_page.get("/jobs")
def jobs() -> str | Response:
    """Show the jobs that a query finds."""
    text = request.args.get("q", "").strip()
    direct = _named(text)
    if direct is not None:
        return redirect(url_for("job.job", job=direct.id))
    now = utcnow()
    with_hooks = request.args.get("hooks") == "1"
    query, problem = JobQuery(), None
    try:
        query = parse(text, now=now)
    except InvalidInput as error:
        problem = str(error)
    page = JobPage([], has_newer=False, has_older=False)
    if problem is None:
        page = storage().search(
            query,
            before=request.args.get("before", type=_seq),
            after=request.args.get("after", type=_seq),
            most=_PAGE,
            seconds=_SECONDS,
            with_hooks=with_hooks,
        )
    return render(
        "jobs.html",
        title=f"{text} · jobs" if text else "Jobs",
        nav="jobs.jobs",
        query=text,
        problem=problem,
        fields=FIELDS,
        filters=list(_filters(text, query, with_hooks)),
        with_hooks=with_hooks,
        rows=[_row(job, last, now) for job, last in storage().with_last_runs(page.jobs)],
        page=page,
        until=to_text(now),
    )


def _seq(text: str) -> int:
    """Read a seq of the address. Raises ValueError, which makes it absent."""
    return min(max(0, int(text)), 1 << 62)


def _named(text: str) -> Job | None:
    """Return the job that a text names beyond doubt, by its number or a generated id."""
    if not _NAME.fullmatch(text):
        return None
    try:
        return storage().get(text)
    except QueueError:  # then it is searched for
        return None


def _filters(text: str, query: JobQuery, with_hooks: bool) -> Iterator[Filter]:
    """Yield one filter for all jobs, and one for each state that has jobs."""
    rest = _STATE_TERM.sub("", text).strip()
    counts = storage().by_state()

    def url(term: str) -> str:
        asked = f"{rest} {term}".strip()
        return url_for("jobs.jobs", q=asked or None, hooks=1 if with_hooks else None)

    yield Filter(None, sum(counts.values()), url(""), not query.states)
    for state, count in counts.items():
        if count or state in query.states:
            yield Filter(state, count, url(f"state:{state.value}"), query.states == (state,))


def _row(job: Job, last: LastRun | None, now: datetime) -> Row:
    at, words = job_when(job, now)
    seconds = None if last is None else last.seconds
    ended = job.state is not JobState.PROCESSING
    return Row(job, at, words, moments.span(seconds) if ended and seconds is not None else "")

"""The page of one job: where it stands and why, what it printed, its attempts."""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta
from typing import Any, Iterator, Sequence

from flask import Blueprint, Response, abort, g, render_template, request
from markupsafe import Markup

from queuectl.core import moments
from queuectl.core.escaping import escape
from queuectl.core.explanation import Words, explain
from queuectl.core.models import Execution, Job, OutcomeKind, signal_name
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.naming import number, title
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.runner import output_window
from queuectl.runner.output_reader import last_line
from queuectl.runner.output_window import Hit, Window
from queuectl.runner.usage import Usage, so_far
from queuectl.storage.actions import RETRYABLE_STATES
from queuectl.web import charts
from queuectl.web.ansi import Screen
from queuectl.web.frame import render
from queuectl.web.guard import may_see_env, serving, storage
from queuectl.web.pages.edit import can_edit

job_page = Blueprint("job", __name__)

_log = logging.getLogger(__name__)

_MOST_ATTEMPTS = 50
_MOST_TABS = 5
_MOST_HITS = 200
_MOST_NAMES = 20
_TITLE_CELLS = 60
_GAP = re.compile(rb"\[queuectl: [0-9]+ bytes not kept\]")
_MARKS = {
    **dict.fromkeys(("dead", "unattended", "no-worker", "not-served", "worker-problem"), "bad"),
    **dict.fromkeys(("retry", "blocked-for-good", "paused", "job-paused", "limit"), "warn"),
    "completed": "ok",
}
"""How bad the reason is for which a job stands where it does; others are neither good nor bad."""


class Line(NamedTuple):
    """A line of output as the page shows it."""

    number: int | None
    """Its number; None where the lines before are not known."""
    markup: Markup
    """The line."""
    is_gap: bool
    """Whether it stands for what was not kept."""


class Shown(NamedTuple):
    """The part of an output that the page shows."""

    lines: Sequence[Line]
    start: int
    """The position of its first byte."""
    end: int
    """The position after its last byte."""
    size: int
    """The position after the last byte that there is."""
    next: int
    """Where a page that follows goes on: at the last line, if that may become longer."""
    follows: bool
    """Whether the attempt runs, so that more will come."""
    is_gone: bool = False
    """Whether nothing of it is kept any more."""


@job_page.get("/jobs/<job>")
def job(job: str) -> str:
    """Show one job."""
    queue = storage()
    found = queue.get(job)
    now = utcnow()
    runs = list(queue.executions(found))
    words = Words(moments.local, number, last_line)
    why = explain(queue, found, now=now, words=words)
    said, *details = _sentences(why.message)
    names = sorted(found.own_env())
    execution = _chosen(found)
    query = request.args.get("find", "")
    needs = queue.needs(found)
    return render(
        "job.html",
        title=f"{found.state.value} · {title(found, cells=_TITLE_CELLS)}",
        nav="jobs.jobs",
        job=found,
        said=said,
        details=details,
        mark=_MARKS.get(why.reason, ""),
        execution=execution,
        tabs=_tabs(runs, execution),
        output=None if execution is None else _shown(execution),
        query=query,
        hits=_hits(execution, query) if execution is not None and query else None,
        most_hits=_MOST_HITS,
        runs=runs[-_MOST_ATTEMPTS:][::-1],
        more_runs=max(0, len(runs) - _MOST_ATTEMPTS),
        chart=charts.attempts([_bar(run, now) for run in runs]),
        used=_used(found, runs),
        needs=needs[:_MOST_NAMES],
        more_needs=len(needs) - _MOST_NAMES,
        dependants=queue.dependants(found)[:_MOST_NAMES],
        hooks=queue.hook_jobs_of(found),
        parent=_parent(found),
        names=names[:_MOST_NAMES],
        more_names=len(names) - _MOST_NAMES,
        taken_over=len(found.env) - len(names),
        env=_values(found),
        retryable=found.state in RETRYABLE_STATES,
        can_edit=can_edit(found),
        ending=ending,
        commands=_commands(found),
    )


@job_page.get("/jobs/<job>/output")
def output(job: str) -> Response:
    """Return lines of output from a position on, for a page that follows a running job."""
    execution, _ = _asked_for(job)
    start = request.args.get("from", 0, type=int)
    shown = _shown(execution, max(0, start))
    page = render_template("lines.html", output=shown)
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["X-Queuectl-Next"] = str(shown.next)
    response.headers["X-Queuectl-Running"] = str(int(shown.follows))
    return response


@job_page.get("/jobs/<job>/output.txt")
def download(job: str) -> Response:
    """Return all the output that is kept, as it was printed."""
    execution, found = _asked_for(job)
    limit = storage().settings().output_limit
    content = output_window.everything(serving().options.files, execution, limit)
    response = Response(content, content_type="text/plain; charset=utf-8")
    name = f"{found.id if found.id.isascii() else found.seq}-{execution.attempt}.txt"
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _asked_for(name: str) -> tuple[Execution, Job]:
    """Return the attempt whose output is asked for, and its job."""
    found = storage().get(name)
    execution = _chosen(found)
    if execution is None:
        abort(404)
    return execution, found


def _chosen(found: Job) -> Execution | None:
    """Return the attempt that the address names, else the last one; None before the first.

    `run` is an execution id. `attempt` is a number: that of the last one, if a retry let the job
    start over, or an attempt was interrupted, so that several have it.
    """
    run = request.args.get("run", type=_number)
    attempt = request.args.get("attempt", type=_number)
    if run is None:
        chosen = storage().last_execution(found, attempt=attempt)
    else:
        chosen = storage().execution(run)
    is_named = run is not None or attempt is not None
    if is_named and (chosen is None or chosen.job_seq != found.seq):
        abort(404)
    return chosen


def _number(text: str) -> int:
    """Return a number within what SQLite can compare; no attempt has one of the bounds."""
    return min(max(0, int(text)), 1 << 62)


def _tabs(runs: Sequence[Execution], chosen: Execution | None) -> list[Execution]:
    """Return the last attempts, and in front of them the one that is shown, if it is older."""
    last = list(runs[-_MOST_TABS:])
    # By id: it may have ended since the others were read.
    if chosen is None or chosen.id in [run.id for run in last]:
        return last
    return [chosen, *last]


def _shown(execution: Execution, start: int | None = None) -> Shown:
    """Return the lines of an output from a position on, else those that the page asks for."""
    if start is None:
        start = request.args.get("from", type=int)
        before = request.args.get("before", type=int)
        if before is not None:
            start = output_window.line_start(*_place(execution), max(0, before))
    window = _window(execution, start)
    if window is None:
        # It ended while it was read.
        execution = storage().execution(execution.id) or execution
        window = _window(execution, start)
    runs = execution.outcome is None
    if window is None:
        return Shown([], 0, 0, 0, 0, follows=runs, is_gone=not runs)
    whole = window.content.rfind(b"\n") + 1
    is_long = not whole and len(window.content) >= output_window.MOST_BYTES
    rest = 0 if is_long or not runs else len(window.content) - whole
    return Shown(
        list(_lines(window)), window.start, window.end, window.size, window.end - rest, runs
    )


def _window(execution: Execution, start: int | None) -> Window | None:
    def is_running() -> bool:
        current = storage().execution(execution.id)
        return current is not None and current.outcome is None

    begin = None if start is None else max(0, start)
    return output_window.read_window(*_place(execution), is_running, start=begin)


def _place(execution: Execution) -> tuple[Any, Execution, int]:
    return serving().options.files, execution, storage().settings().output_limit


def _lines(window: Window) -> Iterator[Line]:
    raw = window.content.split(b"\n")
    line = window.first_line
    for one, markup in zip(raw, Screen().lines(window.content)):
        is_gap = _GAP.fullmatch(one) is not None
        yield Line(None if is_gap else line, markup, is_gap)
        line = None if is_gap or line is None else line + 1


def _hits(execution: Execution, text: str) -> list[tuple[Hit, Markup]]:
    found = output_window.search(*_place(execution), text, most=_MOST_HITS)
    return [(hit, Screen().one_line(hit.line)) for hit in found]


def _bar(run: Execution, now: datetime) -> charts.Attempt:
    color = "run" if run.outcome is None else "ok" if run.outcome is OutcomeKind.OK else "bad"
    end = run.finished_at or now
    if run.seconds is not None:  # it ended a little before that was recorded
        end = run.started_at + timedelta(seconds=run.seconds)
    return charts.Attempt(run.attempt, run.started_at, end, ending(run), color)


def ending(execution: Execution) -> str:
    """Return how an attempt ended, in few words: `exit 12`, `signal KILL`, `timeout`."""
    if execution.outcome is None:
        return "running"
    if execution.outcome is OutcomeKind.SIGNAL and execution.signal is not None:
        return f"signal {signal_name(execution.signal)}"
    if execution.outcome is OutcomeKind.EXIT:
        return f"exit {execution.exit_code}"
    return str(execution.outcome.value)


def _sentences(message: str) -> list[str]:
    """Return an explanation in parts: what is most important first, then what belongs to it."""
    first, _, line = message.partition(" and printed last: ")
    line, semicolon, rest = line.partition("; queuectl ")
    if not line:
        first, semicolon, rest = first.partition("; queuectl ")
    parts = [first]
    if line:
        parts.append(f"The last line that it printed: {line}")
    if semicolon:
        parts.append(f"queuectl {rest}")
    return parts


def _used(job: Job, runs: Sequence[Execution]) -> Usage | None:
    """Return what a running job has used so far; None if it does not run, or cannot be seen."""
    if job.locked_by is None or not runs or runs[-1].outcome is not None:
        return None
    return so_far(serving().options.files, runs[-1], job.locked_by)


def _parent(job: Job) -> Job | None:
    """Return the job whose end this one tells of; None if it is no hook's job, or that is gone."""
    if job.hook_of is None:
        return None
    return next(iter(storage().jobs_by_seq([job.hook_of])), None)


def _values(job: Job) -> dict[str, str] | None:
    """Return the values of a job's variables, if they were asked for and may be seen."""
    if not may_see_env() or request.args.get("env") != "1":
        return None
    _log.info("%s %s show-env %s", g.role.value, request.remote_addr or "-", escape(job.id))
    return dict(job.env)


def _commands(job: Job) -> list[str]:
    """Return the commands that do in a terminal what this page does."""
    found = [f"queuectl logs {number(job)}", f"queuectl show {number(job)}"]
    if job.state is JobState.PROCESSING:
        found[0] = f"queuectl logs --follow {number(job)}"
    if job.state in RETRYABLE_STATES:
        found.append(f"queuectl retry {number(job)}")
    else:
        found.append(f"queuectl cancel {number(job)}")
    return found

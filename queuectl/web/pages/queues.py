"""The pages of the queues: what each holds, its pause and limit, who serves it, and one queue."""

from __future__ import annotations

import shlex
from typing import Sequence

from flask import Blueprint, abort, request
from markupsafe import Markup

from queuectl.core.batches import is_lane, owner_of, serves
from queuectl.core.errors import InvalidInput
from queuectl.core.facts import Facts, QueueFacts
from queuectl.core.models import QueueStatus
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.core.values import check_any_queue
from queuectl.web import activity, charts
from queuectl.web.findings import diagnosis
from queuectl.web.frame import render
from queuectl.web.guard import storage
from queuectl.web.parts import Part

queues_page = Blueprint("queues", __name__)

_SHOWN = (
    (JobState.PENDING, "Waiting"),
    (JobState.PROCESSING, "Running"),
    (JobState.FAILED, "Retrying"),
    (JobState.SCHEDULED, "Scheduled"),
    (JobState.BLOCKED, "Blocked"),
    (JobState.DEAD, "Dead"),
    (JobState.CANCELLED, "Cancelled"),
    (JobState.COMPLETED, "Completed"),
)
"""The states in the order of the columns, and what these are called."""


class Row(NamedTuple):
    """A queue as the pages show it."""

    status: QueueStatus
    facts: QueueFacts
    is_lane: bool
    """Whether it holds the jobs of hooks of the queue above it."""
    workers: int
    """How many living workers serve it."""
    spark: Markup
    """How many of its jobs completed, over the last hour."""

    @property
    def is_unserved(self) -> bool:
        """Whether jobs could run and no worker serves it."""
        return self.facts.ready_since is not None and not self.workers and not self.status.paused


@queues_page.get("/queues")
def queues() -> str:
    """Show the queues."""
    now = utcnow()
    facts = diagnosis(now=now).facts
    periods = activity.read(storage(), activity.RANGES[0], now=now)
    sparks = activity.sparks(periods, now=now)
    found = sorted(storage().queues(), key=_order)
    query = request.args.get("q", "").strip()
    chosen = [one for one in found if query.casefold() in one.name.casefold()]
    part = Part.of(len(chosen), request.args.get("from", 0, type=int))
    shown = chosen[part.start : part.end]
    return render(
        "queues.html",
        title="Queues",
        nav="queues.queues",
        rows=[_row(status, facts, sparks.get(status.name, ())) for status in shown],
        query=query,
        there_are=len(found),
        part=part,
        is_any_paused=any(one.paused for one in found),
        states=_SHOWN,
        all_paused=storage().all_paused(),
    )


@queues_page.get("/queues/<path:name>")
def queue(name: str) -> str:
    """Show one queue. One that holds no jobs any more is empty."""
    now = utcnow()
    found = next((one for one in storage().queues() if one.name == name), None)
    if found is None:
        try:
            check_any_queue(name, "queue")
        except InvalidInput:
            abort(404)
        found = QueueStatus(name, False, None, None, None, None, dict.fromkeys(JobState, 0))
    chosen = activity.chosen_range(request.args.get("range"))
    periods = activity.read(storage(), chosen, now=now)
    steps = activity.steps(periods, chosen, now=now, queue=name)
    facts = diagnosis(now=now).facts
    return render(
        "queue.html",
        title=f"{name} · queue",
        nav="queues.queues",
        row=_row(found, facts, ()),
        servers=[one for one in facts.workers if serves(one.queues, name)],
        states=_SHOWN,
        all_paused=storage().all_paused(),
        ranges=activity.RANGES,
        chosen=chosen,
        throughput=charts.throughput(steps, activity.about(steps, chosen), None),
        durations=charts.durations(steps, activity.about_durations(steps)),
        commands=_commands(found),
        owner_queue=owner_of(name) if is_lane(name) else None,
    )


def _commands(status: QueueStatus) -> list[str]:
    """Return the commands that do in a terminal what this page does."""
    name = shlex.quote(status.name)
    pause = "resume" if status.paused else "pause"
    return [
        f"queuectl queue {pause} {name}",
        f"queuectl queue limit {name} 2",
        f"queuectl list --queue {name}",
    ]


def _order(status: QueueStatus) -> tuple[str, bool]:
    """Let the lane of a queue come right below it."""
    return owner_of(status.name), is_lane(status.name)


def _row(status: QueueStatus, facts: Facts, spark: Sequence[int]) -> Row:
    known = next((one for one in facts.queues if one.status.name == status.name), None)
    return Row(
        status,
        known or QueueFacts(status),
        is_lane(status.name),
        sum(serves(one.queues, status.name) for one in facts.workers),
        charts.sparkline(spark or [0] * 15),
    )

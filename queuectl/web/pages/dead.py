"""The page of dead jobs: in groups that died in the same way, or one after the other."""

from __future__ import annotations

from typing import Sequence

from flask import Blueprint, request, url_for

from queuectl.core.batches import is_lane
from queuectl.core.deaths import DeathGroup
from queuectl.core.errors import InvalidInput
from queuectl.core.models import Job
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.core.times import to_text, utcnow
from queuectl.storage.deaths import DeadPage, Place
from queuectl.web import dying
from queuectl.web.chosen import DeadFilter, group_name
from queuectl.web.frame import render
from queuectl.web.guard import storage

dead_page = Blueprint("dead", __name__)

_PAGE = 50
_SECONDS = 0.3
_MOST_GROUPS = 40
_ROWS_PER_GROUP = 4
_WITHIN = (
    ("1h", "last hour"),
    ("24h", "last 24 h"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
)


class Group(NamedTuple):
    """Jobs that died in the same way, as the page shows them."""

    name: str
    """What names it in addresses and forms."""
    group: DeathGroup
    jobs: Sequence[Job]
    """The last of them."""
    url: str
    """The page of all of them."""


@dead_page.get("/dead")
def dead() -> str:
    """Show dead jobs."""
    now = utcnow()
    asked = DeadFilter.of_request(request.args)
    problem, groups, chosen = None, [], None
    found: list[DeathGroup] = []
    page = DeadPage([], None, True)
    try:
        query = asked.query(now=now)
    except InvalidInput as error:
        problem = str(error)
    else:
        if asked.flat and not asked.group:
            page = storage().dead_page(
                query,
                since=query.after,
                until=now,
                after=_place(),
                most=_PAGE,
                seconds=_SECONDS,
            )
        else:
            found = dying.groups(storage(), query, since=query.after, until=now)
            if asked.group:
                chosen = next((one for one in found if group_name(one) == asked.group), None)
                page = _part(chosen)
            else:
                groups = _groups(found[:_MOST_GROUPS], asked)
    dead, lanes = _by_queue()
    return render(
        "dead.html",
        title="Dead jobs",
        nav="dead.dead",
        asked=asked,
        problem=problem,
        groups=groups,
        chosen=chosen,
        more_groups=max(0, len(found) - _MOST_GROUPS),
        grouped=sum(len(one.jobs) for one in found),
        most_grouped=dying.MOST_GROUPED,
        rows=storage().jobs_by_seq(page.seqs),
        older=_older(asked, page, chosen),
        is_first=_place() is None and not request.args.get("from", type=int),
        page=page,
        queues=sorted({*dead, asked.queue} - {""}),
        dead=sum(dead.values()),
        of_hooks=sum(lanes.values()),
        within=_WITHIN,
        until=to_text(now),
        oldest=storage().oldest_death(),
    )


def _groups(found: Sequence[DeathGroup], asked: DeadFilter) -> list[Group]:
    """Return groups with their last jobs, which are read at once."""
    seqs = [job.seq for one in found for job in one.jobs[:_ROWS_PER_GROUP]]
    jobs = {job.seq: job for job in storage().jobs_by_seq(seqs)}
    return [
        Group(
            group_name(one),
            one,
            [jobs[job.seq] for job in one.jobs[:_ROWS_PER_GROUP] if job.seq in jobs],
            url_for("dead.dead", **asked.arguments(group=group_name(one))),
        )
        for one in found
    ]


def _part(chosen: DeathGroup | None) -> DeadPage:
    """Return a page of the jobs of one group, from where the address says."""
    start = max(0, request.args.get("from", 0, type=int))
    jobs = chosen.jobs if chosen is not None else ()
    place = Place("", start + _PAGE) if len(jobs) > start + _PAGE else None
    return DeadPage([job.seq for job in jobs[start : start + _PAGE]], place, True)


def _older(asked: DeadFilter, page: DeadPage, chosen: DeathGroup | None) -> str | None:
    """Return the address of the next page; None if there is none."""
    if page.next is None:
        return None
    if chosen is not None:
        return url_for("dead.dead", **asked.arguments(**{"from": page.next.seq}))
    return url_for("dead.dead", **asked.arguments(at=page.next.died_at, after=page.next.seq))


def _place() -> Place | None:
    """Return after which job the page begins; None if it is the first page."""
    at, seq = request.args.get("at"), request.args.get("after", type=int)
    return None if not at or seq is None else Place(at, max(-1, min(seq, 1 << 62)))


def _by_queue() -> tuple[dict[str, int], dict[str, int]]:
    """Return how many jobs are dead in each queue, and in each lane, which has jobs of hooks."""
    queues: dict[str, int] = {}
    lanes: dict[str, int] = {}
    for one in storage().queues():
        if one.counts[JobState.DEAD]:
            (lanes if is_lane(one.name) else queues)[one.name] = one.counts[JobState.DEAD]
    return queues, lanes

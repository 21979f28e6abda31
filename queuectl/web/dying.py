"""Why jobs died: dead jobs in groups, for the overview and the page of dead jobs."""

from __future__ import annotations

from datetime import datetime

from queuectl.core.deaths import DeathGroup, in_groups
from queuectl.core.job_query import EVERYTHING, JobQuery
from queuectl.runner.output_reader import last_line_of
from queuectl.web.storages import WebStorage

MOST_GROUPED = 2000
"""So many of the newest dead jobs are put into groups."""


def groups(
    storage: WebStorage,
    query: JobQuery = EVERYTHING,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    most: int = MOST_GROUPED,
) -> list[DeathGroup]:
    """Return the dead jobs that fit a query in groups, the largest group first."""
    found = storage.deaths(query, since=since, until=until, most=most)
    return in_groups(
        one.death._replace(last_line=last_line_of(one.tail, is_all=one.is_all)) for one in found
    )

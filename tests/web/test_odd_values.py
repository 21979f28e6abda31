"""Pages of a queue in which another program wrote odd values: none of them is an error."""

from __future__ import annotations

import pytest

from queuectl.core.models import Selection
from queuectl.storage import Storage
from support.odd_values import FEW_ODD_VALUES, add_odd_rows, fill
from support.rows import sql
from support.web import Page

_PAGES = (
    "/", "/jobs", "/jobs?q=run", "/jobs?q=state:dead", "/dead", "/queues", "/schedules", "/hooks",
    "/workers", "/metrics",
)  # fmt: skip


@pytest.mark.parametrize(
    "table", ["activity", "executions", "hooks", "jobs", "queues", "schedules", "workers"]
)
def test_pages_show_what_can_be_read(storage: Storage, page: Page, table: str) -> None:
    """Prevents a bug: one damaged row made a page of all others an error 500."""
    fill(storage)
    assert add_odd_rows(storage, table, FEW_ODD_VALUES) > 3
    for path in _PAGES:
        page.get(path)


@pytest.mark.parametrize("table", ["executions", "jobs"])
def test_the_page_of_a_job_shows_what_can_be_read(storage: Storage, page: Page, table: str) -> None:
    """Prevents a bug: one odd attempt made the page of its job an error 500."""
    fill(storage)
    add_odd_rows(storage, table, FEW_ODD_VALUES)
    if table == "executions":
        sql(storage, "UPDATE executions SET job_seq = 2")
        page.get("/jobs/dead")
    else:
        for job in storage.jobs(Selection()):
            if job.id.startswith("odd-"):
                page.get(f"/jobs/{job.id}")

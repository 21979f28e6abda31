"""The pages: everything that is only looked at. Each is a GET, and changes nothing.

`PAGES` lists the blueprints. How to add one: see the docstring of `queuectl.web`.
"""

from __future__ import annotations

from queuectl.web.pages.dead import dead_page
from queuectl.web.pages.edit import edit_page
from queuectl.web.pages.hooks import hooks_page
from queuectl.web.pages.job import job_page
from queuectl.web.pages.jobs import jobs_page
from queuectl.web.pages.metrics import metrics_page
from queuectl.web.pages.overview import overview_page
from queuectl.web.pages.queues import queues_page
from queuectl.web.pages.schedules import schedules_page
from queuectl.web.pages.tasks import tasks_page
from queuectl.web.pages.workers import workers_page

PAGES = (
    overview_page,
    jobs_page,
    job_page,
    dead_page,
    schedules_page,
    hooks_page,
    edit_page,
    queues_page,
    tasks_page,
    workers_page,
    metrics_page,
)

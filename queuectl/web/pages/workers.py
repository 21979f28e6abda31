"""The page of the workers: which pools run, and what each worker does."""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby

from flask import Blueprint

from queuectl.core.errors import NoSuchJob
from queuectl.core.models import Job
from queuectl.web.frame import render
from queuectl.web.guard import storage

workers_page = Blueprint("workers", __name__)


@workers_page.get("/workers")
def workers() -> str:
    """Show the pools with their workers."""
    living = storage().living_workers()
    jobs: dict[str, Job] = {}
    for worker in living:
        if worker.job is not None:
            with suppress(NoSuchJob):
                jobs[worker.id] = storage().get(worker.job)
    pools = [list(pool) for _, pool in groupby(living, key=lambda worker: worker.supervisor)]
    return render("workers.html", title="Workers", nav="workers.workers", pools=pools, jobs=jobs)

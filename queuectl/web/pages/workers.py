"""The page of the workers: which pools run, and what each worker does."""

from __future__ import annotations

from itertools import groupby

from flask import Blueprint

from queuectl.web.frame import render
from queuectl.web.guard import storage

workers_page = Blueprint("workers", __name__)


@workers_page.get("/workers")
def workers() -> str:
    """Show the pools with their workers."""
    living = storage().living_workers()
    running = storage().jobs_by_seq([one.seq for one in storage().running_jobs()])
    jobs = {job.id: job for job in running}
    pools = [list(pool) for _, pool in groupby(living, key=lambda worker: worker.supervisor)]
    return render("workers.html", title="Workers", nav="workers.workers", pools=pools, jobs=jobs)

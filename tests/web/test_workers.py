"""The page of the workers."""

from __future__ import annotations

from typing import Callable

from support.queue import Queue
from support.rows import sql, statements
from support.web import Page, words


def _working(queue: Queue, count: int) -> None:
    """Start a pool with a worker for each of so many jobs, and let it take them."""
    queue.add_many(*(f"echo job {number}; sleep 1000" for number in range(count)))
    queue.start(workers=count)
    for job in queue.jobs():
        queue.until(job.id, "processing")


def test_a_job_that_cannot_be_read(queue: Queue, shown: Callable[..., Page]) -> None:
    """Another program has changed its row: its worker runs it all the same."""
    _working(queue, 2)
    sql(queue.storage, "UPDATE jobs SET env = 'x' WHERE seq = 1")

    found = words(shown().get("/workers"))

    assert "echo job 0; sleep 1000" in found
    assert "echo job 1; sleep 1000" in found
    assert "idle" not in found


def test_more_workers_cost_no_more_queries(queue: Queue, shown: Callable[..., Page]) -> None:
    """The jobs of all workers are read at once."""
    _working(queue, 4)
    page = shown()
    text = words(page.get("/workers"))

    asked = statements(page.serving.storages.current(), lambda: page.get("/workers"))

    assert [f"echo job {number}; sleep 1000" in text for number in range(4)] == [True] * 4
    assert sum("WHERE seq" in one for one in asked) == 1

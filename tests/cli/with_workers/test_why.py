"""`why` while a worker is busy."""

from __future__ import annotations

from support.queue import Queue
from support.why import assert_why


def test_a_pending_job_says_how_many_are_ahead(queue: Queue) -> None:
    """Other jobs say that no worker serves their queue, or which worker runs them."""
    queue.start("--queue", "default")
    queue.enqueue("sleep 60", "--id", "long")
    queue.enqueue("true", "--id", "other", "--queue", "other")
    worker = queue.until("long", "processing").locked_by
    queue.enqueue("true", "--id", "b")
    queue.enqueue("true", "--id", "c")
    queue.enqueue("true", "--id", "first", "--priority", "1")

    assert_why(
        queue, "other", "not-served",
        r"waits: no worker serves its queue other \(queuectl worker start --queue other\)",
    )  # fmt: skip
    busy = "; the only worker is busy"
    assert_why(queue, "c", "ahead", f"waits for a worker: 2 jobs are ahead of it in default{busy}")
    assert_why(queue, "b", "ahead", f"waits for a worker: 1 job is ahead of it in default{busy}")
    assert_why(queue, "first", "next", f"waits for a worker: it is the next in default{busy}")
    assert_why(queue, "long", "running", f"has been running since TIME on worker {worker}")

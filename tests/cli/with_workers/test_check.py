"""`check` counts living workers."""

from __future__ import annotations

from support.queue import Queue


def test_living_workers_are_counted(queue: Queue) -> None:
    """With --queue only the workers that serve this queue count."""
    queue.start("--queue", "a", workers=2)

    assert "| " in queue.ok("check", "--min-workers", "2")
    assert queue.ok("check", "--min-workers", "2", "--queue", "a")
    assert queue.run("check", "--min-workers", "1", "--queue", "b").code == 2


def test_workers_of_all_queues_do_not_serve_a_batch(queue: Queue) -> None:
    """Prevents a bug: they counted, although they leave the jobs of a batch alone."""
    queue.start()

    assert queue.run("check", "--min-workers", "1", "--queue", "default").code == 0
    assert queue.run("check", "--min-workers", "1", "--queue", "@gzip.1").code == 2

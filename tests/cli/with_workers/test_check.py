"""`check` counts living workers."""

from __future__ import annotations

from support.queue import Queue


def test_living_workers_are_counted(queue: Queue) -> None:
    """With --queue only the workers that serve this queue count."""
    queue.start("--queue", "a", workers=2)

    assert "| " in queue.ok("check", "--min-workers", "2")
    assert queue.ok("check", "--min-workers", "2", "--queue", "a")
    assert queue.run("check", "--min-workers", "1", "--queue", "b").code == 2

"""`prune` deletes logs."""

from __future__ import annotations

from support.queue import Queue


def test_prune_deletes_the_log_of_a_job(queue: Queue) -> None:
    """A large output has its own file, which is deleted as well."""
    queue.enqueue("yes | head -c 300000", "--id", "a")
    queue.drain()
    logs = list(queue.files and (queue.folder / "queue.db.d" / "logs").iterdir())
    assert [path.stat().st_size for path in logs] == [300_000]
    queue.ok("prune", "a")

    assert list((queue.folder / "queue.db.d" / "logs").iterdir()) == []
    assert queue.fails(1, "logs", "a") == "queuectl logs: no such job: a"

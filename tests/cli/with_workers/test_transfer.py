"""`backup` while workers run."""

from __future__ import annotations

from pathlib import Path

from support.processes import alive
from support.queue import Queue
from support.waiting import wait_until


def test_a_retry_in_a_backup_leaves_the_original_alone(queue: Queue) -> None:
    """Regression: both queues had one identity, so it killed the running job of the original."""
    command = f'[ "$QUEUECTL_DB" != {queue.database} ] || {{ echo $$ >pid; exec sleep 300; }}'
    queue.enqueue(command, "--id", "a")
    queue.start()
    pid = queue.pid("pid")
    path = str(queue.folder / "copy.db")
    queue.ok("backup", path)
    queue.ok("--db", path, "retry", "a")
    queue.drain("--db", path, workers=1)

    assert queue.json("--db", path, "show", "a")["state"] == "completed"
    assert alive(pid)
    assert queue.state("a") == "processing"


def test_a_backup_can_be_taken_while_workers_run(queue: Queue) -> None:
    """It is the queue at one moment: it has every enqueued job, and it is intact."""
    queue.ok("enqueue", "-q", "-", "--lines", stdin="true\n" * 300)
    queue.start(workers=2)
    wait_until(lambda: queue.counts().get("completed", 0) > 20, what="work")
    path = str(queue.folder / "copy.db")
    queue.ok("backup", path)

    counts = queue.json("--db", path, "status")["jobs"]
    assert sum(counts.values()) == 300
    assert counts["completed"] > 20
    assert len(queue.ok("--db", path, "list", "--ids").split()) == 300
    assert Path(path).stat().st_size > 0

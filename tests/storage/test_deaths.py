"""Reading dead jobs with the end of their outputs."""

from __future__ import annotations

from datetime import timedelta

from queuectl.core.job_query import parse
from queuectl.core.times import utcnow
from queuectl.host.files import QueueFiles
from queuectl.storage.deaths import Deaths
from support.queue import Queue


def _read(files: QueueFiles, text: str = "", **options: object) -> list[tuple[str, bytes, bool]]:
    storage = Deaths.open(files)
    try:
        found = storage.deaths(parse(text, now=utcnow()), **{"most": 10, **options})  # type: ignore[arg-type]
        return [(one.death.id, one.tail, one.is_all) for one in found]
    finally:
        storage.close()


def test_the_last_one_comes_first(queue: Queue) -> None:
    """With the end of its last attempt, whatever it is; others states are left out."""
    queue.enqueue("echo one; exit 3", "--id", "a", "--max-retries", "1")
    queue.enqueue("seq 1 1000; exit 3", "--id", "b", "--max-retries", "1")
    queue.enqueue("true", "--id", "c")
    queue.drain(workers=1)
    queue.enqueue("exit 3", "--id", "d", "--max-retries", "1")
    queue.drain(workers=1)
    now = utcnow()

    found = _read(queue.files)

    assert [one[0] for one in found] == ["d", "b", "a"]
    assert found[0][1:] == (b"", True)
    assert found[1][1].endswith(b"999\n1000\n")
    assert found[1][2] is False
    assert found[2][1:] == (b"one\n", True)
    assert [one[0] for one in _read(queue.files, "seq")] == ["b"]
    assert [one[0] for one in _read(queue.files, most=1)] == ["d"]
    assert _read(queue.files, since=now) == []
    assert _read(queue.files, until=now - timedelta(hours=1)) == []
    assert len(_read(queue.files, since=now - timedelta(hours=1), until=now)) == 3

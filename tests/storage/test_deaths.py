"""Reading dead jobs with the end of their outputs."""

from __future__ import annotations

from datetime import timedelta

from queuectl.core.job_query import parse
from queuectl.core.specs import JobSpec
from queuectl.core.times import from_text, utcnow
from queuectl.host.files import QueueFiles
from queuectl.storage.deaths import Deaths, Place
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


def test_page_by_page(queue: Queue) -> None:
    """Each page goes on after the last job of the one before, also if jobs died at one time."""
    now = utcnow()
    queue.storage.enqueue([JobSpec(command=f"run {n}") for n in range(1300)], now=now)
    with queue.storage._transaction() as conn:
        conn.execute(
            "UPDATE jobs SET state = 'dead', attempts = 3, finished_at ="
            " printf('2026-01-01T00:00:%02d.000000Z', seq / 100)"
        )
    storage = Deaths.open(queue.files)
    try:
        found: list[int] = []
        place = None
        while True:
            page = storage.dead_page(after=place, most=90, seconds=9)
            found += page.seqs
            place = page.next
            if place is None:
                break
            assert (len(page.seqs), page.is_whole) == (90, True)
        some = storage.dead_page(parse('"run 12"', now=now), most=2000, seconds=9)
        late = storage.dead_page(parse("nothing", now=now), most=10, seconds=0)
    finally:
        storage.close()

    assert found == list(range(1300, 0, -1))
    assert (len(some.seqs), some.next) == (111, None)
    assert (late.seqs, late.is_whole) == ([], False)
    assert late.next == Place("2026-01-01T00:00:08.000000Z", 801)
    assert storage_oldest(queue) == from_text("2026-01-01T00:00:00.000000Z")


def storage_oldest(queue: Queue) -> object:
    storage = Deaths.open(queue.files)
    try:
        return storage.oldest_death()
    finally:
        storage.close()

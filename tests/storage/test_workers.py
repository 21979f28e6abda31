"""The table of workers."""

from __future__ import annotations

import re
import sqlite3

import pytest

from queuectl.core.models import Worker
from queuectl.core.times import to_text
from queuectl.host.files import find
from queuectl.storage import Storage
from support.clock import later
from support.outcomes import COMPLETED, DEAD, LOST, OK
from support.rows import add


def worker(worker_id, now, **fields):
    return Worker(
        id=worker_id, supervisor="s1", pid=4242, start_ticks=fields.pop("start_ticks", 99),
        boot_id="boot", host="h", queues=fields.pop("queues", ()), started_at=now, **fields,
    )  # fmt: skip


@pytest.mark.parametrize("queues", [(), ("x", "y\u00e9")])
@pytest.mark.parametrize("ticks", [None, 2**62])
def test_a_registered_worker_can_be_read_back(storage, clock, queues, ticks):
    """With its process, its host and its queues."""
    own = worker("w1", clock.now, queues=queues, start_ticks=ticks)
    storage.register_worker(own)

    assert storage.workers() == [own]


def test_workers_are_listed_by_pool_and_number(storage, clock):
    """The pool that started first comes first; number 9 comes before number 10."""
    for at, (pool, number) in enumerate([("b", 10), ("b", 9), ("a", 2), ("a", 1), ("b", 1)]):
        one = worker(f"{pool}-{number}", later(clock.now, at))
        storage.register_worker(one._replace(supervisor=pool))

    assert [one.id for one in storage.workers()] == ["b-1", "b-9", "b-10", "a-1", "a-2"]


def test_workers_are_listed_with_what_they_run(storage, clock):
    """Each has the job that it has claimed and not ended."""
    storage.register_worker(worker("w2", later(clock.now, 1)))
    storage.register_worker(worker("w1", later(clock.now, 2)))
    storage.register_worker(worker("w3", clock.now))
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.tick(5))
    running = [(w.id, w.job, w.job_since) for w in storage.workers()]
    storage.record(claim, OK, COMPLETED, now=clock.now)

    assert running == [("w1", "a", clock.now), ("w2", None, None), ("w3", None, None)]
    assert [w.job for w in storage.workers()] == [None, None, None]


def test_two_workers_cannot_have_the_same_id(storage, clock):
    """They would record results for each other, which is a bug and must be noticed."""
    storage.register_worker(worker("w1", clock.now))
    with pytest.raises(sqlite3.IntegrityError):
        storage.register_worker(worker("w1", clock.now))


def test_the_time_when_the_last_worker_left_is_kept(storage, clock):
    """A worker can be removed twice."""
    storage.register_worker(worker("w1", clock.now))
    for seconds in (1, 2):
        storage.forget_worker("w1", seen_at=to_text(later(clock.now, seconds)))

    assert storage.workers() == []
    assert storage.meta()["last_worker_at"] == to_text(later(clock.now, 2))


def test_a_claim_of_an_unregistered_worker_is_found(storage, clock):
    """Otherwise its job would stay in processing for ever."""
    add(storage, clock.now, "a", "b", "c")
    storage.register_worker(worker("w1", clock.now))
    storage.claim("w1", now=clock.now)
    lost = storage.claim("w3", now=clock.now)
    storage.claim("w2", now=clock.now)
    before = storage.orphans()
    storage.record(lost, LOST, DEAD, now=clock.now)

    assert (before, storage.orphans()) == (["w2", "w3"], ["w2"])


def test_each_queue_has_an_id_of_its_own(storage, tmp_path):
    """It is kept, and another queue has another id."""
    other = Storage.open(find(str(tmp_path / "other.db"), None, False), create=True)
    names = {storage.queue_id, storage.queue_id, other.queue_id}
    other.close()

    assert len(names) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)

"""The workers that serve a queue, as far as the database knows them."""

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
def test_a_worker_is_known_as_it_registered(storage, clock, queues, ticks):
    """Who it is, where it runs and what it serves can be read back."""
    own = worker("w1", clock.now, queues=queues, start_ticks=ticks)
    storage.register_worker(own)

    assert storage.workers() == [own]


def test_workers_are_listed_by_their_start_with_what_they_run(storage, clock):
    """The job is that of the claim, and gone with it."""
    storage.register_worker(worker("w2", later(clock.now, 1)))
    storage.register_worker(worker("w1", later(clock.now, 2)))
    storage.register_worker(worker("w3", clock.now))
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.tick(5))
    running = [(w.id, w.job, w.job_since) for w in storage.workers()]
    storage.record(claim, OK, COMPLETED, now=clock.now)

    assert running == [("w3", None, None), ("w2", None, None), ("w1", "a", clock.now)]
    assert [w.job for w in storage.workers()] == [None, None, None]


def test_an_id_is_one_workers(storage, clock):
    """Two workers of one id would answer for each other's jobs: that is a bug, and loud."""
    storage.register_worker(worker("w1", clock.now))
    with pytest.raises(sqlite3.IntegrityError):
        storage.register_worker(worker("w1", clock.now))


def test_a_worker_that_left_is_forgotten_but_not_when(storage, clock):
    """Since when nobody works here can be told; to forget twice is to forget."""
    storage.register_worker(worker("w1", clock.now))
    for seconds in (1, 2):
        storage.forget_worker("w1", seen_at=to_text(later(clock.now, seconds)))

    assert storage.workers() == []
    assert storage.meta()["last_worker_at"] == to_text(later(clock.now, 2))


def test_a_claim_of_an_unknown_worker_is_an_orphan(storage, clock):
    """Claims whose worker has no row must be found, or their jobs run for ever."""
    add(storage, clock.now, "a", "b", "c")
    storage.register_worker(worker("w1", clock.now))
    storage.claim("w1", now=clock.now)
    lost = storage.claim("w3", now=clock.now)
    storage.claim("w2", now=clock.now)
    before = storage.orphans()
    storage.record(lost, LOST, DEAD, now=clock.now)

    assert (before, storage.orphans()) == (["w2", "w3"], ["w2"])


def test_a_queue_has_a_name_among_all_queues(storage, tmp_path):
    """It is kept, and another queue has another."""
    other = Storage.open(find(str(tmp_path / "other.db"), None, False), create=True)
    names = {storage.queue_id, storage.queue_id, other.queue_id}
    other.close()

    assert len(names) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)

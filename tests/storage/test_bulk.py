"""Acting on many jobs at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Iterator

import pytest

from queuectl.core.job_query import parse
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from queuectl.storage.bulk import Bulk, Many, Refused


class Whole(Storage, Bulk):
    """All methods."""


@pytest.fixture
def bulk(storage: Storage) -> Iterator[Whole]:
    """The queue of `storage`, with the methods for many jobs."""
    opened = Whole.open(storage.files, write=True)
    yield opened
    opened.close()


def _jobs(bulk: Whole, count: int) -> list[int]:
    now = utcnow()
    jobs = bulk.enqueue([JobSpec(command="true", id=f"j{n}") for n in range(count)], now=now)
    return [bulk.get(job.id).seq for job in jobs]


def test_what_is_refused_is_told_and_the_rest_is_done(bulk: Whole) -> None:
    seqs = _jobs(bulk, 4)
    for name in ("j0", "j2"):
        bulk.cancel(bulk.get(name), now=utcnow())

    done = bulk.retry_many([*seqs, 99], {"queue": "mail"}, now=utcnow())

    assert done.done == 2
    assert [one.seq for one in done.refused] == [seqs[1], seqs[3], 99]
    assert done.refused[0] == Refused(seqs[1], "cannot retry @2: it is pending")
    assert "@99" in done.refused[2].why
    assert [job.queue for job in bulk.jobs_by_seq(seqs)] == ["mail", "default", "mail", "default"]
    assert all(job.state is JobState.PENDING for job in bulk.jobs_by_seq(seqs))


def test_jobs_that_have_changed_since_are_left_alone(bulk: Whole) -> None:
    """Whoever chose them has not seen that change."""
    seqs = _jobs(bulk, 2)
    bulk.cancel(bulk.get("j0"), now=utcnow())
    chosen_at = utcnow()
    bulk.cancel(bulk.get("j1"), now=chosen_at + timedelta(seconds=1))

    for act in (bulk.retry_many, lambda seqs, _, **more: bulk.delete_many(seqs, **more)):
        done = act(seqs, {}, unchanged_since=chosen_at, now=chosen_at + timedelta(seconds=9))
        assert done.refused[-1] == Refused(seqs[1], "@2 has changed meanwhile")
    assert bulk.get("j1").state is JobState.CANCELLED


def test_cancel(bulk: Whole) -> None:
    seqs = _jobs(bulk, 3)

    assert bulk.cancel_many(seqs, reason="wrong", now=utcnow()) == Many(3, [])
    assert {job.cancel_reason for job in bulk.jobs_by_seq(seqs)} == {"wrong"}


def test_delete(bulk: Whole) -> None:
    """Only finished jobs, and none that an unfinished one waits for."""
    seqs = _jobs(bulk, 3)
    for name in ("j0", "j1"):
        bulk.cancel(bulk.get(name), now=utcnow())
    bulk.enqueue([JobSpec(command="true", id="k", after_any=("j2",))], now=utcnow())

    done = bulk.delete_many(seqs, now=utcnow() + timedelta(seconds=1))

    assert done == Many(2, [Refused(seqs[2], f"cannot delete @{seqs[2]}: it is pending")])
    assert [job.id for job in bulk.jobs_by_seq(seqs)] == ["j2"]


def test_the_jobs_of_a_query(bulk: Whole, storage: Storage) -> None:
    seqs = _jobs(bulk, 3)
    bulk.cancel(bulk.get("j1"), now=utcnow())

    def found(text: str, **options: object) -> list[int]:
        return list(bulk.seqs_of(parse(text, now=utcnow()), **options))  # type: ignore[arg-type]

    assert found("") == seqs
    assert found("", up_to=seqs[1]) == seqs[:2]
    assert found("state:cancelled") == [seqs[1]]
    assert found("j2", with_hooks=False) == [seqs[2]]
    assert found("state:dead") == []

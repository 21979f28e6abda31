"""Batches: several actions in one transaction, each of them undone by itself if it is refused."""

from __future__ import annotations

import pytest

from queuectl.core.errors import WrongState
from queuectl.core.states import JobState
from queuectl.host import wakeup
from support.outcomes import COMPLETED, WITH_LOG
from support.rows import add, finish, keep_log, statements


def interrupted(storage, work):
    """Do some work in a batch that is interrupted before its COMMIT."""

    def batch():
        with storage.batch():
            work()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batch()


def test_a_batch_is_one_transaction(storage, clock):
    """Prevents a bug: `cancel --all` waited for the disk once per job."""
    add(storage, clock.now, "a", "b", "c")

    def cancel_all():
        with storage.batch():
            for job_id in "abc":
                storage.cancel(storage.get(job_id), now=clock.now)

    found = statements(storage, cancel_all)

    assert (found.count("BEGIN IMMEDIATE"), found.count("COMMIT"), found.count("BEGIN")) == (
        1,
        1,
        0,
    )
    assert storage.by_state()[JobState.CANCELLED] == 3


def test_a_refused_action_leaves_the_others_of_its_batch(storage, clock):
    """The actions before and after it are done."""
    add(storage, clock.now, "a", "b", "c")
    finish(storage, clock.now, "a", JobState.COMPLETED)
    with storage.batch():
        storage.cancel(storage.get("b"), now=clock.now)
        with pytest.raises(WrongState):
            storage.cancel(storage.get("a"), now=clock.now)
        storage.cancel(storage.get("c"), now=clock.now)

    assert [storage.get(job_id).state.value for job_id in "abc"] == [
        "completed", "cancelled", "cancelled",
    ]  # fmt: skip


def test_an_unexpected_error_undoes_the_batch(storage, clock):
    """Then nothing of it is announced, and the next transaction is one of its own."""
    add(storage, clock.now, "a", "b")
    interrupted(storage, lambda: storage.cancel(storage.get("a"), now=clock.now))
    storage.cancel(storage.get("b"), now=clock.now)

    assert [storage.get(job_id).state.value for job_id in "ab"] == ["pending", "cancelled"]


def test_workers_are_woken_once_and_after_the_batch(storage, clock, monkeypatch):
    """A worker that looks before the COMMIT would find nothing, and sleep again."""
    add(storage, clock.now, "a", "b")
    for job_id in "ab":
        finish(storage, clock.now, job_id, JobState.DEAD)
    woken = []
    monkeypatch.setattr(wakeup, "wake_up", lambda *_: woken.append(storage.by_state()))
    with storage.batch():
        for job_id in "ab":
            storage.retry(storage.get(job_id), now=clock.now)
        assert woken == []

    assert [states[JobState.PENDING] for states in woken] == [2]


def test_logs_are_removed_after_the_batch(storage, clock):
    """If the batch is undone, its jobs still have their output."""
    add(storage, clock.now, "a")
    claim = storage.claim("w1", now=clock.now)
    storage.record(claim, WITH_LOG, COMPLETED, now=clock.now)
    log = keep_log(storage, claim.execution_id)
    job = storage.get("a")

    def prune():
        return storage.prune(states=[job.state], before=clock.tick(1), jobs=[job])

    interrupted(storage, prune)
    assert (storage.get("a"), log.exists()) == (job, True)
    assert (prune(), log.exists()) == (1, False)

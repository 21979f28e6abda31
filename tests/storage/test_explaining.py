"""What a job waits for, and what waits for it."""

from __future__ import annotations

from queuectl.core.specs import JobSpec
from support.rows import add


def test_dependants_are_the_jobs_that_wait_for_a_job(storage, clock):
    """They come in the order of entry, each once, whichever end they wait for."""
    add(storage, clock.now, "a", "b")
    storage.enqueue(
        [
            JobSpec(command="true", id="c", after=("a",)),
            JobSpec(command="true", id="d", after=("b",), after_any=("a",)),
            JobSpec(command="true", id="e", after=("c",)),
        ],
        now=clock.now,
    )

    found = {job: storage.dependants(storage.get(job)) for job in "abcde"}

    assert found == {"a": ["c", "d"], "b": ["d"], "c": ["e"], "d": [], "e": []}


def test_a_finished_job_has_only_dependants_that_it_did_not_unblock(storage, clock):
    """The end of a job unblocks those that wait for any end, and keeps the others waiting."""
    add(storage, clock.now, "a")
    storage.enqueue(
        [
            JobSpec(command="true", id="b", after=("a",)),
            JobSpec(command="true", id="c", after_any=("a",)),
        ],
        now=clock.now,
    )

    storage.cancel(storage.get("a"), now=clock.now)

    assert storage.dependants(storage.get("a")) == ["b"]

"""What a job waits for, and what waits for it."""

from __future__ import annotations

from queuectl.core.models import JobKey
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

    found = {job: [key.id for key in storage.dependants(storage.get(job))] for job in "abcde"}

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

    assert [key.id for key in storage.dependants(storage.get("a"))] == ["b"]


def test_jobs_come_after_those_that_wait_for_them(storage, clock):
    """Every job that waits, in whichever way and through whichever others, comes first."""
    add(storage, clock.now, "a", "other")
    add(storage, clock.now, "b", after=("a",))
    add(storage, clock.now, "c", after_any=("b",))
    add(storage, clock.now, "d", after=("a", "c", "other"))
    add(storage, clock.now, "e", after=("other",))
    keys = [JobKey(storage.get(job).seq, job) for job in "bab"]

    assert [key.id for key in storage.with_dependants(keys)] == ["d", "c", "b", "a"]


def test_a_long_chain_and_many_ways_take_no_recursion_and_no_time(storage, clock):
    """20,000 links, and 40 diamonds one after the other: 2 ** 40 ways."""
    specs = [JobSpec(command="x", id="j0")]
    specs += [JobSpec(command="x", id=f"j{n}", after=(f"j{n - 1}",)) for n in range(1, 20_000)]
    specs += [JobSpec(command="x", id="k0")]
    for n in range(1, 41):
        sides = (f"l{n}", f"r{n}")
        specs += [JobSpec(command="x", id=side, after=(f"k{n - 1}",)) for side in sides]
        specs.append(JobSpec(command="x", id=f"k{n}", after=sides))
    storage.enqueue(specs, now=clock.now)
    keys = [JobKey(storage.get(job).seq, job) for job in ("j0", "k0")]

    found = [key.id for key in storage.with_dependants(keys)]
    assert found[:20_000] == [f"j{n}" for n in range(19_999, -1, -1)]
    assert len(found) == len(set(found)) == 20_000 + 121

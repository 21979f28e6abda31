"""Which jobs of a long list are shown first."""

from __future__ import annotations

from datetime import timedelta

import pytest

from queuectl.core.models import Selection
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.storage.overview import Groups, parts
from support.clock import later
from support.outcomes import COMPLETED, DEAD, EXIT_1, OK, retry_at
from support.rows import sql


def shown(storage, clock, at_most=100, **selection):
    found = storage.overview(Selection(**selection), at_most, now=clock.now)
    return [job.id for job in found]


def enqueue(storage, clock, *ids, **fields):
    specs = [JobSpec(command="x", id=name, label=f"label of {name}", **fields) for name in ids]
    storage.enqueue(specs, now=clock.now)


def end(storage, clock, name, outcome, verdict, **fields):
    """Enqueue a job, run it, and record its end a second later."""
    enqueue(storage, clock, name, priority=100, **fields)
    claim = storage.claim("w1", now=clock.now)
    assert claim.job.id == name
    storage.record(claim, outcome, verdict, now=clock.tick(1))


def start(storage, clock, worker, name):
    enqueue(storage, clock, name, priority=100)
    assert storage.claim(worker, now=clock.tick(1)).job.id == name


def everything(storage, clock):
    """Make jobs in all states, not in the order in which they are shown."""
    end(storage, clock, "died-long-ago", EXIT_1, DEAD, max_retries=1)
    clock.tick(2 * 86400)
    enqueue(storage, clock, "blocked", after=("died-long-ago",))
    enqueue(storage, clock, "at-ten", "at-nine")
    for name, hours in (("at-ten", 10), ("at-nine", 9)):
        at = clock.now + timedelta(hours=hours)
        sql(storage, "UPDATE jobs SET state = 'scheduled', run_at = ? WHERE id = ?",
            at.isoformat().replace("+00:00", ".000000Z"), name)  # fmt: skip
    end(storage, clock, "completed", OK, COMPLETED)
    enqueue(storage, clock, "cancelled")
    storage.cancel(storage.get("cancelled"), now=clock.tick(1))
    end(storage, clock, "completed-last", OK, COMPLETED)
    for name in ("died", "died-last"):
        end(storage, clock, name, EXIT_1, DEAD, max_retries=1)
    for name, seconds in (("retry-later", 500), ("retry-soon", 200)):
        end(storage, clock, name, EXIT_1, retry_at(later(clock.now, seconds)))
    start(storage, clock, "w2", "runs-longest")
    start(storage, clock, "w3", "runs")
    enqueue(storage, clock, "normal")
    enqueue(storage, clock, "paused", queue="p", priority=9)
    enqueue(storage, clock, "urgent", queue="q", priority=1)
    enqueue(storage, clock, "normal-2")
    storage.pause_queue("p", by="ann", reason=None, now=clock.now)


ORDER = [
    "runs-longest", "runs",
    "retry-soon", "retry-later", "died-last", "died",
    "urgent", "normal", "normal-2", "paused",
    "at-nine", "at-ten", "blocked",
    "completed-last", "cancelled", "completed", "died-long-ago",
]  # fmt: skip


def test_the_order(storage, clock):
    """Running ones first, then those that failed, then those that are next, then the finished."""
    everything(storage, clock)

    assert shown(storage, clock) == ORDER


@pytest.mark.parametrize("state", JobState)
def test_some_states(storage, clock, state):
    """The order of jobs in one state is the same without the others."""
    everything(storage, clock)
    in_state = {job.id for job in storage.jobs(Selection(states=(state,)))}

    assert shown(storage, clock, states=(state,)) == [job for job in ORDER if job in in_state]


def test_some_queues(storage, clock):
    """Also of several queues, and of one that has no jobs."""
    everything(storage, clock)

    assert shown(storage, clock, queues=("p", "q")) == ["urgent", "paused"]
    assert shown(storage, clock, queues=("nobody",)) == []


def test_jobs_that_a_label_or_a_time_selects_have_the_same_order(storage, clock):
    """Though no index has it. Only the pause of a queue is not looked at."""
    everything(storage, clock)
    storage.resume_queue(None)
    order = shown(storage, clock)

    assert order.index("paused") < order.index("urgent")
    assert shown(storage, clock, label="*") == order
    assert shown(storage, clock, since=clock.now - timedelta(days=9)) == order
    assert shown(storage, clock, since=clock.now - timedelta(days=1)) == [
        job for job in order if job != "died-long-ago"
    ]
    assert shown(storage, clock, label="label of run*") == ["runs-longest", "runs"]
    assert shown(storage, clock, label="*died*", states=(JobState.DEAD,), queues=("q",)) == []


@pytest.mark.parametrize(
    ("sizes", "at_most", "expected"),
    [
        ((3, 2, 5, 1, 4), 100, [3, 2, 5, 1, 4]),
        ((0, 0, 100, 0, 0), 20, [0, 0, 20, 0, 0]),
        ((4, 8, 100, 2, 100), 20, [4, 5, 4, 2, 5]),
        ((16, 0, 100, 1, 100), 20, [10, 0, 4, 1, 5]),
        ((100, 100, 100, 100, 100), 20, [10, 5, 1, 2, 2]),
        ((0, 0, 0, 0, 0), 20, [0, 0, 0, 0, 0]),
    ],
)
def test_each_group_gets_a_part(sizes, at_most, expected):
    """Running and failed jobs give way last."""
    groups = Groups(*(range(size) for size in sizes))

    found = parts(groups, at_most)

    assert found == expected
    assert sum(found) <= at_most


def test_the_best_jobs_of_many_queues(storage, clock):
    """Wherever they are: each queue is only read as far as the list is long."""
    specs = [
        JobSpec(command="x", id=f"{queue}-{n}", queue=f"q{queue}", priority=(queue * 7 + n) % 10)
        for n in range(20)
        for queue in range(30)
    ]
    storage.enqueue(specs, now=clock.now)
    place = {spec.id: (-spec.priority, at) for at, spec in enumerate(specs)}

    assert shown(storage, clock, 25) == sorted(place, key=place.__getitem__)[:25]

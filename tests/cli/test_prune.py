"""`prune`: the only command that deletes, and the key `retention` that lets workers do it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from queuectl.core.models import Outcome, OutcomeKind, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.worker import chores
from support.clock import noon
from support.queue import Queue
from support.states import every_state

_UNFINISHED = ["blocked", "failed", "pending", "processing", "scheduled"]


@pytest.fixture
def states(queue: Queue) -> Queue:
    """A queue with a job in each state, its id the state's name; what ended did so long ago."""
    every_state(queue)
    return queue


@pytest.mark.parametrize(
    ("args", "deleted"),
    [
        ([], ["cancelled", "completed"]),
        (["--older-than", "0"], ["cancelled", "completed"]),
        (["--older-than", "9y"], None),
        (["--older-than", "500w"], []),
        (["--state", "dead"], ["dead"]),
        (["--state", "dead,completed", "--older-than", "1d"], ["completed", "dead"]),
        (["--queue", "q"], ["completed"]),
        (["--queue", "default"], ["cancelled"]),
        (["dead", "completed"], ["completed", "dead"]),
    ],
)
def test_finished_jobs_are_deleted_and_counted(
    states: Queue, args: list[str], deleted: list[str]
) -> None:
    """Completed and cancelled ones, dead ones only if asked; with --dry-run only counted."""
    before = set(states.ids())
    if deleted is None:
        assert states.fails(2, "prune", *args).startswith(
            "queuectl prune: --older-than: not a duration"
        )
        return
    tried = states.ok("prune", "--dry-run", *args)
    assert set(states.ids()) == before
    done = states.ok("prune", *args)

    assert tried == f"{len(deleted)} would be deleted"
    assert done == f"{len(deleted)} deleted"
    assert sorted(before - set(states.ids())) == deleted


def test_how_long_jobs_are_kept_is_the_key_retention(states: Queue) -> None:
    """Without --older-than it decides; 0 means for ever, and is said on stderr."""
    states.configure(retention="500w")
    assert states.ok("prune") == "0 deleted"
    states.configure(retention="0")
    done = states.run("prune")

    assert (done.code, done.out) == (0, "0 deleted\n")
    assert done.err == "the key retention is 0: jobs are kept for ever (give --older-than)\n"
    states.configure(retention="30d")
    assert states.ok("prune", "-q") == ""
    assert "completed" not in states.ids()


@pytest.mark.parametrize("state", _UNFINISHED)
def test_an_unfinished_state_is_refused(states: Queue, state: str) -> None:
    """Exit 2, and nothing is deleted."""
    before = states.ids()

    assert states.fails(2, "prune", "--state", f"dead,{state}") == (
        f"queuectl prune: only finished jobs can be deleted, not {state}"
    )
    assert states.ids() == before


@pytest.mark.parametrize("state", _UNFINISHED)
def test_an_unfinished_job_is_refused_by_name(states: Queue, state: str) -> None:
    """Exit 1 with a line for it; the others that were named are deleted."""
    done = states.run("prune", state, "dead", "zz")

    assert (done.code, done.err.splitlines()) == (
        1,
        [
            f"queuectl prune: cannot delete {state}: it is {state}",
            "queuectl prune: no such job: zz",
        ],
    )
    assert "dead" not in states.ids()
    assert state in states.ids()


def test_a_job_that_an_unfinished_one_waits_for_is_kept(queue: Queue) -> None:
    """By whatever way it is asked for; when nothing waits for it any more it can go."""
    queue.enqueue("exit 1", "--id", "need")
    queue.run_as_if("dead")
    queue.run("enqueue", "--id", "waits", "--after", "need", "true")
    everything = ["--state", "dead", "--older-than", "0"]

    assert queue.ok("prune", "--dry-run", *everything) == "0 would be deleted"
    assert queue.ok("prune", *everything) == "0 deleted"
    assert queue.fails(1, "prune", "need") == (
        "queuectl prune: need is kept: an unfinished job waits for it"
    )
    queue.ok("cancel", "waits")
    assert queue.ok("prune", "need") == "1 deleted"


def test_a_log_goes_with_its_job(queue: Queue) -> None:
    """A large output is a file beside the database; after the prune it is gone."""
    queue.enqueue("yes | head -c 300000", "--id", "a")
    queue.drain()
    logs = list(queue.files and (queue.folder / "queue.db.d" / "logs").iterdir())
    assert [path.stat().st_size for path in logs] == [300_000]
    queue.ok("prune", "a")

    assert list((queue.folder / "queue.db.d" / "logs").iterdir()) == []
    assert queue.fails(1, "logs", "a") == "queuectl logs: no such job: a"


def test_a_workers_chore_heeds_the_retention_and_never_takes_a_dead_job(states: Queue) -> None:
    """What completed or was cancelled longer ago goes; dead jobs stay until a person acts."""
    done = Outcome(OutcomeKind.OK, exit_code=0)
    late = noon(10**6)
    with states.opened() as storage:
        storage.set_key("retention", "1h")
        storage.cancel(storage.get("pending"), now=late - timedelta(hours=1))
        storage.enqueue([JobSpec(command="true", id="young")], now=late - timedelta(hours=2))
        claim = storage.claim("5a5a5a5a-3", now=late - timedelta(hours=2))
        assert claim is not None
        storage.record(claim, done, Verdict(JobState.COMPLETED), now=late - timedelta(minutes=59))
        deleted = chores.prune(storage, now=late)
        storage.set_key("retention", "0")
        later = chores.prune(storage, now=late + timedelta(days=9))

    # `pending` ended just an hour ago, not longer.
    assert (deleted, later) == (2, 0)
    assert {"dead", "young", "pending"} <= set(states.ids())
    assert not {"completed", "cancelled"} & set(states.ids())


def test_names_and_a_selection_exclude_each_other(states: Queue) -> None:
    """Exit 2."""
    assert states.fails(2, "prune", "dead", "--queue", "q").endswith(
        "job ids and --queue or --state cannot be used together"
    )

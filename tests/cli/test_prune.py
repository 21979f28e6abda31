"""The command `prune`, and the key `retention`, by which workers prune as well."""

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
    """A queue with one job per state, named by it; the finished ones ended long ago."""
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
    """Completed and cancelled jobs are; dead ones only on request. --dry-run only counts."""
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


def test_the_key_retention_is_the_default_age(states: Queue) -> None:
    """0 means that jobs are kept for ever, and stderr says so."""
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
    """The exit code is 2, and nothing is deleted."""
    before = states.ids()

    assert states.fails(2, "prune", "--state", f"dead,{state}") == (
        f"queuectl prune: only finished jobs can be deleted, not {state}"
    )
    assert states.ids() == before


@pytest.mark.parametrize("state", _UNFINISHED)
def test_an_unfinished_job_cannot_be_deleted_by_name(states: Queue, state: str) -> None:
    """There is a line for it, and the exit code is 1; the other named jobs are deleted."""
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
    """No option deletes it; when no job waits for it any more, it is deleted."""
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


def test_workers_prune_by_the_key_retention_but_never_dead_jobs(states: Queue) -> None:
    """They delete older completed and cancelled jobs; dead jobs stay until a person acts."""
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

    # `pending` ended exactly one hour ago, so it is not older than that.
    assert (deleted, later) == (2, 0)
    assert {"dead", "young", "pending"} <= set(states.ids())
    assert not {"completed", "cancelled"} & set(states.ids())


def test_ids_and_options_that_select_cannot_be_used_together(states: Queue) -> None:
    """The exit code is 2."""
    assert states.fails(2, "prune", "dead", "--queue", "q").endswith(
        "job ids and --queue or --state cannot be used together"
    )


@pytest.fixture
def mostly_unused(queue: Queue) -> Queue:
    """A queue with one job, whose file has grown to over 1 MiB for others that are gone."""
    queue.add_many(*["true"] * 3000, env={"TEXT": "x" * 500})
    queue.ok("cancel", "-q", "--all")
    queue.add("true", id="kept")
    queue.ok("prune", "-q", "--older-than", "0")
    queue.close_storage()
    return queue


def test_prune_with_vacuum_makes_the_file_smaller(mostly_unused: Queue) -> None:
    """Prevents a bug: the space of deleted jobs was never given back."""
    found = {finding["check"]: finding for finding in mostly_unused.json("doctor")}
    assert found["unused space"]["level"] == "warn"
    assert "(queuectl prune --vacuum gives them back)" in found["unused space"]["message"]

    assert mostly_unused.ok("prune", "--vacuum") == "0 deleted"
    assert mostly_unused.database.stat().st_size < 300_000
    assert mostly_unused.ids() == ["kept"]
    found = {finding["check"]: finding["level"] for finding in mostly_unused.json("doctor")}
    assert (found["unused space"], found["integrity"]) == ("ok", "ok")


def test_a_vacuum_spares_a_reader(mostly_unused: Queue) -> None:
    """Somebody who reads meanwhile goes on seeing the jobs; the file shrinks later."""
    with mostly_unused.opened() as storage, storage._snapshot() as conn:
        before = conn.execute("SELECT count(*) FROM jobs").fetchone()
        mostly_unused.ok("prune", "-q", "--vacuum", as_process=True)
        assert conn.execute("SELECT count(*) FROM jobs").fetchone() == before == (1,)


def test_a_backup_leaves_out_unused_space(mostly_unused: Queue) -> None:
    """The copy is as large as what it holds."""
    copy = mostly_unused.folder / "copy.db"
    mostly_unused.ok("backup", "-q", str(copy))

    assert copy.stat().st_size < 300_000 < mostly_unused.database.stat().st_size
    assert mostly_unused.ok("--db", str(copy), "list", "--ids") == "kept"
    assert sorted(path.name for path in copy.parent.glob("copy.db*")) == ["copy.db"]


def test_a_dry_run_does_not_vacuum(queue: Queue) -> None:
    """It changes nothing."""
    error = "queuectl prune: --dry-run and --vacuum cannot be used together"
    assert queue.fails(2, "prune", "--dry-run", "--vacuum") == error

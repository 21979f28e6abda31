"""`pause` and `resume` of jobs: which jobs they act on, and where a pause is shown."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from queuectl.core.states import FINISHED_STATES
from queuectl.core.times import utcnow
from support.queue import Queue
from support.terminal import on_terminal
from support.why import assert_why


def _paused(queue: Queue) -> list[str]:
    return [job.id for job in queue.jobs() if job.paused_at is not None]


def _screen(queue: Queue, *args: str) -> str:
    return on_terminal(queue, *args, env={"NO_COLOR": "1"}).screen.rstrip()


def test_a_waiting_job_is_paused_and_resumed(queue: Queue) -> None:
    """Both say so; -q says nothing."""
    queue.add_many("true", "true")
    queue.add("true", id="a")

    assert queue.ok("pause", "a") == "a is paused"
    assert queue.ok("pause", "a") == "a is paused"
    assert queue.ok("resume", "@3") == "a is resumed"
    assert queue.ok("resume", "a") == "a is not paused"
    assert queue.ok("pause", "-q", "a") == ""
    assert queue.ok("resume", "-q", "a") == ""


def test_a_running_job_is_being_paused(queue: Queue) -> None:
    """Its worker has to stop it first."""
    queue.add("true", id="a")
    queue.storage.claim("w1", now=utcnow())

    assert queue.ok("pause", "@running") == "a is being paused"
    assert queue.ok("resume", "a") == "a is resumed"


@pytest.mark.parametrize("state", FINISHED_STATES)
def test_a_finished_job_is_refused(queue: Queue, state: str) -> None:
    """The error names its state."""
    queue.add("true", id="a")
    queue.run_as_if(state)

    error = f"queuectl pause: cannot pause a: it is {state.value}"
    assert queue.fails(1, "pause", "a") == error
    assert queue.ok("resume", "a") == "a is not paused"


def test_jobs_are_chosen_by_options_and_from_stdin(queue: Queue) -> None:
    """A resume by options is only about paused jobs."""
    queue.add("true", id="a", queue="x")
    queue.add("true", id="b", queue="x", label="nightly")
    queue.add("true", id="c", queue="y")

    assert queue.ok("pause", "--queue", "x") == "a is paused\nb is paused"
    assert queue.ok("resume", "--label", "night*") == "b is resumed"
    assert queue.ok("resume", "--queue", "y") == ""
    assert queue.ok("pause", "-", stdin="b c") == "b is paused\nc is paused"
    assert queue.ok("resume", "--all") == "a is resumed\nb is resumed\nc is resumed"
    assert queue.ok("pause", "--state", "pending", "-q") == ""
    assert _paused(queue) == ["a", "b", "c"]


def test_many_jobs_are_summed_up_on_a_terminal(queue: Queue) -> None:
    """As with cancel."""
    queue.add_many(*["true"] * 3)

    assert _screen(queue, "pause", "--all") == "3 paused (-v prints one line per job)"
    assert _screen(queue, "resume", "--all") == "3 resumed (-v prints one line per job)"
    assert on_terminal(queue, "resume", "--all").err == "no paused jobs\n"


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_without_jobs_the_error_names_the_command_for_queues(queue: Queue, command: str) -> None:
    """Both exist, and people know them from other tools as one."""
    queue.add("true", queue="gpu")

    assert queue.fails(2, command) == (
        f"queuectl {command}: no jobs given (give their ids, --queue, --state or --all;"
        f" for whole queues: queuectl queue {command})"
    )
    assert queue.fails(1, command, "gpu") == (
        f"queuectl {command}: no such job: gpu, but a queue has this name"
        f" (queuectl queue {command} gpu)"
    )
    assert queue.fails(1, command, "cpu") == f"queuectl {command}: no such job: cpu"


def test_lists_show_which_jobs_are_paused(queue: Queue) -> None:
    """In a pipe the state is one word."""
    queue.add("true", id="a")
    queue.add("false", id="b")
    queue.add("make", id="c", run_at=utcnow() + timedelta(days=1))
    queue.storage.claim("w1", now=utcnow())
    queue.ok("pause", "a", "c")

    rows = [line.split()[:2] for line in queue.ok("list").splitlines()[1:]]
    assert rows == [["a", "processing,paused"], ["b", "pending"], ["c", "scheduled,paused"]]
    lines = _screen(queue, "list").splitlines()
    assert [line[9:31].rstrip() for line in lines[1:]] == [
        "▸ processing, paused",
        "◦ pending",
        "◷ scheduled, paused",
    ]


def test_a_paused_pending_job_comes_after_those_that_start_next(queue: Queue) -> None:
    """On a terminal the list begins with what happens now and next."""
    queue.add_many("first", "second", "third")
    queue.ok("pause", "@1")

    lines = _screen(queue, "list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["@2", "@3", "@1"]


def test_show_and_json_tell_since_when(queue: Queue) -> None:
    """It is null for a job that is not paused."""
    queue.add("true", id="a")
    assert queue.show("a")["paused_at"] is None
    queue.ok("pause", "a")

    shown = queue.show("a")["paused_at"]
    assert shown == queue.json("list")[0]["paused_at"]
    since = shown[:19].replace("T", " ")
    assert f"Paused:   since {since} (queuectl resume a)" in queue.ok("show", "a").splitlines()


def test_why_names_the_pause(queue: Queue) -> None:
    """Of the job itself, and of those that others wait for."""
    queue.add("true", id="a")
    queue.add("true", id="b", after=("a",))
    queue.ok("pause", "a")

    assert_why(queue, "a", "job-paused", r"waits: it was paused at TIME \(queuectl resume a\)")
    assert_why(queue, "b", "blocked", "is blocked by a, which is pending and paused")


def test_why_says_that_a_paused_job_uses_the_limit(queue: Queue) -> None:
    """It keeps its place."""
    queue.add_many("true", "true")
    first, second = (job.id for job in queue.jobs())
    queue.ok("queue", "limit", "default", "1")
    queue.storage.claim("w1", now=utcnow())
    queue.ok("pause", first)

    assert_why(
        queue,
        second,
        "limit",
        rf"waits: the limit of its queue, 1/1, is used by {first} \(paused\) "
        r"\(queuectl queue limit default N changes it\)",
    )


def test_status_counts_paused_jobs(queue: Queue) -> None:
    """Each by itself, beside paused queues; nothing is left that would end by itself."""
    queue.add_many("true", "true")
    assert "Paused jobs" not in queue.ok("status")
    queue.ok("pause", "--all")

    lines = queue.ok("status").splitlines()
    assert "Paused jobs: 2 (queuectl resume --all)" in lines
    assert "Left in default: 2 job(s), paused" in lines
    assert queue.json("status")["queues"][0]["held_by"] == "paused"
    assert "2 paused" in _screen(queue, "status")


def test_an_edit_keeps_the_pause(queue: Queue) -> None:
    """And says so."""
    queue.add("true", id="a")
    queue.ok("pause", "a")

    assert queue.ok("edit", "a", "false") == "a is changed; it is pending, paused"
    assert _paused(queue) == ["a"]


def test_a_retry_keeps_the_pause(queue: Queue) -> None:
    """And says so: the job does not run before it is resumed."""
    queue.add("false", id="a")
    queue.run_as_if("failed")
    queue.ok("pause", "a")

    assert queue.ok("retry", "a") == "a is pending again, paused"
    assert _paused(queue) == ["a"]


def test_a_pause_is_exported_and_imported(queue: Queue) -> None:
    """A running job is pending elsewhere, and still paused; a finished one is not paused."""
    queue.add("true", id="a")
    queue.add("true", id="b")
    queue.storage.claim("w1", now=utcnow())
    queue.ok("pause", "a")
    paused_at = queue.show("a")["paused_at"]
    exported = [json.loads(line) for line in queue.export()]
    assert [job.get("paused_at") for job in exported] == [paused_at, None]

    other = {"QUEUECTL_DB": str(queue.folder / "other.db")}
    ended = {"id": "c", "command": "true", "state": "completed",
             "finished_at": paused_at, "paused_at": paused_at}  # fmt: skip
    lines = "\n".join(map(json.dumps, [*exported, ended]))
    queue.ok("import", "-", stdin=lines, env=other)
    found = json.loads(queue.ok("list", "--json", env=other))
    assert [(job["id"], job["state"], job["paused_at"]) for job in found] == [
        ("a", "pending", paused_at),
        ("b", "pending", None),
        ("c", "completed", None),
    ]


@pytest.mark.parametrize(
    ("word", "ours"), [("hold", "pause"), ("unpause", "resume"), ("continue", "resume")]
)
def test_the_words_of_other_tools_lead_here(queue: Queue, word: str, ours: str) -> None:
    """The error names our command."""
    assert queue.fails(2, word, "a").endswith(f"(use: queuectl {ours})")

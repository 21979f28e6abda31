"""`show`, `logs` and `why` for several jobs, and for a job that is not named."""

from __future__ import annotations

import json

import pytest

from queuectl.core.models import Outcome, OutcomeKind, Output
from support.clock import noon
from support.outcomes import COMPLETED
from support.outcomes import DEAD as DIES
from support.queue import Queue
from support.states import every_state
from support.terminal import on_terminal


def _printed(queue: Queue, job: str, text: bytes, *, dies: bool = False, **fields: str) -> None:
    """Add a job whose only attempt printed a text."""
    queue.add(f"print {job}", id=job, **fields)
    with queue.opened() as storage:
        claim = storage.claim("w-1", now=noon(0))
        assert claim is not None
        output = Output(len(text), False, text, False)
        outcome = Outcome(OutcomeKind.EXIT, exit_code=3, reason="exit 3", output=output)
        if not dies:
            outcome = Outcome(OutcomeKind.OK, exit_code=0, output=output)
        storage.record(claim, outcome, DIES if dies else COMPLETED, now=noon(1))


def test_the_output_of_several_jobs(queue: Queue) -> None:
    """Each has a header, and an empty line before the next; the last line of each is ended."""
    _printed(queue, "a", b"one\ntwo\n")
    _printed(queue, "b", b"no line break", dies=True)
    _printed(queue, "c", b"")
    queue.add("wait", id="d")

    assert queue.run("logs", "a", "b", "c", "d") == (
        0,
        "==> a completed: print a <==\n"
        "one\ntwo\n"
        "\n"
        "==> b dead, exit 1: print b <==\n"
        "no line break\n"
        "\n"
        "==> c completed: print c <==\n"
        "\n"
        "==> d pending: wait <==\n",
        "",
    )
    assert queue.ok("logs", "-n", "1", "a", "@failed") == (
        "==> a completed: print a <==\ntwo\n\n==> b dead, exit 1: print b <==\nno line break"
    )


def test_the_output_of_selected_jobs(queue: Queue) -> None:
    """In the order of entry; a selection has a header even if it finds a single job."""
    for job in "abc":
        _printed(queue, job, job.encode(), dies=job != "b")

    assert queue.ok("logs", "--state", "dead").splitlines() == [
        "==> a dead, exit 1: print a <==", "a", "", "==> c dead, exit 1: print c <==", "c"
    ]  # fmt: skip
    assert queue.ok("logs", "--state", "completed") == "==> b completed: print b <==\nb"
    assert queue.run("logs", "--state", "failed") == (0, "", "no such jobs\n")


def test_the_bytes_of_one_job_are_printed_unchanged(queue: Queue) -> None:
    """There is no header, and no line break is added."""
    _printed(queue, "a", b"\xff\x00no line break")

    assert queue.run("logs", "a", as_process=True).out.encode("utf-8", "surrogateescape")
    assert queue.ok("logs", "@1") == queue.ok("logs", "a")
    assert "==>" not in queue.ok("logs", "a")


@pytest.mark.parametrize("verb", ["show", "logs", "why"])
def test_a_wrong_name_does_not_keep_from_the_other_jobs(queue: Queue, verb: str) -> None:
    """The error names the wrong one; the exit code is 1."""
    every_state(queue)

    done = queue.run(verb, "dead", "nobody", "completed")

    assert (done.code, done.err) == (1, f"queuectl {verb}: no such job: nobody\n")
    assert "dead" in done.out
    assert "completed" in done.out
    if verb != "logs":
        found = json.loads(queue.run(verb, "dead", "nobody", "completed", "--json").out)
        assert [job["id"] for job in found] == ["dead", "completed"]


@pytest.mark.parametrize("verb", ["show", "why"])
def test_json_of_several_jobs_is_a_list(queue: Queue, verb: str) -> None:
    """Also for a name or an option that can mean several; one job that is named is an object."""
    every_state(queue)

    assert [job["id"] for job in queue.json(verb, "dead", "completed")] == ["dead", "completed"]
    assert [job["id"] for job in queue.json(verb, "@failed")] == ["failed", "dead"]
    assert [job["id"] for job in queue.json(verb, "--state", "dead")] == ["dead"]
    assert [job["id"] for job in json.loads(queue.ok(verb, "-", "--json", stdin="dead"))] == [
        "dead"
    ]
    assert queue.json(verb, "--queue", "nobody") == []
    assert queue.json(verb, "dead")["id"] == "dead"
    assert queue.json(verb, "@last")["id"] == "cancelled"


def test_several_jobs_as_text(queue: Queue) -> None:
    """`show` separates them by an empty line; `why` prints a line for each."""
    every_state(queue)

    shown = queue.ok("show", "pending", "blocked")
    assert shown == queue.ok("show", "pending") + "\n\n" + queue.ok("show", "blocked")
    assert queue.ok("why", "--state", "pending,blocked").splitlines() == [
        queue.ok("why", "pending"), queue.ok("why", "blocked")
    ]  # fmt: skip


class TestOutputOfAJobThatIsNotNamed:
    """On a terminal `logs` means the job that runs or ran last, and says which one that is."""

    def test_it_is_the_one_that_ran_last(self, queue: Queue) -> None:
        """Not the one that was enqueued last."""
        _printed(queue, "first", b"one\n", priority=1)
        _printed(queue, "second", b"two\n", dies=True)
        queue.add("later", id="third")

        shown = on_terminal(queue, "logs", env={"NO_COLOR": "1"})

        assert (shown.code, shown.err) == (0, "")
        assert shown.screen == "==> second dead, exit 1: print second <==\ntwo\n"

    def test_one_that_runs_comes_first(self, queue: Queue) -> None:
        """Even if another one ran since it started."""
        every_state(queue)
        _printed(queue, "since", b"x", priority=1)

        shown = on_terminal(queue, "logs", streams="stdout stderr", env={"NO_COLOR": "1"})

        assert shown.screen == (
            "==> processing processing: run processing <==\nprocessing has printed nothing yet\n"
        )

    def test_before_any_has_run(self, queue: Queue) -> None:
        """It is the one that was enqueued last, called by its number unless a person named it."""
        queue.enqueue("x" * 200)

        shown = on_terminal(queue, "logs", streams="stdout stderr", size=(80, 24))

        assert shown.screen == (
            f"\x1b[1m==> @1 pending: {'x' * 29}…{'x' * 30} <==\x1b[0m\n"
            "@1 has not run yet (queuectl why @1)\n"
        )


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("cancelled", "cancelled has not run (queuectl why cancelled)"),
        ("pending", "pending has not run yet (queuectl why pending)"),
        ("processing", "processing has printed nothing yet"),
        ("dead", "dead has printed nothing"),
    ],
)
def test_that_there_is_no_output_is_said_on_a_terminal(
    queue: Queue, job: str, message: str
) -> None:
    """On stderr, and only if that is a terminal."""
    every_state(queue)

    assert queue.run("logs", job) == (0, "", "")
    assert on_terminal(queue, "logs", job, streams="stdout stderr").screen == f"{message}\n"
    shown = on_terminal(queue, "logs", job, streams="stderr")
    assert (shown.out, shown.screen) == ("", f"{message}\n")


def test_why_on_a_terminal_names_the_job_by_number_and_title(queue: Queue) -> None:
    """The title is cut in the middle; an id that a person gave is there, too."""
    queue.add("ffmpeg -nostdin -i 'holiday 2026 part 1.mkv' 'holiday 2026 part 1.mp4'", id="film")
    job = queue.enqueue("true", "--label", "nightly backup")

    assert on_terminal(queue, "why", "film").screen.startswith(
        "@1 film (ffmpeg -nostdin -i 'hol…holiday 2026 part 1.mp4') waits: "
    )
    assert on_terminal(queue, "why", job).screen.startswith("@2 (nightly backup) waits: ")

"""What commands on many jobs print on a terminal: one line with the numbers."""

from __future__ import annotations

import re

import click
import pytest

from support.queue import Queue
from support.states import every_state
from support.terminal import on_terminal


def _shown(queue: Queue, *args: str) -> str:
    done = on_terminal(queue, *args, streams="stdout stderr", size=(80, 24))
    assert done.code == 0, done
    return done.screen


_NO_WORKER = "\nno worker is running (queuectl worker start)"
"""What a person is told after a retry."""


@pytest.fixture
def states(queue: Queue) -> Queue:
    """A queue with one job per state, named by it; the finished ones ended long ago."""
    every_state(queue)
    return queue


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("cancel --all", "4 cancelled, 1 being cancelled (-v prints one line per job)"),
        ("cancel --state pending", "1 cancelled"),
        ("cancel --queue none", "no unfinished jobs"),
        ("cancel --queue none --state pending,failed", "no pending or failed jobs"),
        ("retry --all", "2 pending again (-v prints one line per job)" + _NO_WORKER),
        ("retry --state completed", "1 pending again" + _NO_WORKER),
        ("retry --queue none", "no failed or dead jobs"),
        ("retry --queue none --state dead", "no dead jobs"),
        ("dlq retry --all", "1 pending again" + _NO_WORKER),
        ("dlq retry --queue none", "no dead jobs"),
    ],
)
def test_jobs_that_options_choose_are_counted(states: Queue, args: str, line: str) -> None:
    """300 lines would push everything else off the screen."""
    assert _shown(states, *args.split()) == line + "\n"


def test_verbose_prints_one_line_per_job(states: Queue) -> None:
    """They are the lines that scripts get."""
    assert _shown(states, "retry", "--all", "-v") == (
        f"failed is pending again\ndead is pending again{_NO_WORKER}\n"
    )


def test_named_jobs_have_their_lines(states: Queue) -> None:
    """Whoever names jobs wants to read what became of each."""
    assert _shown(states, "cancel", "pending", "scheduled") == (
        "pending is cancelled\nscheduled is cancelled\n"
    )


def test_many_jobs_show_how_far_it_is(queue: Queue) -> None:
    """Prevents: the terminal was silent for ten seconds. The bar is erased before an error."""
    queue.ok("enqueue", "-q", "--lines", "-", stdin="true\n" * 1200)
    held = queue.enqueue("true", "--unique", "k")

    def shown(*args: str, streams: str = "stdout stderr") -> str:
        env = {"TERM": "xterm"}
        return click.unstyle(on_terminal(queue, *args, streams=streams, env=env).screen)

    for verb, doing, done in (
        ("pause", "pausing", "1201 paused"),
        ("resume", "resuming", "1201 resumed"),
        ("cancel", "cancelling", "1201 cancelled"),
    ):
        screen = shown(verb, "--all")
        assert re.search(rf"{doing}  [█░]+  [1-9]\d* of 1201", screen), screen
        assert screen.endswith(f"\r{done} (-v prints one line per job)\n")
    queue.enqueue("true", "--unique", "k")
    refused = shown("retry", "--state", "cancelled", streams="stderr")
    assert re.search(r"retrying  [█░]+  \d+ of 1201", refused)
    assert f"\rqueuectl retry: cannot retry {held}: " in refused
    assert "█" not in shown("cancel", "--all", "-v") + shown("retry", "--all", "-q")


def test_quiet_prints_nothing(states: Queue) -> None:
    """Neither numbers nor that there are none."""
    assert _shown(states, "cancel", "--all", "-q") == ""
    assert _shown(states, "cancel", "--queue", "none", "-q") == ""


def test_off_a_terminal_each_job_has_its_line(states: Queue) -> None:
    """With -v as without."""
    lines = "failed is pending again\ndead is pending again\n"
    assert states.run("retry", "--all") == (0, lines, "")
    assert states.run("retry", "--queue", "none") == (0, "", "")
    assert states.run("cancel", "--state", "blocked", "-v") == (0, "blocked is cancelled\n", "")


def test_a_job_that_is_refused_is_not_counted(queue: Queue) -> None:
    """Its error is on stderr."""
    first = queue.enqueue("true", "--unique", "k")
    queue.run_as_if("dead")
    queue.enqueue("true", "--unique", "k")
    done = on_terminal(queue, "dlq", "retry", "--all", streams="stdout stderr")

    assert done.code == 1
    assert re.fullmatch(rf"queuectl dlq retry: cannot retry {first}: .*\n", done.screen), done


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ("", "2 completed or cancelled jobs ended less than 30d ago; "
             "--older-than 0 deletes jobs of any age"),
        ("--state dead", "1 dead job ended less than 30d ago; "
             "--older-than 0 deletes jobs of any age"),
        ("--queue none", "there are no completed or cancelled jobs"),
        ("--state dead --queue none", "there are no dead jobs"),
    ],
)  # fmt: skip
def test_prune_says_why_it_deletes_nothing(queue: Queue, args: str, why: str) -> None:
    """Regression: it said "0 deleted", and nothing of the 30 days."""
    for state in ("completed", "dead"):
        queue.add("true")
        queue.run_as_if(state)
    queue.ok("cancel", queue.add("true"))
    shown = on_terminal(
        queue, "prune", *args.split(), streams="stdout stderr", env={"COLUMNS": "100"}
    )

    assert shown.screen == f"0 deleted\n{why}\n"
    assert queue.run("prune", *args.split()) == (0, "0 deleted\n", "")


def test_prune_says_that_unfinished_jobs_wait_for_those_that_it_keeps(queue: Queue) -> None:
    """Age is not the reason then."""
    job = queue.add("true")
    queue.run_as_if("dead")
    queue.ok("enqueue", "--after", job, "true")

    assert _shown(queue, "prune", "--state", "dead", "--older-than", "0") == (
        "0 deleted\nunfinished jobs wait for the 1 that is dead\n"
    )


def test_export_says_how_many_jobs_it_wrote(queue: Queue) -> None:
    """Only on a terminal."""
    queue.add_many("true", "true")

    assert _shown(queue, "export", "jobs.jsonl") == "2 jobs written to jobs.jsonl\n"
    assert queue.run("export", "more.jsonl") == (0, "", "")


def test_pausing_a_queue_without_jobs_says_so(queue: Queue) -> None:
    """It may be a typing error; the queue is paused all the same, for jobs to come."""
    queue.enqueue("true")
    hint = "there are no jobs in nosuch yet (queuectl queue list shows the queues)\n"

    assert queue.run("queue", "pause", "nosuch") == (0, "paused nosuch\n", hint)
    assert queue.run("queue", "pause", "default") == (0, "paused default\n", "")
    assert queue.run("queue", "pause") == (0, "paused all queues\n", "")
    assert queue.run("queue", "pause", "-q", "nosuch") == (0, "", "")

"""What `wait` shows on a terminal: a line of progress, and a summary."""

from __future__ import annotations

import re

import click
import pytest

from support.held import UNTIL_GO
from support.queue import Queue
from support.terminal import on_terminal


def test_the_end_of_several_jobs_is_summed_up(queue: Queue) -> None:
    """On a terminal, and not for a single job; then the line that says why the code is not 0."""
    queue.enqueue("true", "--id", "a")
    queue.enqueue("exit 3", "--id", "b", "--max-retries", "1")
    queue.drain()
    shown = on_terminal(queue, "wait", "a", "b", streams="stderr")
    piped = queue.run("wait", "a", "b")
    single = on_terminal(queue, "wait", "a", streams="stderr")
    any_one = on_terminal(queue, "wait", "--any", "a", "b", streams="stderr")
    why = "queuectl wait: 1 of 2 did not complete: b is dead: exit 3\n"

    assert (shown.code, shown.out, shown.screen) == (1, "", f"1 completed, 1 dead\n{why}")
    assert (piped.code, piped.err) == (1, why)
    assert (single.screen, any_one.screen) == ("", "")


@pytest.mark.parametrize("args", [["--all"], ["a", "b", "c"]])
def test_a_wait_shows_its_progress(queue: Queue, args: list[str]) -> None:
    """A line counts the jobs that have ended; it is replaced by the summary."""
    queue.enqueue("exit 1", "--id", "a", "--max-retries", "1")
    queue.enqueue(UNTIL_GO, "--id", "b")
    queue.enqueue("true", "--id", "c")
    queue.start()

    def go_on(screen: str) -> None:
        if "waiting" in screen:
            queue.let_go()

    shown = on_terminal(
        queue, "wait", *args, streams="stderr", size=(80, 24), env={"TERM": "xterm"}, seen=go_on
    )
    said = click.unstyle(shown.screen)

    # With --all, what ended before the wait began does not count.
    assert re.search(r"waiting  [█░]{30}  (0 of 2\b|[01] of 3\b|1 of 3  1 dead)", said), said
    assert re.search(r"(2 completed, 1 dead|2 completed)\n", said), said
    assert "1 dead" in said or args == ["--all"]


def test_many_new_jobs_have_an_estimate(queue: Queue) -> None:
    """It is made from the jobs of their queue that have just ended, and only for several jobs."""
    queue.start()
    ids = queue.ok("enqueue", "--lines", "-", stdin="sleep 0.1\n" * 5).split()
    queue.ok("wait", *ids)
    (queue.work / "jobs").write_text("sleep 60\n" * 3)
    shown = on_terminal(queue, "enqueue", "--lines", "--file", "jobs", streams="stderr").screen
    single = on_terminal(queue, "enqueue", "true", streams="stderr").screen

    assert re.search("up to 3 attempts done in (a few seconds|about .*)$", " ".join(shown.split()))
    assert "done in" not in single

"""A progress bar while jobs are waited for."""

from __future__ import annotations

from support.queue import Queue
from support.terminal import on_terminal


def test_waiting_for_several_jobs_shows_progress_on_a_terminal(queue: Queue) -> None:
    """For a single job there is no bar."""
    queue.enqueue("true", "--id", "a")
    queue.enqueue("true", "--id", "b")
    queue.drain()
    shown = on_terminal(queue, "wait", "a", "b", streams="stderr")
    piped = queue.run("wait", "a", "b")
    single = on_terminal(queue, "wait", "a", streams="stderr")

    assert "100%" in shown.screen
    assert (shown.code, shown.out) == (0, "")
    assert (piped.err, single.screen) == ("", "")

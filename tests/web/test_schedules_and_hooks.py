"""The pages of schedules and hooks, and what can be done there."""

from __future__ import annotations

import re
from typing import Callable

from support.queue import Queue
from support.web import Page, words


def test_schedules(queue: Queue, shown: Callable[..., Page]) -> None:
    """When, in words; what became of the last time; what comes next."""
    queue.ok("schedule", "add", "poll", "every 10m", "--", "echo '<b>poll</b>'")
    queue.ok("schedule", "run", "poll")
    queue.ok("schedule", "add", "nightly", "0 2 * * *", "--tz", "UTC", "--", "true")
    queue.drain()
    page = shown()

    listed = words(page.get("/schedules"))
    one = page.get("/schedules/poll")

    assert re.search(r"poll echo '<b>poll</b>' every 10m in \d+ (min|s)", listed)
    assert re.search(r"completed in \d", listed)
    assert "nightly true at 02:00 every day, UTC" in listed
    found = words(one)
    assert "echo &#39;&lt;b&gt;poll&lt;/b&gt;&#39;" in one
    assert re.search(r"by hand completed in \d", found)
    assert found.count(" (in ") == 5
    assert "every 10m" in found
    assert page.ask("/schedules/nothing").status == 404


def test_acting_on_schedules(queue: Queue, shown: Callable[..., Page]) -> None:
    """The reason is kept, and who paused it; a run is a job."""
    queue.ok("schedule", "add", "poll", "every 10m", "--", "true")
    page = shown()

    for path, fields in (("pause", {"reason": "<i>why</i>"}), ("run", {})):
        assert page.post(f"/schedules/poll/{path}", fields=fields).status == 303
    paused = words(page.get("/schedules/poll"))
    assert re.search(r"Paused \d+ \w+ ago by \S+ \(web\): <i>why</i> It makes no jobs\.", paused)
    assert len(queue.jobs()) == 1
    assert page.post("/schedules/poll/run").status == 303  # refused: the last one has not ended
    assert len(queue.jobs()) == 1
    assert page.post("/schedules/poll/resume").status == 303
    assert "It makes no jobs" not in page.get("/schedules/poll")


def test_hooks(queue: Queue, shown: Callable[..., Page]) -> None:
    """What is secret of a URL is not shown; the jobs of a hook are."""
    url = "https://hooks.example/services/geheim?token=geheim"
    queue.ok("hook", "add", "ops", "--on", "dead", "--url", url)
    queue.ok("hook", "add", "say", "--on", "completed", "--", "echo said")
    queue.enqueue("true")
    queue.drain()
    page = shown()

    listed = page.get("/hooks")
    one = page.get("/hooks/say")

    assert "geheim" not in listed + page.get("/hooks/ops")
    assert "https://hooks.example" in listed
    assert "whsec_" not in page.get("/hooks/ops")
    assert "say echo said" in words(listed)
    assert "completed" in words(one)
    assert page.ask("/hooks/nothing").status == 404
    assert page.post("/hooks/say/pause").status == 303
    assert "paused" in words(page.get("/hooks/say"))
    assert page.post("/hooks/say/resume").status == 303
    assert "Resume" not in words(page.get("/hooks/say"))


def test_dead_jobs_of_a_hook_are_retried(queue: Queue, shown: Callable[..., Page]) -> None:
    """Those that the page shows; others stay as they are."""
    queue.ok("hook", "add", "say", "--on", "completed", "--max-retries", "1", "--", "exit 3")
    queue.enqueue("true")
    queue.drain()
    page = shown()

    assert "Retry 1 dead" in page.get("/hooks/say")
    assert page.post("/hooks/say/retry").status == 303
    assert "Retry 1 dead" not in page.get("/hooks/say")
    assert queue.counts() == {"completed": 1, "pending": 1}
    assert page.post("/hooks/nothing/retry").status == 303  # refused, with a message


def test_empty_pages_say_what_they_are_for(page: Page) -> None:
    assert "queuectl schedule add" in page.get("/schedules")
    assert "queuectl hook add" in page.get("/hooks")

"""The overview: what is wrong comes first, then the numbers, the charts, and the tables."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Callable

from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from queuectl.web.activity import RANGES, chosen_range, first_start, steps
from queuectl.web.pages.job import _sentences
from support.queue import Queue
from support.web import Page, Server, words


def test_nobody_works(page: Page, storage: Storage) -> None:
    """The finding, the command that mends it, the number of problems in the tab."""
    before = utcnow() - timedelta(minutes=20)
    storage.enqueue([JobSpec(command="true", id=f"j{n}") for n in range(3)], now=before)

    text = page.get("/")

    found = words(text)
    assert re.search(r"No worker is running: 3 jobs wait, the oldest for 2\d min", found)
    assert "queuectl worker start" in found
    assert "<title>1 problem · queuectl</title>" in text
    assert "icon-bad.svg" in text
    assert re.search(r"Waiting 3 oldest 2\d min", found)
    assert "no worker is running" in found  # beside the hatched area


def test_all_is_well(queue: Queue) -> None:
    queue.enqueue("true", "--queue", "mail")
    queue.start()
    queue.storage.refuse_replaced()
    job = queue.jobs()[0].id
    queue.until(job, "completed")
    server = Server(queue)

    text = server.ask(f"{server.root}/", headers=server.bearer).text

    found = words(text)
    assert "✓ All is well 1 worker is running, nothing waits, no job is dead." in found
    assert "Running 0 of 1 worker nothing runs" in found
    assert "Completed, last 24 h 1 100.0 %" in found
    assert "1 came in, 1 completed, 0 died." in text
    assert "<title>queuectl</title>" in text


def test_why_jobs_died(queue: Queue, shown: Callable[..., Page]) -> None:
    """Jobs that died in the same way are one line, the most frequent first."""
    for number in range(3):
        queue.enqueue(f"echo 'no route to host-{number} <b>'; exit 7", "--max-retries", "1")
    queue.enqueue("kill -9 $$", "--max-retries", "1")
    queue.drain()

    page = shown()
    text = page.get("/")
    found = words(text)

    form = text.partition('/bulk" class="act">')[2].partition("</form>")[0]
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
    asked = page.post("/bulk", fields=fields)
    assert (asked.status, fields["do"]) == (200, "retry")
    assert "3 jobs" in words(asked.text)
    assert "Retry" not in words(page.get("/", token="view"))
    assert re.search(r"Why jobs died last 24 h All 4 3 exit 7: no route to host-\d <b>", found)
    assert "1 signal KILL" in found
    assert "4 jobs died in the last hour" in found


def test_lanes_are_shown_only_while_they_have_something_to_do(
    queue: Queue, shown: Callable[..., Page]
) -> None:
    """Otherwise each queue with hooks would take two rows."""
    queue.ok("hook", "add", "-q", "told", "--on", "completed", "true")
    queue.enqueue("true")
    queue.drain()
    assert "default/hooks" not in words(shown().get("/"))


def test_a_lane_with_waiting_jobs_is_shown(queue: Queue, shown: Callable[..., Page]) -> None:
    """Its jobs are notifications that nobody has had yet."""
    queue.ok("hook", "add", "-q", "told", "--on", "completed", "true")
    queue.ok("queue", "pause", "default/hooks")
    queue.enqueue("true")
    queue.drain()
    assert "default/hooks" in words(shown().get("/"))


def test_queues_are_paused_and_jobs_cancelled_from_the_overview(
    page: Page, storage: Storage
) -> None:
    """The buttons are those of the other pages."""
    now = utcnow()
    storage.enqueue([JobSpec(command="true")], now=now)
    storage.claim("w-1", now=now)
    text = page.get("/")
    for button in ("Pause all…", "Pause…", "Cancel…"):
        assert f">{button}</summary>" in text


def test_every_range(page: Page, storage: Storage) -> None:
    storage.enqueue([JobSpec(command="true")], now=utcnow())

    for one in (*(known.name for known in RANGES), "x", ""):
        assert "<svg" in page.get(f"/?range={one}")


def test_steps_cover_the_range() -> None:
    """The last bar contains the present, whatever the range."""
    now = utcnow()
    for one in RANGES:
        bars = steps([], one, now=now)
        assert len(bars) == one.steps
        assert bars[0].start == first_start(one, now=now)
        assert bars[-1].start <= now < bars[-1].start + one.step
    assert chosen_range("7d").steps == 84


def test_sentences() -> None:
    """An explanation is shown in parts."""
    assert _sentences("waits: x (queuectl y)") == ["waits: x (queuectl y)"]
    assert _sentences("died: a and printed last: b; queuectl dlq retry @1 runs it again") == [
        "died: a", "The last line that it printed: b",
        "queuectl dlq retry @1 runs it again",
    ]  # fmt: skip

"""The page of dead jobs: groups, filters, and one after the other."""

from __future__ import annotations

import html
import re
from typing import Callable
from urllib.parse import urlencode

import pytest

from queuectl.core.times import to_text, utcnow
from queuectl.storage import Storage
from support.hostile import EVIL, has_no_markup
from support.queue import Queue
from support.web import Page, dead_jobs, words


def _group(text: str, number: int = 0) -> str:
    return re.findall(r'<tbody id="group-([0-9a-f]+)"', text)[number]


def _die(queue: Queue, *commands: str, lane: str = "default") -> None:
    for command in commands:
        queue.enqueue(command, "--max-retries", "1", "--queue", lane)
    queue.drain()


def test_groups(queue: Queue, shown: Callable[..., Page]) -> None:
    """The largest first; of a large one the last four, with a page of its own."""
    _die(queue, *(f"echo 'no route to host-{n}'; exit 7" for n in range(6)))
    _die(queue, "kill -9 $$", lane="mail")
    page = shown()

    text = page.get("/dead")
    found = words(text)

    assert "Dead jobs 7, the oldest since " in found
    assert re.search(r"6 exit 7: no route to host-\d", found)
    assert "2 more of this group" in found
    assert found.index("6 exit 7") < found.index("1 signal KILL")
    assert "7 dead jobs, 2 reasons" in found
    assert len(re.findall(r'<tr id="job-', text)) == 5
    assert '<option value="default">' in text
    assert '<option value="mail">' in text
    one = page.get(f"/dead?group={_group(text)}")
    assert len(re.findall(r'<tr id="job-', one)) == 6
    assert re.search(r"All groups . exit 7: no route to host-\d", words(one))


def test_jobs_of_hooks_are_counted_apart(queue: Queue, shown: Callable[..., Page]) -> None:
    """The page does not show them, and says where they are: its numbers did not fit each other."""
    queue.ok("hook", "add", "say", "--on", "completed,dead", "--max-retries", "1", "--", "exit 4")
    _die(queue, "true", "exit 3", "exit 5")
    text = shown().get("/dead")

    found = words(text)
    assert re.search(
        r"Dead jobs 2, the oldest since [-\d: ]+ · kept until deleted and 3 of ", found
    )
    assert "2 dead jobs, 2 reasons" in found
    assert re.findall(r'<option value="([^"]+/hooks)"', text) == []


def test_only_jobs_of_hooks_are_dead(queue: Queue, shown: Callable[..., Page]) -> None:
    queue.ok("hook", "add", "say", "--on", "completed", "--max-retries", "1", "--", "exit 4")
    _die(queue, "true")

    found = words(shown().get("/dead"))

    assert "Dead jobs and 1 of hooks No job is dead." in found


def test_filters(queue: Queue, shown: Callable[..., Page]) -> None:
    _die(queue, "exit 3", "exit 4")
    _die(queue, "echo no network; exit 3", lane="mail")
    page = shown()

    def count(arguments: str) -> int:
        return len(re.findall(r'<tr id="job-', page.get(f"/dead?{arguments}")))

    for by in ("", "&by=none"):
        assert count(by) == 3
        assert count(f"exit=3{by}") == 2
        assert count(f"exit=3&queue=mail{by}") == 1
        assert count(f"q=network{by}") == 1
        assert count(f"within=1h{by}") == 3
        assert count(f"q=after:1s+before:2020-01-01{by}") == 0
    assert "exit: not a number: x" in page.get("/dead?exit=x")
    assert "all jobs on this page are dead" in page.get("/dead?q=state:pending")
    assert "No dead job fits. Show all" in words(page.get("/dead?q=nothing"))


def test_one_after_the_other(page: Page, storage: Storage) -> None:
    """The one that died last first, 50 per page."""
    dead_jobs(storage, 120)

    first = page.get("/dead?by=none")
    older = re.search(r'href="([^"]*)">Older', first)
    assert older is not None
    second = page.ask(html.unescape(older.group(1)), whole_path=True).text

    def ids(text: str) -> list[str]:
        return re.findall(r'<tr id="job-(\d+)"', text)

    assert ids(first) == [str(n) for n in range(120, 70, -1)]
    assert ids(second) == [str(n) for n in range(70, 20, -1)]
    assert ("Newest" in first, "Newest" in second) == (False, True)


def test_no_job_is_dead(page: Page) -> None:
    assert "No job is dead." in page.get("/dead")


def test_without_the_right_to_change(page: Page, storage: Storage) -> None:
    """There is nothing to tick and no button."""
    dead_jobs(storage, 2)

    text = page.get("/dead", token="view")

    assert 'type="checkbox" name=' not in text
    assert ">Retry" not in text
    assert len(re.findall(r'<tr id="job-', text)) == 2


@pytest.mark.parametrize("evil", EVIL)
def test_hostile_text(queue: Queue, shown: Callable[..., Page], evil: str) -> None:
    """Ids, labels, commands, queues, errors and outputs are text: on the list, before an action,
    while it goes on, and where a job is edited.
    """
    _die(queue, "exit 7", "exit 7")
    with queue.storage._transaction() as conn:
        conn.execute(
            "UPDATE jobs SET label = :evil, command = :evil, last_error = 'exit 7',"
            " queue = :evil, cwd = :evil, id = id || replace(:evil, '/', '')",
            {"evil": evil},
        )
        conn.execute("UPDATE executions SET output_tail = :evil", {"evil": evil.encode()})
        conn.execute("UPDATE jobs SET last_error = :evil WHERE seq = 2", {"evil": evil})
    page = shown()
    until = to_text(utcnow())
    chosen = {"page": "dead", "all": "1", "until": until, "back": "/dead"}

    texts = {
        path: page.get(path) for path in ("/dead", "/dead?by=none", "/queues", "/jobs/@1/edit")
    }
    texts["group"] = page.get(f"/dead?group={_group(texts['/dead'])}")
    for verb in ("retry", "change", "delete"):
        texts[verb] = page.post("/bulk", fields={**chosen, "do": verb}).text
    quoted = page.ask(f"/dead?{urlencode(dict.fromkeys(('q', 'queue', 'exit'), evil))}")
    texts["filter"] = quoted.text
    texts["wrong"] = page.post(
        "/bulk/do", fields={**chosen, "do": "change", "set-timeout": evil, "set-command": evil}
    ).text
    edited = page.post("/jobs/@1/edit", fields={"do": "save", "set-queue": evil, "set-cwd": evil})
    texts["edited"] = edited.text

    for name, text in texts.items():
        assert "<h1" in text, name
        has_no_markup(text, name)

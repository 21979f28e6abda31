"""The pages of the queues, and what can be done to queues there."""

from __future__ import annotations

import html
import re
from typing import Any, Callable

import pytest

from queuectl.core.models import QueueStatus
from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from support.queue import Queue
from support.web import Page, words

_EVIL = "\"><script>alert(1)</script>'\x1b[31m"


def _fill(storage: Storage, *queues: str) -> None:
    storage.enqueue([JobSpec(command="true", queue=name) for name in queues], now=utcnow())


def _status(storage: Storage, name: str) -> QueueStatus:
    return next(one for one in storage.queues() if one.name == name)


def test_the_list(page: Page, storage: Storage) -> None:
    """All counts, the pause with its reason, the limit, and the lane of a queue below it."""
    _fill(storage, "mail", "mail", "mail-x")
    with storage._transaction() as conn:
        conn.execute("UPDATE jobs SET queue = 'mail/hooks' WHERE seq = 2")
    storage.pause_queue("mail", by="ada", reason="SMTP <down>", now=utcnow())
    storage.limit_queue("mail-x", 3)

    text = page.get("/queues")

    assert re.findall(r'href="[^"]*/queues/([^"]*)"', text) == ["mail", "mail/hooks", "mail-x"]
    found = words(text)
    assert re.search(
        r"mail paused paused \d+ \w+ ago by ada: “SMTP <down>” 1 0 0 0 0 0 0 0 0", found
    )
    assert "mail-x no worker limit 3 1 0" in found
    assert "<down>" not in text
    assert f"{page.root}/jobs?q=state:pending+queue:%22mail%22" in text
    assert "Resume all" in found


def test_many_queues(page: Page, storage: Storage) -> None:
    """They are shown in parts, and can be searched; each took 3 KB of the page."""
    _fill(storage, *(f"q{number:03}" for number in range(120)))

    first = words(page.get("/queues"))
    last = words(page.get("/queues?from=100"))
    found = words(page.get("/queues?q=Q01"))

    assert ("q049" in first, "q050" in first) == (True, False)
    assert "Queues 120, by name" in first
    assert first.endswith("1 to 50 of 120 After \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}")
    assert ("q099" in last, "q100" in last) == (False, True)
    assert last.endswith("101 to 120 of 120 \N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK} Before")
    assert ("q010" in found, "q019" in found, "q020" in found) == (True, True, False)
    assert "No queue fits “x”." in words(page.get("/queues?q=x"))


def test_one_queue(queue: Queue, shown: Callable[..., Page]) -> None:
    queue.enqueue("true", "--queue", "mail")
    queue.enqueue("exit 1", "--queue", "mail", "--max-retries", "1")
    queue.enqueue("true", "--queue", "other")
    queue.drain()
    page = shown()

    text = page.get("/queues/mail")
    found = words(text)

    assert "Waiting 0 nothing waits" in found
    assert "Dead 1" in found
    assert "2 came in, 1 completed, 1 died." in text
    assert "Served by no worker Limit none Paused no" in found
    assert "queuectl queue limit mail 2" in found
    assert "Waiting 0" in words(page.get("/queues/empty"))
    assert page.ask("/queues/a b").status == 404
    for one in ("24h", "7d", "90d", "x"):
        assert "<svg" in page.get(f"/queues/mail?range={one}")


def test_no_queues(page: Page) -> None:
    assert "queuectl enqueue --queue mail 'echo hello'" in words(page.get("/queues"))


def test_pause_and_resume(page: Page, storage: Storage) -> None:
    """It is kept that somebody did it on the page."""
    _fill(storage, "mail")

    done = page.post(
        "/queues/pause", fields={"queue": "mail", "reason": " no disk ", "back": "/queues"}
    )

    assert (done.status, done.headers["Location"]) == (303, f"{page.root}/queues")
    status = _status(storage, "mail")
    assert (status.paused, status.pause_reason) == (True, "no disk")
    assert re.fullmatch(r".+ \(web\)", status.paused_by or "")
    page.post("/queues/resume", fields={"queue": "mail"})
    assert not _status(storage, "mail").paused


def test_all_queues(page: Page, storage: Storage) -> None:
    _fill(storage, "mail")

    page.post("/queues/pause-all", fields={"reason": "night"})

    assert storage.all_paused()
    assert "All queues are paused by one switch" in words(page.get("/queues"))
    assert "resume all" in words(page.get("/queues/mail"))
    page.post("/queues/resume-all")
    assert not storage.all_paused()


def test_limits(page: Page, storage: Storage) -> None:
    """An empty field lifts the limit; what is no number changes nothing."""
    _fill(storage, "mail")

    for text, limit in (("2", 2), ("0", 2), ("x", 2), ("9999999999", 2), ("\u0665", 2), ("", None)):
        page.post("/queues/limit", fields={"queue": "mail", "limit": text})
        assert _status(storage, "mail").limit == limit, text


@pytest.mark.parametrize("name", ["", "a b", "/", "-x", "{", "\n"])
def test_a_name_that_no_queue_can_have(page: Page, storage: Storage, name: str) -> None:
    """The empty name stands for all queues in the table; it must not be reached in this way."""
    _fill(storage, "mail")

    for action in ("pause", "limit", "resume"):
        page.post(f"/queues/{action}", fields={"queue": name, "limit": "1"})

    assert not storage.all_paused()
    assert [one.name for one in storage.queues()] == ["mail"]
    assert page.post("/queues/pause").status == 400


def test_hostile_names(page: Page, storage: Storage) -> None:
    """Another program wrote them. They are shown as text, and their queues can be paused."""
    _fill(storage, "mail")
    with storage._transaction() as conn:
        conn.execute("UPDATE jobs SET queue = ?", (_EVIL,))

    page.post("/queues/pause", fields={"queue": _EVIL, "reason": _EVIL})
    text = page.get("/queues")
    link = html.unescape(re.findall(r'href="([^"]*/queues/[^"]*)"', text)[0])
    one = page.ask(link, whole_path=True)

    assert _status(storage, _EVIL).paused
    assert one.status == 200
    for shown in (text, one.text):
        assert "<script>alert" not in shown
        assert "\x1b" not in shown


def test_a_user_whose_name_is_no_utf_8(
    storage: Storage, pages: Callable[..., Page], monkeypatch: Any
) -> None:
    """Such a name could neither be sent with a page nor be stored with a pause."""
    monkeypatch.setenv("LOGNAME", "ren\udce9")
    _fill(storage, "mail")
    page = pages()

    assert "ren\N{REPLACEMENT CHARACTER}@" in page.get("/")
    page.post("/queues/pause", fields={"queue": "mail"})

    assert _status(storage, "mail").paused_by == "ren\N{REPLACEMENT CHARACTER} (web)"

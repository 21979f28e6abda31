"""The pages of hooks: what must not be shown, and the test of a hook."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Callable
from urllib.parse import quote

import pytest

from queuectl.core.hooks import NewHook
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from queuectl.web import hook_tests
from support.hostile import EVIL, has_no_markup
from support.queue import Queue
from support.receiver import receiving, status
from support.rows import sql
from support.waiting import PATIENCE_SECONDS
from support.web import SAME_ORIGIN, Page, Server, words


def test_secrets_are_not_shown(queue: Queue, tmp_path: Path, shown: Callable[..., Page]) -> None:
    """Neither the secret nor its file, headers, variables, or more of the URL than its host."""
    printed = queue.ok(
        "hook", "add", "ops", "--on", "cancelled", "--url", "https://a.example/geheim?token=geheim",
        "--header", "X-Token: geheim", "--env", "TOKEN=geheim",
    )  # fmt: skip
    secret_file = tmp_path / "geheim"
    secret_file.write_text(printed.split()[1])
    queue.ok("hook", "add", "file", "--on", "cancelled", "--url", "https://b.example/geheim",
             "--secret-file", str(secret_file))  # fmt: skip
    queue.ok("hook", "rotate", "ops")
    queue.ok("cancel", queue.enqueue("true"))  # its hooks' jobs wait
    page = shown(show_env=True)
    paths = ("/hooks", "/hooks/ops", "/hooks/file", "/jobs?hooks=1", "/jobs/@1", "/jobs/@2")
    texts = [page.get(path) for path in paths]

    assert [text for text in texts if "geheim" in text or "whsec_" in text] == []
    assert "https://a.example/…" in texts[0]
    assert "cancelled of @1 @2" in words(texts[2]) or "cancelled of @1 @2" in words(texts[1])


def test_a_hook_and_its_deliveries(queue: Queue, shown: Callable[..., Page]) -> None:
    """The event, the job that it is about, its own job, and how that went."""
    queue.ok("hook", "add", "ops", "--on", "dead", "--queue", "mail", "--", "echo told")
    job = queue.enqueue("false", "--max-retries", "1", "--queue", "mail")
    queue.drain()
    page = shown()

    found = words(page.get("/hooks/ops"))

    assert "works" in found
    assert re.search(r"completed dead of @1 @2 1 of \d+ \d+ \w+ ago \S+ \w+", found)
    assert "On dead Of mail Attempts at most" in found
    assert "Hooks ops" in words(page.get(f"/jobs/{job}"))


@pytest.mark.parametrize("evil", EVIL)
def test_hostile_text(page: Page, storage: Storage, evil: str) -> None:
    """Hooks may be written by other programs, and receivers answer what they like."""
    name = evil.replace("/", "")
    storage.add_hook(NewHook("plain", ("dead",), command=evil, cwd=evil), now=utcnow())
    storage.add_hook(NewHook(name, ("dead",), queues=(evil,), url="https://x"), now=utcnow())
    with storage._transaction() as conn:
        conn.execute(
            """
            UPDATE hooks
               SET last_result = :evil,
                   disabled_at = created_at,
                   disabled_reason = :evil,
                   last_delivery_at = created_at,
                   labels = :evil,
                   schedules = :evil,
                   events = :evil
            """,
            {"evil": evil},
        )
    paths = ("/hooks", "/hooks/plain", f"/hooks/{quote(name, safe='')}")
    for path in paths:
        has_no_markup(page.get(path), path)
    for url in (evil, f"https://[{evil}", f"https://a.example:{evil}/"):
        with storage._transaction() as conn:
            conn.execute("UPDATE hooks SET url = ?, command = NULL", (url,))
        for path in paths:
            has_no_markup(page.get(path), path)
    has_no_markup(page.ask(f"/hooks/x{quote(evil, safe='')}").text, "unknown")


def test_buttons_only_for_those_who_may_change(
    pages: Callable[..., Page], storage: Storage
) -> None:
    storage.add_hook(NewHook("ops", ("dead",), command="true"), now=utcnow())

    shown = [
        [
            f">{button}<" in page.get("/hooks/ops", token=token)
            for button in ("Send a test", "Pause")
        ]
        for page in (pages(), pages(read_only=True))
        for token in ("full", "view")
    ]

    assert shown == [[True, True], [False, False], [False, False], [False, False]]


def test_a_hook_that_cannot_be_read(page: Page, storage: Storage) -> None:
    """Another program wrote it: the page names it beside the others."""
    for name in ("a", "b"):
        storage.add_hook(NewHook(name, ("dead",), command="notify"), now=utcnow())
    sql(storage, "UPDATE hooks SET timeout = 'x' WHERE name = 'a'")
    listed = words(page.get("/hooks"))
    assert "hook a: timeout is 'x' It reports nothing. Remove it, or add it again" in listed
    assert "b notify not run yet" in listed
    answer = page.ask("/hooks/a")
    assert (answer.status, words(answer.text).partition("> ")[2]) == (
        500,
        "Another program wrote what cannot be read Hook a: timeout is 'x'. To the overview",
    )


def test_a_hundred_hooks(page: Page, storage: Storage) -> None:
    for number in range(100):
        storage.add_hook(NewHook(f"h{number}", ("dead",), command="true"), now=utcnow())
    page.get("/hooks")
    started = time.process_time()

    text = page.get("/hooks")

    assert time.process_time() - started < 2
    assert "h99" in text


class TestSendATest:
    """The button `Send a test`, with the real server: it starts another process."""

    def _said(self, queue: Queue, name: str) -> str:
        """Send a test as a script does; return what the log says, which is also the message."""
        server = Server(queue)
        path = f"{server.root}/hooks/{name}/test"
        answer = server.ask(path, "POST", {**server.bearer, **SAME_ORIGIN})
        server.process.terminate()
        log = server.process.communicate(timeout=PATIENCE_SECONDS)[1]
        said = str(log.strip().partition("127.0.0.1 ")[2])
        assert answer.status == (502 if "failed" in said else 303)
        return said

    def test_a_webhook(self, queue: Queue) -> None:
        """It is signed as a real event, and the answer is shown."""
        with receiving(status(200)) as receiver:
            queue.ok("hook", "add", "ops", "--on", "dead", "--url", f"{receiver.url}/geheim")
            said = self._said(queue, "ops")

        assert said == "test hook ops: The test of ops succeeded: HTTP 200 OK"
        assert b'"hook.test"' in receiver.received[0].body
        assert "webhook-signature" in receiver.received[0].headers

    def test_a_receiver_that_refuses(self, queue: Queue) -> None:
        with receiving(status(503, b"<script>later</script>")) as receiver:
            queue.ok("hook", "add", "ops", "--on", "dead", "--url", f"{receiver.url}/geheim")
            said = self._said(queue, "ops")

        assert said.endswith("the test of ops failed: HTTP 503 Service Unavailable")

    def test_a_command(self, queue: Queue) -> None:
        queue.ok("hook", "add", "ops", "--on", "dead", "--", "echo $QUEUECTL_EVENT; exit 3")

        assert self._said(queue, "ops").endswith("the test of ops failed: hook.test")


def test_a_test_that_does_not_end(storage: Storage, monkeypatch: Any, tmp_path: Path) -> None:
    """It is killed with all that it started; what it printed does not matter."""
    script = f"sh -c 'sleep 100; touch {tmp_path}/late' & yes"
    monkeypatch.setattr(hook_tests, "another_call", lambda *words: ["/bin/sh", "-c", script])
    started = time.monotonic()

    tested = hook_tests.run(storage.files, "ops", is_webhook=False, seconds=0.5)

    assert tested == (False, "it took longer than 0.5 seconds")
    assert time.monotonic() - started < 60


def test_a_test_that_cannot_start(storage: Storage, monkeypatch: Any) -> None:
    from queuectl.core.errors import QueueError

    monkeypatch.setattr(hook_tests, "another_call", lambda *words: ["/nothing"])

    with pytest.raises(QueueError, match="cannot be started"):
        hook_tests.run(storage.files, "ops", is_webhook=True)

"""The page of one job: why it stands where it does, its output, its attempts."""

from __future__ import annotations

import html
import re
from typing import Any, Callable

import pytest

from queuectl.core.models import Execution, Job, Verdict
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from queuectl.web.pages import job as job_page
from queuectl.web.storages import WebStorage
from support import rows
from support.outcomes import OK
from support.queue import Queue
from support.waiting import wait_until
from support.web import Page, Server, words


def test_a_dead_job(queue: Queue, shown: Callable[..., Page]) -> None:
    """The sentence of `why`, the colours of the output, the attempts."""
    job = queue.enqueue(r"printf 'one\n\033[31mtwo <b>\033[0m\n'; exit 3", "--max-retries", "1",
                        "--label", "sync", "--env", "TOKEN=geheim")  # fmt: skip
    queue.drain()
    text = shown().get(f"/jobs/{job}")

    assert '<span class="a31">two &lt;b&gt;</span>' in text
    found = words(text)
    assert "✗" not in found
    assert "dead" in found
    assert "attempt 1 of 1 failed (exit 3) The last line that it printed: two <b>" in found
    assert "queuectl dlq retry @1 runs it again" in found
    assert "TOKEN" in found
    assert "geheim" not in text
    assert "<title>dead · sync · queuectl</title>" in text
    assert re.search(r"<title>attempt 1 ran [^<]*: exit 3\.</title>", text)


def test_following_an_output_counts_no_jobs(queue: Queue, shown: Callable[..., Page]) -> None:
    """An open page asks every second for lines, which stand in no frame."""
    job = queue.enqueue("echo one")
    queue.drain()
    page = shown()
    page.get(f"/jobs/{job}")

    asked = rows.statements(
        page.serving.storages.current(), lambda: page.get(f"/jobs/{job}/output?from=0")
    )

    assert [one for one in asked if "job_counts" in one] == []


def test_values_of_variables(queue: Queue, shown: Callable[..., Page]) -> None:
    """Only with --show-env, only with the full link, and only on request."""
    job = queue.enqueue("true", "--env", "TOKEN=geheim")
    page = shown(show_env=True)

    seen = [
        "TOKEN = geheim" in page.get(f"/jobs/{job}{query}", token=token)
        for query in ("", "?env=1")
        for token in ("view", "full")
    ]

    assert seen == [False, False, False, True]


def test_values_are_hidden_without_the_option(queue: Queue, shown: Callable[..., Page]) -> None:
    job = queue.enqueue("true", "--env", "TOKEN=geheim")

    assert "geheim" not in shown().get(f"/jobs/{job}?env=1")


def test_a_long_output_is_read_in_parts(queue: Queue, shown: Callable[..., Page]) -> None:
    """The page opens at the end, never shows more than 64 KiB, and leads back to the beginning."""
    job = queue.enqueue("seq 1 40000")
    queue.drain()
    page = shown()
    text = page.get(f"/jobs/{job}")
    parts = 0

    assert '<li data-n="40000"><span>40000</span></li>' in text
    while True:
        lines = re.findall(r'<li data-n="(\d+)"><span>(\d+)</span></li>', text)
        assert [one for one, two in lines if one != two] == []
        assert sum(len(two) + 1 for _, two in lines) <= 1 << 16
        parts += 1
        earlier = re.search(r'href="([^"]*before=[^"]*)#out"', text)
        if earlier is None:
            break
        text = page.get(html.unescape(earlier.group(1))[len(page.root) :])
    assert (lines[0], parts) == (("1", "1"), 4)
    assert "Later output" in text


def test_attempts_before_a_retry(queue: Queue, shown: Callable[..., Page]) -> None:
    """A retry counts attempts from 1 again: the earlier ones with these numbers stay reachable."""
    job = queue.enqueue("echo at $(date +%s.%N); exit 1", "--max-retries", "1")
    queue.drain()
    queue.ok("retry", job)
    queue.drain()
    page = shown()
    runs = re.findall(r'<tr id="run-(\d+)">', page.get(f"/jobs/{job}"))[::-1]

    printed = [page.get(f"/jobs/{job}/output.txt?run={run}") for run in runs]

    assert len(set(printed)) == 2
    for run, raw in zip(runs, printed):
        assert raw.strip() in page.get(f"/jobs/{job}?run={run}")
        assert raw.strip() in page.get(f"/jobs/{job}/output?run={run}")
    assert page.get(f"/jobs/{job}/output.txt?attempt=1") == printed[1]
    for unknown in ("run=999", "attempt=9", f"run={10**30}", f"attempt={10**30}", "attempt=-1"):
        assert (unknown, page.ask(f"/jobs/{job}?{unknown}").status) == (unknown, 404)


def test_tabs_of_attempts(page: Page, storage: Storage) -> None:
    """The last five, and in front of them the one that is shown, if it is older."""
    rows.add(storage, utcnow(), "j1", max_retries=1)
    for _ in range(7):
        rows.finish(storage, utcnow(), "j1", JobState.DEAD)
        storage.retry(storage.get("j1"), now=utcnow())
    first, second, *last = [one.id for one in storage.executions(storage.get("j1"))]

    seen = [
        [int(run) for run in re.findall(r'run=(\d+)#out" title=', page.get(f"/jobs/j1?run={one}"))]
        for one in (first, second, last[0])
    ]

    assert seen == [[first, *last], [second, *last], last]


def test_an_open_page_gets_the_tab_of_a_new_attempt(page: Page, storage: Storage) -> None:
    """An update leaves the panel alone whose `data-keep` is the same, as that of six tabs was."""
    rows.add(storage, utcnow(), "j1", max_retries=1)
    kept = []

    for _ in range(8):
        rows.finish(storage, utcnow(), "j1", JobState.DEAD)
        first = next(iter(storage.executions(storage.get("j1"))))
        kept += re.findall(r'data-keep="([^"]+)"', page.get(f"/jobs/j1?run={first.id}"))
        storage.retry(storage.get("j1"), now=utcnow())

    assert len(set(kept)) == 8


def test_an_attempt_that_ends_while_its_page_is_made(
    page: Page, storage: Storage, monkeypatch: Any
) -> None:
    """It had a second tab: the attempts are read before the one whose output is shown."""
    rows.add(storage, utcnow(), "j1")
    claim = storage.claim("w1", now=utcnow())
    assert claim is not None
    read = WebStorage.executions

    def read_before_the_end(own: WebStorage, job: Job) -> list[Execution]:
        runs = list(read(own, job))
        storage.record(claim, OK, Verdict(JobState.COMPLETED), now=utcnow())
        return runs

    monkeypatch.setattr(WebStorage, "executions", read_before_the_end)

    assert 'aria-label="Attempt"' not in page.get("/jobs/j1")


def test_find_in_the_output(
    queue: Queue, shown: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says how many lines were found, and where it stops."""
    job = queue.enqueue("seq 1 30000; echo '<i>Needle</i>'")
    queue.drain()
    page = shown()
    found = words(page.get(f"/jobs/{job}?find=needle"))

    assert "1 line with “needle” 30,001 <i>Needle</i>" in found
    assert "0 lines with “haystack”" in words(page.get(f"/jobs/{job}?find=haystack"))
    assert "200 or more lines" in words(page.get(f"/jobs/{job}?find=1"))
    monkeypatch.setattr(job_page, "_MOST_HITS", 7)
    assert "7 or more lines" in words(page.get(f"/jobs/{job}?find=1"))


def test_the_raw_output(queue: Queue, shown: Callable[..., Page]) -> None:
    """It is downloaded, never shown, and could do nothing if it were."""
    job = queue.enqueue("printf '<script>alert(1)</script>\\033[31m'", "--id", "jöb")
    queue.drain()
    answer = shown().ask(f"/jobs/{job}/output.txt")

    assert answer.text == "<script>alert(1)</script>\x1b[31m"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="1-1.txt"'
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_output_whose_middle_is_gone(queue: Queue, shown: Callable[..., Page]) -> None:
    queue.configure(output_limit="20000")
    job = queue.enqueue("seq 1 20000")
    queue.drain()
    text = shown().get(f"/jobs/{job}")

    assert re.search(r'<li class="cut"><span>\[queuectl: \d+ bytes not kept\]</span></li>', text)
    assert "<li><span>20000</span></li>" in text
    assert '<li data-n="1"><span>1</span></li>' in text


def test_a_running_job_is_followed(queue: Queue) -> None:
    """Each answer goes on where the last one ended; a line that is not complete comes again."""
    job = queue.enqueue("echo one; printf two; until [ -e go ]; do sleep 0.05; done; echo x")
    queue.start()
    queue.until(job, "processing")
    server = Server(queue)
    path = f"{server.root}/jobs/{job}/output?attempt=1&from="

    def ask(position: str) -> tuple[list[str], str, str]:
        answer = server.ask(path + position, headers=server.bearer)
        assert answer.status == 200
        lines = re.findall(r"<li[^>]*>.*?</li>", answer.text)
        return lines, answer.headers["X-Queuectl-Next"], answer.headers["X-Queuectl-Running"]

    wait_until(lambda: "two" in server.ask(path + "0", headers=server.bearer).text)
    assert ask("0") == (
        ['<li data-n="1"><span>one</span></li>',
         '<li data-n="2" data-partial><span>two</span></li>'],
        "4", "1",
    )  # fmt: skip
    queue.let_go()
    queue.until(job, "completed")
    assert ask("4") == (['<li data-n="2"><span>twox</span></li>'], "9", "0")


def test_jobs_that_belong_together(queue: Queue, shown: Callable[..., Page]) -> None:
    """What it waits for, what waits for it, with links."""
    first = queue.enqueue("true", "--label", "first")
    second = queue.enqueue("true", "--after", first)
    page = shown()

    assert "Waits for first (pending)" in words(page.get(f"/jobs/{second}"))
    assert f"Needed by {second}" in words(page.get(f"/jobs/{first}"))


def test_a_job_that_has_not_run(queue: Queue, shown: Callable[..., Page]) -> None:
    job = queue.enqueue("true\nfalse")
    found = words(shown().get(f"/jobs/{job}"))

    assert "It has not run yet." in found
    assert "It waits: no worker is running" in found
    assert "true false" in found

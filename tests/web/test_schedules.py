"""The pages of schedules, and what their buttons do."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import Callable
from urllib.parse import quote

import pytest

from queuectl.core.models import Selection
from queuectl.core.schedules import Schedule
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from queuectl.storage.schedules import Schedules
from support.hostile import EVIL, has_no_markup
from support.queue import Queue
from support.schedules import new_schedule
from support.web import Answer, Page, words


def _add(storage: Storage, *schedules: Schedule) -> None:
    own = Schedules.open(storage.files)
    try:
        for schedule in schedules:
            own.add_schedule(schedule)
    finally:
        own.close()


def _said(answer: Answer) -> str:
    """Return where an action led."""
    assert answer.status == 303
    return answer.headers["Location"]


def test_no_schedule(page: Page) -> None:
    """The page says what it is for, with commands to begin with."""
    found = words(page.get("/schedules"))

    assert "A schedule makes a job at set times, as cron does." in found
    assert "queuectl schedule add backup '0 2 * * *' -- restic backup /home" in found


def test_the_list(queue: Queue, shown: Callable[..., Page]) -> None:
    """When in words, what became of the last time, and bars for the last thirty."""
    queue.ok("schedule", "add", "mail", "every 1d", "--", "./fetch")
    queue.ok("schedule", "add", "bad", "every 2h", "--max-retries", "1", "--", "exit 3")
    queue.ok("schedule", "add", "still", "every 1h", "--", "true")
    queue.ok("schedule", "run", "bad")
    queue.drain()
    queue.ok("schedule", "pause", "still", "--reason", "why")
    text = shown().get("/schedules")

    found = words(text)
    assert "bad exit 3 every 2h in 1 h dead" in found
    assert "mail ./fetch every 1d in 23 h -" in found
    assert "still true every 1h paused -" in found
    assert "The last time: 1 dead." in text
    assert 'class="r-bad"' in text


def test_one_schedule(queue: Queue, shown: Callable[..., Page]) -> None:
    """The next five times, the last ones with their jobs, and what it was added with."""
    (queue.work / "data").write_bytes(5 * b"x")
    queue.ok("schedule", "add", "nightly", "every 2h", "--label", "l", "--timeout", "1h",
             "--env", "TOKEN=geheim", "--shell", "/bin/bash", "--input", "data",
             "--on-failure", "notify", "--", "echo", "hello")  # fmt: skip
    job = queue.ok("schedule", "run", "nightly").strip()
    queue.drain()
    text = shown().get("/schedules/nightly")

    found = words(text)
    assert "<title>nightly · queuectl</title>" in text
    assert " nightly nightly Run now Reason of the pause Pause echo hello " in found
    assert re.search(r"The next job is made in 1 h (59 min )?every 2h", found)
    assert re.search(rf"by hand completed in [\w. ]+ {job} ", found)
    assert f"/jobs/{job}" in text
    assert len(re.findall(r"<li>\w{3} \d{4}-\d\d-\d\d [^<]*</li>", text)) == 5
    assert " Shell /bin/bash Input 5 B On failure notify Variables " in found
    assert re.search(r" Variables TOKEN\b.* values are hidden Made 1 job ", found)
    assert "geheim" not in text
    assert "How long the last job ran" in text


def test_an_unknown_schedule(page: Page) -> None:
    answer = page.ask("/schedules/nobody")

    assert (answer.status, "No such schedule: nobody." in answer.text) == (404, True)


def test_run_now(page: Page, storage: Storage) -> None:
    """It makes the job; while that has not ended, the schedule does not allow another one."""
    _add(storage, new_schedule("s", now=utcnow()))

    for _ in range(2):
        assert _said(page.post("/schedules/s/run", fields={"back": "/schedules/s"})) == (
            f"{page.root}/schedules/s"
        )

    assert [job.schedule for job in storage.jobs(Selection())] == ["s"]
    page.post("/schedules/s/run", fields={"force": "1"})
    assert len(list(storage.jobs(Selection()))) == 2


def test_pause_and_resume(page: Page, storage: Storage) -> None:
    """The page says who paused it and why; it offers to resume it in both ways."""
    past = utcnow() - timedelta(hours=3)
    _add(storage, new_schedule("s", "every 1h", now=past))

    _said(page.post("/schedules/s/pause", fields={"reason": " disk <full> "}))
    found = words(page.get("/schedules/s"))
    assert re.search(r"Paused \d+ \w+ ago by \S+ \(web\): disk <full> It makes no jobs", found)
    assert "Resume Resume, leave out what was missed" in found
    assert "Pause Schedules" not in found
    _said(page.post("/schedules/s/resume", fields={"skip_missed": "1"}))
    found = words(page.get("/schedules/s"))
    assert "left out while paused (3 times)" in found
    assert re.search(r"The next job is made in (1 h|\d+ min)", found)


def test_a_late_schedule(page: Page, storage: Storage) -> None:
    _add(storage, new_schedule("s", "every 1h", now=utcnow() - timedelta(hours=4)))

    assert "late by 3 h" in words(page.get("/schedules"))
    assert "Its next job has been due for 3 h" in words(page.get("/schedules/s"))


def test_a_schedule_that_cannot_be_planned_here(page: Page, storage: Storage) -> None:
    """Its zone is unknown on this machine: the page says so, and shows the rest."""
    pytest.importorskip("cronsim")
    _add(storage, new_schedule("s", "0 2 * * *", now=utcnow()))
    with storage._transaction() as conn:
        conn.execute("UPDATE schedules SET timezone = 'Mars/Olympus'")

    assert "Its next times cannot be computed here" in words(page.get("/schedules/s"))
    assert "0 2 * * *" in words(page.get("/schedules"))


def test_a_row_that_cannot_be_read(page: Page, storage: Storage) -> None:
    """The list shows the others, and says what is wrong with this one."""
    _add(storage, new_schedule("a", now=utcnow()), new_schedule("b", now=utcnow()))
    with storage._transaction() as conn:
        conn.execute("UPDATE schedules SET jitter = 'x' WHERE name = 'a'")

    found = words(page.get("/schedules"))

    assert "schedule a: jitter is 'x'" in found
    assert "b true every 10m" in found


@pytest.mark.parametrize("evil", EVIL)
def test_hostile_text(page: Page, storage: Storage, evil: str) -> None:
    """Schedules may be written by other programs: names, reasons, commands and labels are text."""
    name = evil.replace("/", "")
    job = {"command": evil, "label": evil, "cwd": f"/{evil}", "env": {"X": evil}}
    _add(storage, new_schedule("plain", now=utcnow(), job=job, source=evil, paused_by=evil,
                               paused_at=utcnow(), pause_reason=evil),
         new_schedule(name, now=utcnow()))  # fmt: skip
    page.post("/schedules/plain/run")
    quoted = quote(evil, safe="")

    paths = ("/schedules", "/schedules/plain", f"/schedules/{quote(name, safe='')}", "/")
    for path in (*paths, f"/schedules?q={quoted}", f"/schedules?from={quoted}"):
        has_no_markup(page.get(path), path)
    has_no_markup(page.ask(f"/schedules/x{quoted}").text, "unknown")
    with storage._transaction() as conn:
        conn.execute("UPDATE schedules SET expression = ?, timezone = ?", (evil, evil))
    for path in paths:
        has_no_markup(page.get(path), path)


def test_buttons_only_for_those_who_may_change(
    pages: Callable[..., Page], storage: Storage
) -> None:
    _add(storage, new_schedule("s", now=utcnow()))

    shown = [
        ">Run now<" in page.get(path, token=token)
        for page in (pages(), pages(read_only=True))
        for token in ("full", "view")
        for path in ("/schedules", "/schedules/s")
    ]

    assert shown == [True, True, False, False, False, False, False, False]


def test_a_thousand_schedules(page: Page, storage: Storage) -> None:
    """They are shown in parts, found by name, and the page stays quick."""
    now = utcnow().replace(microsecond=0)
    own = Schedules.open(storage.files)
    with own._transaction() as conn:
        from queuectl.storage.schedules import store

        for number in range(1000):
            store(conn, new_schedule(f"s{number:04}", now=now), replace=False)
        conn.executemany(
            "INSERT INTO ticks (schedule, planned_at, result, at) VALUES (?, ?, 'missed', ?)",
            (
                (f"s{number:04}", _text(now - timedelta(hours=hour)), _text(now))
                for number in range(1000)
                for hour in range(40)
            ),
        )
    own.close()

    first = page.get("/schedules")
    started = time.process_time()
    second = page.get("/schedules?from=50")
    took = time.process_time() - started

    assert ("s0049" in first, "s0050" in first, "s0050" in second) == (True, False, True)
    assert "51 to 100 of 1,000" in second
    assert "The last 30 times: 30 missed." in second
    assert "s0777" in page.get("/schedules?q=0777")
    assert "No schedule fits “x”." in page.get("/schedules?q=x")
    assert "s0999" in page.get("/schedules?from=99999999999999999999")
    assert took < 4


def _text(instant: datetime) -> str:
    from queuectl.core.times import to_text

    return to_text(instant)


def test_the_list_of_the_command_line_with_a_running_job(queue: Queue) -> None:
    """A regression: the start of a running job was read as text, and `schedule list` failed."""
    queue.ok("schedule", "add", "s", "every 1d", "--", "until [ -e go ]; do sleep 0.05; done")
    job = queue.ok("schedule", "run", "s").strip()
    queue.start()
    queue.until(job, "processing")

    assert "processing for" in queue.ok("schedule", "list")
    queue.let_go()

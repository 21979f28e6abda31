"""What the pages show, and how they stay up to date."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

import queuectl
from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from support.hostile import EVIL, has_no_markup
from support.queue import Queue
from support.rows import sql
from support.waiting import wait_until
from support.web import Answer, Page, Server

LIVE = {"X-Queuectl-Live": "1"}


def test_an_unchanged_page_is_not_sent_again(page: Page) -> None:
    """The same generation of the queue and the same address: 304, without a query."""

    def unchanged() -> str:
        """Return the tag of the page, once the watcher has seen the queue for the first time."""
        tag = page.ask("/", headers=LIVE).headers["ETag"]
        again = page.ask("/", headers={**LIVE, "If-None-Match": tag})
        return tag if (again.status, again.text) == (304, "") else ""

    tag = wait_until(unchanged)
    other = page.ask("/jobs", headers={**LIVE, "If-None-Match": tag})
    viewer = page.ask("/", token="view", headers={**LIVE, "If-None-Match": tag})
    by_hand = page.ask("/", headers={"If-None-Match": tag})

    assert [one.status for one in (other, viewer, by_hand)] == [200, 200, 200]


def test_a_change_is_seen(page: Page, storage: Storage) -> None:
    """Another process enqueued a job: within a second the page is another one."""
    tag = page.ask("/", headers=LIVE).headers["ETag"]
    storage.enqueue([JobSpec(command="true", id="j1")], now=utcnow())

    wait_until(lambda: page.ask("/", headers={**LIVE, "If-None-Match": tag}).status == 200)


def test_a_page_for_an_absent_queue(queue: Queue) -> None:
    """It says how to begin, creates nothing, and follows when the queue comes into being."""
    server = Server(queue)

    assert (
        "Nothing has been enqueued yet" in server.ask(f"{server.root}/", "GET", server.bearer).text
    )
    assert not queue.database.exists()
    assert not queue.database.with_name("queue.db.d").exists()
    queue.enqueue("true", "--id", "j1")
    assert "j1" in server.ask(f"{server.root}/jobs", "GET", server.bearer).text


def test_a_replaced_queue(page: Page, storage: Storage) -> None:
    """Each page says what to do; a check of health fails without a word."""
    assert page.ask("/healthz", whole_path=True).status == 200
    os.rename(storage.files.database, storage.files.database + ".old")
    try:
        answer = page.ask("/")
        health = page.ask("/healthz", whole_path=True, token=None)
    finally:
        os.rename(storage.files.database + ".old", storage.files.database)

    assert answer.status == 503
    assert "was removed or replaced: start queuectl web again." in answer.text
    assert (health.status, health.text) == (503, "")


def test_all_threads_show_the_same_queue(page: Page, storage: Storage) -> None:
    """A thread that had not been asked before showed an empty queue, or the one that came after."""
    path = storage.files.database
    page.get("/")
    answers: list[Answer] = []

    def ask_in_a_new_thread() -> None:
        def ask() -> None:
            answers.append(page.ask("/"))
            page.serving.storages.close()

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    os.rename(path, f"{path}.old")
    ask_in_a_new_thread()
    Storage.open(storage.files, create=True).close()
    ask_in_a_new_thread()

    assert [one.status for one in answers] == [503, 503]


def test_an_upgraded_queue(page: Page, storage: Storage) -> None:
    page.get("/")
    with storage._transaction() as conn:
        conn.execute("PRAGMA user_version = 99")

    answer = page.ask("/")

    assert answer.status == 503
    assert "The queue was upgraded: start queuectl web again." in answer.text


def test_a_damaged_queue(page: Page, storage: Storage) -> None:
    """The page of the error needs nothing of the queue, and leaves a message for the next page."""
    link = page.ask(f"/?token={page.ring.current().full}", token=None)
    cookies = dict([link.headers["Set-Cookie"].partition(";")[0].split("=", 1)])
    message = page.post("/queues/resume-all", token=None, cookies=cookies).headers["Set-Cookie"]
    cookies.update([message.partition(";")[0].split("=", 1)])
    sql(storage, "DROP TABLE job_counts")

    answers = [page.ask(path, token=None, cookies=cookies) for path in ("/", "/jobs", "/nothing")]

    assert [one.status for one in answers] == [503, 503, 404]
    assert [one.text.count("<h1>") for one in answers] == [1, 1, 1]
    assert [one.headers.get("Set-Cookie") for one in answers] == [None, None, None]


def test_an_upgrade_of_the_program(queue: Queue, tmp_path: Path) -> None:
    """A running server shows its pages as before: it has read its templates at its start.

    They were read when a page was first asked for, and failed with the code of an older release.
    """
    queue.enqueue("true")
    package = Path(queuectl.__file__).parent
    copy = tmp_path / "site" / "queuectl"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    server = Server(queue, env={"PYTHONPATH": str(copy.parent)})
    for part in ("templates", "static"):
        shutil.rmtree(copy / "web" / part)

    for path in ("", "jobs", "jobs/@1", "queues"):
        answer = server.ask(f"{server.root}/{path}", headers=server.bearer)
        assert (path, answer.status) == (path, 200)


def test_an_unknown_job(page: Page) -> None:
    answer = page.ask("/jobs/nobody")

    assert answer.status == 404
    assert "No such job: nobody." in answer.text


@pytest.mark.parametrize("path", ["/bulk", "/bulk/do", "/queues/pause", "/queues/limit"])
def test_a_form_without_a_field(page: Page, path: str) -> None:
    """The page does not update itself: its address answers no GET, so it would show an error."""
    answer = page.post(path)

    assert answer.status == 400
    assert "<p>The form that was sent cannot be read: load the page again.</p>" in answer.text
    assert "data-live" not in answer.text
    assert "data-live" in page.ask("/jobs/nobody").text


def test_a_page_that_does_not_update_itself_is_not_called_live(
    page: Page, storage: Storage
) -> None:
    storage.enqueue([JobSpec(command="true", id="j1")], now=utcnow())

    shown = [page.get(path) for path in ("/jobs/j1", "/jobs/j1/edit")]

    assert ["data-live" in text for text in shown] == [True, False]
    assert ["<span>live</span>" in text for text in shown] == [True, False]


def test_a_page_and_its_action(page: Page, storage: Storage) -> None:
    """The action leads back to the page of its form, which says once what happened."""
    storage.enqueue([JobSpec(command="true", id="j1", label="one")], now=utcnow())
    storage.cancel(storage.get("j1"), now=utcnow())
    cookies = page.session()

    done = page.post("/jobs/j1/retry", token=None, cookies=cookies, fields={"back": "/jobs?q=a"})
    assert (done.status, done.headers["Location"]) == (303, f"{page.root}/jobs?q=a")
    name, value = done.headers["Set-Cookie"].partition(";")[0].split("=", 1)
    shown = page.ask("/jobs", token=None, cookies={**cookies, name: value})

    assert "@1 runs again as soon as a worker is free." in shown.text
    assert f"{name}=;" in shown.headers["Set-Cookie"]


def test_an_action_that_is_refused_leads_a_browser_back(page: Page, storage: Storage) -> None:
    """The page of the form says why."""
    storage.enqueue([JobSpec(command="true", id="j1")], now=utcnow())
    cookies = page.session()

    done = page.post("/jobs/j1/retry", token=None, cookies=cookies, fields={"back": "/jobs/j1"})
    assert (done.status, done.headers["Location"]) == (303, f"{page.root}/jobs/j1")
    name, value = done.headers["Set-Cookie"].partition(";")[0].split("=", 1)
    shown = page.ask("/jobs/j1", token=None, cookies={**cookies, name: value})
    assert "cannot retry j1: it is pending" in shown.text


_LATER = {"until": "2099-01-01"}


@pytest.mark.parametrize(
    ("path", "fields", "status", "line"),
    [
        ("/jobs/j1/retry", {}, 409, "cannot retry j1: it is pending"),
        ("/jobs/j1/delete", {}, 409, "cannot delete @1: it is pending"),
        ("/jobs/nothing/retry", {}, 404, "no such job: nothing"),
        ("/hooks/nothing/pause", {}, 404, "no such hook: nothing"),
        ("/schedules/nothing/run", {}, 404, "no such schedule: nothing"),
        ("/queues/pause", {"queue": "a b"}, 400,
         "queue must be printable, without white space, comma or slash"),
        ("/jobs/j1/edit", {"do": "save"}, 409, "nothing is changed"),
        ("/jobs/j1/edit", {"do": "explode"}, 400,
         "The form that was sent cannot be read: load the page again."),
        ("/bulk", {"do": "cancel", **_LATER}, 409, "no job is selected"),
        ("/bulk/do", {"do": "change", "job": "1", **_LATER}, 400,
         "nothing is changed: fill in at least one field"),
        ("/bulk/do", {"do": "retry", "job": "1", **_LATER}, 409,
         "0 of 1 job runs again; 1 refused"),
    ],
)  # fmt: skip
def test_an_action_that_is_refused_fails_for_a_script(
    page: Page, storage: Storage, path: str, fields: dict[str, str], status: int, line: str
) -> None:
    """Prevents: the answer was 303 as if all was well, so that `curl -f` exited with 0."""
    storage.enqueue([JobSpec(command="true", id="j1")], now=utcnow())

    done = page.post(path, token="full", fields={**fields, "back": "/jobs/j1"})

    assert (done.status, done.text) == (status, f"{line}\n")
    assert done.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_an_action_never_leads_elsewhere(page: Page, storage: Storage) -> None:
    """Whatever the field `back` holds, the answer leads below the secret path."""
    storage.enqueue([JobSpec(command="true", id="j1")], now=utcnow())

    for back in ("https://evil.example/", "//evil.example/", "/\\evil", "", "evil", "/a\r\nX: y"):
        target = page.post("/jobs/j1/retry", fields={"back": back}).headers["Location"]
        assert target.startswith(f"{page.root}/"), back


@pytest.mark.parametrize("evil", EVIL)
def test_hostile_text_is_escaped(page: Page, storage: Storage, evil: str) -> None:
    """Jobs come from anybody: what they hold is text, with control characters as escapes."""
    evil_id = "<b>'\"" + str(abs(hash(evil)))
    storage.enqueue(
        [JobSpec(command=evil, label="\n" + evil, id=evil_id, unique_key=evil,
                 env={"X_Y": evil}, cwd=f"/{evil}", queue="q'\"<b>")],
        now=utcnow(),
    )  # fmt: skip
    job = storage.get(evil_id)
    storage.pause_queue(job.queue, by=evil, reason=evil, now=utcnow())
    storage.cancel(job, reason=evil, now=utcnow())
    quoted = quote(evil, safe="")

    for path in ("/", "/jobs", "/jobs/@1", f"/jobs?q={quoted}", f"/jobs/@1?find={quoted}",
                 f"/?range={quoted}", "/jobs?q=state:cancelled", "/workers"):  # fmt: skip
        has_no_markup(page.get(path), path)
    for path in (f"/jobs/{quoted}", f"/jobs?q=state:{quoted}", f"/{quoted}"):
        has_no_markup(page.ask(path).text, path)


def test_the_list_of_jobs(page: Page, storage: Storage) -> None:
    """A query, its filters, and pages that lead on and back."""
    specs = [JobSpec(command=f"run {n}", id=f"j{n}", queue="mail") for n in range(120)]
    storage.enqueue(specs, now=utcnow())
    storage.cancel(storage.get("j7"), now=utcnow())

    first = page.get("/jobs")
    second = page.get(f"/jobs?before={storage.get('j70').seq}")
    cancelled = page.get("/jobs?q=state:cancelled")

    assert ("j119<" in first, "j70<" in first, "j69<" in first) == (True, True, False)
    assert ("j69<" in second, "j20<" in second, "Newer" in second) == (True, True, True)
    assert ("j7<" in cancelled, "j8<" in cancelled) == (True, False)
    assert 'href="' + page.root + '/jobs?q=state:pending" class="chip wait"' in first
    assert "pending 119" in first
    assert "No job fits “state:dead”." in page.get("/jobs?q=state:dead")
    assert "exit: not a number: x" in page.get("/jobs?q=exit:x")
    assert page.ask("/jobs?before=x&after=-9999999999999999999999").status == 200


def test_a_number_leads_to_its_job(page: Page, storage: Storage) -> None:
    """In the find box, `@17` or a generated id means that job; an unknown one is searched for."""
    job = storage.enqueue([JobSpec(command="true")], now=utcnow())[0]

    for text in ("@1", job.id):
        answer = page.ask(f"/jobs?q={text}")
        assert (answer.status, answer.headers["Location"]) == (302, f"{page.root}/jobs/{job.id}")
    assert page.ask("/jobs?q=@2").status == 200

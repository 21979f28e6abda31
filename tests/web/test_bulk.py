"""Actions on many jobs: what was chosen, the page before it, the action, and its progress."""

from __future__ import annotations

import html
import re
import threading
from typing import Any

import pytest

from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import to_text, utcnow
from queuectl.storage import Storage
from queuectl.storage.bulk import Many
from queuectl.web.tasks import Task, Tasks
from support.rows import statements
from support.waiting import PATIENCE_SECONDS, wait_until
from support.web import Page, dead_jobs, words


def _confirm(page: Page, fields: dict[str, Any]) -> str:
    answer = page.post("/bulk", fields=fields)
    assert answer.status == 200, answer
    return answer.text


def _do(page: Page, text: str, **more: str) -> str:
    """Send the form of the page that asks, and return where the answer leads."""
    form = text[text.index('action="' + page.root + "/bulk/do") :]
    fields: dict[str, Any] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form):
        fields.setdefault(html.unescape(name), []).append(html.unescape(value))
    answer = page.post("/bulk/do", fields={**fields, **more})
    assert answer.status == 303, answer
    return answer.headers["Location"]


def _states(storage: Storage, count: int) -> str:
    return "".join(storage.get(f"j{n}").state.value[0] for n in range(1, count + 1))


def test_ticked_jobs(page: Page, storage: Storage) -> None:
    """First the number, which ones, and what will happen; nothing has changed then."""
    dead_jobs(storage, 4)
    now = to_text(utcnow())

    text = _confirm(
        page, {"page": "dead", "do": f"retry {now}", "job": ["1", "3"], "back": "/dead"}
    )

    assert "Retry 2 jobs?" in words(text)
    assert "2 : 2 that you ticked." in words(text)
    assert re.findall(r'<tr id="job-(\d+)"', text) == ["3", "1"]
    assert "<i>3" not in text
    assert _states(storage, 4) == "dddd"
    assert _do(page, text) == f"{page.root}/dead"
    assert _states(storage, 4) == "pdpd"


def test_all_that_fit_until_the_page_was_made(page: Page, storage: Storage) -> None:
    """A job that dies after that is not touched."""
    dead_jobs(storage, 4)
    before = to_text(storage.get("j3").finished_at or utcnow())
    asked = {"page": "dead", "do": f"retry {before}", "all": "1", "exit": "1", "back": "/dead"}

    text = _confirm(page, asked)

    assert "Retry 3 jobs?" in words(text)
    assert "3 : all dead jobs with exit code 1, until " in words(text)
    assert _do(page, text) == f"{page.root}/dead"
    assert _states(storage, 4) == "pppd"


def test_a_group(page: Page, storage: Storage) -> None:
    """A group is found again by how its jobs died, as of the page."""
    dead_jobs(storage, 5)
    with storage._transaction() as conn:
        conn.execute("UPDATE jobs SET last_error = 'exit 7' WHERE seq = 2 OR seq = 4")
    shown = page.get("/dead")
    names = re.findall(r'name="in-group" value="([0-9a-f]+)" data-count="2"', shown)
    fields = {"page": "dead", "do": f"retry {to_text(utcnow())}", "in-group": names}

    text = _confirm(page, fields)

    assert "2 : all that died of “exit 7”, until " in words(text)
    _do(page, text)
    assert _states(storage, 5) == "dpdpd"


@pytest.mark.parametrize("chosen", ["in-group", "group"])
def test_groups_are_made_once(page: Page, storage: Storage, chosen: str) -> None:
    """The outputs of 2,000 dead jobs were read three times for one question."""
    dead_jobs(storage, 2)
    (name,) = re.findall(r'name="in-group" value="([0-9a-f]+)"', page.get("/dead"))
    fields = {"page": "dead", chosen: name, "all": str(int(chosen == "group"))}
    own = page.serving.storages.current()
    until = to_text(utcnow())

    asked = statements(own, lambda: _confirm(page, {**fields, "do": f"delete {until}"}))
    done = statements(
        own, lambda: page.post("/bulk/do", fields={**fields, "do": "delete", "until": until})
    )

    assert [sum("output_tail" in one for one in both) for both in (asked, done)] == [1, 1]
    assert storage.by_state()[JobState.DEAD] == 0


def test_jobs_of_the_list(page: Page, storage: Storage) -> None:
    """A filter of the page of jobs; the reason is kept."""
    storage.enqueue([JobSpec(command=f"run {n}", id=f"j{n}") for n in (1, 2, 3)], now=utcnow())
    fields = {"page": "jobs", "do": f"cancel {to_text(utcnow())}", "all": "1", "q": "run 2"}

    text = _confirm(page, {**fields, "q": '"run 2"'})

    assert "Cancel 1 job?" in words(text)
    assert "<title>Cancel 1 job · queuectl</title>" in text
    assert '1 : all unfinished jobs that fit “"run 2"”, as of' in words(text)
    _do(page, text, reason="wrong <input>")
    assert _states(storage, 3) == "pcp"
    assert storage.get("j2").cancel_reason == "wrong <input>"


def test_retry_with_changes(page: Page, storage: Storage) -> None:
    """Only what was filled in is changed; what is wrong is said, and what was typed stays."""
    dead_jobs(storage, 2)
    fields = {"page": "dead", "do": f"change {to_text(utcnow())}", "all": "1", "back": "/dead"}
    text = _confirm(page, fields)
    form = text[text.index("/bulk/do") :]
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form))

    wrong = page.post("/bulk/do", fields={**hidden, "set-queue": "mail", "set-timeout": "soon"})
    nothing = page.post("/bulk/do", fields=hidden)

    assert (wrong.status, nothing.status) == (200, 200)
    assert "Timeout: not a duration: 'soon'" in html.unescape(wrong.text)
    assert 'value="mail"' in wrong.text
    assert "Nothing is changed: fill in at least one field." in nothing.text
    assert _states(storage, 2) == "dd"
    _do(page, text, **{"set-queue": "mail", "set-timeout": "10m", "set-max_retries": "5"})
    for name in ("j1", "j2"):
        job = storage.get(name)
        assert (job.queue, job.timeout, job.max_retries, job.label) == (
            "mail",
            600,
            5,
            f"<i>{name[1]}",
        )


def test_to_delete_many_their_number_is_typed(page: Page, storage: Storage) -> None:
    dead_jobs(storage, 101)
    fields = {"page": "dead", "do": f"delete {to_text(utcnow())}", "all": "1", "back": "/dead"}

    text = _confirm(page, fields)
    form = text[text.index("/bulk/do") :]
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form))

    for typed in ("", "100", "all"):
        answer = page.post("/bulk/do", fields={**hidden, "typed": typed})
        assert "Type the number of jobs, 101, to delete them." in answer.text
    assert storage.by_state()[JobState.DEAD] == 101
    _do(page, text, typed="101")
    wait_until(lambda: storage.by_state()[JobState.DEAD] == 0)


def test_what_is_refused_is_listed(page: Page, storage: Storage) -> None:
    """The page of the action stays, and is there again after a reload."""
    storage.enqueue([JobSpec(command="true", id=f"j{n}") for n in (1, 2)], now=utcnow())
    storage.cancel(storage.get("j1"), now=utcnow())
    fields = {
        "page": "jobs",
        "do": f"retry {to_text(utcnow())}",
        "job": ["1", "2"],
        "back": "/jobs",
    }

    target = _do(page, _confirm(page, fields))

    assert target.startswith(f"{page.root}/bulk/")
    for token in ("full", "view", "full"):
        text = page.ask(target, whole_path=True, token=token).text
        assert "Done 2 that you ticked 1 of 2 jobs are" not in words(text)
        assert "1 of 2 jobs run again; 1 refused ." in words(text)
        assert "cannot retry @2: it is pending" in text
    assert page.ask("/bulk/nothing").status == 404


def test_more_than_one_transaction(page: Page, storage: Storage) -> None:
    storage.enqueue([JobSpec(command="true", id=f"j{n}") for n in range(1, 1202)], now=utcnow())
    fields = {"page": "jobs", "do": f"cancel {to_text(utcnow())}", "all": "1", "back": "/jobs"}

    _do(page, _confirm(page, fields))

    wait_until(lambda: storage.by_state()[JobState.CANCELLED] == 1201)


@pytest.mark.parametrize(
    ("fields", "text"),
    [({}, "no job is selected"), ({"all": "1", "q": "nothing"}, "no job fits any more"),
     ({"all": "1", "q": "state:pending"}, "cannot retry jobs that are pending"),
     ({"job": "x"}, "the form cannot be read"),
     ({"job": str(10**30)}, "the form cannot be read"),
     ({"job": [str(n) for n in range(501)]}, "at most 500"),
     ({"until": "x", "job": "1"}, "the form cannot be read"),
     ({"all": "1", "exit": "x", "page": "dead"}, "not a number")],
)  # fmt: skip
def test_nothing_to_do(page: Page, storage: Storage, fields: dict[str, Any], text: str) -> None:
    """The answer leads back, with a message that says why."""
    dead_jobs(storage, 1)
    link = page.ask(f"/?token={page.ring.current().full}", token=None)
    cookies = dict([link.headers["Set-Cookie"].partition(";")[0].split("=", 1)])
    asked = {"page": "jobs", "do": f"retry {to_text(utcnow())}", "back": "/jobs", **fields}

    answer = page.post("/bulk", fields=asked, token=None, cookies=cookies)

    assert (answer.status, answer.headers["Location"]) == (303, f"{page.root}/jobs")
    name, value = answer.headers["Set-Cookie"].partition(";")[0].split("=", 1)
    shown = page.ask("/jobs", token=None, cookies={**cookies, name: value})
    assert text in shown.text


def test_an_unknown_action(page: Page) -> None:
    assert page.post("/bulk", fields={"do": "explode", "job": "1"}).status == 400
    assert page.post("/bulk/do", fields={"do": "explode", "job": "1"}).status == 400


def test_progress(page: Page, storage: Storage) -> None:
    """While it goes on, its page says how far it is; an error ends it, and is told."""
    told: list[int] = []
    tasks: Tasks = page.serving.tasks
    tasks._tell = lambda: told.append(1)
    goes_on = threading.Event()
    task = Task("cancel", "<b>some</b>", f"{page.root}/jobs")

    def act(_storage: Storage, seqs: Any) -> Many:
        if seqs[0] == 0:
            return Many(len(seqs), [])
        assert goes_on.wait(PATIENCE_SECONDS)
        raise ValueError("x")

    tasks.start(task, lambda _: range(1000), act)
    wait_until(lambda: task.done == 500)
    text = page.get(f"/bulk/{task.name}")
    goes_on.set()
    assert task.wait(PATIENCE_SECONDS)
    ended = page.get(f"/bulk/{task.name}")

    assert "Cancelling… <b>some</b> 500 of 1,000 jobs are cancelled; 0 refused , 50 %." in words(
        text
    )
    assert "<b>some" not in text
    assert '<meta http-equiv="refresh" content="2">' in text
    assert "It ended before its time: ValueError." in words(ended)
    assert "http-equiv" not in ended
    wait_until(lambda: told == [1])


def test_only_jobs_that_failed_are_retried_unless_others_are_named(
    page: Page, storage: Storage
) -> None:
    """As on the command line: to retry all that fit must not run again what has completed."""
    dead_jobs(storage, 3)
    storage.enqueue([JobSpec(command="run", id="k")], now=utcnow())
    storage.cancel(storage.get("k"), now=utcnow())
    fields = {"page": "jobs", "do": f"retry {to_text(utcnow())}", "all": "1", "back": "/jobs"}

    usual = words(_confirm(page, fields))
    named = words(_confirm(page, {**fields, "q": "state:cancelled"}))
    deleted = words(_confirm(page, {**fields, "do": f"delete {to_text(utcnow())}"}))

    assert "3 : all failed and dead jobs, as of" in usual
    assert "1 : all cancelled jobs that fit “state:cancelled”, as of" in named
    assert "4 : all finished jobs, as of" in deleted


def test_the_time_of_the_page_may_be_a_field_of_its_own(page: Page, storage: Storage) -> None:
    """As in forms with one button, whose label says what it does."""
    dead_jobs(storage, 3)
    until = to_text(storage.get("j2").finished_at or utcnow())
    fields = {"page": "dead", "do": "retry", "until": until, "all": "1", "back": "/"}

    assert _do(page, _confirm(page, fields)) == f"{page.root}/"
    assert _states(storage, 3) == "ppd"

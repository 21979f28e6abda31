"""Actions on one job: cancel, delete, edit, and edit with a retry."""

from __future__ import annotations

import html
from typing import Callable

import pytest

from queuectl.core.errors import NoSuchJob
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from queuectl.web import changes
from support.queue import Queue
from support.states import every_state
from support.web import Page, dead_jobs, words


def _job(storage: Storage, **fields: object) -> None:
    spec = JobSpec(command="true", id="j1")._replace(**fields)
    storage.enqueue([spec], now=utcnow())


def _message(page: Page, path: str, **fields: str) -> tuple[str, str]:
    """Do something with a session; return where that leads and the message there."""
    cookies = page.session()
    done = page.post(path, token=None, cookies=cookies, fields=fields)
    assert done.status == 303, done
    name, value = done.headers["Set-Cookie"].partition(";")[0].split("=", 1)
    shown = page.ask("/jobs", token=None, cookies={**cookies, name: value}).text
    text = shown.partition('id="message"><p>')[2].partition("</p>")[0]
    return done.headers["Location"][len(page.root) :], html.unescape(text)


def test_cancel(page: Page, storage: Storage) -> None:
    _job(storage)

    done = _message(page, "/jobs/j1/cancel", back="/jobs?q=a", reason="<b>no</b> ")

    assert done == ("/jobs?q=a", "@1 is cancelled.")
    assert storage.get("j1").cancel_reason == "<b>no</b>"
    assert "<b>no" not in page.get("/jobs/j1")
    again = _message(page, "/jobs/j1/delete", back="/jobs/j1")
    assert again == ("/jobs", "@1 is deleted.")
    with pytest.raises(NoSuchJob):
        storage.get("j1")


def test_a_name_may_hold_what_an_address_may_not(page: Page, storage: Storage) -> None:
    """The forms of such a job lead back to its page, and so does a link with a token."""
    _job(storage, id="a#b?%41")
    path = "/jobs/a%23b%3F%2541"

    shown = page.get(path)
    link = page.ask(f"{path}?token={page.ring.current().full}", token=None)

    assert f'name="back" value="{path}"' in shown
    assert link.headers["Location"] == page.root + path


def test_what_cannot_be_done(page: Page, storage: Storage) -> None:
    """The answer leads back and says why."""
    _job(storage)

    assert _message(page, "/jobs/j1/delete", back="/x") == (
        "/x",
        "cannot delete @1: it is pending",
    )
    dead_jobs(storage, 0)
    storage.cancel(storage.get("j1"), now=utcnow())
    assert _message(page, "/jobs/j1/cancel", back="/x") == ("/x", "@1 is cancelled.")


def test_edit_a_waiting_job(page: Page, storage: Storage) -> None:
    """Only the fields that were changed are changed; empty ones are taken away."""
    _job(storage, label="one", timeout=90.0, command="a\nb", cwd="/tmp", env={"A": "1"})
    text = page.get("/jobs/j1/edit")
    shown = changes.written(storage.get("j1"))
    fields = {f"set-{name}": value for name, value in shown.items()}

    assert 'name="do" value="save"' in text
    assert 'name="do" value="retry"' not in text
    assert "set-env" not in text
    nothing = page.post("/jobs/j1/edit", fields={"do": "save", **fields})
    assert (nothing.status, "Nothing is changed." in nothing.text) == (409, True)
    fields.update({"set-command": "a\r\nc", "set-label": "", "set-priority": "-3"})
    done = _message(page, "/jobs/j1/edit", do="save", **fields)

    assert done == ("/jobs/j1", "@1 is changed.")
    job = storage.get("j1")
    assert (job.command, job.label, job.priority, job.timeout) == ("a\nc", None, -3, 90.0)
    assert (job.cwd, job.env, job.state) == ("/tmp", {"A": "1"}, JobState.PENDING)


def test_edit_and_retry(page: Page, storage: Storage) -> None:
    """In one transaction; a field that is wrong changes nothing and loses nothing."""
    dead_jobs(storage, 1)
    fields = {"do": "retry", "set-command": "<new>", "set-timeout": "soon"}

    wrong = page.post("/jobs/j1/edit", fields=fields)

    assert wrong.status == 409
    assert "Timeout: not a duration: 'soon'" in html.unescape(wrong.text)
    assert "&lt;new&gt;</textarea>" in wrong.text
    assert "<new>" not in wrong.text
    assert storage.get("j1").state is JobState.DEAD
    done = _message(page, "/jobs/j1/edit", **{**fields, "set-timeout": "10m"})
    assert done == ("/jobs/j1", "@1 is changed and runs again as soon as a worker is free.")
    job = storage.get("j1")
    assert (job.state, job.command, job.timeout) == (JobState.PENDING, "<new>", 600.0)


def test_a_dead_job_is_saved_without_running_it(page: Page, storage: Storage) -> None:
    dead_jobs(storage, 1)

    _message(page, "/jobs/j1/edit", do="save", **{"set-queue": "mail"})

    assert (storage.get("j1").state, storage.get("j1").queue) == (JobState.DEAD, "mail")


def test_variables_need_their_option(pages: Callable[..., Page], storage: Storage) -> None:
    """Without --show-env they are neither shown nor changed."""
    _job(storage)
    fields = {"do": "save", "set-env": "B=2\nC=x=y"}

    assert pages().post("/jobs/j1/edit", fields=fields).status == 409
    open_page = pages(show_env=True)
    assert "set-env" in open_page.get("/jobs/j1/edit")
    assert open_page.post("/jobs/j1/edit", fields=fields).status == 303
    assert storage.get("j1").env == {"B": "2", "C": "x=y"}


def test_the_buttons_of_each_state(queue: Queue, shown: Callable[..., Page]) -> None:
    """What can be done in a state has a button; nothing else has one."""
    every_state(queue)
    page = shown()
    for state in JobState:
        text = words(page.get(f"/jobs/{state.value}"))
        ended = state in (JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED)
        assert ("Delete…" in text, "Cancel…" in text) == (ended, not ended), state
        assert ("Edit & retry…" in text) == (ended or state is JobState.FAILED), state
        assert ("Edit…" in text) == (
            state in (JobState.PENDING, JobState.SCHEDULED, JobState.BLOCKED)
        ), state
        edit = words(page.get(f"/jobs/{state.value}/edit"))
        assert ("cannot be changed" in edit) == (state is JobState.PROCESSING), state


@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0, 59.0, 60.0, 61.0, 3600.0, 5400.0, 90061.0])
def test_a_shown_timeout_is_read_as_the_same(storage: Storage, seconds: float) -> None:
    from queuectl.core.times import parse_duration

    _job(storage, timeout=seconds)

    assert parse_duration(changes.written(storage.get("j1"))["timeout"]) == seconds

"""What people do with jobs on the page, click by click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import pytest

from support.queue import Queue
from support.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page


def _die(queue: Queue, *names: str, output: str = "no route to host") -> None:
    for name in names:
        queue.add(f"echo '{output}'; exit 12", id=name, max_retries=1)
    queue.drain()
    queue.close_storage()


def _message(page: Page) -> str:
    page.locator("#message").wait_for()
    return page.locator("#message").inner_text()


def test_edit_and_retry(queue: Queue, site: Site) -> None:
    """A command with a mistake in it is mended, and runs again, in one step."""
    _die(queue, "j1")
    page = site.open("/jobs/j1")

    page.keyboard.press("e")
    page.get_by_label("Command").fill("echo mended")
    page.get_by_role("button", name="Retry with these changes").click()

    _message(page)
    assert page.url == site.url("/jobs/j1")
    assert "echo mended" in page.inner_text("pre.command")
    job = queue.get("j1")
    assert (job.state.value, job.command) == ("pending", "echo mended")
    # The page follows it to its end.
    queue.start()
    page.locator(".chip.big", has_text="completed").wait_for()
    page.locator(".term li", has_text="mended").wait_for()


def test_a_group_is_retried_as_it_was_seen(queue: Queue, site: Site) -> None:
    """A job that dies in the same way between the look and the click is left alone."""
    _die(queue, "j1", "j2")
    _die(queue, "other", output="disk full")
    page = site.open("/dead")
    group = page.locator("tr.group", has_text="no route to host")

    group.get_by_role("checkbox").check()
    page.get_by_role("button", name="Retry").first.click()
    page.get_by_role("heading", name="Retry 2 jobs?").wait_for()
    _die(queue, "late")
    page.get_by_role("button", name="Retry 2 jobs").click()

    assert "2 of 2 jobs" in _message(page)
    states = {name: queue.state(name) for name in ("j1", "j2", "other", "late")}
    assert states == {"j1": "pending", "j2": "pending", "other": "dead", "late": "dead"}
    assert page.url == site.url("/dead")


def test_a_job_is_deleted_after_a_question(queue: Queue, site: Site) -> None:
    _die(queue, "j1", "j2")
    page = site.open("/jobs/j1")

    page.get_by_text("Delete…").click()
    assert queue.ids() == ["j1", "j2"]
    page.get_by_role("button", name="Delete @1").click()

    _message(page)
    assert queue.ids() == ["j2"]
    # The page of the job may have asked for news just before it was left: there is no such job.
    site.problems = [problem for problem in site.problems if "404 (NOT FOUND)" not in problem]


def test_ticked_jobs_are_deleted(queue: Queue, site: Site) -> None:
    """Ticks survive updates; what was not ticked stays."""
    _die(queue, "j1", "j2", "j3")
    page = site.open("/dead")
    page.get_by_label("Select j1", exact=True).check()
    page.get_by_label("Select j3", exact=True).check()
    _die(queue, "j4")
    page.locator("#main tr", has_text="j4").wait_for()

    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("heading", name="Delete 2 jobs?").wait_for()
    page.get_by_role("button", name="Delete 2 jobs").click()

    _message(page)
    assert sorted(queue.ids()) == ["j2", "j4"]


def test_a_running_job_is_cancelled(queue: Queue, site: Site) -> None:
    """The key opens the question, with a field for the reason; the page shows the end."""
    queue.add("sleep 1000", id="j1")
    queue.start()
    queue.until("j1", "processing")
    page = site.open("/jobs/j1")

    page.keyboard.press("c")
    page.get_by_label("Reason (optional)").fill("wrong folder")
    page.get_by_role("button", name="Cancel @1").click()

    _message(page)
    page.locator(".chip.big", has_text="cancelled").wait_for()
    assert "wrong folder" in page.inner_text("#main")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_view_only_link_offers_nothing(
    queue: Queue, sites: Callable[..., Site], scripts: bool
) -> None:
    """There is no button that would change anything."""
    _die(queue, "j1")
    site = sites()
    view = queue.ok("web", "--link").splitlines()[1].partition("?")[2]
    page = site.context(java_script_enabled=scripts).new_page()
    page.goto(f"{site.url('/')}?{view}")

    for path in ("/", "/jobs", "/dead", "/jobs/j1"):
        page.goto(site.url(path))
        page.locator("#main h1").wait_for(state="attached")
        forms = page.locator("#main form[method=post]").count()
        assert (path, forms) == (path, 0)
    assert "looking only" in page.inner_text("#foot")


def test_hooks_without_scripts(queue: Queue, site: Site) -> None:
    """Each button of a hook is a form; the page that follows says what became of it."""
    queue.ok(
        "hook", "add", "say", "--on", "completed", "--max-retries", "1", "--", "echo no; exit 3"
    )
    queue.enqueue("true")
    queue.drain()
    queue.close_storage()
    page = site.open("/hooks/say", java_script_enabled=False)
    said = []

    for button in ("Pause", "Resume", "Send a test", "Retry 1 dead"):
        page.get_by_role("button", name=button).click()
        said.append(_message(page))
    page.goto(site.url("/hooks"))
    page.get_by_role("button", name="Pause").click()
    said.append(_message(page))

    assert said == [
        "say is paused: it reports nothing until it is resumed.",
        "say reports again.",
        "the test of say failed: no",
        "Retried 1 job of say.",
        "say is paused: it reports nothing until it is resumed.",
    ]
    assert page.url == site.url("/hooks")
    assert queue.counts() == {"completed": 1, "pending": 1}

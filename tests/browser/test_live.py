"""The page follows the queue, and disturbs nobody who is doing something with it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from support.processes import kill
from support.queue import Queue
from support.site import Site, main_text
from support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Response


class Updates:
    """Makes a page update itself as often as a test wants, and counts how often it did.

    The clock of the page is the test's: nothing happens unless that is moved on.
    """

    def __init__(self, queue: Queue, site: Site) -> None:
        self._queue = queue
        self._site = site
        self.page = site.context().new_page()
        self.page.clock.install()
        self.page.on("request", self._asked)
        self.page.on("response", self._answered)
        self.count = 0
        self._unanswered: set[Request] = set()
        self.page.goto(site.server.link)

    def open(self, path: str) -> Page:
        self.page.goto(self._site.url(path))
        self.count = 0
        self._unanswered.clear()
        return self.page

    def until(self, number: int) -> None:
        """Change the queue, and let the page ask, until it was given something new this often."""
        while self.count < number:
            self._queue.add(f"echo {self.count}", queue="other")
            wait_until(partial(self._has_asked, self.count), what="an update")

    def _has_asked(self, before: int) -> bool:
        self.page.clock.run_for(2000)
        self.page.wait_for_timeout(100)
        return self.count > before

    def ask(self) -> None:
        """Change the queue, and give the page the time to ask for the change."""
        self._queue.add("true", queue="other")
        for _ in range(10):
            self.page.clock.run_for(2000)
            self.page.wait_for_timeout(100)

    def forget(self) -> None:
        """Count anew, once all that the page has asked for so far is answered."""
        wait_until(self._all_answered, what="the answers")
        self.count = 0

    def _all_answered(self) -> bool:
        self.page.wait_for_timeout(50)
        return not self._unanswered

    def _asked(self, request: Request) -> None:
        if _is_live(request):
            self._unanswered.add(request)

    def _answered(self, got: Response) -> None:
        self._unanswered.discard(got.request)
        if _is_live(got.request) and got.status == 200:
            self.count += 1


def _is_live(request: Request) -> bool:
    """Whether the page asked for news of itself."""
    return "x-queuectl-live" in request.headers


def test_a_link_logs_in(site: Site) -> None:
    """The token leaves the address, also the history; the page works without it from then on."""
    page = site.context().new_page()
    page.goto(site.server.link)

    assert page.url == site.url("/")
    assert page.evaluate("history.length") == 2  # the first is about:blank
    page.goto(site.url("/jobs"))
    assert page.title() == "Jobs · queuectl"
    # The cookie is of no use to a page at another port, and no script can read it.
    (cookie,) = page.context.cookies()
    assert (cookie["path"], cookie["httpOnly"]) == (f"{site.server.root}/", True)


def test_without_the_link(site: Site) -> None:
    page = site.context().new_page()
    page.goto(site.url("/jobs"))
    site.forgive("401")

    page.fill("input[name=token]", site.server.token)
    page.press("input[name=token]", "Enter")

    page.wait_for_selector("nav.main")
    assert page.url == site.url("/")


def test_the_verdict_follows_at_once(queue: Queue, site: Site) -> None:
    """A worker that is killed writes nothing, and is missed within three seconds all the same: the
    page asks every two seconds, and the second answer tells it at the latest.

    A busy machine may hold the server or the page back, so one quick round of five is enough.
    """
    queue.add_many("sleep 1000", "sleep 1000")  # one of them waits
    page = site.open()
    asked_at: list[float] = []
    page.on("request", lambda one: _is_live(one) and asked_at.append(time.monotonic()))
    answers: list[int] = []
    while not answers or (answers[-1] > 2 and len(answers) < 5):
        queue.start()
        page.get_by_text("All is well").wait_for()
        kill(*(pid for pid in queue.pids() if pid != site.server.process.pid))
        before = len(asked_at)
        page.get_by_text("No worker is running").first.wait_for()
        answers.append(len(asked_at) - before)
        assert "problem" in page.title()
        assert "icon-bad" in (page.get_attribute("link[rel=icon]", "href") or "")
    assert min(answers) <= 2
    assert min(later - at for at, later in zip(asked_at, asked_at[1:])) <= 2.5


def test_typing_goes_on(queue: Queue, site: Site) -> None:
    """Ten updates take nothing away from what somebody types, in the head or in the page."""
    queue.add("true")
    updates = Updates(queue, site)
    page = updates.open("/jobs?q=echo")

    for box in ("#find", "#main input[name=q]"):
        page.fill(box, "")
        for number, letter in enumerate("deploy-web", 1):
            page.type(box, letter)
            updates.until(number)
        assert page.input_value(box) == "deploy-web"
        assert page.evaluate("document.activeElement.name") == "q"
        updates.count = 0
    assert (
        "10 jobs" in page.inner_text("#main .pager") or page.locator("#main tbody tr").count() > 9
    )


def test_a_selection_stays(queue: Queue, site: Site) -> None:
    """While text of the page is selected nothing changes; afterwards the page catches up."""
    queue.add("echo selected", id="j1")
    updates = Updates(queue, site)
    page = updates.open("/jobs")
    updates.until(1)
    rows = page.locator("#main tbody tr")
    known = rows.count()

    page.evaluate("getSelection().selectAllChildren(document.querySelector('#main tbody'))")
    updates.ask()
    assert "echo selected" in page.evaluate("getSelection().toString()")
    assert rows.count() == known
    page.evaluate("getSelection().removeAllRanges()")
    wait_until(lambda: updates.ask() or rows.count() > known, what="the new rows")


def test_what_is_open_stays_open(queue: Queue, site: Site) -> None:
    """An open dialog holds updates back; opened figures stay open through updates."""
    queue.add("true")
    updates = Updates(queue, site)
    page = updates.open("/")
    page.click("details.figures summary")

    updates.until(2)
    assert page.locator("details.figures").get_attribute("open") is not None
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()
    updates.forget()
    updates.ask()
    assert updates.count == 0
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    updates.until(1)


def test_the_server_goes_away(queue: Queue, site: Site) -> None:
    """The page says so and stays as it is."""
    queue.add("echo kept", id="j1")
    updates = Updates(queue, site)
    page = updates.open("/jobs")
    site.server.process.terminate()
    site.server.process.wait()

    updates.ask()

    assert page.inner_text("#banner") == "queuectl web does not answer. Trying again."
    assert "echo kept" in page.inner_text("#main")
    site.forgive("ERR_CONNECTION_REFUSED")


def test_the_server_goes_away_after_an_error(queue: Queue, site: Site) -> None:
    """The page said for ever what the server had answered last."""
    queue.add("true", id="j1")
    queue.run_as_if("completed")
    updates = Updates(queue, site)
    page = updates.open("/jobs/j1")

    queue.ok("prune", "j1")
    updates.ask()
    said = [page.inner_text("#banner")]
    site.server.process.terminate()
    site.server.process.wait()
    updates.ask()
    page.locator("#banner", has_text="does not answer").wait_for()
    said.append(page.inner_text("#banner"))

    assert said == ["No such job: j1.", "queuectl web does not answer. Trying again."]
    assert page.inner_text("#live") == "no answer"
    site.forgive("404|ERR_CONNECTION_REFUSED")


def test_the_queue_is_replaced(queue: Queue, site: Site) -> None:
    """The page says what the server says, stays as it is, and goes on when that is over."""
    queue.add("echo kept", id="j1")
    queue.close_storage()
    page = site.open("/jobs")
    aside = queue.database.with_name("aside.db")

    queue.database.rename(aside)
    page.locator("#banner").wait_for()
    assert page.inner_text("#banner") == (
        f"{queue.database} was removed or replaced: start queuectl web again."
    )
    assert page.inner_text("#live") == "no update"
    assert "echo kept" in page.inner_text("#main")
    aside.rename(queue.database)

    page.locator("#banner").wait_for(state="detached")
    assert page.inner_text("#live") == "live"
    site.forgive("503")


def test_the_job_is_deleted(queue: Queue, site: Site) -> None:
    """Its page stays as it was; it looked as if it were up to date."""
    queue.add("true", id="j1")
    queue.run_as_if("completed")
    page = site.open("/jobs/j1")

    queue.ok("prune", "j1")
    page.locator("#banner").wait_for()

    assert page.inner_text("#banner") == "No such job: j1."
    site.forgive("404")


def test_a_job_that_is_not_there_yet(queue: Queue, site: Site) -> None:
    """The page says so once, without a banner as well, and shows the job when there is one."""
    page = site.open("/jobs/j1")
    said = main_text(page)

    for _ in range(2):  # the page has dealt with the first answer when it asks again
        with page.expect_response(lambda got: _is_live(got.request)) as got:
            pass
        assert got.value.status == 404
    assert page.locator("#banner").count() == 0
    assert page.inner_text("#live") == "live"
    assert main_text(page) == said
    queue.add("echo hello", id="j1")
    page.get_by_text("echo hello").first.wait_for()
    site.forgive("404")


def test_the_output_of_a_running_job(queue: Queue, site: Site) -> None:
    """It is followed line by line; after the end of the job nothing more is asked for."""
    command = "echo first; until [ -e go ]; do sleep .05; done; echo second; printf third"
    queue.add(command, id="j1")
    queue.start()
    queue.until("j1", "processing")
    page = site.open("/jobs/j1")
    lines = page.locator(".term li")
    lines.filter(has_text="first").wait_for()
    assert page.locator(".chip.big").inner_text() == "processing"

    queue.let_go()
    lines.filter(has_text="third").wait_for()
    page.locator(".chip.big", has_text="completed").wait_for()

    assert [line.inner_text() for line in lines.all()] == ["first", "second", "third"]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert [url for url in asked if "/output" in url] == []


_COUNT_COMPARED = """() => {
  const morph = Idiomorph.morph;
  window.compared = 0;
  Idiomorph.morph = (old, fresh, options) => {
    const callbacks = { ...options.callbacks };
    callbacks.beforeNodeMorphed = (...nodes) => {
      compared += 1;
      return options.callbacks.beforeNodeMorphed(...nodes);
    };
    return morph(old, fresh, { ...options, callbacks });
  };
}"""
"""Counts which parts of the page an update compares."""


def test_a_long_output_costs_an_update_nothing(queue: Queue, site: Site) -> None:
    """Each update compared all lines with each other: the browser stood still for a minute."""
    queue.add("seq 11000", id="j1")
    queue.drain()
    updates = Updates(queue, site)
    page = updates.open("/jobs/j1")
    assert page.locator(".term li").count() > 10000

    page.evaluate(_COUNT_COMPARED)
    updates.until(2)

    assert 0 < page.evaluate("compared") < 1000


def test_find_in_the_output(queue: Queue, site: Site) -> None:
    """The lines found are listed, and lead to where they are."""
    queue.add(
        "seq -f 'line %g of many more' 5000; echo needle here; seq -f 'line %g of many more' 5000",
        id="j1",
    )
    queue.drain()
    page = site.open("/jobs/j1")
    assert "needle" not in page.inner_text(".term")

    page.fill("#find-output", "needle")
    page.press("#find-output", "Enter")

    assert "needle here" in page.inner_text(".hits")
    page.click(".hits a")
    page.wait_for_url("**/jobs/j1?*from=*")
    assert "needle here" in page.inner_text(".term")
    assert page.locator('.term li[data-n="5001"]').inner_text() == "needle here"


def test_an_open_page_asks_nobody_else(queue: Queue, site: Site) -> None:
    """Without a network but this machine everything is there: each request is for our server."""
    queue.add("true")
    page = site.open()
    loaded = page.evaluate(
        "performance.getEntriesByType('resource').map(one => [new URL(one.name).host, one.name])"
    )

    assert len(loaded) >= 3
    assert {host for host, _ in loaded} == {site.server.netloc}

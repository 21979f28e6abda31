"""The page follows the queue, and disturbs nobody who is doing something with it."""

from __future__ import annotations

import time

from support.processes import kill
from support.queue import Queue
from support.site import Site


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
    """A worker that is killed writes nothing, and is missed within three seconds all the same."""
    queue.add("sleep 1000")
    queue.start()
    queue.add("true")
    page = site.open()
    page.get_by_text("All is well").wait_for()

    killed_at = time.monotonic()
    kill(*(pid for pid in queue.pids() if pid != site.server.process.pid))
    page.get_by_text("No worker is running").first.wait_for()
    took = time.monotonic() - killed_at

    assert took <= 3.0
    assert "problem" in page.title()
    assert "icon-bad" in (page.get_attribute("link[rel=icon]", "href") or "")

"""The page of a queue in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.queue import Queue
from support.waiting import PATIENCE_SECONDS
from support.web import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}


class Site:
    """A running `queuectl web`, and the browser that opens its pages.

    Everything that goes wrong in a browser is kept in `problems`: errors in its console, such as
    those of the Content-Security-Policy, errors of scripts, and requests to other servers.
    """

    def __init__(self, queue: Queue, browser: Browser, *options: str) -> None:
        self.queue = queue
        self.browser = browser
        self.server = Server(queue, *options, env={"PYTHONPATH": str(_patient(queue))})
        self.origin = f"http://{self.server.netloc}"
        self.problems: list[str] = []
        self._contexts: list[BrowserContext] = []

    def url(self, path: str = "/") -> str:
        """Return the address of a page, without a token."""
        return f"{self.origin}{self.server.root}{path}"

    def context(self, **options: Any) -> BrowserContext:
        """Return a new profile of the browser, which is not logged in."""
        options.setdefault("viewport", DESKTOP)
        context = self.browser.new_context(**options)
        context.set_default_timeout(1000 * PATIENCE_SECONDS)
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.problems.append(f"error: {error.error}"))
        context.on("request", self._asked)
        self._contexts.append(context)
        return context

    def open(self, path: str = "/", **options: Any) -> Page:
        """Return a page that was opened in a new profile which the link has logged in."""
        page = self.context(**options).new_page()
        page.goto(self.server.link)
        if path != "/":
            page.goto(self.url(path))
        return page

    def close(self) -> None:
        """Close all profiles."""
        for context in self._contexts:
            context.close()

    def forgive(self, pattern: str) -> None:
        """Forget problems that are what the test wants to see."""
        self.problems = [one for one in self.problems if not re.search(pattern, one)]

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:", "blob:")):
            self.problems.append(f"request: {request.url}")


def _patient(queue: Queue) -> Path:
    """Return a folder for PYTHONPATH: actions on many jobs lead back at once, however slow."""
    folder = queue.folder / "patient"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "import queuectl.web.actions.bulk\n"
        f"sys.modules['queuectl.web.actions.bulk']._PATIENCE_SECONDS = {PATIENCE_SECONDS}\n"
    )
    return folder


def main_text(page: Page) -> str:
    """Return the visible text of the page between its head and its foot, on one line."""
    return " ".join(page.inner_text("#main").split())


def page_paths(page: Page) -> list[str]:
    """Return the paths of the pages in the navigation, below the secret path."""
    links = page.locator("nav.main a").evaluate_all("all => all.map(one => one.href)")
    return [str(link).split("/", 5)[5] for link in links]


def details(site: Site, job: str) -> list[str]:
    """Return paths of every kind of page; `job` names a job that has run."""
    page = site.open()
    listed = page_paths(page)
    found = [f"/{path}" for path in listed]
    found += [
        f"/jobs/{job}",
        f"/jobs/{job}?find=e",
        f"/jobs/{job}/edit",
        "/jobs?q=state:dead",
        "/jobs?q=nothing",
    ]
    for path in ("queues", "schedules", "hooks"):
        if path in listed:
            page.goto(site.url(f"/{path}"))
            links = page.locator("#main a[href]").evaluate_all("all => all.map(one => one.href)")
            parts = [str(link).split("#")[0].split("/", 5)[5] for link in links]
            one_each = sorted({part for part in parts if re.fullmatch(f"{path}/[^/?]+", part)})
            found += [f"/{part}" for part in (*one_each[:1], *one_each[-1:])]
    page.context.close()
    return sorted(set(found))

"""Pictures of the page, for people to look at; that of the README is one of them.

QUEUECTL_SCREENSHOTS names the folder where they are kept. QUEUECTL_REWRITE_SCREENS=1 puts the
picture of the README in its place in the checkout.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from support import showcase
from support.pages import CHECKOUT
from support.queue import Queue
from support.site import DESKTOP, PHONE, Site, page_paths

if TYPE_CHECKING:
    from playwright.sync_api import Page

_NO_MACHINE = """() => {
  const put = (selector, text) => {
    const node = document.querySelector(selector);
    if (node) node.textContent = text;
  };
  put(".brand span", "ops@build-3 · queue.db");
  put("#foot > span:nth-of-type(2)",
      "/home/ops/.local/state/queuectl/queue.db · 12 MiB · 41 GiB free");
}"""
"""Takes the names of this machine out of a picture."""


def _take(page: Page, path: Path, *, whole: bool = True) -> None:
    page.evaluate(_NO_MACHINE)
    page.screenshot(path=str(path), full_page=whole, animations="disabled")


def test_a_stuck_queue(queue: Queue, sites: Callable[..., Site], pictures: Path) -> None:
    job = showcase.stuck(queue)
    site = sites()
    page = site.open()
    text = page.inner_text("#main")
    # The top of it is the picture of the README, which git keeps each version of.
    page.set_viewport_size({"width": 1280, "height": 890})
    readme = pictures / "page.png"
    _take(page, readme, whole=False)
    assert readme.stat().st_size <= 200_000
    if os.environ.get("QUEUECTL_REWRITE_SCREENS") == "1":
        shutil.copy(str(readme), str(CHECKOUT / ".github" / "page.png"))
    known = {path: path.partition("?")[0] or "overview" for path in page_paths(page)}
    for path, name in {**known, f"jobs/@{job}": "job"}.items():
        page.goto(site.url(f"/{path}"))
        for theme, size in (("light", DESKTOP), ("dark", DESKTOP), ("phone", PHONE)):
            page.set_viewport_size(size)
            if path == "dead":
                page.locator("input[name=in-group]").first.check()
            page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            _take(page, pictures / f"{name}-{theme}.png")
    assert "No worker serves the queue mail" in text
    assert "14 jobs died in the last hour, 11 of them in the same way" in text


def test_a_calm_queue(queue: Queue, sites: Callable[..., Site], pictures: Path) -> None:
    showcase.calm(queue)

    page = sites().open()

    _take(page, pictures / "calm.png")
    assert "All is well" in page.inner_text("#main")


def test_an_empty_queue(site: Site, pictures: Path) -> None:
    _take(site.open(), pictures / "empty.png")

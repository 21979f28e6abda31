"""Fixtures of the tests in a real browser: `.ci/run browser` has what they need.

They need the package playwright and Debian's chromium. Without one of them they are skipped.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator

import pytest

from support.queue import Queue
from support.site import Site
from support.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium, which opens pages of this machine only."""
    pytest.importorskip("flask")
    pytest.importorskip("waitress")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: .ci/run browser")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Debian's chromium: .ci/run browser")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program,
            timeout=4000 * PATIENCE_SECONDS,
            args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * 127.0.0.1"],
        )
        yield started
        started.close()


@pytest.fixture
def sites(queue: Queue, browser: Browser) -> Iterator[Callable[..., Site]]:
    """Return what starts `queuectl web` with options; nothing may go wrong in the browser."""
    made: list[Site] = []

    def start(*options: str) -> Site:
        made.append(Site(queue, browser, *options))
        return made[-1]

    yield start
    for site in made:
        site.close()
    assert [one.problems for one in made] == [[] for _ in made]


@pytest.fixture
def site(sites: Callable[..., Site]) -> Site:
    """The page of `queue`."""
    return sites()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for screenshots: that of QUEUECTL_SCREENSHOTS, else a temporary one."""
    folder = os.environ.get("QUEUECTL_SCREENSHOTS")
    if not folder:
        return tmp_path_factory.mktemp("screenshots")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which checks whether everybody can use a page."""
    path = os.environ.get("QUEUECTL_AXE")
    if not path:
        pytest.skip("needs QUEUECTL_AXE, the path of axe.min.js: .ci/run browser")
    return Path(path).read_text()

"""Everybody can use the page: on a phone, in the dark, without scripts, with other senses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable

import pytest

from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from support.queue import Queue
from support.showcase import Showcase
from support.site import DESKTOP, PHONE, Site, details, page_paths

_TABLET = {"width": 768, "height": 1024}
_SIZES = pytest.mark.parametrize(
    "size", [PHONE, _TABLET, DESKTOP], ids=["phone", "tablet", "desktop"]
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

_HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>{{7*7}}"


@pytest.fixture
def job(queue: Queue) -> str:
    """A job with output; the queue has something for every page, also what wants to be a script."""
    made = Showcase(queue)
    made.day()
    made.schedules()
    seq = made.deaths()
    made.hooks()
    made.retries()
    long = "x" * 400
    specs = [
        JobSpec(command=f"echo {_HOSTILE}", label=_HOSTILE, queue="<b>q</b>", priority=-3),
        JobSpec(command=f"echo {long}", label=long, queue="q" * 60, id="y" * 60),
        JobSpec(command=f"echo {long} '{_HOSTILE}'; exit 3", label=long, max_retries=1, id="z"),
        JobSpec(command=f"echo 'first {long}\nsecond'", max_retries=1, priority=-5),
    ]
    queue.storage.enqueue(specs, now=utcnow(), environ=queue.env)
    made.running("default,video,feeds", overdue=False)
    queue.until("z", "dead")
    queue.close_storage()
    return f"@{seq}"


_TOO_WIDE = """() => {
  const scrolls = node => node && node !== document.body &&
    (["auto", "scroll", "hidden"].includes(getComputedStyle(node).overflowX) ||
     scrolls(node.parentElement));
  return [...document.querySelectorAll("body *")]
    .filter(node => node.getBoundingClientRect().right > innerWidth + .5)
    .filter(node => !scrolls(node.parentElement))
    .map(node => node.outerHTML.slice(0, 120));
}"""
"""Returns what makes a page wider than the window."""


def _too_wide(page: Page, site: Site, paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the pages that are wider than the window, perhaps with all their menus open."""
    wide = {}
    for path in paths:
        page.goto(site.url(path))
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide[path] = page.evaluate(_TOO_WIDE)[:4]
    return wide


@_SIZES
def test_no_page_is_wider_than_the_screen(site: Site, job: str, size: dict[str, int]) -> None:
    """Nothing has to be moved sideways, however long names are; no text becomes a script."""
    page = site.open(viewport=size)
    page.on("dialog", lambda dialog: site.problems.append(f"dialog: {dialog.message}"))
    paths = [*details(site, job), "/jobs/z", f"/jobs/{'y' * 60}"]

    assert _too_wide(page, site, paths) == {}


@_SIZES
def test_an_empty_queue_is_not_wider_than_the_screen(site: Site, size: dict[str, int]) -> None:
    """Empty lists show commands, some of which are long."""
    page = site.open(viewport=size)

    assert _too_wide(page, site, [f"/{path}" for path in page_paths(page)]) == {}


@_SIZES
def test_long_names_fit_the_screen(queue: Queue, site: Site, size: dict[str, int]) -> None:
    """Names without a space: of queues, labels, hooks and schedules, also in opened menus."""
    name = "q" * 120
    queue.add("echo " + "y" * 300, queue=name, label="l" * 200, max_retries=1)
    queue.run_as_if("dead")
    queue.add("echo " + "y" * 300, queue=name, label="l" * 200)
    queue.ok("hook", "add", "-q", "h" * 60, "--on", "dead", "--queue", name, "--", "z" * 400)
    queue.ok("schedule", "add", "-q", "s" * 60, "every 1h", "--queue", name, "--", "z" * 400)
    queue.ok("queue", "pause", name, "--reason", "r" * 200)
    queue.ok("queue", "resume", name)
    page = site.open(viewport=size)
    paths = [*(f"/{path}" for path in page_paths(page)), "/jobs/@1", "/jobs/@2", "/jobs/@2/edit"]
    paths += [f"/queues/{name}", f"/hooks/{'h' * 60}", f"/schedules/{'s' * 60}"]

    assert _too_wide(page, site, paths) == {}


@pytest.mark.parametrize("theme", ["light", "dark", "phone"])
def test_nobody_is_shut_out(site: Site, job: str, axe: str, theme: str) -> None:
    """axe-core finds nothing on any page, in both themes, on a large and on a small screen."""
    size = PHONE if theme == "phone" else DESKTOP
    context = site.context(viewport=size, color_scheme="dark" if theme == "dark" else "light")
    context.add_init_script(axe)
    page = context.new_page()
    page.goto(site.server.link)
    # What is dark differs from what is light in nothing but colours.
    rules = ["color-contrast", "link-in-text-block"] if theme == "dark" else None
    found = {}
    for path in [*details(site, job), "ask"]:
        if path == "ask":  # a question before jobs are deleted
            page.goto(site.url("/dead"))
            page.locator("input[name=in-group]").first.check()
            page.get_by_role("button", name="Delete").first.click()
            page.get_by_role("heading", name="Delete").wait_for()
        else:
            page.goto(site.url(path))
        options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
        for one in page.evaluate("options => axe.run(options)", options)["violations"]:
            found[path, one["id"]] = [node["html"][:160] for node in one["nodes"][:3]]
    assert not found, "\n".join(f"{key}: {value}" for key, value in found.items())


def test_the_theme(site: Site) -> None:
    """It follows the system until one is chosen, and that choice is kept."""
    page = site.open(color_scheme="dark")

    def brightness() -> int:
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in color[len("rgb(") : -1].split(","))

    assert brightness() < 150
    page.click("[data-theme-switch]")
    assert page.inner_text("[data-theme-switch]") == "Theme: light"
    assert brightness() > 600
    page.goto(site.url("/jobs"))
    assert brightness() > 600
    page.click("[data-theme-switch]")
    page.click("[data-theme-switch]")
    assert (page.inner_text("[data-theme-switch]"), brightness() < 150) == ("Theme: system", True)


def test_without_javascript(queue: Queue, site: Site, job: str) -> None:
    """Every page can be read, and jobs are retried, without a single script."""
    page = site.open(java_script_enabled=False)
    assert len(page_paths(page)) >= 3
    for path in details(site, job):
        page.goto(site.url(path))
        assert page.locator("main h1").count() == 1, path
        # What only a script could do is not offered.
        assert page.get_by_text("Copy", exact=True).filter(visible=True).count() == 0

    page.goto(site.url("/jobs/z"))
    page.get_by_role("button", name="Retry", exact=True).click()

    assert page.url == site.url("/jobs/z")
    assert page.locator("#message").inner_text() != ""
    assert queue.state("z") != "dead" or len(queue.attempts("z")) == 2


def test_acting_without_javascript(queue: Queue, site: Site, job: str) -> None:
    """Bulk actions with their question, pauses with a reason, and edits need no script either."""
    page = site.open("/dead", java_script_enabled=False)
    page.locator("tr.group", has_text="rsync").get_by_role("checkbox").check()
    page.get_by_role("button", name="Retry").first.click()
    page.get_by_role("button", name="Retry 11 jobs").click()
    assert "11 of 11 jobs" in page.inner_text("#message")
    assert queue.state(job) != "dead" or len(queue.attempts(job)) > 3

    page.goto(site.url("/queues/default"))
    page.get_by_text("Pause…").first.click()
    page.get_by_label("Reason").first.fill("disk is full")
    page.get_by_role("button", name="Pause default", exact=True).click()
    assert "disk is full" in page.inner_text("#main")
    page.get_by_role("button", name="Resume").first.click()
    assert "disk is full" not in page.inner_text("#main")

    page.goto(site.url("/schedules/rotate-logs"))
    page.get_by_role("button", name="Pause").first.click()
    page.get_by_role("button", name="Resume").first.wait_for()
    page.goto(site.url("/jobs/z/edit"))
    page.get_by_label("Command").fill("echo mended")
    page.get_by_role("button", name="Retry with these changes").click()
    assert "echo mended" in page.inner_text("pre.command")

"""The page from the keyboard."""

from __future__ import annotations

from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from support.queue import Queue
from support.site import Site
from support.waiting import wait_until


def test_every_key_goes_where_it_says(queue: Queue, site: Site) -> None:
    """`g` and a letter open the pages of the navigation."""
    queue.add("true")
    page = site.open()
    for index in range(page.locator("nav.main a").count()):
        link = page.locator("nav.main a").nth(index)
        target, key = link.get_attribute("href"), link.get_attribute("data-key")
        page.keyboard.type(f"g{key}")  # at once: the page waits 1.5 s for the second letter
        page.wait_for_url(f"{site.origin}{target}")
        page.wait_for_selector("nav.main a[aria-current]")


def test_the_find_box(queue: Queue, site: Site) -> None:
    """`/` goes there, letters are then only letters, Escape leaves it."""
    queue.add("echo one", id="j1")
    queue.add("echo two", id="j2")
    page = site.open()

    page.keyboard.press("/")
    page.keyboard.type("gj?p two")
    assert page.input_value("#find") == "gj?p two"
    assert page.locator("dialog[open]").count() == 0
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.tagName") == "BODY"
    page.fill("#find", "two")
    page.press("#find", "Enter")
    page.wait_for_url("**/jobs?q=two")
    assert page.locator("#main tbody tr").count() == 1


def test_rows(queue: Queue, site: Site) -> None:
    """`j` and `k` move, also after an update; Enter opens."""
    queue.add("echo one", id="j1")
    queue.add("echo two", id="j2")
    page = site.open("/jobs")
    current = page.locator("tr.at")

    page.keyboard.press("j")
    assert "echo two" in current.inner_text()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert "echo one" in current.inner_text()
    page.keyboard.press("k")
    assert "echo two" in current.inner_text()
    queue.add("echo three", id="j3")
    page.get_by_text("echo three").wait_for()
    assert "echo two" in current.inner_text()
    page.keyboard.press("Escape")
    assert current.count() == 0
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/j3")


def test_pages_of_a_list(queue: Queue, site: Site) -> None:
    """`]` shows older jobs, `[` newer ones."""
    specs = [JobSpec(command="true", id=f"j{number}") for number in range(60)]
    queue.storage.enqueue(specs, now=utcnow())
    queue.close_storage()
    page = site.open("/jobs")
    rows = page.locator("#main tbody tr")
    assert rows.count() == 50

    page.keyboard.press("]")
    page.wait_for_url("**/jobs?before=*")
    assert rows.count() == 10
    page.keyboard.press("[")
    page.wait_for_url("**/jobs?after=*")
    assert rows.count() == 50


def test_actions_on_a_job(queue: Queue, site: Site) -> None:
    """`r` retries a dead job."""
    queue.add("exit 1", id="j1", max_retries=1)
    queue.run_as_if("dead")
    page = site.open("/jobs/j1")

    page.keyboard.press("r")
    page.locator("#message").wait_for()

    assert page.locator(".chip.big").inner_text() == "pending"
    assert queue.state("j1") == "pending"


def test_rows_are_selected(queue: Queue, site: Site) -> None:
    """`x` selects the row that `j` has gone to, and takes that back."""
    queue.add("echo one", id="j1")
    queue.add("echo two", id="j2")
    page = site.open("/jobs")
    ticked = page.locator("input[name=job]:checked")

    page.keyboard.press("x")
    assert ticked.count() == 0
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert [one.get_attribute("aria-label") for one in ticked.all()] == ["Select j2"]
    assert page.inner_text("[data-ticked]") == "1 selected"
    page.keyboard.press("x")
    assert ticked.count() == 0
    assert page.inner_text("[data-ticked]") == ""


def test_following_the_output(queue: Queue, site: Site) -> None:
    """`f` lets the output stand where it is, and goes to its end again."""
    part = "seq 1000; until [ -e {} ]; do sleep .05; done; "
    queue.add(part.format("go") + part.format("again") + part.format("never"), id="j1")
    queue.start()
    queue.until("j1", "processing")
    page = site.open("/jobs/j1")
    button = page.get_by_role("button", name="Follow")

    def below() -> int:
        """Return how many pixels of the output are below what is shown."""
        return int(
            page.locator(".term").evaluate(
                "term => term.scrollHeight - term.scrollTop - term.clientHeight"
            )
        )

    def shows(lines: int) -> bool:
        return page.locator(".term li").count() == lines

    wait_until(lambda: shows(1000) and below() < 1)
    page.keyboard.press("f")
    assert button.get_attribute("aria-pressed") == "false"
    queue.let_go()
    wait_until(lambda: shows(2000))
    assert below() > 1000
    page.keyboard.press("f")
    wait_until(lambda: below() < 1)
    (queue.work / "again").touch()
    wait_until(lambda: shows(3000) and below() < 1)


def test_keys_can_be_switched_off(queue: Queue, site: Site) -> None:
    """The switch is in the list of keys, and is remembered; `?` shows that list."""
    queue.add("true")
    page = site.open()
    page.keyboard.press("p")
    assert page.inner_text("#live") == "paused"
    page.keyboard.press("p")
    assert page.inner_text("#live") == "live"

    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("p")
    assert page.inner_text("#live") == "live"
    page.reload()
    page.keyboard.press("?")
    page.keyboard.press("p")
    assert page.locator("dialog[open]").count() == 0
    assert page.inner_text("#live") == "live"

    page.get_by_role("button", name="Keyboard: ?").click()
    page.get_by_label("Use these keys").check()
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    assert page.inner_text("#live") == "paused"

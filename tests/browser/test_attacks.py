"""What pages of others can do to somebody who has the page open: nothing."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Iterator

import pytest

from support.queue import Queue
from support.site import Site
from support.states import everything

if TYPE_CHECKING:
    from playwright.sync_api import Response

_PAGE = """<!doctype html><title>attack</title>
<img id="image" src="{url}/">
<iframe id="frame" src="{url}/" width="800" height="600"></iframe>
<form id="form" method="post" action="{url}/jobs/j1/retry" target="answer">
<input name="back" value="/"></form>
<iframe name="answer"></iframe>
<script>
  window.seen = [];
  const ask = (path, options) =>
    fetch("{url}" + path, {{ credentials: "include", ...options }})
      .then(answer => answer.text()).then(text => seen.push(text), () => seen.push("refused"));
  window.title = () => {{ try {{ return opened.document.title }} catch {{ return "" }} }};
  window.attack = async () => {{
    await ask("/", {{}});
    await ask("/jobs/j1/retry", {{ method: "POST", mode: "no-cors",
      body: new URLSearchParams({{ back: "/" }}) }});
    document.getElementById("form").submit();
    window.opened = window.open("{url}/");
  }};
</script>"""


@contextmanager
def _serving(page: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
def test_a_page_of_others(queue: Queue, site: Site, host: str) -> None:
    """It knows the whole address, and the browser is logged in; it is at another port or name.

    Ports of one host are one site to browsers: SameSite does not keep these requests away.
    """
    queue.add("exit 1", id="j1", max_retries=1)
    queue.run_as_if("dead")
    before = everything(queue)
    mine = site.open("/jobs/j1")
    answers: list[tuple[str, int]] = []

    def answered(got: Response) -> None:
        if got.url.startswith(site.origin):
            answers.append((got.request.method, got.status))

    mine.context.on("response", answered)

    with _serving(_PAGE.format(url=site.url(""))) as port:
        page = mine.context.new_page()
        page.goto(f"http://{host}:{port}/")
        page.evaluate("attack()")
        page.wait_for_function("seen.length >= 2")
        page.frame_locator("[name=answer]").locator("body").wait_for(state="attached")
        page.wait_for_load_state("networkidle")
        seen = page.evaluate("seen")
        width = page.evaluate("document.getElementById('image').naturalWidth")
        opened = page.evaluate("title()")

    assert "queuectl" not in "".join(seen) + opened
    assert width == 0
    posts = [status for method, status in answers if method == "POST"]
    assert len(posts) >= 1
    assert set(posts) <= {401, 403}
    assert everything(queue) == before
    # The same button on our own page works.
    mine.reload()
    mine.get_by_role("button", name="Retry", exact=True).click()
    mine.wait_for_selector("#message")
    assert queue.state("j1") == "pending"
    site.problems.clear()


def test_another_name_for_our_address(queue: Queue, site: Site) -> None:
    """A name of others that leads to our address (DNS rebinding) gets nothing, not even a form."""
    page = site.context().new_page()
    answer = page.goto(site.server.link.replace("127.0.0.1", "evil.example"))

    assert answer is not None
    assert answer.status == 421
    assert page.inner_text("body").startswith("Misdirected request (for another name")
    assert page.context.cookies() == []
    site.problems.clear()

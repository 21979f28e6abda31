"""Who gets what: tokens, hosts, origins, methods, and the headers of every answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable

import pytest

from queuectl.core.errors import QueueError
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.host import files
from queuectl.storage import Storage
from queuectl.web.access import HEADERS, is_from_our_pages
from support.queue import Queue
from support.states import everything
from support.waiting import PATIENCE_SECONDS
from support.web import HOST, SAME_ORIGIN, Answer, Page, Server

ORIGIN = f"http://{HOST}"


def _routes(page: Page, method: str) -> list[str]:
    """Return a path for each route that has this method, except for those that need no token."""
    values = {"job": "j1", "name": "default", "queue": "default", "worker": "w", "attempt": "1"}
    return sorted(
        re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values[found.group(1)], rule.rule)
        for rule in page.app.url_map.iter_rules()
        if method in (rule.methods or ())
        and not rule.rule.startswith(("/static", "/login", "/logout"))
    )


@pytest.fixture
def dead_job(storage: Storage) -> str:
    """A job that was cancelled, which may be retried."""
    storage.enqueue([JobSpec(command="true", id="j1")], now=utcnow())
    storage.cancel(storage.get("j1"), now=utcnow())
    return "j1"


def test_every_page_needs_a_token(page: Page, dead_job: str) -> None:
    """Without a valid one the answer is a form for it, and nothing else."""
    for path in _routes(page, "GET"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
            answer = page.ask(path, token=None, headers=headers)
            assert (path, answer.status) == (path, 401)
            assert 'name="token"' in answer.text
            assert dead_job not in answer.text
        for token in ("full", "view"):
            assert page.ask(path, token=token).status in (200, 303, 404), path


def test_a_link_becomes_a_session(page: Page) -> None:
    """The token is exchanged for a cookie, and leaves the address; the cookie holds no token."""
    answer = page.ask(f"/jobs?q=x+y&token={page.ring.current().full}", token=None)

    assert answer.status == 303
    assert answer.headers["Location"] == f"{page.root}/jobs?q=x+y"
    cookie = answer.headers["Set-Cookie"]
    assert re.search(rf"; HttpOnly; Path={page.root}/; SameSite=Strict$", cookie)
    assert "Secure" not in cookie
    assert page.ring.current().full not in cookie
    value = cookie.partition(";")[0].partition("=")[2]
    assert page.ask("/jobs", token=None, cookies={"queuectl": value}).status == 200
    assert page.ask("/jobs", token=None, cookies={"queuectl": value + "x"}).status == 401


def test_a_wrong_link_starts_no_session(page: Page) -> None:
    answer = page.ask("/?token=abc", token=None)

    assert (answer.status, answer.headers.get("Set-Cookie")) == (401, None)


def test_a_script_gets_no_cookie(page: Page, dead_job: str) -> None:
    """Bearer is for scripts; what they get cannot be used by a page of somebody else."""
    for answer in (page.ask("/"), page.post(f"/jobs/{dead_job}/retry", token="full")):
        assert "Set-Cookie" not in answer.headers


def test_the_form_takes_the_token(page: Page) -> None:
    fields = {"token": page.ring.current().view}

    right = page.post("/login", token=None, fields=fields)
    wrong = page.post("/login", token=None, fields={"token": "x"})

    assert (right.status, right.headers["Location"]) == (303, f"{page.root}/")
    assert wrong.status == 401
    value = right.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    assert page.ask("/", token=None, cookies={"queuectl": value}).status == 200
    out = page.post("/logout", token=None, cookies={"queuectl": value})
    assert "queuectl=;" in out.headers["Set-Cookie"]


def test_https_has_a_secure_cookie(pages: Callable[..., Page]) -> None:
    """With a URL of https the cookie never travels without TLS; its path has the prefix."""
    from queuectl.web.options import parse_url

    page = pages(url=parse_url("https://Build.Example/jobs/"))
    token = page.ring.current().full

    answer = page.ask(f"/?token={token}", token=None, host="build.example")

    assert answer.headers["Location"] == f"/jobs{page.root}/"
    assert answer.headers["Set-Cookie"].startswith("__Secure-queuectl=")
    assert f"; Secure; HttpOnly; Path=/jobs{page.root}/; " in answer.headers["Set-Cookie"]
    for path in (f"{page.root}/", f"/jobs{page.root}/"):
        assert page.ask(path, whole_path=True, host="build.example").status == 200
    assert "https://build.example" in page.options.origins()
    assert "http://build.example" not in page.options.origins()


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:80", "localhost:8378", "",
     "[::1]", "127.0.0.1:8377@evil.example", "127.1:8377"],
)  # fmt: skip
def test_another_host_name_is_refused_first(page: Page, host: str) -> None:
    """DNS rebinding gives our address to a name of others; not even static files are served."""
    for path in ("/", "/static/x/app.css", "/nothing"):
        answer = page.ask(path, host=host)
        assert answer.status == 421
        assert answer.text == (
            "Misdirected request (for another name or port: "
            "queuectl web --allowed-host NAME:PORT)\n"
        )
    assert page.ask("/healthz", host=host, whole_path=True).status == 421


@pytest.mark.parametrize("host", [HOST, "localhost:8377", "LocalHost:8377", "[::1]:8377"])
def test_our_own_host_names(page: Page, host: str) -> None:
    assert page.ask("/", host=host).status == 200


def test_further_host_names(pages: Callable[..., Page]) -> None:
    """A name without a port stands for our port."""
    page = pages(allowed_hosts=("build-3", "localhost:9000"))

    hosts = ("build-3:8377", "localhost:9000", "build-3", "build-3:9000")
    assert [page.ask("/", host=host).status for host in hosts] == [200, 200, 421, 421]


@pytest.mark.parametrize(
    "path",
    ["/", "/q/", "/q", "/q/wrong/", "/q/wrong/jobs", "/login", "/metrics", "/static/x/app.css",
     "/favicon.ico", "//q"],
)  # fmt: skip
def test_nothing_is_outside_of_the_secret_path(page: Page, path: str) -> None:
    """The answer does not tell the path, and is the same with a valid token."""
    for token in ("full", None):
        answer = page.ask(path, whole_path=True, token=token)
        assert (answer.status, answer.text) == (404, "There is no such page\n")


def test_the_secret_path_without_its_slash(page: Page) -> None:
    assert page.ask("").status == 404


POSTS: list[tuple[dict[str, str], bool, bool]] = [
    # The headers, and whether it is accepted: with a session, and with Bearer.
    ({"Sec-Fetch-Site": "same-origin"}, True, True),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, True, True),
    ({"Sec-Fetch-Site": "same-site"}, False, False),
    ({"Sec-Fetch-Site": "cross-site"}, False, False),
    ({"Sec-Fetch-Site": "none"}, False, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}, False, False),
    ({"Sec-Fetch-Site": ""}, False, False),
    ({"Origin": ORIGIN}, True, True),
    ({"Origin": "http://localhost:8377"}, True, True),
    ({"Origin": "http://127.0.0.1:8378"}, False, False),
    ({"Origin": "https://127.0.0.1:8377"}, False, False),
    ({"Origin": "http://evil.example"}, False, False),
    ({"Origin": "null"}, False, False),
    ({"Origin": ""}, False, False),
    ({}, False, True),
    ({"Referer": f"{ORIGIN}/"}, False, True),
]


@pytest.mark.parametrize(("headers", "with_session", "with_bearer"), POSTS)
def test_only_our_own_pages_can_act(
    page: Page, storage: Storage, headers: dict[str, str], with_session: bool, with_bearer: bool
) -> None:
    """Another port of this host is the same site, and gets the cookie: only same-origin counts."""
    keys = page.ring.current()
    link = page.ask(f"/?token={keys.full}", token=None)
    session = {"queuectl": link.headers["Set-Cookie"].partition(";")[0].partition("=")[2]}

    for number, (arguments, accepted) in enumerate(
        [({"token": None, "cookies": session}, with_session), ({"token": "full"}, with_bearer)]
    ):
        job = f"j{number}"
        storage.enqueue([JobSpec(command="true", id=job)], now=utcnow())
        storage.cancel(storage.get(job), now=utcnow())
        answer = page.ask(f"/jobs/{job}/retry", "POST", headers=headers, **arguments)
        wanted = (303, JobState.PENDING) if accepted else (403, JobState.CANCELLED)
        assert (answer.status, storage.get(job).state) == wanted


def test_the_header_host_is_no_proof_of_origin() -> None:
    """After DNS rebinding both are the attacker's name; ours are known beforehand."""
    assert not is_from_our_pages(None, "http://evil.example", {ORIGIN}, with_bearer=True)


@pytest.mark.parametrize("token", ["view", None, "full"])
def test_only_the_full_link_can_act(page: Page, storage: Storage, token: str | None) -> None:
    """Every action refuses the view-only link, and those without a token."""
    storage.enqueue([JobSpec(command="true", id="j1")], now=utcnow())
    wanted = {"view": {403}, None: {401}, "full": {303, 404, 400, 409}}[token]

    for path in _routes(page, "POST"):
        assert page.post(path, token=token).status in wanted, path


def test_nobody_acts_on_a_read_only_page(pages: Callable[..., Page], dead_job: str) -> None:
    """Neither link does, the buttons are absent, and the connection cannot write."""
    page = pages(read_only=True)

    for path in _routes(page, "POST"):
        for token in ("full", "view"):
            assert page.post(path, token=token).status == 403, path
    assert ">Retry<" not in page.get(f"/jobs/{dead_job}")
    own = page.serving.storages.current()
    with pytest.raises(QueueError, match="readonly"):
        own.retry(own.get(dead_job), now=utcnow())


def test_buttons_are_absent_for_those_who_only_look(page: Page, dead_job: str) -> None:
    assert ">Retry<" in page.get(f"/jobs/{dead_job}")
    assert ">Retry<" not in page.get(f"/jobs/{dead_job}", token="view")


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "FOO"])
def test_other_methods(page: Page, method: str) -> None:
    """There is no CORS: OPTIONS allows nothing."""
    answer = page.ask("/", method)

    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_pages_are_not_posted_to_and_actions_not_got(page: Page, dead_job: str) -> None:
    assert page.post("/jobs").status == 405
    assert page.ask(f"/jobs/{dead_job}/retry").status == 405


def test_long_bodies(page: Page, dead_job: str) -> None:
    fields = {"x": "x" * (1 << 20)}

    assert page.post(f"/jobs/{dead_job}/retry", fields=fields).status == 413


def test_looking_changes_nothing(page: Page, storage: Storage, dead_job: str) -> None:
    """Not a byte of the tables, whichever page is looked at."""
    with storage._snapshot() as conn:
        before = list(conn.iterdump())

    for path in _routes(page, "GET"):
        for method in ("GET", "HEAD"):
            page.ask(path, method)

    with storage._snapshot() as conn:
        assert list(conn.iterdump()) == before


def _answers(page: Page) -> dict[str, Answer]:
    style = re.search(r'href="[^"]*(/static/[^"]*css)"', page.get("/"))
    assert style is not None
    return {
        "page": page.ask("/"),
        "static": page.ask(style.group(1), token=None),
        "login": page.ask("/", token=None),
        "foreign": page.ask("/jobs/j1/retry", "POST"),
        "absent": page.ask("/nothing"),
        "outside": page.ask("/", whole_path=True),
        "health": page.ask("/healthz", whole_path=True, token=None),
        "host": page.ask("/", host="evil.example"),
        "method": page.ask("/", "OPTIONS"),
        "action": page.post("/jobs/j1/retry"),
        "live": page.ask("/", headers={"X-Queuectl-Live": "1"}),
    }


def test_every_answer_has_the_headers(page: Page, dead_job: str) -> None:
    """Only static files may be kept by the browser."""
    for name, answer in _answers(page).items():
        got = {header: answer.headers.get(header) for header in HEADERS}
        if name == "static":
            assert got.pop("Cache-Control") == "private, max-age=31536000, immutable"
        assert got == {header: HEADERS[header] for header in got}, name
        assert "Server" not in answer.headers


def test_a_new_key_ends_sessions_and_links(page: Page, storage: Storage) -> None:
    """Also those of a server that is running."""
    from queuectl.web.keys import KeyRing

    old, old_root = page.ring.current(), page.root
    KeyRing(storage.files, renew=True)
    new = page.ring.current()

    assert len({old.full, old.view, old.path, new.full, new.view, new.path}) == 6
    assert page.ask(f"{old_root}/", whole_path=True).status == 404
    page.root = f"/q/{new.path}"
    assert page.ask("/").status == 200
    assert page.ask("/", token=None, headers={"Authorization": f"Bearer {old.full}"}).status == 401


def test_the_key_is_private(page: Page, storage: Storage) -> None:
    """It is refused if others could have read it."""
    import os

    from queuectl.core.errors import QueueUnusable
    from queuectl.web.keys import KeyRing

    path = storage.files.web_key
    assert (os.stat(path).st_mode & 0o777, os.stat(path).st_size) == (0o600, 32)
    os.chmod(path, 0o640)
    with pytest.raises(QueueUnusable, match="others can read or change"):
        KeyRing(storage.files)


def test_nothing_can_be_done_to_an_absent_queue(tmp_path: Path) -> None:
    """It would be done to an empty queue in memory, and be forgotten."""
    page = Page(files.find(str(tmp_path / "queue.db"), None, False))
    try:
        answers = {path: page.post(path).status for path in _routes(page, "POST")}
    finally:
        page.close()

    assert set(answers.values()) == {409}, answers
    assert list(tmp_path.iterdir()) == []


def test_without_the_key_nothing_is_shown(page: Page, storage: Storage) -> None:
    """Somebody removed it: the answer says so to nobody."""
    import os

    os.unlink(storage.files.web_key)

    answer = page.ask("/", token=None)

    assert (answer.status, answer.text) == (503, "The queue cannot be used at the moment\n")
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


class TestServer:
    """The same with the real server."""

    def test_a_session(self, queue: Queue) -> None:
        """The printed link leads to a page; TERM ends the server by that signal."""
        queue.enqueue("true", "--id", "j1")
        server = Server(queue)
        before = everything(queue)

        entered = server.ask(f"{server.root}/?token={server.token}")
        cookie = entered.headers["Set-Cookie"].partition(";")[0]
        shown = server.ask(f"{server.root}/jobs", headers={"Cookie": cookie})

        assert (entered.status, shown.status) == (303, 200)
        assert "j1" in shown.text
        assert server.ask("/healthz").status == 200
        assert everything(queue) == before
        server.process.terminate()
        assert server.process.wait(PATIENCE_SECONDS) == -15

    def test_what_is_refused(self, queue: Queue) -> None:
        """Also the answers of waitress itself have the headers."""
        queue.enqueue("true", "--id", "j1")
        server = Server(queue)
        retry = f"{server.root}/jobs/j1/retry"
        asked: list[tuple[int, tuple[Any, ...]]] = [
            (401, (f"{server.root}/",)),
            (404, ("/",)),
            (421, ("/", "GET", {"Host": "evil.example"})),
            (421, ("/", "GET", {"Host": f"{server.netloc}.evil.example"})),
            (421, ("/", "GET", {"Host": f"{server.netloc}."})),
            (405, (f"{server.root}/", "OPTIONS", server.bearer)),
            (403, (retry, "POST", {**server.bearer, "Sec-Fetch-Site": "same-site"})),
            (413, (retry, "POST", {**server.bearer, **SAME_ORIGIN}, b"x" * ((1 << 20) + 1))),
            (413, (retry, "POST", {**server.bearer, "Content-Length": "3145728"})),
            (400, ("/", "GET", {"Content-Length": "x"})),
            (501, ("/", "GET", {"Transfer-Encoding": "gzip"})),
        ]

        for status, arguments in asked:
            answer = server.ask(*arguments)
            assert (arguments, answer.status) == (arguments, status)
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, arguments
            assert "Server" not in answer.headers

    def test_the_log_has_no_token(self, queue: Queue) -> None:
        """One line per action, none per page."""
        queue.enqueue("true", "--id", "j1")
        queue.ok("cancel", "j1")
        server = Server(queue)

        server.ask(f"{server.root}/?token={server.token}")
        server.ask(f"{server.root}/jobs/j1/retry", "POST", {**server.bearer, **SAME_ORIGIN})
        server.process.terminate()
        log = server.process.communicate(timeout=PATIENCE_SECONDS)[1]

        assert re.fullmatch(
            r"[\d-]+ [\d:,]+ full 127\.0\.0\.1 retry j1: "
            r"@1 runs again as soon as a worker is free\.\n",
            log,
        )
        assert server.token not in log

    def test_proxy_headers_are_not_believed(self, queue: Queue) -> None:
        queue.enqueue("true", "--id", "j1")
        server = Server(queue)
        lies = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https",
                "X-Forwarded-Prefix": "/evil", "X-Forwarded-For": "10.0.0.1",
                "Forwarded": "host=evil.example"}  # fmt: skip

        answer = server.ask(f"{server.root}/?token={server.token}", headers=lies)

        assert answer.headers["Location"] == f"{server.root}/"
        assert "evil" not in str(answer)

    def test_a_unix_socket(self, queue: Queue) -> None:
        """It is ours alone, in a folder of ours, and gone afterwards; a stale one is replaced."""
        import os
        import socket

        queue.enqueue("true")
        path = queue.folder / "home" / "web.sock"
        for _ in range(2):
            server = Server(queue, listen=f"unix:{path}")
            assert os.stat(path).st_mode & 0o777 == 0o600
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.0 200")
            assert "is in use" in queue.fails(1, "web", "--listen", f"unix:{path}")
            server.process.kill()
            server.process.wait()
            assert path.exists()
        server = Server(queue, listen=f"unix:{path}")
        server.process.terminate()
        server.process.wait(PATIENCE_SECONDS)
        assert not path.exists()

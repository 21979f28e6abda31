"""The web page of a queue: asked within the test process, and a real server."""

from __future__ import annotations

import html
import http.client
import re
import subprocess
from datetime import timedelta
from typing import Any, Mapping, NamedTuple
from urllib.parse import urlsplit

from queuectl.core.specs import JobSpec
from queuectl.core.times import to_text, utcnow
from queuectl.host.files import QueueFiles
from queuectl.storage import Storage
from queuectl.web.app import create_app
from queuectl.web.keys import KeyRing
from queuectl.web.options import Address, WebOptions
from support.queue import Queue

HOST = "127.0.0.1:8377"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class Answer(NamedTuple):
    """What came back for one request."""

    status: int
    headers: Mapping[str, str]
    text: str


class Page:
    """The pages of one queue, asked by Flask's client: no server, no other process.

    Requests have the session of the full link unless they say otherwise. No command of a queue may
    run in a fork meanwhile, since the storage of the pages is open.
    """

    def __init__(self, files: QueueFiles, **options: Any) -> None:
        self.ring = KeyRing(files)
        self.options = WebOptions(files, Address("127.0.0.1", 8377), **options)
        self.app = create_app(self.options, self.ring)
        self.serving = self.app.extensions["queuectl"]
        self.root = f"/q/{self.ring.current().path}"

    def close(self) -> None:
        """Close the storages of this thread and of the watcher."""
        self.serving.watcher.stop()
        self.serving.storages.close()

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        token: str | None = "full",
        host: str = HOST,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, Any] | None = None,
        cookies: Mapping[str, str] | None = None,
        whole_path: bool = False,
    ) -> Answer:
        """Send one request to a path below the secret one; `token` is `full`, `view` or None."""
        client = self.app.test_client(use_cookies=False)
        sent = {"Host": host, **(headers or {})}
        if cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if token is not None:
            sent["Authorization"] = f"Bearer {getattr(self.ring.current(), token)}"
        got = client.open(
            path if whole_path else self.root + path, method=method, headers=sent, data=fields
        )
        return Answer(got.status_code, dict(got.headers), got.get_data(as_text=True))

    def session(self) -> dict[str, str]:
        """Log a browser in; return its cookies."""
        link = self.ask(f"/?token={self.ring.current().full}", token=None)
        return dict([link.headers["Set-Cookie"].partition(";")[0].split("=", 1)])

    def get(self, path: str, **kwargs: Any) -> str:
        """Return a page, which must be there."""
        answer = self.ask(path, **kwargs)
        assert answer.status == 200, (path, answer.status, answer.text[:2000])
        return answer.text

    def post(self, path: str, **kwargs: Any) -> Answer:
        """Send a form of our own page; with a `token`, as a script, else as a browser."""
        kwargs.setdefault("headers", SAME_ORIGIN)
        if "token" not in kwargs:
            kwargs.update(token=None, cookies=self.session())
        return self.ask(path, "POST", **kwargs)


class Server:
    """A running `queuectl web`."""

    def __init__(
        self,
        queue: Queue,
        *options: str,
        listen: str = "127.0.0.1:0",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.process: subprocess.Popen[str] = queue.spawn(
            "web", "--listen", listen, *options, env=env
        )
        assert self.process.stdout is not None
        self.link = self.process.stdout.readline().strip()
        """The first link that it printed."""
        assert self.link, self.process.communicate()
        parts = urlsplit(self.link)
        self.netloc = parts.netloc
        self.root = parts.path.rstrip("/")
        self.token = parts.query[len("token=") :]

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send one request to a whole path."""
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            got = connection.getresponse()
            return Answer(got.status, dict(got.getheaders()), got.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    @property
    def bearer(self) -> dict[str, str]:
        """The header that a script sends."""
        return {"Authorization": f"Bearer {self.token}"}


def words(text: str) -> str:
    """Return the words of the main part of a page."""
    main = text.partition("<main")[2].partition("</main>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", main)).split())


def dead_jobs(storage: Storage, count: int) -> None:
    """Let a queue have dead jobs, which died one second after the other."""
    before = utcnow() - timedelta(hours=1)
    storage.enqueue(
        [JobSpec(command=f"run {n}", id=f"j{n}", label=f"<i>{n}") for n in range(1, count + 1)],
        now=before,
    )
    with storage._transaction() as conn:
        for seq in range(1, count + 1):
            at = to_text(before + timedelta(seconds=seq))
            conn.execute(
                "UPDATE jobs SET state = 'dead', finished_at = ?, updated_at = ?, attempts = 3,"
                " last_error = '<b>exit</b> 1', exit_code = 1 WHERE seq = ?",
                (at, at, seq),
            )

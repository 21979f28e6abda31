"""A real Prometheus reads the figures, the rules and their values; `.ci/run metrics` has it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar, Iterator

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra metrics")

from queuectl.metrics import exposition
from support.queue import Queue
from support.waiting import PATIENCE_SECONDS, wait_until

ALERTS = Path(exposition.__file__).with_name("alerts.yml")

_PROMETHEUS = os.environ.get("PROMETHEUS") or shutil.which("prometheus")

pytestmark = pytest.mark.skipif(
    _PROMETHEUS is None, reason="needs prometheus, which .ci/run metrics fetches"
)


class _Handler(SimpleHTTPRequestHandler):
    """Serves files of a folder as node_exporter would pass them on."""

    extensions_map: ClassVar[dict[str, str]] = {".prom": "text/plain; version=0.0.4"}

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def _serving(folder: Path) -> Iterator[int]:
    """Serve a folder on a free port of this host; yield the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class _Prometheus:
    """A server that reads a target every second."""

    def __init__(self, folder: Path, target: dict[str, Any]) -> None:
        self._port = _free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [{"job_name": "queuectl", **target}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(_PROMETHEUS),
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/tsdb",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def query(self, expression: str) -> dict[str, float]:
        """Return the values that an expression has now, by the labels of ours, sorted."""
        answer = self._get("query?" + urllib.parse.urlencode({"query": expression}))
        return {
            ",".join(
                f"{key}={value}"
                for key, value in sorted(result["metric"].items())
                if key not in ("__name__", "instance", "job")
            ): float(result["value"][1])
            for result in answer["result"]
        }

    def until(self, expression: str, expected: dict[str, float]) -> None:
        """Wait until an expression has these values; it has none after a target was too slow."""
        what = f"{expression} to be {expected}"
        wait_until(lambda: self.query(expression) == expected, what=what)

    def rules(self) -> list[tuple[str, str]]:
        """Return the alerts, each with what evaluating it led to: `ok`, or an error."""
        groups = self._get("rules")["groups"]
        return [(rule["name"], rule["health"]) for group in groups for rule in group["rules"]]

    def is_up(self) -> bool:
        """Whether it has read its target."""
        try:
            return self.query("up") == {"": 1.0}
        except OSError:
            return False

    def stop(self) -> None:
        """End it, and wait for its end."""
        self._process.kill()
        self._process.wait()

    def _get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)["data"]


@contextmanager
def _prometheus(folder: Path, target: dict[str, Any]) -> Iterator[_Prometheus]:
    folder.mkdir()
    server = _Prometheus(folder, target)
    try:
        wait_until(server.is_up, what="the first figures")
        yield server
    finally:
        server.stop()


@pytest.mark.on_disk
def test_the_textfile_is_read(queue: Queue) -> None:
    """It has the values of the queue, and every rule can be evaluated on them."""
    queue.enqueue("true")
    queue.enqueue("exit 3", "--max-retries", "1")
    queue.drain()
    queue.enqueue("true", "--queue", "mail")
    folder = queue.folder / "textfiles"
    folder.mkdir()
    textfile = folder / "queuectl.prom"
    write = ("metrics", "--textfile", str(textfile), "--label", "owner=ada")
    queue.ok(*write)

    with _serving(folder) as port:
        target = {
            "metrics_path": "/queuectl.prom",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        with _prometheus(queue.folder / "prometheus", target) as server:
            server.until(
                'queuectl_jobs{state=~"pending|dead"}',
                {
                    "owner=ada,queue=default,state=dead": 1.0,
                    "owner=ada,queue=default,state=pending": 0.0,
                    "owner=ada,queue=mail,state=dead": 0.0,
                    "owner=ada,queue=mail,state=pending": 1.0,
                },
            )
            wait_until(lambda: {health for _, health in server.rules()} == {"ok"}, what="all rules")
            assert len(server.rules()) == 8

            queue.drain()
            queue.ok(*write)

            server.until(
                'queuectl_jobs{queue="mail",state="pending"}',
                {"owner=ada,queue=mail,state=pending": 0.0},
            )


@pytest.mark.on_disk
def test_the_page_is_read(queue: Queue) -> None:
    """With the token of the link for looking in a file, and in the format that Prometheus asks for.

    The topic shows this configuration.
    """
    pytest.importorskip("flask", reason="needs the extra web")
    pytest.importorskip("waitress", reason="needs the extra web")
    from support.web import Server

    queue.enqueue("true")
    page = Server(queue)
    links = queue.ok("web", "--link").splitlines()
    token = queue.folder / "token"
    token.write_text(links[1].partition("token=")[2])
    target = {
        "metrics_path": f"{page.root}/metrics",
        "authorization": {"credentials_file": str(token)},
        "static_configs": [{"targets": [page.netloc]}],
    }

    with _prometheus(queue.folder / "prometheus", target) as server:
        server.until('queuectl_jobs{state="pending"}', {"queue=default,state=pending": 1.0})
        server.until("up", {"": 1.0})

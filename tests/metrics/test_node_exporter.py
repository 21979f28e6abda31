"""A real node_exporter reads the textfiles; `.ci/run metrics` has it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra metrics")

from queuectl.metrics import exposition
from support.queue import Queue
from support.waiting import PATIENCE_SECONDS, wait_until

ALERTS = Path(exposition.__file__).with_name("alerts.yml")

_NODE_EXPORTER = os.environ.get("NODE_EXPORTER") or shutil.which("prometheus-node-exporter")

pytestmark = pytest.mark.skipif(
    _NODE_EXPORTER is None, reason="needs node_exporter, which .ci/run metrics fetches"
)


@contextmanager
def _node_exporter(folder: Path, log: Path) -> Iterator[str]:
    """Run it on the textfiles of a folder; yield the URL of what it passes on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listening.getsockname()[1]}"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                str(_NODE_EXPORTER),
                "--collector.disable-defaults",
                "--collector.textfile",
                f"--collector.textfile.directory={folder}",
                f"--web.listen-address={address}",
            ],
            stderr=stderr,
            start_new_session=True,
        )
    try:
        url = f"http://{address}/metrics"
        wait_until(lambda: bool(_read(url)), what="node_exporter")
        yield url
    finally:
        process.kill()
        process.wait()


def _read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def _lines(text: str, name: str) -> list[str]:
    return sorted(re.findall(rf"^{name}.*", text, re.MULTILINE))


@pytest.fixture
def folder(queue: Queue) -> Path:
    """The folder that node_exporter reads."""
    made = queue.folder / "node-exporter"
    made.mkdir()
    return made


def test_two_queues_on_one_host(queue: Queue, folder: Path) -> None:
    """Each has a label of its own, so no series is there twice, and their mtimes are passed on.

    What a killed process left is ignored.
    """
    queue.enqueue("true")
    for owner in ("ada", "build"):
        textfile = folder / f"queuectl-{owner}.prom"
        queue.ok("metrics", "--textfile", str(textfile), "--label", f"owner={owner}")
    (folder / "queuectl-ada.prom.unfinished").write_text("half of a li")

    with _node_exporter(folder, queue.folder / "log") as url:
        text = _read(url)

    assert _lines(text, "node_textfile_scrape_error ") == ["node_textfile_scrape_error 0"]
    assert _lines(text, "queuectl_jobs{.*pending") == [
        'queuectl_jobs{owner="ada",queue="default",state="pending"} 1',
        'queuectl_jobs{owner="build",queue="default",state="pending"} 1',
    ]
    files = re.findall(r'^node_textfile_mtime_seconds\{file="(.*)"\}', text, re.MULTILINE)
    assert [Path(file).name for file in files] == ["queuectl-ada.prom", "queuectl-build.prom"]
    pattern = re.search(r'node_textfile_mtime_seconds\{file=~"(.*)"\}', ALERTS.read_text("utf-8"))
    assert pattern is not None
    assert all(re.fullmatch(pattern[1], file) for file in files)


def test_two_queues_without_labels_are_refused(queue: Queue, folder: Path) -> None:
    """This is why the topic asks for labels."""
    queue.enqueue("true")
    for owner in ("ada", "build"):
        queue.ok("metrics", "--textfile", str(folder / f"queuectl-{owner}.prom"))

    with _node_exporter(folder, queue.folder / "log") as url:
        wait_until(lambda: "was collected before with the same" in _read_error(url, queue))


def _read_error(url: str, queue: Queue) -> str:
    """Return what node_exporter answers or logs."""
    return _read(url) + (queue.folder / "log").read_text()

"""`doctor` compares the PATH of workers with its own."""

from __future__ import annotations

import pytest

from support.queue import Queue


@pytest.mark.parametrize(("captured", "level"), [("PATH", "ok"), ("", "warn")])
def test_workers_with_another_path(queue: Queue, captured: str, level: str) -> None:
    """It is a warning, unless jobs get the PATH of the shell that enqueued them."""
    queue.ok("config", "set", "capture-env", captured)
    queue.start(env={"PATH": "/opt/other:" + queue.env["PATH"]})

    found = {check["check"]: check["level"] for check in queue.json("doctor")}
    assert found["PATH"] == level

"""The benchmark works in its smallest form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_BENCHMARK = Path(__file__).with_name("run.py")
_FIGURES = {
    "xargs", "spawn", "python", "imports", "fsync", "commit", "insert",
    "drain-full-1", "drain-full-2", "drain-full-4",
    "drain-normal-1", "drain-normal-2", "drain-normal-4",
    "xargs-1KB", "xargs-1MB", "output-1KB", "output-1MB", "big-file", "big-kept", "big-capped",
    "enqueue-process", "enqueue-bulk",
    "pickup-4-p50", "pickup-4-p99", "pickup-process", "pickup-created", "wait",
    "enqueue-busy-p50", "enqueue-busy-p99",
    "idle-cpu", "idle-supervisor-cpu", "idle-written", "memory-resident", "memory-private",
    *(
        f"{queue}-{work}"
        for queue in ("history-0", "history-500", "future-500")
        for work in ("drain", "enqueue", "status", "list")
    ),
    "loss-ours-jobs",
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="idle time and memory are read from /proc")
def test_every_named_figure_is_measured(tmp_path):
    """The smallest run measures each figure once, skips none, and leaves no file behind."""
    report = tmp_path / "report.json"
    only = ["limits", "ours", "output", "history", "loss-ours-jobs"]
    words = ["--size", "tiny", "--dir", str(tmp_path), "--json", str(report), "--only", *only]
    subprocess.run([sys.executable, str(_BENCHMARK), *words], check=True, timeout=100)

    measured = json.loads(report.read_text())
    assert {figure["name"] for figure in measured["figures"]} == _FIGURES
    assert measured["skipped"] == {}
    assert {len(figure["rounds"]) for figure in measured["figures"]} == {1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json"]

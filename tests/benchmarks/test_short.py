"""The benchmark's short form, so that it cannot rot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_short_form_measures_all_that_it_names(tmp_path):
    """Each figure is there with a positive value; no value is judged."""
    report = tmp_path / "report.json"
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run.py")), "--short", "--json", str(report)],
        check=True,
        capture_output=True,
        timeout=100,
    )
    figures = {row["name"]: row for row in json.loads(report.read_text())["figures"]}

    assert {"xargs -P2 sh -c", "drain, 2 workers", "drain, durability normal", "enqueue", "status",
            "enqueue of JSON Lines", "pick-up by 4 idle workers"} <= set(figures)  # fmt: skip
    assert all(row["median"] > 0 for row in figures.values())
    assert all(row["ratio"] is not None for row in figures.values() if row["against"])

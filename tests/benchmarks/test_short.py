"""The benchmark works in its smallest form."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parent
_BENCHMARK = _FOLDER / "run.py"
_PAGE = _FOLDER / "README.md"
_FIGURES = {
    "xargs", "spawn", "python", "imports", "fsync", "commit", "insert",
    "drain-full-1", "drain-full-2", "drain-full-4",
    "drain-normal-1", "drain-normal-2", "drain-normal-4", "run",
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
    *(f"beside-{command}-{figure}" for command in ("enqueue", "import")
      for figure in ("wait", "gap")),
    "loss-ours-jobs",
}  # fmt: skip

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="idle time and memory are read from /proc"),
    pytest.mark.timeout(600),  # it takes 18 s, and on a busy machine was seen to take 87 s
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measure once; return the file with all figures."""
    folder = tmp_path_factory.mktemp("benchmark")
    report = folder / "report.json"
    only = ["limits", "ours", "output", "history", "beside", "loss-ours-jobs"]
    words = ["--size", "tiny", "--dir", str(folder), "--json", str(report), "--only", *only]
    subprocess.run([sys.executable, str(_BENCHMARK), *words], check=True, timeout=500)
    return report


def test_every_named_figure_is_measured(report: Path) -> None:
    """The smallest run measures each figure once, skips none, and leaves no file behind."""
    measured = json.loads(report.read_text())

    assert {figure["name"] for figure in measured["figures"]} == _FIGURES
    assert measured["skipped"] == {}
    assert {len(figure["rounds"]) for figure in measured["figures"]} == {1}
    assert sorted(path.name for path in report.parent.iterdir()) == ["report.json"]


def test_the_tables_of_the_page_are_made_from_the_figures(report: Path, tmp_path: Path) -> None:
    """Every figure is in its table; tables that were not measured stay, and all other text."""
    page = tmp_path / "README.md"
    page.write_text(_PAGE.read_text("utf-8"), "utf-8")
    measured = json.loads(report.read_text())
    figures: list[dict[str, Any]] = measured["figures"]
    for figure in figures:
        if figure["name"] == "loss-ours-jobs":  # how many ran at the kill depends on the machine
            assert figure["median"].startswith("not ended 0 of ")
            figure["median"] = "not ended 0 of 9; begun twice 2 one after the other, 0 at the same"
    known = tmp_path / "known.json"
    known.write_text(json.dumps(measured))
    script = str(_FOLDER / "page.py")
    subprocess.run([sys.executable, script, str(known), str(page)], check=True, timeout=300)

    before, after = _tables(_PAGE), _tables(page)
    shown = [line.split(" | ")[0][2:] for name in ("limits", "ours", "output", "history", "beside")
             for line in after[name].splitlines()[3:] if line.startswith("| ")]  # fmt: skip
    assert shown == [f["title"].replace("|", r"\|") for f in figures if f["group"] != "losses"]
    assert "| queuectl | - | all ended, 2 ran again |" in after["losses"]
    assert after["peers"] == before["peers"]
    assert _around(page) == _around(_PAGE)


def test_the_commands_of_the_page_are_accepted() -> None:
    """Every call of run.py on the page has options that it knows, and groups that exist."""
    calls = re.findall(r"python (tests/benchmarks/run\.py [^`#\n\\]*)(?:\\\n([^`\n]*))?",
                       _PAGE.read_text("utf-8"))  # fmt: skip
    assert len(calls) == 10
    for first, second in calls:
        words = shlex.split(f"{first} {second}")[1:]
        check = "import run, sys; run._parser().parse_args(sys.argv[1:])"
        subprocess.run([sys.executable, "-c", check, *words], check=True, cwd=_FOLDER, timeout=300)
        if "--only" in words:
            groups = words[words.index("--only") + 1 :]
            groups = groups[: next((n for n, w in enumerate(groups) if w[:2] == "--"), None)]
            assert set(groups) <= {
                "limits", "ours", "output", "history", "beside", "peers", "losses"
            }  # fmt: skip


def _tables(page: Path) -> dict[str, str]:
    marked = r"<!-- table: (\w+) -->\n(.*?)<!-- end -->"
    return dict(re.findall(marked, page.read_text("utf-8"), re.DOTALL))


def _around(page: Path) -> str:
    return re.sub(r"-->\n.*?<!-- end", "", page.read_text("utf-8"), flags=re.DOTALL)

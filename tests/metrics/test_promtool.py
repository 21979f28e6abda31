"""What promtool says of the figures, the alert rules and the dashboard; `.ci/run metrics` has it.

promtool is found on the PATH, or by the variable PROMTOOL.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra metrics")

from queuectl.metrics import exposition
from support.figures import FULL, figures
from support.queue import Queue

FOLDER = Path(exposition.__file__).parent
ALERTS = FOLDER / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
TESTS = Path(__file__).with_name("alerts.test.yml")

_PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    _PROMTOOL is None, reason="needs promtool, which .ci/run metrics fetches"
)

_FOREIGN = {"node_textfile_mtime_seconds"}
"""A name that node_exporter gives."""


def _promtool(*words: str, stdin: bytes | None = None, folder: Path | None = None) -> str:
    """Run promtool, which must find nothing wrong; return what it printed."""
    done = subprocess.run(
        [str(_PROMTOOL), *words], input=stdin, capture_output=True, cwd=folder, check=False
    )
    printed = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, printed
    return printed


def _targets(node: Any) -> Iterator[dict[str, Any]]:
    """Yield all queries of the dashboard."""
    if isinstance(node, dict):
        if "expr" in node:
            yield node
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _expressions() -> list[str]:
    """Return the expressions of the dashboard, with a value for each variable."""
    values = {"$__rate_interval": "5m", "$instance": ".*", "$queue": ".*"}
    found = []
    for target in _targets(DASHBOARD):
        expression = target["expr"]
        for name, value in values.items():
            expression = expression.replace(name, value)
        found.append(expression)
    return found


@needs_promtool
@pytest.mark.parametrize("shown", [FULL, figures()], ids=["full", "empty"])
def test_the_names_follow_the_conventions(shown: Any) -> None:
    """Units, suffixes, descriptions and types are as Prometheus recommends."""
    assert _promtool("check", "metrics", stdin=exposition.to_text(shown, {"owner": "ada"})) == ""


@needs_promtool
def test_the_textfile_of_a_queue_is_accepted(queue: Queue) -> None:
    """The same for what the command writes."""
    queue.enqueue("true")
    queue.enqueue("exit 3", "--max-retries", "1")
    queue.drain()
    target = queue.work / "queuectl.prom"
    queue.ok("metrics", "--textfile", str(target))

    assert _promtool("check", "metrics", stdin=target.read_bytes()) == ""


@needs_promtool
def test_the_rules_are_accepted() -> None:
    """Their expressions can be parsed."""
    assert "SUCCESS: 8 rules found" in _promtool("check", "rules", str(ALERTS))


@needs_promtool
def test_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    """The tests beside this file say when."""
    for path in (ALERTS, TESTS):
        shutil.copy(path, tmp_path)

    assert "SUCCESS" in _promtool("test", "rules", TESTS.name, folder=tmp_path)


@needs_promtool
def test_the_queries_of_the_dashboard_are_accepted(tmp_path: Path) -> None:
    """Each one is checked as the expression of a rule."""
    expressions = _expressions()
    rules = [{"record": f"q:{number}", "expr": text} for number, text in enumerate(expressions)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"SUCCESS: {len(expressions)} rules found" in _promtool("check", "rules", str(path))


def test_each_alert_has_a_test() -> None:
    """One in which it fires, and one in which it does not."""
    alerts = re.findall(r"^ +- alert: (\w+)$", ALERTS.read_text("utf-8"), re.MULTILINE)
    tested = re.findall(
        r"alertname: (\w+)\n +exp_alerts:( \[\])?\n", TESTS.read_text("utf-8"), re.MULTILINE
    )

    assert len(alerts) == 8
    assert set(tested) == {(alert, expected) for alert in alerts for expected in ("", " []")}


def test_alerts_and_dashboard_use_names_that_exist() -> None:
    """A renamed series is renamed there, too."""
    text = exposition.to_text(FULL, {}).decode()
    exist = set(re.findall(r"^(\w+)", re.sub("^#.*", "", text, flags=re.MULTILINE), re.MULTILINE))
    used = [*_expressions(), ALERTS.read_text("utf-8"), TESTS.read_text("utf-8")]
    used += [variable["definition"] for variable in DASHBOARD["templating"]["list"][1:]]
    names = {
        name for one in used for name in re.findall(r"\b(?:queuectl|node)_\w+(?=[\s{\[)])", one)
    }

    assert names - exist == _FOREIGN
    assert len(names & exist) > 20


def test_values_of_labels_in_alerts_and_dashboard_exist() -> None:
    """A selector with a value that no series has would never find anything."""
    text = exposition.to_text(FULL, {}).decode()
    used = [*_expressions(), ALERTS.read_text("utf-8")]
    pairs = {
        (label, value)
        for one in used
        for label, operator, values in re.findall(
            r'\b(state|outcome|result|busy)(!?=~?)"(.*?)"', one
        )
        for value in values.split("|")
    }
    optional = {("state", "scheduled"), ("state", "blocked")}

    assert pairs - optional
    assert {pair for pair in pairs - optional if '{}="{}"'.format(*pair) not in text} == set()


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    """Its panels have ids of their own and do not overlap, and all ask the chosen data source."""
    panels = DASHBOARD["panels"]
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == [
        "Now", "Flow", "Time", "Schedules", "Hooks", "Files",
    ]  # fmt: skip
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert "id" not in DASHBOARD

    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    sources = {target["datasource"]["uid"] for target in _targets(DASHBOARD)}
    assert sources == {"${datasource}"}

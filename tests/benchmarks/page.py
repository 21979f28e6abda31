"""The tables of README.md, made from the results of a run.

    python tests/benchmarks/page.py RESULTS.json [README.md]

`run.py --page` does the same at the end of a run. Everything between
`<!-- table: NAME -->` and `<!-- end -->` is replaced, and the rest of the page is kept.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Iterator, Mapping

from table import number

PAGE = Path(__file__).with_name("README.md")

_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_GROUPS = ("limits", "ours", "output", "history", "beside")
_COLUMNS = {
    "Drain": "rate",
    "One enqueue": "enqueue",
    "Enqueue to start": "pickup",
    "Idle CPU": "idle",
    "A worker": "memory",
}
"""Columns of the table of peers, with the last word of the names of their figures."""
_OURS = {
    "rate": "drain-full-2",
    "enqueue": "enqueue-process",
    "pickup": "pickup-process",
    "idle": "idle-cpu",
    "memory": "memory-resident",
}
_LOST = re.compile(r"not ended (\d+) of \d+; begun twice (\d+) one after the other, (\d+) at the ")

_Figures = Mapping[str, Mapping[str, Any]]


def write(results: Mapping[str, Any], path: Path = PAGE) -> None:
    """Replace the tables of the page for which the results have figures."""
    text = path.read_text(encoding="utf-8")
    made = tables(results)
    path.write_text(
        _MARKED.sub(lambda m: f"{m[1]}\n{made[m[2]]}\n{m[3]}" if m[2] in made else m[0], text),
        encoding="utf-8",
    )


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables in Markdown, by their names; those without a figure are left out."""
    figures: _Figures = {figure["name"]: figure for figure in results["figures"]}
    groups = {figure["group"] for figure in figures.values()}
    made = {}
    for group in _GROUPS:
        made[group] = _group([f for f in figures.values() if f["group"] == group], figures)
    made["peers"], made["losses"] = _peers(figures), _losses(figures)
    below = "; ".join(f"{key}: {value}" for key, value in results["circumstances"].items())
    return {
        name: "\n".join([*lines, "", below, ""]) for name, lines in made.items() if name in groups
    }


def _group(chosen: list[Mapping[str, Any]], figures: _Figures) -> Iterator[str]:
    yield "| Measured | Median | Beside |"
    yield "|---|---|---|"
    for figure in chosen:
        beside = ""
        if figure["ratio"] is not None:
            same, _, other = figures[figure["against"]]["title"].rpartition("; ")
            title = other if same and figure["title"].startswith(same) else f"{same}{other}"
            beside = f"{number(figure['ratio'])} of {title}"
        yield f"| {_escaped(figure['title'])} | {_value(figure)} | {_escaped(beside)} |"


def _peers(figures: _Figures) -> Iterator[str]:
    yield f"| Queue | {' | '.join(_COLUMNS)} |"
    yield "|---" * (len(_COLUMNS) + 1) + "|"
    ours = [figures.get(name) for name in _OURS.values()]
    yield f"| queuectl | {' | '.join(map(_value, ours))} |"
    for name, title in _titles(figures, "peer").items():
        cells = (figures.get(f"peer-{name}-{last}") for last in _COLUMNS.values())
        yield f"| {title} | {' | '.join(map(_value, cells))} |"


def _losses(figures: _Figures) -> Iterator[str]:
    yield "| Queue | Killed without its jobs | Killed with its jobs |"
    yield "|---|---|---|"
    for name, title in _titles(figures, "loss").items():
        cells = [_lost(figures.get(f"loss-{name}-{how}")) for how in ("alone", "jobs")]
        yield f"| {title} | {' | '.join(cells)} |"


def _titles(figures: _Figures, kind: str) -> dict[str, str]:
    """Return the titles of the queues in figures such as `peer-tsp-rate`, in their order."""
    found = (re.fullmatch(rf"{kind}-(.+)-(?:rate|alone|jobs)", name) for name in figures)
    return {
        match[1]: re.sub(r", (parallelism|killed) .*", "", figures[match[0]]["title"])
        for match in found
        if match
    }


def _lost(figure: Mapping[str, Any] | None) -> str:
    """Return the verdict of a trial in words for a table."""
    match = _LOST.match(figure["median"]) if figure else None
    if match is None:
        return "-"
    lost, again, beside = map(int, match.groups())
    words = [
        f"{lost} lost" if lost else "all ended",
        *([f"{again} ran again"] if again else []),
        *([f"{beside} ran twice at once"] if beside else []),
    ]
    return ", ".join(words)


def _value(figure: Mapping[str, Any] | None) -> str:
    return f"{number(figure['median'])} {figure['unit']}" if figure else "-"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()), *map(Path, sys.argv[2:]))

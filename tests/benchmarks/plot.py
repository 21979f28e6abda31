"""The results as a picture: queuectl beside its peers as bars, cost against history as lines."""

from __future__ import annotations

import re
from typing import Any

from table import Results

_BARS = (
    ("no-op jobs a second, two at a time", "xargs|spawn|drain-(full|normal)-2|peer-.*-rate"),
    ("ms: one enqueue as a process", "python|imports|enqueue-process|peer-.*-enqueue"),
    ("ms: from the call of enqueue to the job", "pickup-process|peer-.*-pickup"),
    ("% of one core: idle workers", "idle-cpu|peer-.*-idle"),
    ("MB: resident memory of a worker", "memory-resident|peer-.*-memory"),
)
"""Title and figures of each group of bars. More is better in the first group."""

_HISTORY = re.compile(r"history-(\d+)-(drain|enqueue|status|list)")
_OURS = {
    "drain-full-2": "queuectl",
    "drain-normal-2": "queuectl, durability normal",
    "enqueue-process": "queuectl",
    "pickup-process": "queuectl",
    "idle-cpu": "queuectl",
    "memory-resident": "queuectl",
}
_COLOURS = {"queuectl": "#1f77b4", "a limit of the machine": "#777777", "others": "#c8c8c8"}


def draw(results: Results, path: str) -> None:
    """Write the picture in the format of the file name extension."""
    # matplotlib is an extra that only the picture needs.
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "queuectl"  # so that the same numbers make the same file
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(
        3, 2, figsize=(14, 10), layout="constrained", height_ratios=(3, 2, 2)
    )
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.12)
    panels = list(grid.flat)
    for axes, (title, names) in zip(panels, _BARS):
        _draw_bars(axes, results, title, re.compile(names), more=axes is panels[0])
    _draw_lines(panels[-1], results)
    panels[0].legend(
        [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in _COLOURS.values()],
        _COLOURS, loc="lower right", frameon=False,
    )  # fmt: skip
    machine = results.circumstances
    figure.suptitle(
        ", ".join(machine[key] for key in ("machine", "system", "file system", "python")),
        color="#555555", fontsize="medium",
    )  # fmt: skip
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    plt.close(figure)


def _draw_bars(
    axes: Any, results: Results, title: str, names: re.Pattern[str], *, more: bool
) -> None:
    """Draw the best value first; with `more` the largest value is the best."""
    found: list[tuple[float, str, str]] = sorted(
        (float(results.median(name)), *_label(name, figure.title))
        for name, figure in results.figures.items()
        if names.fullmatch(name)
    )
    if more:
        found.reverse()
    axes.set_visible(bool(found))
    places = range(len(found))
    axes.barh(
        places, [value for value, _, _ in found], color=[_COLOURS[kind] for _, _, kind in found]
    )
    axes.set_yticks(places, [label for _, label, _ in found])
    for place, tick, (value, _, kind) in zip(places, axes.get_yticklabels(), found):
        weight = "bold" if kind == "queuectl" else "normal"
        tick.set_fontweight(weight)
        text = f" {value:,.0f}" if value >= 10 else f" {value:.2g}"
        axes.annotate(text, (value, place), va="center", fontweight=weight)
    # The values are printed beside the bars.
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.spines[:].set_visible(False)
    axes.margins(x=0.12, y=0.02)
    axes.invert_yaxis()
    axes.set_title(f"{title} ({'more' if more else 'less'} is better)", loc="left")


def _label(name: str, title: str) -> tuple[str, str]:
    if name in _OURS:
        return _OURS[name], "queuectl"
    if name.startswith("peer-"):
        return title.rpartition(", ")[0], "others"
    return title, "a limit of the machine"


def _draw_lines(axes: Any, results: Results) -> None:
    lines: dict[str, dict[int, float]] = {}
    for name in results.figures:
        match = _HISTORY.fullmatch(name)
        empty = match and f"history-0-{match.group(2)}"
        if not match or empty not in results.figures:
            continue
        cost = float(results.median(name)) / float(results.median(empty))
        if match.group(2) == "drain":
            cost = 1 / cost  # time per job, as for the others
        lines.setdefault(match.group(2), {})[int(match.group(1))] = cost
    axes.set_visible(bool(lines))
    counts = sorted({count for line in lines.values() for count in line})
    for work, line in lines.items():
        places = [counts.index(count) for count in line]
        axes.plot(places, list(line.values()), marker="o", linewidth=2, label=work)
    axes.set_xticks(range(len(counts)), [f"{count:,}" for count in counts])
    axes.set_xlabel("finished jobs in the queue")
    axes.set_ylim(0, max([1.4, *(1.1 * cost for line in lines.values() for cost in line.values())]))
    axes.grid(axis="y", color="#e5e5e5")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.set_title("time with a history, 1 = without (less is better)", loc="left")
    if lines:
        axes.legend(loc="lower right", ncols=2, frameon=False)

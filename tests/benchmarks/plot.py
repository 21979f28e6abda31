"""The results as a picture: jobs a second as bars, cost against history as a line."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Tuple

from table import Results

_BARS = re.compile(r"xargs|spawn|drain-.*-2|peer-.*-rate")
_HISTORY = re.compile(r"history-(\d+)-(drain|enqueue|status|list)")


def draw(results: Results, path: str) -> None:
    """Write the picture; the form is that of the file's ending."""
    # An extra that only the picture needs.
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "queuectl"  # the same numbers, the same file
    from matplotlib import pyplot as plt

    figure, (bars, lines) = plt.subplots(1, 2, figsize=(13, 5), gridspec_kw={"wspace": 0.25})
    _draw_bars(bars, results)
    _draw_lines(lines, results)
    machine = results.circumstances
    figure.suptitle(f"{machine['machine']}, {machine['file system']}, {machine['python']}")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None} if _is_svg(path) else None)
    plt.close(figure)


def _is_svg(path: str) -> bool:
    return path.endswith(".svg")


def _draw_bars(axes: Any, results: Results) -> None:
    found: List[Tuple[float, str, bool]] = sorted(
        (float(results.median(name)), figure.title, name.startswith("drain"))
        for name, figure in results.figures.items()
        if _BARS.fullmatch(name)
    )
    colours = ["tab:blue" if ours else "tab:gray" for _, _, ours in found]
    drawn = axes.barh([title for _, title, _ in found], [rate for rate, _, _ in found])
    for bar, colour, (rate, _, _) in zip(drawn, colours, found):
        bar.set_color(colour)
        axes.annotate(f" {rate:,.0f}", (rate, bar.get_y() + bar.get_height() / 2), va="center")
    axes.set_title("no-op jobs a second, parallelism 2")
    axes.margins(x=0.15)


def _draw_lines(axes: Any, results: Results) -> None:
    lines: Dict[str, List[Tuple[int, float]]] = {}
    for name in results.figures:
        match = _HISTORY.fullmatch(name)
        if not match:
            continue
        value, empty = results.median(name), results.values.get(f"history-0-{match.group(2)}")
        if not empty:
            continue
        cost = float(value) / float(results.median(f"history-0-{match.group(2)}"))
        if match.group(2) == "drain":
            cost = 1 / cost  # time a job, as the others
        lines.setdefault(match.group(2), []).append((int(match.group(1)), cost))
    for work, points in sorted(lines.items()):
        counts, costs = zip(*sorted(points))
        axes.plot(counts, costs, marker="o", label=work)
    axes.set_xscale("symlog", linthresh=1000)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("finished jobs in the queue")
    axes.set_title("time taken, 1 = with an empty history")
    if lines:
        axes.legend()

"""The results of all rounds, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from pathlib import Path
from typing import Any

from measurement import Figure, Value, median

_HEAD = f"{'median':>12} {'':<7} {'ratio':>6}  of"


class Results:
    """The values of all rounds, by group."""

    def __init__(self, circumstances: dict[str, str]) -> None:
        self.circumstances = circumstances
        self.figures: dict[str, Figure] = {}
        self.groups: dict[str, str] = {}
        self.values: dict[str, list[Value]] = {}
        self.skipped: dict[str, str] = {}
        self._seconds: dict[str, float] = {}

    def add(self, group: str, figure: Figure, value: Value) -> None:
        """Add the value of one round."""
        self.figures[figure.name] = figure
        self.groups[figure.name] = group
        self.values.setdefault(figure.name, []).append(value)

    def skip(self, name: str, why: str) -> None:
        """Note that something was not measured."""
        self.skipped[name] = why

    def spent(self, name: str, seconds: float) -> None:
        """Add the time that a measurement took, even if it failed."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def order(self, names: list[str]) -> None:
        """Put the figures into this order, whichever of them succeeded first."""
        self.figures = {name: self.figures[name] for name in names if name in self.figures}

    def median(self, name: str) -> Value:
        """Return the median of the rounds."""
        return median(self.values[name])

    def ratio(self, name: str) -> float | None:
        """Return the median divided by that of the figure in `against`."""
        against = self.figures[name].against
        if against is None or against not in self.values:
            return None
        ours, other = self.median(name), self.median(against)
        if isinstance(ours, str) or isinstance(other, str) or not other:
            return None
        return ours / other

    def as_json(self) -> dict[str, Any]:
        """Return all results, with the value of each round."""
        return {
            "circumstances": self.circumstances,
            "figures": [
                {
                    "name": name,
                    "group": self.groups[name],
                    "title": figure.title,
                    "unit": figure.unit,
                    "median": self.median(name),
                    "rounds": self.values[name],
                    "against": figure.against,
                    "ratio": self.ratio(name),
                }
                for name, figure in self.figures.items()
            ],
            "skipped": self.skipped,
            "seconds": self._seconds,
        }

    def as_text(self) -> str:
        """Return the table, the circumstances above it, and skipped measurements below it."""
        lines = [f"{key}: {value}" for key, value in self.circumstances.items()]
        width = max([len(figure.title) for figure in self.figures.values()] + [40])
        group = ""
        for name, figure in self.figures.items():
            if self.groups[name] != group:
                group = self.groups[name]
                head = "" if isinstance(self.median(name), str) else _HEAD
                lines += ["", f"{group:<{width}} {head}".rstrip()]
            value = self.median(name)
            if isinstance(value, str):
                lines.append(f"{figure.title:<{width}} {value}")
                continue
            ratio = self.ratio(name)
            tail = f" {ratio:6.2f}  {figure.against}" if ratio is not None else ""
            lines.append(
                f"{figure.title:<{width}} {number(value):>12} {figure.unit:<7}{tail}".rstrip()
            )
        if self.skipped:
            lines += ["", "not measured"]
            lines += [f"{name}: {why}" for name, why in self.skipped.items()]
        return "\n".join(lines)


def circumstances(folder: str, rounds: int, size: str) -> dict[str, str]:
    """Return the circumstances: machine, system, Python, SQLite, file system."""
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "file system": _file_system(folder),
        "load at the start": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "size": f"{size}, rounds: {rounds}",
    }


def number(value: float) -> str:
    """Return a figure with as many digits as say something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or not value else f"{value:.4f}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine() or sys.platform


def _file_system(folder: str) -> str:
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    path = os.path.realpath(folder)
    holders = [
        (len(mount[1]), number, mount[2])
        for number, mount in enumerate(mounts)
        if path == mount[1] or path.startswith(mount[1].rstrip("/") + "/")
    ]
    return max(holders)[2] if holders else "unknown"

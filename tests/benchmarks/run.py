"""Measure queuectl against the limits of the machine and against its peers.

    python tests/benchmarks/run.py [--short] [--rounds 7] [--json FILE] [--plot FILE.svg] [--page]

It measures the queuectl that is installed beside the Python that runs it. Each round measures
everything once, so that other work on the machine affects all figures alike. The table has medians
and their ratios. It is a measurement, not a test: it never fails because of a number.

Peers that are not installed are skipped with a message: `pip install queuectl[bench]` installs the
Python packages; GNU parallel, task-spooler, nq and Redis are packages of the system. The queuectl
of the public index is another project; --peer-queuectl names its virtual environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Iterator

import beside
import comparison
import history
import limits
import losses
import ours
import outputs
import page
import plot
from measurement import Measurement, Missing
from place import Place
from sizes import SIZES
from table import Results, circumstances

_GROUPS = {
    "limits": limits.measurements,
    "ours": ours.measurements,
    "output": outputs.measurements,
    "history": history.measurements,
    "beside": beside.measurements,
    "peers": comparison.measurements,
    "losses": losses.measurements,
}

_LEFT_OUT = {"full": (), "short": ("losses",), "tiny": ("losses",)}
"""Groups that a run without --only leaves out, because they take long with any number of jobs."""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and write the requested files."""
    given = _parser().parse_args(arguments)
    sizes = SIZES[given.size]
    rounds = given.rounds or sizes.rounds
    signal.signal(signal.SIGTERM, _leave)
    # With this variable the measured processes would compile their modules at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    root = tempfile.mkdtemp(prefix="queuectl-bench-", dir=given.dir)
    try:
        results = Results(circumstances(root, rounds, given.size))
        place = Place(Path(root), sizes, given.peer_queuectl)
        only = given.only or [group for group in _GROUPS if group not in _LEFT_OUT[given.size]]
        chosen = list(_chosen(place, only))
        if not chosen:
            print(f"no measurement is called {' or '.join(given.only)}", file=sys.stderr)
            return 2
        for number in range(rounds):
            _measure(results, chosen, number, rounds)
        results.order([figure.name for _, one in chosen for figure in one.figures])
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(results.as_text())
    if given.json:
        Path(given.json).write_text(json.dumps(results.as_json(), indent=2) + "\n")
    if given.plot:
        plot.draw(results, given.plot)
    if given.page:
        page.write(results.as_json())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--size", choices=list(SIZES), default="full", help="how much to measure (default: full)"
    )
    parser.add_argument(
        "--short",
        dest="size",
        action="store_const",
        const="short",
        help="the same as --size short: less than a minute",
    )
    parser.add_argument(
        "--rounds", type=int, help="number of rounds (default: 7, short and tiny 1)"
    )
    parser.add_argument("--json", metavar="FILE", help="write all values of all rounds to a file")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw a picture (requires matplotlib)")
    parser.add_argument(
        "--page", action="store_true", help=f"write the tables into {page.PAGE.name} beside this"
    )
    parser.add_argument("--dir", help="measure on the file system of this folder")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=[],
        help=f"groups ({' '.join(_GROUPS)}) or prefixes of names, such as drain-full",
    )  # fmt: skip
    parser.add_argument(
        "--peer-queuectl", metavar="VENV", default=os.environ.get("PEER_QUEUECTL"),
        help="virtual environment with the package queuectl of the public index",
    )  # fmt: skip
    return parser


def _chosen(place: Place, only: list[str]) -> Iterator[tuple[str, Measurement]]:
    for group, measurements in _GROUPS.items():
        for measurement in measurements(place):
            if group in only or measurement.name.startswith(tuple(only)):
                yield group, measurement


def _measure(
    results: Results, chosen: list[tuple[str, Measurement]], number: int, rounds: int
) -> None:
    for position, (group, measurement) in enumerate(chosen, start=1):
        if measurement.name in results.skipped or (measurement.once and number > 0):
            continue
        print(
            f"round {number + 1} of {rounds}, {position} of {len(chosen)}: {measurement.name}",
            file=sys.stderr,
            flush=True,
        )
        started = time.monotonic()
        try:
            taken = measurement.take()
        except Missing as missing:
            results.skip(measurement.name, str(missing))
            continue
        except (OSError, subprocess.SubprocessError, sqlite3.Error) as error:
            # An error of one measurement, such as a timeout, must not end the run.
            results.skip(measurement.name, f"{type(error).__name__}: {error}")
            continue
        finally:
            results.spent(measurement.name, time.monotonic() - started)
        for figure in measurement.figures:
            results.add(group, figure, taken[figure.name])


def _leave(_number: int, _frame: FrameType | None) -> None:
    # An exception, so that processes are stopped and the folder is deleted.
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())

"""Stored pictures of what commands show, compared with what they show now.

A picture is a text file in `tests/cli/screens/`. QUEUECTL_REWRITE_SCREENS=1 writes them anew;
look at the difference before you commit it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Callable

SIZES = ((80, 24), (120, 40), (200, 50))
"""Columns and lines of the terminals that the pictures are made for."""

_SCREENS = Path(__file__).parents[1] / "cli" / "screens"
_CODE = re.compile("\x1b\\[[0-9;]*m")
_GENERATED_ID = re.compile(r"(?<![0-9a-z])[0-9a-f]{12}(?![0-9a-z])")
_SHORT_ID = re.compile(r"(?<![0-9a-z])[0-9a-f]{8}(?=-\d|\b(?!-))(?![0-9a-z])")
_TIME = re.compile(r"\b20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]\b")
_PID = re.compile(r"(?<=pid )[0-9]+")
_TAKEN = re.compile(r"(?<![0-9.])[0-9]+\.[0-9]{2} s\b")


def compare(shown: str, name: str, size: tuple[int, int] | None = None) -> None:
    """Compare a text with the stored picture `NAME.txt`, or `NAME-80x24.txt` for that size.

    Spaces at the ends of lines do not count. ESC is stored as U+241B.
    """
    path = _SCREENS / (f"{name}.txt" if size is None else f"{name}-{size[0]}x{size[1]}.txt")
    lines = [line.rstrip() for line in shown.replace("\x1b", "\u241b").splitlines()]
    now = "".join(f"{line}\n" for line in lines)
    if os.environ.get("QUEUECTL_REWRITE_SCREENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
    assert path.exists(), f"no {path.name} yet (make it with QUEUECTL_REWRITE_SCREENS=1)"
    assert now == path.read_text(encoding="utf-8"), path.name


def stable(text: str) -> str:
    """Return a text without what differs from run to run: ids, times, process ids, durations.

    Each is replaced by one of the same width, so that columns stay where they are. The same id
    becomes the same one. (Relative times have to be made stable by what is shown.)
    """
    text = _GENERATED_ID.sub(_numbered("{:012x}"), text)
    text = _SHORT_ID.sub(_numbered("{:08x}"), text)
    text = _TIME.sub("2026-01-31 12:00:00", text)
    text = _PID.sub(lambda found: "9" * len(found[0]), text)
    return _TAKEN.sub(lambda found: "0.25 s".rjust(len(found[0])), text)


def _numbered(form: str) -> Callable[[re.Match[str]], str]:
    """Return a replacement that numbers what it replaces."""
    numbers: dict[str, int] = {}
    return lambda found: form.format(0xA0 + numbers.setdefault(found[0], len(numbers)))


def widest(shown: str) -> int:
    """Return the cells of the longest line, as a terminal counts them. (Not with our own code.)"""
    return max(map(_cells, _CODE.sub("", shown).splitlines()), default=0)


def _cells(line: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in line
    )

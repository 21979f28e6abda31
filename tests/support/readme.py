"""The README and its fenced blocks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[2]


README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block with the heading above it."""

    heading: str
    language: str
    text: str


def _blocks() -> list[Block]:
    pattern = re.compile(
        r"^#+ (?P<heading>[^\n]+)$|^```(?P<language>\w*)\n(?P<text>.*?)^```$",
        re.MULTILINE | re.DOTALL,
    )
    found, heading = [], ""
    for match in pattern.finditer(README):
        if match["heading"] is not None:
            heading = match["heading"]
        else:
            found.append(Block(heading, match["language"], match["text"]))
    return found


BLOCKS = _blocks()


def block(heading: str, language: str = "sh") -> str:
    """Return the only block of a language under a heading."""
    found = [b.text for b in BLOCKS if (b.heading, b.language) == (heading, language)]
    assert len(found) == 1, (heading, found)
    return found[0]

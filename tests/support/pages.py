"""The pages for users, which are the README and the help topics, with their blocks and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import queuectl

CHECKOUT = Path(__file__).parents[2]
TOPICS_FOLDER = Path(queuectl.__file__).parent / "help"

_FENCE = re.compile(
    r"^#+ (?P<heading>[^\n]+)$|^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block with the heading above it."""

    heading: str
    language: str
    text: str


class Page(NamedTuple):
    """A page in Markdown."""

    name: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        """Return the fenced blocks in their order."""
        found, heading = [], ""
        for match in _FENCE.finditer(self.text):
            if match["heading"] is not None:
                heading = match["heading"]
            else:
                found.append(Block(heading, match["language"], match["text"]))
        return found

    def block(self, heading: str, language: str = "sh") -> str:
        """Return the only block of a language under a heading."""
        found = [b.text for b in self.blocks if (b.heading, b.language) == (heading, language)]
        assert len(found) == 1, (heading, found)
        return found[0]

    def section(self, heading: str) -> str:
        """Return the text under a heading, up to the next heading of its level."""
        return self.text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]

    @property
    def rows(self) -> list[list[str]]:
        """Return the cells of all rows of all tables."""
        return rows(self.text)


def rows(text: str) -> list[list[str]]:
    """Return the cells of the rows of the tables in a text."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]


def code(text: str) -> list[str]:
    """Return what stands between backquotes."""
    return [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", text)]


README = Page("README", (CHECKOUT / "README.md").read_text(encoding="utf-8"))
TOPICS = {
    path.stem: Page(path.stem, path.read_text(encoding="utf-8"))
    for path in sorted(TOPICS_FOLDER.glob("*.md"))
    if path.stem != "README"  # the index
}
PAGES = [README, *TOPICS.values()]

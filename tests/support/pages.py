"""The pages for users, which are the README and the help topics, with their blocks and tables."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import click

import queuectl
from queuectl.cli.app import root

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


def leads_to_a_file(folder: str, link: str) -> bool:
    """Whether a link on a page in this folder of the checkout leads to a file or a folder.

    Where the installed package is tested, the checkout does not hold the package.
    """
    path = os.path.normpath(f"{folder}/{link}")
    return any((root / path).exists() for root in (CHECKOUT, TOPICS_FOLDER.parents[1]))


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


PLACEHOLDERS = {"N": "1", "DURATION": "1h", "TIME": "18:00", "STATE": "dead"}
"""Words in sentences that stand for a value of an option, each with such a value."""


def calls_in(text: str) -> list[str]:
    """Return the calls of queuectl in one line of shell, without the word queuectl."""
    calls = []
    words: list[str] | None = None
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in [*lexer, ";"]:
        if words is None:
            words = [] if re.fullmatch(r"(.*/)?queuectl", word) else None
        elif word and set(word) <= set("();<>|&"):
            calls.append(" ".join(map(shlex.quote, words)))
            words = None
        else:
            words.append(PLACEHOLDERS.get(word, word))
    return calls


def parse_call(call: str) -> None:
    """Parse a call without running it. It must name an existing command, with what it accepts."""
    words = shlex.split(call)
    if words[:1] == ["--db"]:
        del words[:2]
    command: click.Command = root
    parent: click.Context | None = None
    context = click.Context(root, info_name="queuectl")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, name
        command, parent = found, context
        context = click.Context(command, info_name=name, parent=parent)

    # A sentence may name a command without its arguments, or an option without its command.
    if words and parent is not None:
        command.make_context(str(command.name), words, parent=parent)

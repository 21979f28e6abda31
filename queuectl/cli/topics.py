"""The topics of `queuectl help`: one Markdown page per topic in the folder `queuectl/help`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

from queuectl.cli import markdown
from queuectl.core.named_tuples import NamedTuple

FOLDER = Path(__file__).parents[1] / "help"
_INDEX = "README.md"
"""The page that a website shows for the folder. It lists every topic, in sections."""


class Topic(NamedTuple):
    """A topic as the index lists it."""

    name: str
    section: str
    summary: str
    """Its subject, in one line."""


def topics() -> dict[str, Topic]:
    """Return the topics by their names, in the order of the index."""
    found: dict[str, Topic] = {}
    section = ""
    for block in markdown.parse(_read(_INDEX)):
        if isinstance(block, markdown.Heading):
            section = markdown.plain(block.text)
        elif isinstance(block, markdown.Items):
            for link, *rest in block.items:
                name = link.target[: -len(".md")]
                summary = "".join(span.text for span in rest).lstrip(": ")
                found[name] = Topic(name, section, summary)
    return found


def page(name: str) -> list[markdown.Block]:
    """Return the page of a topic."""
    return markdown.parse(_read(f"{name}.md"))


def without_links(
    text: markdown.Text, reference: Callable[[str], markdown.Span]
) -> list[markdown.Span]:
    """Return a text in which links to topics are references, and others keep their address.

    A reference takes the place of a link if that reads well: `see [times](times.md)`. Otherwise it
    follows in parentheses.
    """
    spans: list[markdown.Span] = []
    for span in text:
        topic = topic_of_link(span.target) if span.kind == "link" else None
        if topic is not None:
            before = spans[-1].text if spans else ""
            alone = span.text == topic and re.search(
                r"\b(see|also|in|and|or) $", before, re.IGNORECASE
            )
            if not alone:
                spans.append(markdown.Span("text", f"{span.text} ("))
            spans.append(reference(topic))
            if not alone:
                spans.append(markdown.Span("text", ")"))
        elif span.kind == "link":
            address = f" ({span.target})" if "://" in span.target else ""
            spans.append(markdown.Span("text", span.text + address))
        else:
            spans.append(span)
    return spans


def topic_of_link(target: str) -> str | None:
    """Return the topic to which a link on a page leads, None if it leads elsewhere."""
    name = target.partition("#")[0]
    is_topic = name.endswith(".md") and "/" not in name and name != _INDEX
    return name[: -len(".md")] if is_topic else None


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")

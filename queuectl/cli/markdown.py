"""The subset of Markdown in which the topics of `queuectl help` are written.

A page consists of headings, paragraphs, lists without nesting, tables and fenced code. Inside a
text there are `code`, **strong**, *emphasis* and [links](target). Anything else is refused, so that
a page cannot look right on the web and wrong on a terminal or in a manual page.
"""

from __future__ import annotations

import re
from typing import Iterator, Tuple, Union

from queuectl.core.named_tuples import NamedTuple


class Span(NamedTuple):
    """A part of a text."""

    kind: str
    """`text`, `code`, `strong`, `emphasis` or `link`."""
    text: str
    target: str = ""
    """Where a link leads."""


Text = Tuple[Span, ...]


class Heading(NamedTuple):
    """A heading."""

    level: int
    """1 for the title of the page, 2 and 3 below it."""
    text: Text


class Paragraph(NamedTuple):
    """Text that is filled."""

    text: Text


class Code(NamedTuple):
    """Lines that are kept as they are."""

    language: str
    lines: tuple[str, ...]


class Items(NamedTuple):
    """A list."""

    numbered: bool
    items: tuple[Text, ...]


class Table(NamedTuple):
    """A table with a header."""

    header: tuple[Text, ...]
    rows: tuple[tuple[Text, ...], ...]


Block = Union[Heading, Paragraph, Code, Items, Table]

_HEADING = re.compile(r"(#{1,3}) (\S.*)")
_FENCE = re.compile(r"```(\w*)")
_ITEM = re.compile(r"(-|\d+\.) +(\S.*)")
_RULE = re.compile(r"\|(?: ?:?-+:? ?\|)+")
# Markup of blocks that we do not have: quotes, HTML, rules, other lists, setext, images, indents.
_FOREIGN = re.compile(r"[>+*<~=]|-{3,}|#|!\[|\d+\)| {4}|\t")
_INLINE = re.compile(
    r"(?P<code>`[^`]+`)|\*\*(?P<strong>[^*`]+)\*\*|\*(?P<emphasis>[^*`\s][^*`]*)\*"
    r"|\[(?P<link>[^]]+)\]\((?P<target>[^)\s]+)\)"
)


def parse(page: str) -> list[Block]:
    """Return the blocks of a page. ValueError, with the line's number, for what it may not hold."""
    lines = page.splitlines()
    blocks: list[Block] = []
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        try:
            block, used = _block(lines[at:])
        except ValueError as error:
            raise ValueError(f"line {at + 1}: {error}: {lines[at]!r}") from None
        blocks.append(block)
        at += used
    return blocks


def _block(lines: list[str]) -> tuple[Block, int]:
    """Return the block that begins in the first line, and how many lines it has."""
    first = lines[0]
    heading, fence = _HEADING.fullmatch(first), _FENCE.fullmatch(first)
    if fence:
        if "```" not in lines[1:]:
            raise ValueError("the code does not end")
        end = lines.index("```", 1)
        return Code(fence.group(1), tuple(lines[1:end])), end + 1
    if heading:
        return Heading(len(heading.group(1)), _text(heading.group(2))), 1
    taken = _until_blank(lines)
    if first.startswith("|"):
        return _table(taken), len(taken)
    if _ITEM.fullmatch(first):
        return _items(taken), len(taken)
    if any(_is_foreign(line) for line in taken):
        raise ValueError("not in the subset of Markdown")
    return Paragraph(_text(" ".join(line.strip() for line in taken))), len(taken)


def _until_blank(lines: list[str]) -> list[str]:
    taken = []
    for line in lines:
        if not line.strip() or line.startswith("```"):
            break
        taken.append(line)
    return taken


def _is_foreign(line: str) -> bool:
    bold = line.startswith("**") or re.match(r"\*\S", line)
    return bool(_FOREIGN.match(line)) and not bold


def _items(lines: list[str]) -> Items:
    texts: list[str] = []
    numbered = lines[0][0].isdigit()
    for line in lines:
        item = _ITEM.fullmatch(line)
        if item and item.group(1)[0].isdigit() == numbered:
            texts.append(item.group(2))
        elif line.startswith("  ") and not _ITEM.fullmatch(line.strip()):
            texts[-1] += " " + line.strip()
        else:
            raise ValueError("an item of a list goes on with two blanks, and holds no list")
    return Items(numbered, tuple(map(_text, texts)))


def _table(lines: list[str]) -> Table:
    if len(lines) < 2 or not _RULE.fullmatch(lines[1]):
        raise ValueError("a table needs a header, and a line |---|---| below it")
    rows = [_cells(line) for line in lines]
    if {len(row) for row in rows} != {len(rows[0])}:
        raise ValueError("the rows of a table differ in the number of their cells")
    return Table(rows[0], tuple(rows[2:]))


def _cells(line: str) -> tuple[Text, ...]:
    cells = re.split(r"(?<!\\)\|", line.strip())
    if len(cells) < 3 or cells[0] or cells[-1]:
        raise ValueError("a row of a table begins and ends with |")
    return tuple(_text(cell.strip().replace(r"\|", "|")) for cell in cells[1:-1])


def _text(text: str) -> Text:
    return tuple(_spans(text))


def _spans(text: str) -> Iterator[Span]:
    at = 0
    for found in _INLINE.finditer(text):
        if found.start() > at:
            yield _plain(text[at : found.start()])
        at = found.end()
        if found["code"]:
            yield Span("code", found["code"][1:-1])
        elif found["link"]:
            yield Span("link", found["link"].strip("`"), found["target"])
        else:
            kind = "strong" if found["strong"] else "emphasis"
            yield Span(kind, found[kind])
    if at < len(text):
        yield _plain(text[at:])


def _plain(text: str) -> Span:
    # What is left of markup that did not match, and what a web page would show otherwise.
    wrong = re.search(r"`|\*\S|\]\(|<\w|&\w+;|\\[^|]", text)
    if wrong:
        raise ValueError(f"{wrong.group()!r} in a text that is no code")
    return Span("text", text)


def plain(text: Text) -> str:
    """Return a text without its marks."""
    return "".join(span.text for span in text)


def texts_of(block: Block) -> list[Text]:
    """Return all texts of a block; code has none."""
    if isinstance(block, (Heading, Paragraph)):
        return [block.text]
    if isinstance(block, Items):
        return list(block.items)
    if isinstance(block, Table):
        return [cell for row in (block.header, *block.rows) for cell in row]
    return []

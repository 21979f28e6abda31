"""Manual pages in the man(7) macros: texts, and the pages of topics."""

from __future__ import annotations

import re
from typing import Iterable, Iterator, Sequence

from queuectl.cli.markdown import Block, Code, Heading, Items, Paragraph, Span, Table, Text, plain
from queuectl.cli.topics import without_links

_TERM = ".TP 7"
"""A term with its meaning. Without the number, it would be indented as the list above it."""
_FONTS = {"code": "B", "strong": "B", "emphasis": "I"}


def title(name: str, section: int, *, date: str, version: str) -> list[str]:
    """Return the first lines of a page. Words are neither hyphenated nor spread to the margins."""
    manual = {1: "User Commands", 7: "Miscellaneous Information Manual"}[section]
    return [
        f'.TH {escaped(name.upper())} {section} {date} "queuectl {version}" "{manual}"',
        ".nh",
        ".ad l",
    ]


def pairs(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Return terms, each with its meaning."""
    for term, meaning in rows:
        yield from (_TERM, rf"\fB{escaped(term)}\fR", line(marked(meaning)))


def literal(rows: Iterable[str]) -> Iterator[str]:
    """Return lines that are kept as they are."""
    yield ".nf"
    yield from (line(escaped(row)) for row in rows)
    yield ".fi"


def blocks(page: Sequence[Block], *, is_part: bool = False) -> Iterator[str]:
    """Return the blocks of a page, below its title; if it `is_part` of another, as a section."""
    for block in page:
        if isinstance(block, Heading):
            text = plain(block.text)
            if block.level == 2 and not is_part:
                yield f".SH {escaped(text.upper())}"
            elif block.level > 1:
                yield f".SS {escaped(text)}"
        elif isinstance(block, Paragraph):
            yield from (".PP", line(_inline(block.text)))
        elif isinstance(block, Code):
            yield from (".PP", ".RS 2", *literal(block.lines), ".RE")
        elif isinstance(block, Items):
            yield from _items(block)
        else:
            yield from _table(block)


def escaped(text: str) -> str:
    """Escape the characters that have a meaning in roff."""
    text = text.replace("\u00a0", " ")
    for char, name in (("\\", r"\e"), ("-", r"\-"), ("'", r"\(aq"), ("^", r"\(ha"), ("~", r"\(ti")):
        text = text.replace(char, name)
    return text.replace("`", r"\(ga")


def marked(text: str) -> str:
    """Escape a text of the help, in which backquotes enclose code."""
    return re.sub(r"\\\(ga(.+?)\\\(ga", r"\\fB\1\\fR", escaped(text))


def line(text: str) -> str:
    """Protect a line that would begin like a macro."""
    return r"\&" + text if text.startswith((".", "'")) else text


def _inline(text: Text) -> str:
    return "".join(map(_span, without_links(text, _reference)))


def _reference(topic: str) -> Span:
    return Span("page", f"queuectl-{topic}")


def _span(span: Span) -> str:
    if span.kind == "page":
        return rf"\fB{escaped(span.text)}\fR(7)"
    font = _FONTS.get(span.kind)
    return rf"\f{font}{escaped(span.text)}\fR" if font else escaped(span.text)


def _items(block: Items) -> Iterator[str]:
    for number, item in enumerate(block.items, 1):
        yield rf".IP {number}. 4" if block.numbered else r".IP \(bu 2"
        yield line(_inline(item))


def _table(table: Table) -> Iterator[str]:
    """A term with its meaning; further columns follow below it, each with its header."""
    for term, *cells in table.rows:
        yield from (_TERM, rf"\fB{escaped(plain(term))}\fR")
        for number, (header, cell) in enumerate(zip(table.header[1:], cells)):
            if number:
                yield ".br"
            name = f"{escaped(plain(header))}: " if len(cells) > 1 else ""
            yield line(name + _inline(cell))

"""A topic as text: for a terminal with bold headings, elsewhere plain."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Iterator, List, Sequence, Tuple

import click

from queuectl.cli.markdown import Block, Code, Heading, Items, Paragraph, Span, Table
from queuectl.cli.topics import without_links

_WIDEST = 80
"""Longer lines are hard to read, however wide the window is."""
_INDENT = "  "
_CODE_INDENT = "    "
_UNBROKEN = 36
"""Code up to this length stays on one line."""
_LAST_COLUMN = 30
"""The last column of a table has at least this width; otherwise the rows become paragraphs."""

_Piece = Tuple[str, str]
"""A text, and the kind of its span."""
_Word = List[_Piece]


def to_text(blocks: Sequence[Block], *, width: int, styled: bool) -> str:
    """Return a page as text; unless it is `styled`, it keeps the marks of code."""
    writer = _Writer(min(width, _WIDEST), styled=styled)
    text = ""
    for block in blocks:
        text += "".join(f"{line}\n" for line in writer.lines(block))
        # As in a manual page, a heading stands directly above its text.
        text += "" if isinstance(block, Heading) and block.level > 1 else "\n"
    return text.rstrip("\n") + "\n"


class _Writer:
    def __init__(self, width: int, *, styled: bool) -> None:
        self._width = width
        self._styled = styled

    def lines(self, block: Block) -> Iterator[str]:
        if isinstance(block, Heading):
            indent = "" if block.level < 3 else _INDENT
            yield from self._filled([Span("strong", s.text) for s in block.text], indent, indent)
        elif isinstance(block, Paragraph):
            yield from self._filled(block.text, _INDENT, _INDENT)
        elif isinstance(block, Code):
            yield from ((_CODE_INDENT + line).rstrip() for line in block.lines)
        elif isinstance(block, Items):
            for number, item in enumerate(block.items, 1):
                mark = f"{number}. " if block.numbered else "- "
                yield from self._filled(item, _INDENT + mark, _INDENT + " " * len(mark))
        else:
            yield from self._table(block)

    def _table(self, table: Table) -> Iterator[str]:
        """The last column takes the rest of the width, and is filled there."""
        rows = [table.header, *table.rows]
        widths = [max(map(self._length, column)) for column in zip(*rows)][:-1]
        before = len(_INDENT) + sum(widths) + 2 * len(widths)
        if self._width - before < _LAST_COLUMN:
            yield from self._paragraphs(table)
            return
        for row in rows:
            cells = [[Span("strong", s.text) for s in c] for c in row] if row is rows[0] else row
            start = _INDENT
            for cell, width in zip(cells, widths):
                start += self._one_line(cell) + " " * (width - self._length(cell) + 2)
            yield from self._filled(cells[-1], start, " " * before, before)

    def _paragraphs(self, table: Table) -> Iterator[str]:
        for first, *others in table.rows:
            yield from self._filled(first, _INDENT, _INDENT)
            for cell in others:
                yield from self._filled(cell, _CODE_INDENT, _CODE_INDENT)

    def _length(self, text: Sequence[Span]) -> int:
        return sum(len(self._shown(span)) for span in without_links(tuple(text), _reference))

    def _one_line(self, text: Sequence[Span]) -> str:
        spans = without_links(tuple(text), _reference)
        return "".join(self._style(self._shown(span), span.kind) for span in spans)

    def _filled(
        self, text: Sequence[Span], first: str, others: str, length: int | None = None
    ) -> Iterator[str]:
        """Fill lines. `length` is that of `first`, which may hold styles."""
        used = len(first) if length is None else length
        line: list[_Word] = []
        for word in self._words(text):
            size = sum(len(piece) for piece, _ in word)
            if line and used + 1 + size > self._width:
                yield first + self._joined(line)
                first, used, line = others, len(others), []
            used += size + bool(line)
            line.append(word)
        yield (first + self._joined(line)).rstrip()

    def _joined(self, words: Sequence[_Word]) -> str:
        """Return words with blanks between them; neighbours of one kind are styled together."""
        pieces: list[_Piece] = []
        for word in words:
            if pieces:
                pieces.append((" ", word[0][1] if pieces[-1][1] == word[0][1] else "text"))
            pieces += word
        runs = groupby(pieces, key=itemgetter(1))
        return "".join(self._style("".join(text for text, _ in run), kind) for kind, run in runs)

    def _words(self, text: Sequence[Span]) -> Iterator[_Word]:
        """Yield what must not be broken."""
        word: _Word = []
        for span in without_links(tuple(text), _reference):
            shown = self._shown(span)
            if span.kind == "code" and len(shown) <= _UNBROKEN:
                word.append((shown, span.kind))
                continue
            for number, part in enumerate(shown.split(" ")):
                if number and word:
                    yield word
                    word = []
                if part:
                    word.append((part, span.kind))
        if word:
            yield word

    def _shown(self, span: Span) -> str:
        return f"`{span.text}`" if span.kind == "code" and not self._styled else span.text

    def _style(self, text: str, kind: str) -> str:
        if not self._styled or kind == "text":
            return text
        return (
            click.style(text, underline=True)
            if kind == "emphasis"
            else click.style(text, bold=True)
        )


def _reference(topic: str) -> Span:
    return Span("code", f"queuectl help {topic}")

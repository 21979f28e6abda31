"""What a job printed, as HTML: colours become classes, everything else that controls is dropped.

The text may hold anything. Every piece of it is escaped before it becomes part of the markup.
"""

from __future__ import annotations

import re
from typing import Iterable, Iterator

from markupsafe import Markup
from markupsafe import escape as escape_html

from queuectl.core.escaping import escape

_SEQUENCE = re.compile(
    # Control sequences (CSI), of which only colours (…m) mean something here.
    r"\x1b\[([0-?]*)[ -/]*([@-~])"
    # Titles, links and the like (OSC), and other strings, up to their end; also unfinished ones.
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|(?=\x1b)|$)"
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\|(?=\x1b)|$)"
    # Every other escape sequence.
    r"|\x1b[ -/]*[0-~]?",
)
_LONGEST_OVERWRITTEN = 20_000
"""Beyond this many characters a line is shown as it was printed, not as a terminal would."""

_PLAIN: frozenset[str] = frozenset()
_EFFECTS = {1: "a1", 2: "a2", 3: "a3", 4: "a4", 7: "a7", 9: "a9"}
_ENDS = {21: "a1 ", 22: "a1 a2 ", 23: "a3 ", 24: "a4 ", 27: "a7 ", 29: "a9 "}


class Screen:
    """Turns bytes into lines of markup. Colours go on from line to line, as on a terminal."""

    def __init__(self) -> None:
        self._style: frozenset[str] = _PLAIN

    def lines(self, content: bytes) -> list[Markup]:
        """Return the lines of an output. Bytes that are not UTF-8 become U+FFFD."""
        text = content.decode("utf-8", "replace")
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        return [self._line(line) for line in lines]

    def one_line(self, content: bytes) -> Markup:
        """Return a single line of an output."""
        return self._line(content.decode("utf-8", "replace"))

    def _line(self, line: str) -> Markup:
        line = line.rstrip("\r")
        pieces = list(self._pieces(line))
        if ("\r" in line or "\b" in line) and len(line) <= _LONGEST_OVERWRITTEN:
            pieces = list(_overwritten(pieces))
        return Markup("").join(map(_marked, pieces))

    def _pieces(self, line: str) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield the pieces of a line with their styles, without escape sequences."""
        start = 0
        for found in _SEQUENCE.finditer(line):
            if found.start() > start:
                yield line[start : found.start()], self._style
            start = found.end()
            if found.group(2) == "m":
                self._style = _changed(self._style, found.group(1))
        if start < len(line):
            yield line[start:], self._style


def _changed(style: frozenset[str], parameters: str) -> frozenset[str]:
    """Return a style after a sequence of colours and effects (SGR)."""
    if not re.fullmatch(r"[0-9;:]*", parameters):
        return style
    numbers = [int(one or 0) for one in re.split("[;:]", parameters)][:32]
    classes = set(style)
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            classes.clear()
        elif code in _EFFECTS:
            classes.add(_EFFECTS[code])
        elif code in _ENDS:
            classes -= set(_ENDS[code].split())
        elif code in (38, 48):
            _set(classes, code - 8, _from_palette(numbers))
        elif code in (39, 49):
            _set(classes, code - 9, None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            _set(classes, 30, f"a{code}")
        elif 40 <= code <= 47 or 100 <= code <= 107:
            _set(classes, 40, f"a{code}")
    return frozenset(classes)


def _set(classes: set[str], base: int, color: str | int | None) -> None:
    """Replace the colour of the text (base 30), or that behind it (40)."""
    prefixes = ("a3", "a9") if base == 30 else ("a4", "a10")
    for name in [one for one in classes if len(one) > 2 and one.startswith(prefixes)]:
        classes.discard(name)
    if isinstance(color, int):
        color = f"a{base + color}" if color < 8 else f"a{base + 60 + color - 8}"
    if color is not None:
        classes.add(color)


def _from_palette(numbers: list[int]) -> int | None:
    """Read the rest of a colour of 256, or of all: one of the first 16, or None for the others."""
    kind = numbers.pop(0) if numbers else 0
    if kind == 2:
        del numbers[:3]
        return None
    if kind == 5 and numbers:
        color = numbers.pop(0)
        return color if color < 16 else None
    return None


def _overwritten(
    pieces: Iterable[tuple[str, frozenset[str]]],
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what a terminal shows of a line in which the cursor goes back, as progress bars do."""
    cells: list[tuple[str, frozenset[str]]] = []
    at = 0
    for text, style in pieces:
        for char in text:
            if char == "\r":
                at = 0
            elif char == "\b":
                at = max(0, at - 1)
            else:
                cells[at : at + 1] = [(char, style)]
                at += 1
    start = 0
    for end in range(1, len(cells) + 1):
        if end == len(cells) or cells[end][1] != cells[start][1]:
            yield "".join(char for char, _ in cells[start:end]), cells[start][1]
            start = end


def _marked(piece: tuple[str, frozenset[str]]) -> Markup:
    text, style = piece
    shown = escape_html("\t".join(map(escape, text.split("\t"))))
    if not style:
        return shown
    # The classes are ours. (Markup.format would take ten times as long.)
    return Markup(f'<span class="{" ".join(sorted(style))}">{shown}</span>')

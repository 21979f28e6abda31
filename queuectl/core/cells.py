"""How many cells of a terminal a text takes; texts and columns that are made to fit."""

from __future__ import annotations

from functools import lru_cache
from typing import Sequence

_ELLIPSIS = "…"


def width(text: str) -> int:
    """Return how many cells a text takes: a wide character takes two, a combining one none."""
    return len(text) if text.isascii() else sum(map(_cells, text))


@lru_cache(maxsize=4096)
def _cells(char: str) -> int:
    import unicodedata  # only for text that is not ASCII

    # Vowels and final consonants of Hangul that are written apart join the syllable before them.
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or "\u1160" <= char <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def cut(text: str, cells: int) -> str:
    """Return a text that takes at most `cells`; the end of a longer one is left out."""
    if width(text) <= cells:
        return text
    return _beginning(text, cells - 1) + _ELLIPSIS if cells > 0 else ""


def cut_middle(text: str, cells: int) -> str:
    """Return a text that takes at most `cells`; the middle of a longer one is left out."""
    if width(text) <= cells:
        return text
    if cells < 1:
        return ""
    begins = _beginning(text, (cells - 1) // 2)
    return begins + _ELLIPSIS + _ending(text, cells - 1 - width(begins))


def pad(text: str, cells: int) -> str:
    """Return a text with spaces after it, so that it fills `cells`."""
    return text + " " * (cells - width(text))


def wrap(text: str, cells: int) -> list[str]:
    """Return the lines of a text that is broken between words; a longer word has its own line."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and width(longer) > cells:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def fit(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Return the widths of columns, narrowed until all of them take at most `room` cells.

    The widest column is narrowed first, down to its width in `least`. If that is not enough, all
    are narrowed further, down to one cell.
    """
    fitted = [min(natural, max(low, room)) for natural, low in zip(widths, least)]
    for lowest in (least, [1] * len(fitted)):
        while sum(fitted) > room:
            wide = [at for at, cells in enumerate(fitted) if cells > lowest[at]]
            if not wide:
                break
            fitted[max(wide, key=fitted.__getitem__)] -= 1
    return fitted


def _beginning(text: str, cells: int) -> str:
    """Return as much of the beginning of a text as fits, with all marks of its last character."""
    taken = 0
    for at, char in enumerate(text):
        taken += _cells(char)
        if taken > cells:
            return text[:at]
    return text


def _ending(text: str, cells: int) -> str:
    """Return as much of the end of a text as fits, without the marks of a character left out."""
    taken, begin = 0, len(text)
    for at in range(len(text) - 1, -1, -1):
        taken += _cells(text[at])
        if taken > cells:
            break
        if _cells(text[at]):
            begin = at
    return text[begin:]

"""The display width of texts, and fitting texts and columns into a line of a terminal."""

from __future__ import annotations

from typing import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.core.cells import cut, cut_middle, fit, pad, width, wrap

_ACCENT = "e\u0301"
"""An `e` with a combining accent: two characters in one cell."""


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("", 0), ("abc", 3), ("é", 1), (_ACCENT, 1), ("夏休み", 6),
        ("\uff21", 2), ("\uff71", 1), ("🎬", 2), ("한", 2), ("\u1112\u1161\u11ab", 2),
        ("a夏b", 4), ("✓", 1), ("…", 1),
    ],
)  # fmt: skip
def test_width(text: str, cells: int) -> None:
    """Wide and fullwidth characters take two cells, combining ones none."""
    assert width(text) == cells


@pytest.mark.parametrize(
    ("text", "cells", "expected"),
    [
        ("abcdef", 6, "abcdef"), ("abcdef", 5, "abcd…"), ("abcdef", 1, "…"), ("abcdef", 0, ""),
        ("", 0, ""), ("夏休み", 6, "夏休み"), ("夏休み", 5, "夏休…"), ("夏休み", 4, "夏…"),
        (_ACCENT * 3, 3, _ACCENT * 3), (_ACCENT * 3, 2, _ACCENT + "…"),
    ],
)  # fmt: skip
def test_the_end_is_cut(text: str, cells: int, expected: str) -> None:
    """A character that does not fit whole is left out, with all its marks."""
    assert cut(text, cells) == expected


@pytest.mark.parametrize(
    ("text", "cells", "expected"),
    [
        ("abcdef", 6, "abcdef"), ("abcdef", 5, "ab…ef"), ("abcdef", 4, "a…ef"),
        ("abcdef", 1, "…"), ("abcdef", 0, ""), ("夏休みの旅行", 9, "夏休…旅行"),
        ("夏休みの旅行", 8, "夏…旅行"), ("夏休みの旅行", 3, "…行"),
        (_ACCENT * 4, 3, f"{_ACCENT}…{_ACCENT}"),
    ],
)  # fmt: skip
def test_the_middle_is_cut(text: str, cells: int, expected: str) -> None:
    """Beginning and end are kept, as much of both."""
    assert cut_middle(text, cells) == expected


@pytest.mark.parametrize("shorten", [cut, cut_middle])
@given(text=st.text(max_size=30), cells=st.integers(min_value=0, max_value=30))
def test_what_is_cut_fits(shorten: Callable[[str, int], str], text: str, cells: int) -> None:
    """It never takes more cells than asked for, and a text that fits is left as it is."""
    shown = shorten(text, cells)

    assert width(shown) <= cells
    assert (shown == text) == (width(text) <= cells)


def test_pad() -> None:
    """A padded text takes so many cells; a longer one is not changed."""
    assert pad("夏", 4) == "夏  "
    assert pad("abc", 2) == "abc"


@pytest.mark.parametrize(
    ("widths", "least", "room", "expected"),
    [
        ([4, 9, 30], [4, 9, 20], 80, [4, 9, 30]),
        ([4, 9, 300], [4, 9, 20], 80, [4, 9, 67]),
        ([40, 9, 300], [8, 9, 20], 80, [35, 9, 36]),
        ([12, 9, 300], [8, 9, 20], 40, [11, 9, 20]),
        ([12, 9, 300], [8, 9, 20], 30, [8, 9, 13]),
        ([12, 9, 300], [8, 9, 20], 2, [1, 1, 1]),
        ([], [], 80, []),
    ],
)
def test_columns_are_narrowed_until_they_fit(
    widths: Sequence[int], least: Sequence[int], room: int, expected: Sequence[int]
) -> None:
    """The widest one first, down to its least width; below that only if nothing else helps."""
    assert fit(widths, least, room) == expected


@pytest.mark.parametrize(
    ("text", "cells", "lines"),
    [
        ("", 5, [""]),
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 6, ["one", "two", "three"]),
        ("abcdefgh i", 4, ["abcdefgh", "i"]),
        ("夏休み 夏休み", 12, ["夏休み", "夏休み"]),
        ("夏休み 夏休み", 13, ["夏休み 夏休み"]),
    ],
)
def test_a_text_is_broken_between_words(text: str, cells: int, lines: list[str]) -> None:
    """Where wide characters take two cells; a word that is too long is not broken."""
    assert wrap(text, cells) == lines

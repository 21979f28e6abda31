"""What jobs print is hostile: only colours survive, and everything else is text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.web.ansi import Screen


def _shown(content: bytes) -> list[str]:
    return [str(line) for line in Screen().lines(content)]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a\nb", ["a", "b"]),
        (b"a\n\n", ["a", ""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"<b>&\"'", ["&lt;b&gt;&amp;&#34;&#39;"]),
        (b"\x1b[31mred\x1b[0m x", ['<span class="a31">red</span> x']),
        (b"\x1b[1;31mred\nmore\x1b[m.", ['<span class="a1 a31">red</span>',
                                         '<span class="a1 a31">more</span>.']),
        (b"\x1b[31;42mx\x1b[39my\x1b[49mz", ['<span class="a31 a42">x</span>'
                                             '<span class="a42">y</span>z']),
        (b"\x1b[38;5;9mx\x1b[38;5;200my\x1b[38;2;1;2;3mz", ['<span class="a91">x</span>yz']),
        (b"\x1b[48;5;4mx", ['<span class="a44">x</span>']),
        (b"\x1b[1mx\x1b[22my\x1b[4mz\x1b[24m.", ['<span class="a1">x</span>y'
                                                 '<span class="a4">z</span>.']),
        # A progress bar overwrites itself; what is longer stays.
        (b" 10%\r 20%\r100%\n", ["100%"]),
        (b"downloading\rdone\n", ["doneloading"]),
        (b"\x1b[32mab\rc", ['<span class="a32">cb</span>']),
        (b"ab\b\bc", ["cb"]),
        (b"\b\b\r\rx", ["x"]),
        # Links, titles, cursor moves and the like are dropped.
        (b"\x1b]8;;http://evil.example\x07click\x1b]8;;\x07", ["click"]),
        (b"\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\", ["click"]),
        (b"\x1b]0;title\x07x\x1b[2J\x1b[H\x1b[?25ly\x1b(Bz\x1bc", ["xyz"]),
        (b"\x1bPq#0\x1b\\x", ["x"]),
        (b"\x1b[", [""]),
        (b"a\x1b", ["a"]),
        (b"\x1b]8;;unfinished", [""]),
        (b"\x1b[<31mx\x1b[>4;2my", ["xy"]),
        # Other control characters are shown, and so is what changes the direction of text.
        (b"a\x00\x07b", [r"a\x00\x07b"]),
        ("a\u202eb".encode(), [r"a\u202eb"]),
        (b"a\tb", ["a\tb"]),
        (b"\xff\xfe ok", ["\ufffd\ufffd ok"]),
        (b"\x9b31mx", ["\ufffd31mx"]),
        ("\x9b31mx".encode(), [r"\x9b31mx"]),
        (b"\x1b[99999999999999999999mx", ["x"]),
        (b"\x1b[" + b"1;" * 5000 + b"1mx", ['<span class="a1">x</span>']),
    ],
)  # fmt: skip
def test_lines(content: bytes, lines: list[str]) -> None:
    assert _shown(content) == lines


def test_a_long_line() -> None:
    """A megabyte without a line break is shown, and takes no time."""
    assert len(_shown(b"x" * (1 << 20))[0]) == 1 << 20
    assert _shown(b"\r" + b"x" * 30_000)[0].startswith(r"\rx")


@given(st.binary(max_size=300) | st.text("\x1b[]m;0123456789<>&\r\b\n\\P\x07ab").map(str.encode))
def test_nothing_else_becomes_markup(content: bytes) -> None:
    """Whatever is printed: the only tags are spans with classes of ours, and no control is left."""
    for line in _shown(content):
        rest = re.sub(r'<span class="(?:a\d+ ?)+">|</span>', "", line)
        assert not re.search("[<>\"']", rest)
        assert rest.replace("\t", "").isprintable()

"""The subset of Markdown of the topics, and how it looks on a terminal and in a manual page."""

from __future__ import annotations

import pytest

from queuectl.cli.markdown import (
    Code,
    Heading,
    Items,
    Paragraph,
    Span,
    Table,
    parse,
)
from queuectl.cli.roff import blocks
from queuectl.cli.topic_text import to_text

PAGE = """\
# Jobs

A job has a `state`, see [states](states.md#x), [more about it](ids.md),
or [the web](https://example.org/a). It is **never** *lost*.

## Runs

### Of a job

```sh
queuectl enqueue 'a' &&
    .x
```

- The first item is long enough that it has to go on in a second line, which is
  indented.
- `b|c`

1. One
2. Two

| Name | Meaning |
|---|:--|
| `a` | A word \\| another `b\\|c`; and it goes on for long enough to need a second line. |
| ~/-x | . |
"""


def _text(text: str) -> tuple[Span, ...]:
    return (Span("text", text),)


def test_the_blocks_of_a_page() -> None:
    """Every kind of block and of span is understood."""
    assert parse(PAGE) == [
        Heading(1, _text("Jobs")),
        Paragraph(
            (
                Span("text", "A job has a "),
                Span("code", "state"),
                Span("text", ", see "),
                Span("link", "states", "states.md#x"),
                Span("text", ", "),
                Span("link", "more about it", "ids.md"),
                Span("text", ", or "),
                Span("link", "the web", "https://example.org/a"),
                Span("text", ". It is "),
                Span("strong", "never"),
                Span("text", " "),
                Span("emphasis", "lost"),
                Span("text", "."),
            )
        ),
        Heading(2, _text("Runs")),
        Heading(3, _text("Of a job")),
        Code("sh", ("queuectl enqueue 'a' &&", "    .x")),
        Items(
            False,
            (
                _text(
                    "The first item is long enough that it has to go on in a second line, which "
                    "is indented."
                ),
                (Span("code", "b|c"),),
            ),
        ),
        Items(True, (_text("One"), _text("Two"))),
        Table(
            (_text("Name"), _text("Meaning")),
            (
                (
                    (Span("code", "a"),),
                    (
                        Span("text", "A word | another "),
                        Span("code", "b|c"),
                        Span("text", "; and it goes on for long enough to need a second line."),
                    ),
                ),
                (_text("~/-x"), _text(".")),
            ),
        ),
    ]


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("> a quote", 1),
        ("text\n\n    indented code", 3),
        ("a\n---", 1),
        ("a <b>tag</b>", 1),
        ("&nbsp;", 1),
        ("* star", 1),
        ("#### deep", 1),
        ("#no blank", 1),
        ("![image](a.png)", 1),
        ("- one\n  - two", 1),
        ("- one\ntwo", 1),
        ("- one\n1. two", 1),
        ("a `b", 1),
        ("a [b](c", 1),
        (r"a \* b", 1),
        ("```sh\nnever ends", 1),
        ("| a |\n| b |", 1),
        ("| a | b |\n|---|---|\n| c |", 1),
        ("| a |\n|---|\n| b", 1),
    ],
)
def test_other_markdown_is_refused(page: str, line: int) -> None:
    """What would look different on the web, on a terminal and in a manual page is an error."""
    with pytest.raises(ValueError, match=f"^line {line}: "):
        parse(page)


def test_plain_text() -> None:
    """Off a terminal the marks of code stay; links to topics become commands."""
    assert (
        to_text(parse(PAGE), width=60, styled=False)
        == """\
Jobs

  A job has a `state`, see `queuectl help states`, more
  about it (`queuectl help ids`), or the web
  (https://example.org/a). It is never lost.

Runs
  Of a job
    queuectl enqueue 'a' &&
        .x

  - The first item is long enough that it has to go on in a
    second line, which is indented.
  - `b|c`

  1. One
  2. Two

  Name  Meaning
  `a`   A word | another `b|c`; and it goes on for long
        enough to need a second line.
  ~/-x  .
"""
    )


def test_text_for_a_terminal() -> None:
    """Headings and code are bold, emphasis is underlined."""
    shown = to_text(parse("# A\n\n`b c`, *d*\n\n| E |\n|---|\n| **f** |"), width=60, styled=True)

    assert shown.replace("\x1b[", "^").replace("^0m", ".") == (
        "^1mA.\n\n  ^1mb c., ^4md.\n\n  ^1mE.\n  ^1mf.\n"
    )


def test_a_table_that_is_too_wide_becomes_paragraphs() -> None:
    """Its last column would have less room than words need."""
    page = f"| Name | Meaning |\n|---|---|\n| {'n' * 40} | What it is. |"

    assert to_text(parse(page), width=60, styled=False) == f"  {'n' * 40}\n    What it is.\n"


def test_lines_are_at_most_80_columns_wide() -> None:
    """Also in a wider window."""
    lines = to_text(parse("word " * 50), width=200, styled=False).splitlines()

    assert max(map(len, lines)) in range(76, 81)


def test_a_manual_page() -> None:
    """Characters and lines that mean something in roff are protected."""
    assert "\n".join(blocks(parse(PAGE))) == (
        r"""
.PP
A job has a \fBstate\fR, see \fBqueuectl\-states\fR(7), more about it (\fBqueuectl\-ids\fR(7)), or the web (https://example.org/a). It is \fBnever\fR \fIlost\fR.
.SH RUNS
.SS Of a job
.PP
.RS 2
.nf
queuectl enqueue \(aqa\(aq &&
    .x
.fi
.RE
.IP \(bu 2
The first item is long enough that it has to go on in a second line, which is indented.
.IP \(bu 2
\fBb|c\fR
.IP 1. 4
One
.IP 2. 4
Two
.TP 7
\fBa\fR
A word | another \fBb|c\fR; and it goes on for long enough to need a second line.
.TP 7
\fB\(ti/\-x\fR
\&.
""".strip()  # noqa: E501 (roff fills lines, so ours may have any length)
    )


def test_a_wide_table_in_a_manual_page() -> None:
    """Further columns stand below the first, each with its header."""
    page = "| Code | When | Then |\n|---|---|---|\n| 1 | a | b |"

    assert list(blocks(parse(page))) == [".TP 7", r"\fB1\fR", "When: a", ".br", "Then: b"]

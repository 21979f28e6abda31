"""Charts as SVG, made on the server: a sentence as title, the same figures in a table beside it.

All text is escaped before it becomes part of the markup, and all numbers are formatted here. There
is a wide and a narrow variant of each chart, of which the style sheet shows one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Iterable, NamedTuple, Sequence

from markupsafe import Markup, escape

from queuectl.core.escaping import escape as printable
from queuectl.core.moments import local, span


class Attempt(NamedTuple):
    """One bar of the chart of a job's attempts."""

    number: int
    """The number of the attempt."""
    start: datetime
    """When it began."""
    end: datetime
    """When it ended, or now."""
    word: str
    """How it ended, in few words."""
    color: str
    """`ok`, `bad` or `run`."""


_MOST_BARS = 12


def attempts(shown: Sequence[Attempt]) -> Markup:
    """Return bars for the last attempts of a job, one below the other, on an axis of time."""
    bars = list(shown[-_MOST_BARS:])
    if not bars:
        return Markup("")
    title = "; ".join(f"attempt {one.number} ran {_ran(one)}: {one.word}" for one in bars)
    return _attempts(bars, f"{title}.", 720, 86, narrow=False) + _attempts(
        bars, f"{title}.", 360, 72, narrow=True
    )


def _ran(bar: Attempt) -> str:
    return span(max(0.0, (bar.end - bar.start).total_seconds()))


def _attempts(
    bars: Sequence[Attempt], title: str, width: int, left: int, *, narrow: bool
) -> Markup:
    right = width - 14
    bottom = 6 + 26 * len(bars) + 8
    begin, last = bars[0].start, max(one.end for one in bars)
    whole = max((last - begin).total_seconds(), 1.0)

    def x(instant: datetime) -> float:
        return left + (right - left) * (instant - begin).total_seconds() / whole

    parts = []
    ticks = 4
    for number in range(ticks):
        instant = begin + timedelta(seconds=whole * number / (ticks - 1))
        anchor = "start" if number == 0 else "end" if number == ticks - 1 else "middle"
        parts.append(_line("grid", x(instant), 6, x(instant), bottom))
        parts.append(_text(x(instant), bottom + 14, _clock(instant, whole), anchor))
    for row, bar in enumerate(bars):
        y = 10 + 26 * row
        start, end = x(bar.start), max(x(bar.end), x(bar.start) + 3)
        parts.append(_text(0, y + 13, f"attempt {bar.number}", "start", "name"))
        parts.append(_rect(f"r-{bar.color}", start, y, end - start, 17, round_by=3))
        note = _ran(bar) if narrow else f"{bar.word} · {_ran(bar)}"
        room = 6.5 * len(note) + 10
        if end + room <= width:
            parts.append(_text(end + 8, y + 13, note, "start", "name"))
        elif start - room >= left:
            parts.append(_text(start - 8, y + 13, note, "end", "name"))
        else:
            parts.append(_text(start + 8, y + 13, note, "start", "within"))
    return _svg(parts, title, width, bottom + 20, narrow=narrow)


def _clock(instant: datetime, seconds: float) -> str:
    """Return a tick of an axis that is so long: the time of day, or the date."""
    whole = local(instant)
    if seconds > 3 * 86400:
        return whole[5:10]
    return whole[5:16] if seconds > 86400 else whole[11:19] if seconds < 300 else whole[11:16]


def _svg(
    parts: Iterable[Markup], title: str, width: int, height: int, *, narrow: bool | None
) -> Markup:
    classes = {True: "narrow-only", False: "wide-only", None: "chart"}[narrow]
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>'
    ).format(classes, width, height, printable(title), Markup("").join(parts))


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _line(classes: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"></line>').format(
        classes, *map(_number, (x1, y1, x2, y2))
    )


def _rect(
    classes: str, x: float, y: float, width: float, height: float, *, round_by: int = 0
) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="{}"></rect>').format(
        classes, *map(_number, (x, y, width, height)), round_by
    )


def _text(x: float, y: float, text: str, anchor: str = "start", classes: str = "") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        classes, _number(x), _number(y), anchor, escape(printable(text))
    )

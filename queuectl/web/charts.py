"""Charts as SVG, made on the server: a sentence as title, the same figures in a table beside it.

All text is escaped before it becomes part of the markup, and all numbers are formatted here. There
is a wide and a narrow variant of each chart, of which the style sheet shows one.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Iterable, Sequence

from markupsafe import Markup, escape

from queuectl.core.escaping import escape as printable
from queuectl.core.moments import local, span
from queuectl.core.named_tuples import NamedTuple
from queuectl.web.activity import Step


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
    ticks = 4
    # At least a second between two of them, so that each says another time.
    whole = max((last - begin).total_seconds(), ticks - 1.0)

    def x(instant: datetime) -> float:
        return left + (right - left) * (instant - begin).total_seconds() / whole

    parts = []
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


class Gap(NamedTuple):
    """A time in which nobody ran the jobs of a queue."""

    since: datetime
    words: str


def throughput(shown: Sequence[Step], title: str, gap: Gap | None) -> Markup:
    """Return bars of what completed, was tried again, and died, with a line of what came in."""
    return _throughput(shown, title, gap, 760, narrow=False) + _throughput(
        shown[-_NARROW_BARS:], title, gap, 360, narrow=True
    )


_NARROW_BARS = 30
_LEFT, _TOP, _HEIGHT = 44, 12, 136


def _throughput(
    shown: Sequence[Step], title: str, gap: Gap | None, width: int, *, narrow: bool
) -> Markup:
    right = width - 6
    bottom = _TOP + _HEIGHT
    most = max([1, *(max(one.came_in, one.completed + one.retried + one.dead) for one in shown)])
    unit = _nice(most / 3)
    top_value = unit * max(1, -(-most // unit))
    each = (right - _LEFT) / len(shown)
    parts = [_hatch(narrow)]
    for number in range(int(top_value / unit) + 1):
        y = bottom - _HEIGHT * number * unit / top_value
        parts.append(_line("axis" if number == 0 else "grid", _LEFT, y, right, y))
        parts.append(_text(_LEFT - 6, y + 4, f"{number * unit:,.0f}", "end"))
    if gap is not None:
        share = (gap.since - shown[0].start) / (shown[-1].start - shown[0].start)
        start = _LEFT + (right - _LEFT - each) * min(1.0, max(0.0, share))
        parts.append(_rect("off-narrow" if narrow else "off", start, _TOP, right - start, _HEIGHT))
        room = 6.5 * len(gap.words)
        beside = min(start + 6, max(_LEFT, right - room))
        parts.append(_text(beside, _TOP + 9, gap.words, "start", "offtext"))
    points = []
    for number, one in enumerate(shown):
        x = _LEFT + each * number
        height = 0.0
        for classes, count in (
            ("b-ok", one.completed), ("b-retry", one.retried), ("b-dead", one.dead)
        ):  # fmt: skip
            if count:
                part = _HEIGHT * count / top_value
                height += part
                parts.append(_rect(classes, x + 0.8, bottom - height, max(1, each - 1.6), part))
        y = bottom - _HEIGHT * one.came_in / top_value
        points.append(f"{_number(x + each / 2)},{_number(y)}")
    parts.append(_polyline("l-in", points))
    parts += _time_axis(shown, right, bottom + 15, each)
    for number, one in enumerate(shown):
        told = (
            f"{local(one.start)[5:16]}: {one.came_in:,} came in, {one.completed:,} completed,"
            f" {one.retried:,} tried again, {one.dead:,} dead"
        )
        parts.append(_told(_LEFT + each * number, _TOP, each, _HEIGHT, told))
    return _svg(parts, title, width, bottom + 20, narrow=narrow)


def durations(shown: Sequence[Step], title: str) -> Markup:
    """Return lines of how long attempts waited and ran, on a logarithmic axis."""
    return _durations(shown, title, 760, narrow=False) + _durations(
        shown[-_NARROW_BARS:], title, 360, narrow=True
    )


_LOWEST, _HIGHEST = 0.1, 86400.0
_TICKS = ((0.1, "0.1 s"), (1.0, "1 s"), (60.0, "1 min"), (3600.0, "1 h"))


def _durations(shown: Sequence[Step], title: str, width: int, *, narrow: bool) -> Markup:
    right, left, top, height = width - 6, 44, 10, 84
    values = [value for one in shown for value in (one.run_p95, one.wait_p95) if value is not None]
    highest = min(_HIGHEST, max([60.0, *(value * 1.3 for value in values)]))

    def y(value: float) -> float:
        whole = math.log(highest / _LOWEST)
        share = math.log(min(highest, max(_LOWEST, value)) / _LOWEST) / whole
        return top + height * (1 - share)

    each = (right - left) / len(shown)
    parts = []
    for value, word in _TICKS:
        if value <= highest:
            parts.append(_line("grid", left, y(value), right, y(value)))
            parts.append(_text(left - 6, y(value) + 4, word, "end"))
    for classes, line in (
        ("l-p95", [one.wait_p95 for one in shown]), ("l-p50", [one.run_p95 for one in shown])
    ):  # fmt: skip
        points: list[str] = []
        for number, seconds in enumerate([*line, None]):
            if seconds is not None:
                points.append(f"{_number(left + each * (number + 0.5))},{_number(y(seconds))}")
            elif points:
                parts.append(_polyline(classes, points))
                points = []
    for number, one in enumerate(shown):
        waited, ran = (
            "-" if value is None else f"about {span(value)}"
            for value in (one.wait_p95, one.run_p95)
        )
        told = f"{local(one.start)[5:16]}: waited {waited}, ran {ran}"
        parts.append(_told(left + each * number, top, each, height, told))
    return _svg(parts, title, width, top + height + 10, narrow=narrow)


def sparkline(counts: Sequence[int]) -> Markup:
    """Return small bars; the figures are in the table beside them."""
    most = max([1, *counts])
    each = 92 / max(1, len(counts))
    bars = []
    for number, count in enumerate(counts):
        height = max(2.0, 20 * count / most) if count else 1.5
        classes = "sparkbar" if count else "sparkbar z"
        bars.append(_rect(classes, each * number, 22 - height, each - 1, height))
    return Markup(
        f'<svg width="92" height="22" viewBox="0 0 92 22" aria-hidden="true">{"".join(bars)}</svg>'
    )


def strip(bars: Sequence[tuple[str, float, str]], title: str, places: int) -> Markup:
    """Return small bars, each with a class, a height as a share, and what it tells.

    There is room for so many places; the last bar is at the right.
    """
    if not bars:
        return Markup("")
    each, height = 4, 20.0
    parts = []
    for number, (classes, share, told) in enumerate(bars, places - len(bars)):
        tall = max(2.0, height * share)
        parts.append(_rect(classes, each * number, height - tall, each - 1, tall))
        parts.append(_told(each * number, 0, each, height, told))
    width = each * places
    return Markup(
        f'<svg class="strip" width="{width}" height="20" viewBox="0 0 {width} 20" role="img">'
        f"<title>{_escaped(title)}</title>{''.join(parts)}</svg>"
    )


class Length(NamedTuple):
    """How long the job of one planned time ran."""

    at: datetime
    """The planned time."""
    seconds: float
    """How long it ran."""
    word: str
    """What became of it, in one word."""
    color: str
    """`ok`, `bad` or `run`."""


def lengths(shown: Sequence[Length]) -> Markup:
    """Return one bar for each job, the latest at the right: how long it ran."""
    if not shown:
        return Markup("")
    longest = max(one.seconds for one in shown)
    jobs = "job" if len(shown) == 1 else f"{len(shown)} jobs"
    title = f"How long the last {jobs} ran: at most {span(longest)}."
    return _lengths(shown, title, longest, 720, narrow=False) + _lengths(
        shown[-_NARROW_BARS:], title, longest, 360, narrow=True
    )


def _lengths(
    shown: Sequence[Length], title: str, longest: float, width: int, *, narrow: bool
) -> Markup:
    left, top, height = 64, 10, 80
    bottom = top + height
    each = min(40.0, (width - left - 6) / len(shown))
    parts = [
        _line("axis", left, bottom, width - 6, bottom),
        _line("grid", left, top, width - 6, top),
        _text(left - 6, top + 4, span(longest), "end"),
        _text(left - 6, bottom + 4, "0", "end"),
    ]
    for number, one in enumerate(shown):
        tall = max(2.0, height * one.seconds / longest) if longest else 2.0
        x = left + each * number
        parts.append(_rect(f"r-{one.color}", x + 1, bottom - tall, max(1.0, each - 2), tall))
        told = f"{local(one.at)[:16]}: {one.word}, ran {span(one.seconds)}"
        parts.append(_told(x, top, each, height, told))
    whole = (shown[-1].at - shown[0].at).total_seconds()
    parts.append(_text(left, bottom + 15, _clock(shown[0].at, max(whole, 300))))
    if len(shown) * each > 120:
        end = left + each * len(shown)
        parts.append(_text(end, bottom + 15, _clock(shown[-1].at, max(whole, 300)), "end"))
    return _svg(parts, title, width, bottom + 20, narrow=narrow)


def _polyline(classes: str, points: Sequence[str]) -> str:
    if len(points) == 1:  # a line needs two
        x, _, y = points[0].partition(",")
        points = [f"{_number(float(x) - 3)},{y}", f"{_number(float(x) + 3)},{y}"]
    return f'<polyline class="{classes}" points="{" ".join(points)}"></polyline>'


def _hatch(narrow: bool) -> str:
    name = "hatch-narrow" if narrow else "hatch"
    return (
        f'<defs><pattern id="{name}" width="8" height="8" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><line class="hatchline" x1="0" y1="0" x2="0" y2="8"></line>'
        "</pattern></defs>"
    )


def _told(x: float, y: float, width: float, height: float, told: str) -> str:
    """Return an invisible area that tells the figures of a bar to those who point at it."""
    return (
        f'<rect class="told" x="{_number(x)}" y="{_number(y)}" width="{_number(width)}"'
        f' height="{_number(height)}"><title>{_escaped(told)}</title></rect>'
    )


def _time_axis(shown: Sequence[Step], right: float, y: float, each: float) -> list[str]:
    """Return four times below a chart, and `now` at its end."""
    length = (shown[-1].start - shown[0].start).total_seconds()
    quarter = max(1, len(shown) // 4)
    ticks = range(0, len(shown) - quarter // 2, quarter)
    parts = [_text(_LEFT + each * one, y, _clock(shown[one].start, max(length, 300)))
             for one in ticks]  # fmt: skip
    parts.append(_text(right, y, "now", "end"))
    return parts


def _nice(value: float) -> float:
    """Return the next number that looks well on an axis: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(value, 1.0)))
    return next(power * part for part in (1.0, 2.0, 5.0, 10.0) if value <= power * part)


def _clock(instant: datetime, seconds: float) -> str:
    """Return a tick of an axis that is so long: the time of day, or the date."""
    whole = local(instant)
    if seconds > 3 * 86400:
        return whole[5:10]
    return whole[5:16] if seconds > 86400 else whole[11:19] if seconds < 300 else whole[11:16]


def _svg(parts: Iterable[str], title: str, width: int, height: int, *, narrow: bool) -> Markup:
    """Put parts together. They are made below, and have no text that is not escaped there."""
    classes = "narrow-only" if narrow else "wide-only"
    return Markup(
        f'<svg class="{classes}" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{_escaped(title)}</title>{''.join(parts)}</svg>"
    )


# Not by Markup.format, which takes ten times as long: a page has a thousand of these.


def _escaped(text: str) -> str:
    return str(escape(printable(text)))


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _line(classes: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line class="{classes}" x1="{_number(x1)}" y1="{_number(y1)}" x2="{_number(x2)}"'
        f' y2="{_number(y2)}"></line>'
    )


def _rect(
    classes: str, x: float, y: float, width: float, height: float, *, round_by: int = 0
) -> str:
    rounded = f' rx="{round_by}"' if round_by else ""
    return (
        f'<rect class="{classes}" x="{_number(x)}" y="{_number(y)}" width="{_number(width)}"'
        f' height="{_number(height)}"{rounded}></rect>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", classes: str = "") -> str:
    return (
        f'<text class="{classes}" x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}">'
        f"{_escaped(text)}</text>"
    )

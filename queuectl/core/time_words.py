"""Durations and times in words, as people write them: `2 hours`, `tomorrow 9:00`, `in 20m`.

Only English is read. Loaded only for what is not in the short forms of `times`.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Callable

_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), 604800.0),
}
_LETTER_UNITS = frozenset("smhdw")
_LONGEST = 100
"""Longer text is no duration or time: the patterns would take long to find that out."""
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORTEST_WORD = 3
"""How many letters of the name of a day are enough. (Shorter words may well be programs.)"""
_PART = r"([0-9]+\.?[0-9]*|\.[0-9]+)[ ]?([A-Za-z]+)"
_CLOCK = r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?"
_HALF_DAY = r"(0?[1-9]|1[0-2])(?::([0-5][0-9]))?[ ]?([ap])m"

FromLocal = Callable[[datetime], datetime]
"""Returns when the local clock shows a naive time; the time is in the past if that is over."""


def duration(text: str) -> float | None:
    """Return seconds: the sum of numbers with units, as `5min`, `2 hours`, `1d 12h`; else None.

    A unit of one letter is a small one, since a capital M could mean months.
    """
    plain = " ".join(text[:_LONGEST].split())
    if len(text) > _LONGEST or not re.fullmatch(rf"{_PART}(,?( and)?[ ]?{_PART})*", plain):
        return None
    seconds = 0.0
    for number, unit in re.findall(_PART, plain.replace(" and ", " ")):
        length = _UNITS.get(unit if unit in _LETTER_UNITS or len(unit) == 1 else unit.lower())
        if length is None:
            return None
        seconds += float(number) * length
    return seconds


def continues(word: str) -> bool:
    """Whether a word is likely the rest of a time or duration that was not put in quotes."""
    is_unit = len(word) >= _SHORTEST_WORD and word.lower() in _UNITS
    return word == "+" or is_unit or _clock(word.lower()) is not None


def instant(text: str, *, now: datetime, from_local: FromLocal) -> datetime | None:
    """Return the time that words mean, perhaps in the past; None if they mean none.

    `now`, `in 20m`, `+1h`, `now + 1 hour`, `9am`, and a day with or without a time: `tomorrow`,
    `tomorrow 9:00`, `18:00 today`, `monday at 6pm`. A day of the week is the next one on which the
    time is not over. A day without a time begins at 0:00, as a date does.
    """
    words = " ".join(text[:_LONGEST].lower().split())
    words = words[3:] if words.startswith("at ") else words
    if not words or len(text) > _LONGEST:
        return None
    if words == "now":
        return now
    distance = re.fullmatch(r"(?:in |(?:now ?)?\+ ?)(.*)", words)
    if distance:
        seconds = duration(distance[1])
        return None if seconds is None else now + timedelta(seconds=seconds)
    today = now.astimezone().date()
    for day, clock in _splits(words):
        at = _clock(clock) if clock else time()
        days = _days(day, today)
        if at is not None and days:
            instants = [from_local(datetime.combine(one, at)) for one in days]
            if len(days) == 1:
                return instants[0]
            return min((found for found in instants if found >= now), default=None)
    return None


def _splits(words: str) -> list[tuple[str, str]]:
    """Return the ways to read words as a day and a time; either may be empty."""
    parts = words.replace(" at ", " ").split(" ")
    ways = [(words, ""), ("", words)]
    for count in (1, 2):  # `9 pm` are two words
        ways += [(" ".join(parts[:-count]), " ".join(parts[-count:]))]
        ways += [(" ".join(parts[count:]), " ".join(parts[:count]))]
    return ways


def _days(word: str, today: date) -> list[date]:
    """Return the days that a word can mean; without a word, those on which a clock can be next.

    From yesterday, since a clock that is set back at midnight shows that evening again, to the day
    after tomorrow, since tomorrow may be skipped.
    """
    if word == "":
        return [today + timedelta(days=days) for days in (-1, 0, 1, 2)]
    if word == "today":
        return [today]
    if word == "tomorrow":
        return [today + timedelta(days=1)]
    if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", word):
        return [date(*map(int, word.split("-")))]
    if len(word) < _SHORTEST_WORD:
        return []
    for number, name in enumerate(_DAYS):
        if name.startswith(word):
            ahead = (number - today.weekday()) % 7
            return [today + timedelta(days=ahead + days) for days in (-7, 0, 7, 14)]
    return []


def _clock(words: str) -> time | None:
    """Return a time of day: `18:00`, `9:00:30`, `9am`, `9:30 pm`."""
    found = re.fullmatch(_CLOCK, words)
    if found:
        hour, minute, second = (int(part or 0) for part in found.groups())
        return time(hour, minute, second)
    found = re.fullmatch(_HALF_DAY, words)
    if found:
        return time(int(found[1]) % 12 + (12 if found[3] == "p" else 0), int(found[2] or 0))
    return None

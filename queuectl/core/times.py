"""Reading and writing times and durations: UTC text of fixed width, float seconds."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, time, timedelta, timezone
from functools import lru_cache

from queuectl.core.errors import InvalidInput, QueueUnusable

MAX_DURATION = 10 * 366 * 86400.0
"""The longest duration, in seconds: about ten years, so that no sum of times overflows."""

DURATION_EXAMPLES = "(examples: 90, 30s, 5min, 1h30m, 2 hours, 1d 12h)"
TIME_EXAMPLES = "(examples: 18:00, tomorrow 9:00, monday 6pm, 2026-12-24T18:00, in 20m)"

DECIMAL = "0123456789."
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
# Do not compile these here: each takes half a millisecond, at the start of every command.
_CLOCK = r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?"
_FRACTION = r"(?<=:\d\d)\.(\d+)"


def utcnow() -> datetime:
    """Return the present, as an aware time in UTC."""
    return datetime.now(timezone.utc)


@lru_cache(maxsize=4)
def to_text(instant: datetime) -> str:
    """Write an aware time as `2026-01-31T12:00:00.000000Z`: the order of texts is that of times."""
    if instant.tzinfo is not timezone.utc:
        instant = instant.astimezone(timezone.utc)
    # `isoformat` takes more than twice as long, because it asks for the offset of the zone.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % (  # noqa: UP031 (an f-string takes twice as long)
        instant.year,
        instant.month,
        instant.day,
        instant.hour,
        instant.minute,
        instant.second,
        instant.microsecond,
    )


def optional_text(instant: datetime | None) -> str | None:
    """Write a time that may be absent."""
    return None if instant is None else to_text(instant)


@lru_cache(maxsize=16)
def from_text(text: str) -> datetime:
    """Read a time that `to_text` wrote, or another program, such as SQLite's CURRENT_TIMESTAMP.

    QueueUnusable if the text is not a time.
    """
    try:
        if text[26:] == "Z":
            return datetime.fromisoformat(text[:-1] + "+00:00")
        return parse_utc(text)
    except (ValueError, OverflowError, TypeError):
        raise QueueUnusable(
            f"the queue holds a time that cannot be read: {text!r} "
            "(not like 2026-01-31T12:00:00.000000Z)"
        ) from None


def optional_time(text: str | None) -> datetime | None:
    """Read a time that may be absent."""
    return None if text is None else from_text(text)


def parse_iso(text: str) -> datetime:
    """Read an ISO-8601 date or time; `Z` and any number of decimals work on Python 3.8, too.

    The result is naive if the text names no zone. ValueError if the text is neither.
    """
    text = re.sub(
        _FRACTION,
        lambda match: "." + match.group(1)[:6].ljust(6, "0"),
        text.strip(),
        flags=re.ASCII,
    )
    if text[-1:] in ("Z", "z"):
        text = text[:-1] + "+00:00"
    return datetime.fromisoformat(text)


def parse_utc(text: str) -> datetime:
    """Read an ISO-8601 date or time as an aware one; it is in UTC unless it names a zone.

    ValueError or OverflowError if the text is neither.
    """
    instant = parse_iso(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)).astimezone(
        timezone.utc
    )


def parse_instant(text: str, *, now: datetime) -> datetime:
    """Read a time in the future as an aware one; a time in the past becomes `now`.

    `18:00` is the next moment at which the local clock shows that. `2026-12-24`,
    `2026-12-24T18:00` and other ISO-8601 are local unless they name a zone. Words are read as
    `time_words.instant` says: `tomorrow 9:00`, `in 20m`. InvalidInput if the text is none of these.
    """
    refusal = InvalidInput(f"not a time: {text!r} {TIME_EXAMPLES}")
    clock = re.fullmatch(_CLOCK, text.strip(), re.ASCII)
    try:
        if clock:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            return _next_on_the_clock(time(hour, minute, second), now)
        return max(_written_out(text, now).astimezone(timezone.utc), now)
    except (ValueError, OverflowError, OSError):
        raise refusal from None


def parse_past(text: str, *, now: datetime) -> datetime:
    """Read a time in the past as an aware one: a time, or a duration, which ends now.

    `1h30m` is so long ago. `18:00` is the last moment at which the local clock showed that.
    `today` and `yesterday` begin at midnight. `2026-12-24`, `2026-12-24T18:00` and other ISO-8601
    are local unless they name a zone. InvalidInput if the text is none of these.
    """
    word = text.strip()
    clock = re.fullmatch(_CLOCK, word, re.ASCII)
    try:
        if clock:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            return _last_on_the_clock(time(hour, minute, second), now)
        if word in ("today", "yesterday"):
            day = now.astimezone().date() - timedelta(days=word == "yesterday")
            return _shown_first(datetime.combine(day, time()))
        with suppress(InvalidInput):
            return now - timedelta(seconds=parse_duration(word))
        instant = parse_iso(word)
        return _shown_first(instant) if instant.tzinfo is None else instant.astimezone(timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            f"not a duration or a time: {text!r} (use 2h, 18:00, yesterday, 2026-12-24 or "
            "2026-12-24T18:00)"
        ) from None


def _last_on_the_clock(at: time, now: datetime) -> datetime:
    # To tomorrow, since a clock that is set back at midnight shows that hour again.
    days = (now.astimezone().date() + timedelta(days=days) for days in (1, 0, -1, -2))
    instants = (_shown_first(datetime.combine(day, at)) for day in days)
    return max(instant for instant in instants if instant <= now)


def _shown_first(shown: datetime) -> datetime:
    """Return when the local clock showed a naive time first."""
    return datetime.fromtimestamp(shown.timestamp(), timezone.utc)


def _written_out(text: str, now: datetime) -> datetime:
    """Read an ISO-8601 date or time, or words, as an aware time. ValueError if it is neither."""
    try:
        instant = parse_iso(text)
    except ValueError:
        from queuectl.core import time_words  # only for words

        found = time_words.instant(text, now=now, from_local=lambda shown: _from_local(shown, now))
        if found is None:
            raise
        return found
    return _from_local(instant, now) if instant.tzinfo is None else instant


def _next_on_the_clock(at: time, now: datetime) -> datetime:
    # From yesterday, since a clock that is set back at midnight shows that evening again, to the
    # day after tomorrow, since tomorrow may be skipped.
    days = (now.astimezone().date() + timedelta(days=days) for days in (-1, 0, 1, 2))
    instants = (_from_local(datetime.combine(day, at), now) for day in days)
    return min(instant for instant in instants if instant >= now)


def _from_local(shown: datetime, now: datetime) -> datetime:
    """Return when the local clock shows a naive time.

    If it shows that twice, this is the first time that is not before `now`. A skipped time is
    counted on as if the clock had not changed (02:30 is half an hour after it jumped from 02:00 to
    03:00), so that nothing starts early. It is in the past as soon as the clock shows more.
    """
    first, second = shown.timestamp(), shown.replace(fold=1).timestamp()
    is_skipped = first > second
    if is_skipped:
        is_past = now.astimezone().replace(tzinfo=None) >= shown
    else:
        is_past = first < now.timestamp()
    return datetime.fromtimestamp(second if is_past else first, timezone.utc)


def parse_duration(text: str) -> float:
    """Read a duration in seconds: `90`, `500ms`, `90s`, `10m`, `1h30m`, `1.5h`, `2d`, `2 hours`.

    InvalidInput if the text is no duration, or is longer than MAX_DURATION.
    """
    rest = text.strip()
    seconds = 0.0
    try:
        if not rest.strip(DECIMAL):
            return check_duration(float(rest))
        while rest:
            number, rest = leading(rest, DECIMAL)
            unit, rest = leading(rest, "mshdw")
            seconds += float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        from queuectl.core import time_words  # only for words

        found = time_words.duration(text)
        if found is None:
            raise InvalidInput(f"not a duration: {text!r} {DURATION_EXAMPLES}") from None
        seconds = found
    return check_duration(seconds)


def leading(text: str, characters: str) -> tuple[str, str]:
    """Split a text into its longest beginning that consists of these characters, and the rest."""
    rest = text.lstrip(characters)
    return text[: len(text) - len(rest)], rest


def check_duration(seconds: float) -> float:
    """Return `seconds` if a duration can be that long, else raise InvalidInput."""
    if not 0 <= seconds <= MAX_DURATION:
        raise InvalidInput(f"a duration is 0 to 10 years, not {seconds:g} s")
    return seconds


def format_duration(seconds: float) -> str:
    """Write a duration for people: `0.01 s`, `42 s`, `5m`, `1h30m`, `2d`."""
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds != int(seconds) else f"{int(seconds)} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    rest, parts = round(seconds), []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])

"""The planned times of a schedule: cron expressions, `every 10m`, and time zones.

Nothing else imports cronsim and zoneinfo, which are optional. They are imported only where a cron
expression is used: a worker without schedules does not carry them.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, Iterator, Union

from queuectl.core.errors import InvalidInput, QueueError
from queuectl.core.extras import needed
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import check_duration, parse_duration

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""The expressions for which cron has names. (cronsim knows no names.)"""

_FIELDS = 5
_LONGEST = 500
_SHORTEST_SECONDS = 1.0
_LOCALTIME = "/etc/localtime"
_UTC_NAMES = ("UTC", "Etc/UTC", "Z")
_ANY_ZONE = "Europe/Berlin"
_MOST_STEPS = 1000
"""How many results cronsim may give that are not after the wanted instant. There are as many as
fit into the hour that a clock shows twice, 60 at most, unless it is wrong."""

EXAMPLES = "(examples: '0 2 * * *', @daily, 'every 10m')"


class CannotPlan(QueueError):
    """The planned times cannot be computed here, for example because a time zone is missing."""


class Every(NamedTuple):
    """A fixed rate: `anchor` plus any number of times `seconds`."""

    seconds: float
    """The distance of two planned times."""
    anchor: datetime
    """The time from which they are counted; it is no planned time itself."""
    zone: tzinfo
    """The zone in which people see the times."""

    def following(self, after: datetime) -> Iterator[datetime]:
        """Yield the planned times after an instant, in UTC."""
        step = timedelta(seconds=self.seconds)
        number = max(0, (after - self.anchor) // step)
        while True:
            number += 1
            try:
                planned = self.anchor + number * step
            except OverflowError:  # the calendar ends in 9999
                return
            if planned > after:
                yield planned

    def preceding(self, before: datetime) -> Iterator[datetime]:
        """Yield the planned times before an instant, the latest first."""
        step = timedelta(seconds=self.seconds)
        for number in range((before - self.anchor) // step, 0, -1):
            if self.anchor + number * step < before:
                yield self.anchor + number * step

    def explain(self) -> str:
        """Say when that is, in English."""
        rest, parts = self.seconds, []
        for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
            count, rest = divmod(rest, length)
            if count:
                parts.append(f"{count:.0f}{unit}")
        if rest:
            parts.append(f"{rest:g}s")
        return f"every {''.join(parts)}"


class Cron(NamedTuple):
    """A cron expression of five fields in a time zone, with the rules of Debian's cron."""

    fields: str
    """The expression; a name such as `@daily` is replaced by what it stands for."""
    zone: tzinfo
    """The zone in which the fields are compared with the clock."""

    def following(self, after: datetime) -> Iterator[datetime]:
        """Yield the planned times after an instant, in UTC, strictly growing."""
        last, too_early = after, 0
        for found in self._simulated(after, reverse=False):
            # Started within an hour that the clock shows twice, cronsim may begin with a time that
            # is over: 02:30 of the first pass when the second one shows 02:10.
            if found > last:
                yield found
                last, too_early = found, 0
            elif (too_early := too_early + 1) > _MOST_STEPS:
                raise CannotPlan(f"cronsim repeats itself with {self.fields!r}")

    def preceding(self, before: datetime) -> Iterator[datetime]:
        """Yield roughly the planned times before an instant, the latest first.

        Near a change of the clock they may differ from what `following` yields. They are good
        enough to find a time to start from.
        """
        last = before
        for found in self._simulated(before, reverse=True):
            if found < last:
                yield found
                last = found

    def explain(self) -> str:
        """Say when that is, in English: `at 02:00 every day`."""
        try:
            text = str(_cronsim().CronSim(self.fields, datetime.now(timezone.utc)).explain())
        except Exception:  # noqa: BLE001 (an expression that cronsim cannot put into words)
            return self.fields
        return text[:1].lower() + text[1:]

    def _simulated(self, start: datetime, *, reverse: bool) -> Iterator[datetime]:
        # cronsim compares an instant with `timezone.utc` to learn whether clocks change at all.
        local = start.astimezone(self.zone)
        try:
            simulation = _cronsim().CronSim(self.fields, local, reverse=reverse)
            while True:
                yield next(simulation).astimezone(timezone.utc)
        except (StopIteration, OverflowError):  # never again in 50 years, or after 9999
            return
        except QueueError:
            raise
        except Exception as error:  # noqa: BLE001 (a row of a schedule must not stop a worker)
            raise CannotPlan(f"cronsim cannot use {self.fields!r}: {error}") from None


Times = Union[Every, Cron]
"""All planned times of a schedule."""


def next_after(times: Times, instant: datetime) -> datetime | None:
    """Return the first planned time after an instant; None if there is none within 50 years."""
    return next(times.following(instant), None)


def times_of(expression: str, zone_name: str | None, anchor: datetime) -> Times:
    """Return the planned times of an expression; `every D` counts from `anchor`.

    InvalidInput if it is no expression, MissingPackage or CannotPlan if a package or the zone is
    missing.
    """
    text = normal(expression)
    seconds = _every(text)
    if seconds is not None:
        return Every(seconds, anchor, _zone_to_show(zone_name))
    fields = _NAMED.get(text, text)
    _refuse_foreign(text, fields)
    module, zone = _cronsim(), zone_of(zone_name)
    try:
        module.CronSim(fields, datetime(2000, 1, 1, tzinfo=timezone.utc))
    except Exception as error:  # noqa: BLE001 (an odd text may raise any other error as well)
        what = str(error) if isinstance(error, module.CronSimError) else "it cannot be read"
        raise InvalidInput(
            f"not a cron expression: {text!r}: {what[:1].lower()}{what[1:]}"
        ) from None
    return Cron(fields, zone)


def normal(expression: str) -> str:
    """Return an expression as it is stored: with single blanks, and names in small letters."""
    text = " ".join(expression.split())
    is_word = text.startswith("@") or text.lower().startswith("every ")
    return text.lower() if is_word else text


def needs_cronsim(expression: str) -> bool:
    """Whether an expression needs the package cronsim: all do, except `every D`."""
    return not normal(expression).startswith("every ")


def hint_of_name(word: str) -> str:
    """Return ` (did you mean @daily?)` for `daily`, and nothing for a word that is no such name."""
    name = f"@{word.lower()}"
    return f" (did you mean {name}?)" if name in _NAMED else ""


def _every(text: str) -> float | None:
    """Return the seconds of `every D`; None if it is another expression."""
    if not text.startswith("every "):
        return None
    rest = text[len("every ") :]
    try:
        # `every hour` is every 1 hour.
        seconds = parse_duration(f"1 {rest}" if rest.isalpha() else rest)
    except InvalidInput as error:
        raise InvalidInput(f"not a time to repeat: {text!r}: {error}") from None
    if seconds < _SHORTEST_SECONDS:
        raise InvalidInput(f"a schedule is at most once per second, not {text!r}")
    return round(check_duration(seconds), 6)


def _refuse_foreign(text: str, fields: str) -> None:
    """Raise InvalidInput for what cannot be a cron expression of five fields."""
    if text == "@reboot":
        raise InvalidInput("@reboot has no planned time (queuectl help systemd: at boot)")
    if text.startswith("@") and text not in _NAMED:
        raise InvalidInput(f"unknown name {text} (known: {' '.join(_NAMED)})")
    count = len(fields.split())
    if len(fields) > _LONGEST or count == 1 or not fields:
        hint = hint_of_name(text) or f" {EXAMPLES}"
        raise InvalidInput(f"not a cron expression: {text[:40]!r}{hint}")
    if count != _FIELDS:
        raise InvalidInput(
            f"a cron expression has 5 fields, not {count}: {text[:40]!r} (minute, hour, day of the "
            "month, month, day of the week; put it in quotes)"
        )


def zone_of(name: str | None) -> tzinfo:
    """Return a time zone by its name; None is the zone of the machine, whatever TZ says.

    Processes with different TZ have to plan the same instants. CannotPlan if the zone is unknown.
    """
    if name in _UTC_NAMES:
        return timezone.utc
    if name is None:
        return _machine_zone()
    found = _named_zone(name)
    if found is None:
        raise CannotPlan(f"unknown time zone {name} (names are like {_ANY_ZONE})")
    return found


def zone_from_environment(value: str | None) -> str | None:
    """Return the name of the zone that the variable TZ names; None if it names none.

    CannotPlan if that cannot be known, because no data about zones is there.
    """
    name = (value or "").lstrip(":")
    if name in _UTC_NAMES:
        return "UTC"
    is_name = name and not name.startswith("/")
    return name if is_name and _named_zone(name) is not None else None


def _zone_to_show(name: str | None) -> tzinfo:
    try:
        return zone_of(name)
    except CannotPlan:  # `every D` needs no zone
        return timezone.utc


@lru_cache(maxsize=64)
def _named_zone(name: str) -> tzinfo | None:
    """Return the zone of this name; None if there is none. CannotPlan if there is no zone at all.

    Small containers have no data about time zones.
    """
    zone_info = _zone_info()
    try:
        zone: tzinfo = zone_info(name)
    except Exception:  # noqa: BLE001 (a name such as `..` or one with a NUL has its own errors)
        if name == _ANY_ZONE:
            raise CannotPlan(
                "there is no data about time zones (install tzdata, or in a checkout of queuectl: "
                "pip install '.[cron]'; --tz UTC works without)"
            ) from None
        _named_zone(_ANY_ZONE)
        return None
    return zone


def _machine_zone() -> tzinfo:
    try:
        status = os.stat(_LOCALTIME)
    except OSError:  # as the C library does
        return timezone.utc
    return _read_zone(status.st_ino, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _read_zone(_inode: int, _changed: int) -> tzinfo:
    """Read the zone of the machine; it is read again when somebody changes it."""
    zone_info = _zone_info()
    try:
        with open(_LOCALTIME, "rb") as source:
            zone: tzinfo = zone_info.from_file(source)
    except (OSError, ValueError):
        return timezone.utc
    # cronsim does without the rules for changing clocks only if it is this very zone.
    return timezone.utc if _is_utc(zone) else zone


def _is_utc(zone: tzinfo) -> bool:
    years, months = (1990, 2010, 2030), (1, 7)
    days = [datetime(year, month, 1, tzinfo=zone) for year in years for month in months]
    return all(day.utcoffset() == timedelta(0) and day.tzname() == "UTC" for day in days)


def _zone_info() -> Any:
    try:
        import zoneinfo  # novm
    except ImportError:
        pass
    else:
        return zoneinfo.ZoneInfo
    try:
        from backports import zoneinfo as backport
    except ImportError:
        raise CannotPlan(
            "time zones need the package backports.zoneinfo (in a checkout of queuectl: "
            "pip install '.[cron]'; --tz UTC works without)"
        ) from None
    return backport.ZoneInfo


def _cronsim() -> Any:
    with needed("cron", "cron expressions need", "'every 10m' works without"):
        import cronsim
    return cronsim

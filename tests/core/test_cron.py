"""Planned times: cron expressions as Debian's cron understands them, `every D`, and time zones."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from itertools import islice
from typing import Any, Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from queuectl.core import cron
from queuectl.core.errors import InvalidInput, QueueError

ANCHOR = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def zone(name: str) -> tzinfo:
    try:
        return cron.zone_of(name)
    except cron.CannotPlan as error:  # Python 3.8 on a machine without a wheel of zoneinfo
        pytest.skip(str(error))


def local(text: str, name: str) -> datetime:
    """An instant that a clock in a zone shows; `+01:00` at its end tells two apart."""
    shown = datetime.fromisoformat(text)
    return (shown if shown.tzinfo else shown.replace(tzinfo=zone(name))).astimezone(timezone.utc)


def times(expression: str, name: str | None = "UTC") -> cron.Times:
    pytest.importorskip("cronsim")
    return cron.times_of(expression, name, ANCHOR)


def planned(expression: str, name: str, after: str, count: int) -> list[str]:
    """The next planned times as `29 03:00+02`: the day and what the clock shows."""
    start = local(after, name)
    found = islice(times(expression, name).following(start), count)
    return [_shown(instant.astimezone(zone(name))) for instant in found]


def _shown(instant: datetime) -> str:
    return f"{instant:%d %H:%M%z}"[:-2]


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("expression", "name", "after", "expected"),
    [
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["29 03:00+02", "30 02:30+02"]),
        ("0 * * * *", BERLIN, "2026-03-29T00:30", ["29 01:00+01", "29 03:00+02", "29 04:00+02"]),
        ("*/30 * * * *", BERLIN, "2026-03-29T00:45", ["29 01:00+01", "29 01:30+01", "29 03:00+02"]),
        ("15 2-3 * * *", BERLIN, "2026-03-28T12:00", ["29 03:00+02", "29 03:15+02", "30 02:15+02"]),
        ("* 2 * * *", BERLIN, "2026-03-28T12:00", ["30 02:00+02", "30 02:01+02"]),
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["25 02:30+02", "26 02:30+01"]),
        ("0 * * * *", BERLIN, "2026-10-25T01:30", ["25 02:00+02", "25 02:00+01", "25 03:00+01"]),
        ("30 * * * *", BERLIN, "2026-10-25T01:45", ["25 02:30+02", "25 02:30+01", "25 03:30+01"]),
        (
            "*/30 * * * *",
            BERLIN,
            "2026-10-25T01:45",
            ["25 02:00+02", "25 02:30+02", "25 02:00+01", "25 02:30+01", "25 03:00+01"],
        ),
        ("0 3 * * *", BERLIN, "2026-03-28T12:00", ["29 03:00+02", "30 03:00+02"]),
        ("0 3 * * *", BERLIN, "2026-10-24T12:00", ["25 03:00+01", "26 03:00+01"]),
        ("30 2 * * *", BERLIN, "2026-10-25T02:10+01:00", ["26 02:30+01", "27 02:30+01"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", ["04 02:30+11", "05 02:15+11"]),
        ("30 0 * * *", "America/Havana", "2026-03-07T12:00", ["08 01:00-04", "09 00:30-04"]),
        ("30 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00", ["04 01:00-02", "05 00:30-02"]),
        ("30 2 * * 0", "America/New_York", "2026-03-07T12:00", ["08 03:00-04", "15 02:30-04"]),
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-28T13:00",
            ["29 12:00-10", "31 00:00+14", "31 12:00+14"],
        ),
    ],
)
def test_clocks_change_as_for_the_cron_of_debian(
    expression: str, name: str, after: str, expected: Sequence[str]
) -> None:
    """Jobs of a skipped hour run at once, jobs of a repeated hour once; others by the clock.

    Added in the second 02:10 of a night, `30 2 * * *` must not plan the 02:30 that is over.
    """
    assert planned(expression, name, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("0 2 * * *", "at 02:00 every day"),
        ("0 18 * * MON-FRI", "at 18:00 on Monday through Friday"),
        ("@hourly", "at the start of every hour"),
        ("every 10m", "every 10m"),
        ("every hour", "every 1h"),
        ("every 1h 30m 15s", "every 1h30m15s"),
        ("EVERY  2 Days", "every 2d"),
        ("every 1.5s", "every 1.5s"),
    ],
)
def test_an_expression_is_explained_in_english(expression: str, text: str) -> None:
    """People see what they have asked for."""
    assert times(expression).explain() == text


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", f"not a cron expression: '' {cron.EXAMPLES}"),
        ("hourly", "not a cron expression: 'hourly' (did you mean @hourly?)"),
        ("noon", f"not a cron expression: 'noon' {cron.EXAMPLES}"),
        (
            "0 2 * *",
            "a cron expression has 5 fields, not 4: '0 2 * *' (minute, hour, day of the month, "
            "month, day of the week; put it in quotes)",
        ),
        (
            "0 0 2 * * *",
            "a cron expression has 5 fields, not 6: '0 0 2 * * *' (minute, hour, day of the "
            "month, month, day of the week; put it in quotes)",
        ),
        ("61 * * * *", "not a cron expression: '61 * * * *': bad minute"),
        ("0 0 31 2 *", "not a cron expression: '0 0 31 2 *': bad day-of-month"),
        ("@reboot", "@reboot has no planned time (queuectl help systemd: at boot)"),
        (
            "@noon",
            "unknown name @noon (known: @hourly @daily @midnight @weekly @monthly @yearly "
            "@annually)",
        ),
        ("every 0.5s", "a schedule is at most once per second, not 'every 0.5s'"),
        (
            "every so often",
            "not a time to repeat: 'every so often': not a duration: 'so often' (examples: 90, "
            "30s, 5min, 1h30m, 2 hours, 1d 12h)",
        ),
    ],
)
def test_what_is_no_expression_is_refused(expression: str, message: str) -> None:
    """The error says what is wrong; seconds, which only some versions of cronsim take, are none."""
    with pytest.raises(InvalidInput) as error:
        times(expression)

    assert str(error.value) == message


def test_an_expression_that_never_comes_has_no_next_time() -> None:
    """No day of February is the 1st or the 31st, and a fifth Monday at the same time."""
    assert cron.next_after(times("0 0 */30 2 MON#5"), ANCHOR) is None
    assert cron.next_after(times("0 0 29 2 *"), ANCHOR) == datetime(
        2028, 2, 29, tzinfo=timezone.utc
    )


@pytest.mark.parametrize("text", ["* * * * \0", "99999999999999999999 * * * *", "a" * 10_000])
def test_odd_text_is_an_error_of_the_input(text: str) -> None:
    """Another program may have written it into the row of a schedule."""
    with pytest.raises(InvalidInput):
        times(text)


def test_without_cronsim_only_a_fixed_rate_works(monkeypatch: Any) -> None:
    """The message names the package and the extra."""
    monkeypatch.setitem(__import__("sys").modules, "cronsim", None)

    with pytest.raises(QueueError) as error:
        cron.times_of("@daily", None, ANCHOR)
    assert str(error.value) == (
        "cron expressions need the package cronsim (in a checkout of queuectl: pip install "
        "'.[cron]'; 'every 10m' works without)"
    )
    every = cron.times_of("every 10m", None, ANCHOR)
    assert cron.next_after(every, ANCHOR) == ANCHOR + timedelta(minutes=10)


def test_the_zone_of_the_machine_is_not_that_of_the_variable(
    monkeypatch: Any, tmp_path: Any
) -> None:
    """Workers with different TZ plan the same instants, and a changed zone is read again."""
    pytest.importorskip("cronsim")
    zone(BERLIN)
    place = tmp_path / "localtime"
    monkeypatch.setattr(cron, "_LOCALTIME", str(place))
    found = {}
    for name in ("missing", BERLIN, "America/New_York", "UTC"):
        if name != "missing":
            place.unlink(missing_ok=True)
            place.write_bytes(_zone_file(name))
        for variable in ("UTC", "Asia/Tokyo"):
            monkeypatch.setenv("TZ", variable)
            noon = cron.times_of("0 12 * * *", None, ANCHOR)
            planned_at = cron.next_after(noon, ANCHOR)
            assert planned_at is not None
            found.setdefault(name, set()).add(planned_at.hour)

    assert found == {"missing": {12}, BERLIN: {11}, "America/New_York": {17}, "UTC": {12}}


def _zone_file(name: str) -> bytes:
    for folder in ("/usr/share/zoneinfo",):
        try:
            with open(f"{folder}/{name}", "rb") as source:
                return source.read()
        except OSError:
            continue
    from importlib import resources

    *packages, file = name.split("/")
    return resources.read_binary(".".join(("tzdata.zoneinfo", *packages)), file)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, None),
        ("", None),
        (":Europe/Berlin", BERLIN),
        (BERLIN, BERLIN),
        ("UTC", "UTC"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", None),
        ("../../etc/passwd", None),
    ],
)
def test_the_variable_may_name_a_zone(value: str | None, name: str | None) -> None:
    """Only a name is stored with a schedule; rules cannot be."""
    zone(BERLIN)
    assert cron.zone_from_environment(value) == name


def test_a_zone_that_does_not_exist_is_an_error() -> None:
    """The package tzdata may have been removed."""
    zone(BERLIN)
    with pytest.raises(cron.CannotPlan) as error:
        cron.zone_of("Europe/Atlantis")
    assert str(error.value) == "unknown time zone Europe/Atlantis (names are like Europe/Berlin)"


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    ranges = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    return st.one_of(
        st.just("*"),
        number.map(str),
        ranges,
        st.integers(2, 30).map(lambda step: f"*/{step}"),
        st.lists(number.map(str), min_size=2, max_size=3).map(",".join),
    )


_EXPRESSIONS = st.tuples(
    _field(0, 59), _field(0, 23), _field(1, 28), _field(1, 12), _field(0, 7)
).map(" ".join)
_ZONES = st.sampled_from(
    ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia"]
)
_INSTANTS = st.integers(1_170_000_000, 1_890_000_000).map(
    lambda seconds: datetime.fromtimestamp(seconds + 0.5, timezone.utc)
)


@settings(max_examples=150, deadline=None)
@given(_EXPRESSIONS, _ZONES, _INSTANTS)
def test_planned_times_grow_and_do_not_depend_on_the_start(
    expression: str, name: str, start: datetime
) -> None:
    """A worker that starts anew from a stored time plans what one that goes on plans."""
    zone(name)
    found = list(islice(times(expression, name).following(start), 12))
    assume(found)

    assert all(earlier < later for earlier, later in zip([start, *found], found))
    for earlier, later in zip(found, found[1:]):
        assert cron.next_after(times(expression, name), earlier) == later


@settings(max_examples=100, deadline=None)
@given(st.floats(1, 1e6), st.integers(0, 10**6), _INSTANTS)
def test_a_fixed_rate_counts_from_its_anchor(seconds: float, steps: int, anchor: datetime) -> None:
    """However late a worker looks, the times stay a multiple of the distance apart."""
    every = cron.Every(round(seconds, 6), anchor, timezone.utc)
    distance = timedelta(seconds=every.seconds)
    assume(steps * every.seconds < 1e9)
    late = anchor + steps * distance + distance / 3

    assert cron.next_after(every, late) == anchor + (steps + 1) * distance
    assert cron.next_after(every, anchor + steps * distance) == anchor + (steps + 1) * distance
    assert cron.next_after(every, anchor - 5 * distance) == anchor + distance
    assert list(islice(every.preceding(late), 2)) == [
        anchor + n * distance for n in (steps, steps - 1) if n > 0
    ]

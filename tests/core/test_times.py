"""How times and durations are read, and the form in which times are stored."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queuectl.core.errors import InvalidInput, QueueUnusable
from queuectl.core.times import (
    MAX_DURATION,
    format_duration,
    from_text,
    parse_duration,
    parse_instant,
    parse_past,
    to_text,
    utcnow,
)

UTC = timezone.utc
INSTANTS = st.datetimes(timezones=st.just(UTC)) | st.datetimes(
    min_value=from_text("0001-01-03T00:00:00.000000Z").replace(tzinfo=None),
    max_value=from_text("9999-12-29T00:00:00.000000Z").replace(tzinfo=None),
    timezones=st.just(timezone(timedelta(hours=-5, minutes=-30))),
)


# Zones with daylight saving, written so that they need no zone files.
CENTRAL_EUROPE = "CET-1CEST,M3.5.0,M10.5.0/3"
LORD_HOWE = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"  # the clock changes by half an hour
SAO_PAULO = "<-03>3<-02>,M11.1.0/0,M2.3.0/0"  # at midnight, as until 2019
ST_JOHNS = "NST3:30NDT,M3.2.0/0:01,M11.1.0/0:01"  # to the day before, as until 2011
APIA = "<-10>10<+14>-14,J364/0,J40/0"  # over the date line, at the end of 2011: a day is skipped


@pytest.fixture
def zone(monkeypatch):
    """Set the local zone until the end of the test."""

    def set_zone(text):
        monkeypatch.setenv("TZ", text)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def central_europe(zone):
    zone(CENTRAL_EUROPE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h30m", (2026, 1, 15, 10, 30)),
        ("90", (2026, 1, 15, 11, 58, 30)),
        ("2d", (2026, 1, 13, 12)),
        ("13:00", (2026, 1, 15, 12)),  # the local time now is 13:00
        ("12:59:30", (2026, 1, 15, 11, 59, 30)),
        ("13:01", (2026, 1, 14, 12, 1)),
        ("today", (2026, 1, 14, 23)),
        (" yesterday ", (2026, 1, 13, 23)),
        ("2025-12-24", (2025, 12, 23, 23)),
        ("2025-07-01T18:00", (2025, 7, 1, 16)),
        ("2025-12-24T18:00:00.5Z", (2025, 12, 24, 18, 0, 0, 500000)),
        ("2027-01-01", (2026, 12, 31, 23)),
    ],
)
def test_a_time_in_the_past(central_europe, text, expected):
    """A duration ends now, and a time of the day is the last one."""
    now = datetime(2026, 1, 15, 12, tzinfo=UTC)

    assert parse_past(text, now=now) == datetime(*expected, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "2026-13-01", "-1h", "99999999d", "tomorrow"]
)
def test_what_is_no_time_in_the_past(text):
    """The error names what can be given."""
    with pytest.raises(InvalidInput) as refused:
        parse_past(text, now=datetime(2026, 1, 15, 12, tzinfo=UTC))

    assert str(refused.value) == (
        f"not a duration or a time: {text!r} (use 2h, 18:00, yesterday, 2026-12-24 or "
        "2026-12-24T18:00)"
    )


def test_the_present_is_aware():
    """It is in UTC."""
    assert utcnow().utcoffset() == timedelta(0)


@settings(deadline=None, max_examples=200, database=None)
@given(INSTANTS, INSTANTS)
def test_text_order_is_time_order(first, second):
    """Stored times have the same width, so that they sort as text as they do in time."""
    one, other = to_text(first), to_text(second)

    assert len(one) == len(other) == len("2026-01-31T12:00:00.000000Z")
    assert (one < other, one == other) == (first < second, first == second)


@settings(deadline=None, max_examples=200, database=None)
@given(INSTANTS)
def test_a_stored_time_is_read_back_exactly(instant):
    """Writing and reading a time loses nothing."""
    assert from_text(to_text(instant)) == instant


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-01-31 12:00:00", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31 12:00:00.123", "2026-01-31T12:00:00.123000Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00.000000Z"),
    ],
)
def test_a_time_of_another_program_is_read(text, read):
    """SQLite writes times in UTC; so a time without a zone is in UTC."""
    assert to_text(from_text(text)) == read


@pytest.mark.parametrize("text", ["", "Z", "yesterday", "2026-13-31 12:00:00", b"2026", 5])
def test_text_that_is_no_time_is_named(text):
    """Regression: each worker that met such a row ended with a traceback."""
    with pytest.raises(QueueUnusable) as refused:
        from_text(text)

    assert str(refused.value) == (
        f"the queue holds a time that cannot be read: {text!r} "
        "(not like 2026-01-31T12:00:00.000000Z)"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("500ms", 0.5),
        ("90s", 90.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        ("1w", 604800.0),
        ("1d2h3m4s5ms", 93784.005),
        (" 10m ", 600.0),
        ("5min", 300.0),
        ("30sec", 30.0),
        ("2 hours", 7200.0),
        ("1 Hour", 3600.0),
        ("1d 12h", 129600.0),
        ("1 h 05 min", 3900.0),
        ("1 day, 2 hours and 30 minutes", 95400.0),
        ("1.5 hrs", 5400.0),
        (".5 days", 43200.0),
        ("250 msec", 0.25),
        ("2\tweeks", 1209600.0),
        ("3660d", MAX_DURATION),
    ],
)
def test_a_duration_is_seconds_or_numbers_with_units(text, seconds):
    """A bare number is seconds; numbers with units are added up."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "m", "1x", "-1", "-1s", "+5", "1e3", "inf", "nan", "1h30", "1h 30", "1 2 h",
     "1,5h", "0x10", "1_000", "٣", "²", "1h\0", "٣m", ".", "s10", "10M", "10 M", "infinity",
     "an hour", "2 months", "1h -5m", "1h,", "and 1h", "1 hour5", "hours 2", "1h;2h",
     "1" * 99 + "x", "1" * 10**6 + " x"],
)  # fmt: skip
def test_text_that_is_no_duration_is_refused(text):
    """The error shows the value, and examples of the right form."""
    with pytest.raises(InvalidInput) as refused:
        parse_duration(text)

    assert str(refused.value) == (
        f"not a duration: {text!r} (examples: 90, 30s, 5min, 1h30m, 2 hours, 1d 12h)"
    )


@pytest.mark.parametrize("text", ["3661d", "9" * 400, "9" * 400 + "d", "1e400"[:1] + "0" * 40])
def test_a_duration_has_a_limit(text):
    """More than ten years is refused, however large the number, so that nothing overflows."""
    with pytest.raises(InvalidInput, match=r"a duration is 0 to 10 years"):
        parse_duration(text)


@settings(deadline=None, max_examples=300, database=None)
@given(st.text() | st.from_regex(r"\A[0-9.smhdw, ]{0,12}\Z"))
def test_any_text_is_a_duration_in_range_or_refused(text):
    """Whatever the text, reading it returns a duration or raises InvalidInput."""
    try:
        seconds = parse_duration(text)
    except InvalidInput:
        return
    assert 0 <= seconds <= MAX_DURATION


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.012, "0.01 s"),
        (3, "3 s"),
        (3.25, "3.25 s"),
        (42, "42 s"),
        (60, "1m"),
        (300, "5m"),
        (5400, "1h30m"),
        (172800, "2d"),
        (93784, "1d2h"),
    ],
)
def test_a_duration_is_written_for_people(seconds, text):
    """At most two units are shown, and no unit that is zero."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("18:00", (2026, 6, 1, 10, 0), (2026, 6, 1, 16, 0)),
        ("18:00", (2026, 6, 1, 16, 0), (2026, 6, 1, 16, 0)),
        ("18:00", (2026, 6, 1, 16, 1), (2026, 6, 2, 16, 0)),
        ("7:05", (2026, 12, 31, 10, 0), (2027, 1, 1, 6, 5)),
        ("00:00", (2026, 2, 28, 12, 0), (2026, 2, 28, 23, 0)),
        # The clocks change in the night between: a day later would be an hour off.
        ("18:00", (2026, 3, 28, 19, 0), (2026, 3, 29, 16, 0)),
        ("18:00", (2026, 10, 24, 18, 0), (2026, 10, 25, 17, 0)),
        # In that night the clock shows 02:30 twice, at 00:30 and 01:30 UTC.
        ("02:30", (2026, 10, 25, 0, 0), (2026, 10, 25, 0, 30)),
        ("02:30", (2026, 10, 25, 0, 45), (2026, 10, 25, 1, 30)),
        ("02:30", (2026, 10, 25, 1, 45), (2026, 10, 26, 1, 30)),
        # In the other it never shows 02:30, which is over as soon as it shows 03:00.
        ("02:30", (2026, 3, 29, 0, 0), (2026, 3, 29, 1, 30)),
        ("02:30", (2026, 3, 29, 1, 10), (2026, 3, 30, 0, 30)),
    ],
)
def test_a_clock_time_is_the_next_time_that_the_clock_shows_it(central_europe, text, now, expected):
    """The local clock shows 18:00 then, even after midnight or a change of daylight saving."""
    assert parse_instant(text, now=datetime(*now, tzinfo=UTC)) == datetime(*expected, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-24", (2026, 12, 23, 23, 0)),
        ("2026-07-24T18:00", (2026, 7, 24, 16, 0)),
        ("2026-12-24 18:00:30", (2026, 12, 24, 17, 0, 30)),
        ("2026-12-24T18:00Z", (2026, 12, 24, 18, 0)),
        ("2026-12-24T18:00:00z", (2026, 12, 24, 18, 0)),
        ("2026-12-24T18:00+05:30", (2026, 12, 24, 12, 30)),
        ("2026-12-24T18:00:00.5Z", (2026, 12, 24, 18, 0, 0, 500000)),
        ("2026-12-24T18:00:00.123456789Z", (2026, 12, 24, 18, 0, 0, 123456)),
    ],
)
def test_a_date_is_local_unless_it_names_a_zone(central_europe, text, expected):
    """ISO-8601 with `Z` and any number of decimals is read on every version of Python."""
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert parse_instant(text, now=now) == datetime(*expected, tzinfo=UTC)


@pytest.mark.parametrize(
    ("where", "now", "text", "expected"),
    [
        # Skipped: half an hour later than before the change, thus at 03:30 by the new time.
        (CENTRAL_EUROPE, (2027, 1, 1), "2027-03-28T02:30", (2027, 3, 28, 1, 30)),
        # Skipped, and the clock shows 03:10 already.
        (CENTRAL_EUROPE, (2027, 3, 28, 1, 10), "2027-03-28T02:30", (2027, 3, 28, 1, 10)),
        # Shown twice: the first time, then the second, then it is past.
        (CENTRAL_EUROPE, (2026, 1, 1), "2026-10-25T02:30", (2026, 10, 25, 0, 30)),
        (CENTRAL_EUROPE, (2026, 10, 25, 0, 45), "2026-10-25T02:30", (2026, 10, 25, 1, 30)),
        (CENTRAL_EUROPE, (2026, 10, 25, 1, 45), "2026-10-25T02:30", (2026, 10, 25, 1, 45)),
        (LORD_HOWE, (2026, 1, 1), "2026-10-04T02:10", (2026, 10, 3, 15, 40)),
        (LORD_HOWE, (2026, 10, 3, 12), "02:10", (2026, 10, 3, 15, 40)),
        (LORD_HOWE, (2026, 10, 3, 15, 35), "02:10", (2026, 10, 4, 15, 10)),
        (LORD_HOWE, (2026, 1, 1), "2026-04-05T01:40", (2026, 4, 4, 14, 40)),
        (LORD_HOWE, (2026, 4, 4, 14, 50), "2026-04-05T01:40", (2026, 4, 4, 15, 10)),
        (LORD_HOWE, (2026, 4, 4, 14, 50), "01:40", (2026, 4, 4, 15, 10)),
        # A day without midnight begins at 01:00.
        (SAO_PAULO, (2026, 1, 1), "2026-11-01", (2026, 11, 1, 3, 0)),
        (SAO_PAULO, (2026, 1, 1), "2026-11-01T00:30", (2026, 11, 1, 3, 30)),
        (SAO_PAULO, (2026, 10, 31, 12), "00:00", (2026, 11, 1, 3, 0)),
        (SAO_PAULO, (2026, 2, 15, 1, 45), "23:30", (2026, 2, 15, 2, 30)),
        # At 00:01 on Sunday the clock goes back to 23:01 on Saturday.
        (ST_JOHNS, (2026, 11, 1, 2, 30, 30), "23:30", (2026, 11, 1, 3, 0)),
        # 30 December is skipped as a whole.
        (APIA, (2026, 12, 1), "2026-12-30", (2026, 12, 30, 10, 0)),
        (APIA, (2026, 12, 1), "2026-12-30T10:00", (2026, 12, 30, 20, 0)),
        (APIA, (2026, 12, 29, 22), "10:00", (2026, 12, 30, 20, 0)),
        (APIA, (2026, 12, 30, 9, 59), "23:59:30", (2026, 12, 30, 9, 59, 30)),
    ],
)
def test_a_local_time_that_the_clock_skips_or_shows_twice(zone, where, now, text, expected):
    """Regression: a date with a skipped time ran an hour early, since it was read in another way
    than `18:00` is.
    """
    zone(where)
    assert parse_instant(text, now=datetime(*now, tzinfo=UTC)) == datetime(*expected, tzinfo=UTC)


CHANGES = [  # a zone with a moment close to which its clock changes
    (where, datetime(*at, tzinfo=UTC))
    for where, at in [
        (CENTRAL_EUROPE, (2026, 3, 29, 1)), (CENTRAL_EUROPE, (2026, 10, 25, 1)),
        (LORD_HOWE, (2026, 4, 4, 15)), (LORD_HOWE, (2026, 10, 3, 15, 30)),
        (SAO_PAULO, (2026, 11, 1, 3)), (SAO_PAULO, (2026, 2, 15, 2)),
        (ST_JOHNS, (2026, 11, 1, 2, 31)), (APIA, (2026, 12, 30, 10)),
    ]
]  # fmt: skip


@settings(deadline=None, max_examples=150, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.sampled_from(CHANGES), st.integers(-3000, 3000), st.integers(0, 1439))
def test_no_job_starts_before_the_clock_shows_its_time(zone, change, minutes, clock):
    """Near any change: the result is the first moment at which the clock shows the time, or a later
    time if it skips that; and `02:30` means what the same time with its date means.
    """
    where, at = change
    zone(where)
    now = at + timedelta(minutes=minutes)
    text = f"{clock // 60:02}:{clock % 60:02}"
    found = parse_instant(text, now=now)

    earlier = (now + timedelta(minutes=n) for n in range(int((found - now).total_seconds() // 60)))
    assert found >= now
    assert text not in {instant.astimezone().strftime("%H:%M") for instant in earlier}
    assert found in [
        parse_instant(f"{(found + timedelta(days=day)).astimezone().date()}{spelled}", now=now)
        for day in (-1, 0)
        for spelled in (f"T{text}", f" {text}:00")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", (12, 25, 10, 30)),
        ("in 20m", (12, 25, 10, 50)),
        ("in 2 hours", (12, 25, 12, 30)),
        ("now + 1 hour", (12, 25, 11, 30)),
        ("now+90min", (12, 25, 12, 0)),
        ("+1d", (12, 26, 10, 30)),
        ("today 18:00", (12, 25, 17, 0)),
        ("today 9:00", (12, 25, 10, 30)),  # past: now
        ("today", (12, 25, 10, 30)),
        ("tomorrow", (12, 25, 23, 0)),
        ("tomorrow 9:00", (12, 26, 8, 0)),
        ("Tomorrow at 9am", (12, 26, 8, 0)),
        ("9:30 pm tomorrow", (12, 26, 20, 30)),
        ("at 18:00", (12, 25, 17, 0)),
        ("9am", (12, 26, 8, 0)),
        ("11:45am", (12, 25, 10, 45)),
        ("12am", (12, 25, 23, 0)),
        ("12:15 pm", (12, 25, 11, 15)),
        # It is Friday, 11:30.
        ("friday", (12, 31, 23, 0)),
        ("friday 11:30", (12, 25, 10, 30)),
        ("friday 11:29", (1, 1, 10, 29)),
        ("fri 18:00", (12, 25, 17, 0)),
        ("monday 18:00", (12, 28, 17, 0)),
        ("18:00 monday", (12, 28, 17, 0)),
        ("thurs 6pm", (12, 31, 17, 0)),
        ("2026-12-28 9:00", (12, 28, 8, 0)),
        ("2026-12-28 9am", (12, 28, 8, 0)),
    ],
)
def test_a_time_in_words(central_europe, text, expected):
    """A day of the week is the next one; a day without a time begins at 0:00, as a date does."""
    now = datetime(2026, 12, 25, 10, 30, tzinfo=UTC)
    year = 2026 if expected[0] == 12 else 2027

    assert parse_instant(text, now=now) == datetime(year, *expected, tzinfo=UTC)


@pytest.mark.parametrize(
    ("where", "now", "text", "expected"),
    [
        # The clock is set forward on Sunday, at 02:00: that time is counted on.
        (CENTRAL_EUROPE, (2026, 3, 28, 12), "tomorrow 2:30", (2026, 3, 29, 1, 30)),
        (CENTRAL_EUROPE, (2026, 3, 27, 12), "sunday 2:30", (2026, 3, 29, 1, 30)),
        (CENTRAL_EUROPE, (2026, 3, 29, 1, 10), "sunday 2:30", (2026, 4, 5, 0, 30)),
        # 18:00 is 18:00 on the other side of the change; a day from now is 24 hours.
        (CENTRAL_EUROPE, (2026, 3, 28, 17), "tomorrow 18:00", (2026, 3, 29, 16)),
        (CENTRAL_EUROPE, (2026, 3, 28, 17), "in 1 day", (2026, 3, 29, 17)),
        # The clock shows 02:30 twice.
        (CENTRAL_EUROPE, (2026, 10, 24, 12), "tomorrow 2:30", (2026, 10, 25, 0, 30)),
        (CENTRAL_EUROPE, (2026, 10, 25, 0, 45), "sunday 2:30", (2026, 10, 25, 1, 30)),
        (CENTRAL_EUROPE, (2026, 10, 25, 1, 45), "sunday 2:30", (2026, 11, 1, 1, 30)),
        # A day without midnight begins at 01:00.
        (SAO_PAULO, (2026, 10, 31, 12), "tomorrow", (2026, 11, 1, 3)),
        (SAO_PAULO, (2026, 10, 31, 12), "sunday", (2026, 11, 1, 3)),
        # At 00:01 on Sunday the clock goes back to Saturday.
        (ST_JOHNS, (2026, 11, 1, 2, 30, 30), "saturday 23:30", (2026, 11, 1, 3)),
        # 30 December, a Wednesday, is skipped as a whole.
        (APIA, (2026, 12, 29, 22), "tomorrow 10:00", (2026, 12, 30, 20)),
        (APIA, (2026, 12, 29, 22), "wednesday 10:00", (2026, 12, 30, 20)),
    ],
)
def test_words_where_the_local_clock_changes(zone, where, now, text, expected):
    """As for a date and for `18:00`: nothing starts before the clock shows its time."""
    zone(where)
    assert parse_instant(text, now=datetime(*now, tzinfo=UTC)) == datetime(*expected, tzinfo=UTC)


@settings(deadline=None, max_examples=150, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.sampled_from(CHANGES), st.integers(-3000, 3000), st.integers(0, 1439),
       st.sampled_from(["tomorrow", "sunday", "mon"]))  # fmt: skip
def test_words_mean_what_the_same_date_means(zone, change, minutes, clock, day):
    """Near any change, and for any time of that day."""
    where, at = change
    zone(where)
    now = at + timedelta(minutes=minutes)
    today = now.astimezone().date()
    text = f"{clock // 60}:{clock % 60:02}"
    found = parse_instant(f"{day} {text}", now=now)

    ahead = range(-1, 16) if day != "tomorrow" else [1]
    days = [today + timedelta(days=days) for days in ahead]
    named = [one for one in days if day == "tomorrow" or f"{one:%A}".lower().startswith(day)]
    assert found >= now
    assert found in [parse_instant(f"{one} {text}", now=now) for one in named]


def test_a_time_in_the_past_means_now():
    """A job with such a time can start at once."""
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert parse_instant("2001-01-01", now=now) == now


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "yesterday", "tomorrow 25:00", "mo 18:00", "monday 18", "in 5", "in", "now 1h",
     "now +", "18:00 18:00", "13pm", "0am", "tomorrow monday", "monday tomorrow 9:00", "24:00",
     "25:00", "18:60", "18", "1800", "2026-13-01", "2026-02-30", "2026-12-24T25:00",
     "in " + "1" * 99, "-1:00", "18:00pm", "18:00\0", "٣:00", "9999-12-31T23:59:59-12:00",
     "1h", "99999-01-01", "2026-12-24T18:00+99:00"],
)  # fmt: skip
def test_text_that_is_no_time_is_refused(text):
    """The error shows the value, and the forms that are accepted."""
    with pytest.raises(InvalidInput) as refused:
        parse_instant(text, now=datetime(2026, 1, 1, tzinfo=UTC))

    assert str(refused.value) == (
        f"not a time: {text!r} "
        "(examples: 18:00, tomorrow 9:00, monday 6pm, 2026-12-24T18:00, in 20m)"
    )


@settings(deadline=None, max_examples=300, database=None)
@given(
    st.text()
    | st.from_regex(r"\A[0-9TZ:.+ -]{0,30}\Z")
    | st.lists(
        st.sampled_from(
            "now in + at today tomorrow mon sunday 9:00 9 am pm 6pm 2h min 9999d 2026-01-02".split()
        ),
        max_size=4,
    ).map(" ".join)
)
def test_any_text_is_a_time_or_refused(text):
    """Whatever the text, reading it returns an aware time from now on, or raises InvalidInput."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    try:
        instant = parse_instant(text, now=now)
    except InvalidInput:
        return
    assert instant >= now

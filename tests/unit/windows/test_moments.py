"""Moments as people say them: what each means, what is not read, and what clocks do to it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from dispatcher.windows.country_zones import only_zone
from dispatcher.windows.moments import MomentError, parse_moment

INDIA, BERLIN = ZoneInfo("Asia/Kolkata"), ZoneInfo("Europe/Berlin")
#: A Monday, 10:30.
NOW = datetime(2026, 11, 30, 10, 30, 15, tzinfo=INDIA)


def local(text, zone=INDIA, now=NOW):
    moment = parse_moment(text, zone, now)
    return f"{moment.at.astimezone(zone):%a %Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("today", "meant"),
    [
        (datetime(2027, 11, 30, tzinfo=INDIA), "Tue 2028-02-29 09:00"),
        (datetime(2028, 1, 10, tzinfo=INDIA), "Tue 2028-02-29 09:00"),
    ],
)
def test_a_day_that_few_years_have_is_read_where_this_year_or_the_next_has_it(today, meant):
    assert local("29 feb 9:00", now=today) == meant
    with pytest.raises(MomentError, match="-02-30 is not in the calendar"):
        parse_moment("30 feb 9:00", INDIA, today)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tomorrow 09:00", "Tue 2026-12-01 09:00"),
        ("Tomorrow at 9am", "Tue 2026-12-01 09:00"),
        ("9:30 pm tomorrow", "Tue 2026-12-01 21:30"),
        ("today 18:00", "Mon 2026-11-30 18:00"),
        ("18:00", "Mon 2026-11-30 18:00"),
        ("9:00", "Tue 2026-12-01 09:00"),
        ("noon", "Mon 2026-11-30 12:00"),
        ("12am", "Tue 2026-12-01 00:00"),
        ("mon 9:00", "Mon 2026-12-07 09:00"),
        ("mon 11:00", "Mon 2026-11-30 11:00"),
        ("monday 9am", "Mon 2026-12-07 09:00"),
        ("MON 11:00", "Mon 2026-11-30 11:00"),
        ("on Thurs, 9 AM", "Thu 2026-12-03 09:00"),
        ("sun 00:00", "Sun 2026-12-06 00:00"),
        ("+2h", "Mon 2026-11-30 12:30"),
        ("in 30 min", "Mon 2026-11-30 11:00"),
        ("+1h30min", "Mon 2026-11-30 12:00"),
        ("in 1 day", "Tue 2026-12-01 10:30"),
        ("+2w", "Mon 2026-12-14 10:30"),
        ("2026-12-01 9:00", "Tue 2026-12-01 09:00"),
        ("2026-12-01T09:00", "Tue 2026-12-01 09:00"),
        ("2026-12-01 09:00 UTC", "Tue 2026-12-01 14:30"),
        ("2026-12-01T09:00Z", "Tue 2026-12-01 14:30"),
        ("2026-12-01 09:00+01:00", "Tue 2026-12-01 13:30"),
        ("2026-12-01 09:00 +01:00", "Tue 2026-12-01 13:30"),
        ("tomorrow 09:00 Europe/Berlin", "Tue 2026-12-01 13:30"),
        ("24 Dec 9:00", "Thu 2026-12-24 09:00"),
        ("dec 24, 2027 9:00", "Fri 2027-12-24 09:00"),
        ("1 jan 09:00", "Fri 2027-01-01 09:00"),
        ("2026-12-24", "Thu 2026-12-24 00:00"),
        ("tomorrow", "Tue 2026-12-01 00:00"),
    ],
)  # fmt: skip
def test_a_moment_is_what_people_mean(text, meant):
    assert local(text) == meant


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("soon", "'soon' is not a day with one meaning"),
        ("01/12/2026 09:00", "'01/12/2026' is not a day with one meaning"),
        ("24.12.2026 09:00", "is not a day with one meaning"),
        ("next monday 9:00", "`next monday` may be one of two days"),
        ("tomorrow midnight", "midnight may be where a day begins or ends"),
        ("tomorrow 9", "'tomorrow 9' is not a day with one meaning"),
        ("tomorrow 25:00", "25:00 is not a time of day"),
        ("tomorrow 13pm", "13pm is not a time of day"),
        ("9:00 10:00", "two times of day"),
        ("today 09:00", "it is over: it is 2026-11-30 10:30 Asia/Kolkata now"),
        ("tomorrow 09:00 IST", "'IST' is not a valid time zone"),
        ("tomorrow 09:00 EST", "EST ignores summer time"),
        ("tomorrow 09:00 Mars/Base", "'Mars/Base' is not a valid time zone"),
        ("2026-02-30 9:00", "2026-02-30 is not in the calendar"),
        ("30 feb 9:00", "is not in the calendar"),
        ("2026-W49", "is not a day with one meaning"),
        ("2026-W49-1 9:00", "is not a day with one meaning"),
        ("+2", "is not a day with one meaning"),
        ("+2x", "2x is not a time"),
        ("+1h1h", "1h is not a time"),
        ("+999999d", "too far away"),
        ("9999-12-31 23:59 -14:00", "too far away"),
        ("", "it is empty"),
        ("at", "it is empty"),
        ("may 9:00", "is not a day"),
    ],
)  # fmt: skip
def test_what_has_no_one_meaning_is_refused_with_what_to_write(text, why):
    with pytest.raises(MomentError) as caught:
        parse_moment(text, INDIA, NOW)
    assert why in caught.value.problem
    assert caught.value.advice.startswith("write ")


def test_hours_are_exact_and_days_keep_the_time_of_day_when_clocks_change():
    before = datetime(2026, 3, 28, 12, 0, tzinfo=BERLIN)
    assert local("+24h", BERLIN, before) == "Sun 2026-03-29 13:00"
    assert local("+1d", BERLIN, before) == "Sun 2026-03-29 12:00"


def test_a_time_that_clocks_skip_or_read_twice_is_named():
    before = datetime(2026, 3, 28, 12, 0, tzinfo=BERLIN)
    skipped = parse_moment("tomorrow 02:30", BERLIN, before)
    assert f"{skipped.at.astimezone(BERLIN):%H:%M}" == "03:00"
    assert skipped.note == (
        "clocks in Europe/Berlin skip 02:30 on 2026-03-29: 03:00 is meant, when they go on"
    )
    twice = parse_moment("2026-10-25 02:30", BERLIN, before)
    assert twice.at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert twice.note is not None
    assert "read 02:30 on 2026-10-25 twice: the first time is meant" in twice.note
    assert "2026-10-25T02:30+02:00" in twice.note
    assert parse_moment("2026-10-25T02:30+01:00", BERLIN, before).note is None


def test_it_is_known_what_was_spoken_and_what_is_a_whole_day():
    spoken = {text: parse_moment(text, INDIA, NOW) for text in ("mon 9:00", "2026-12-01T09:00")}
    assert [each.is_spoken for each in spoken.values()] == [True, False]
    days = [parse_moment(text, INDIA, NOW) for text in ("mon", "2026-12-24", "24 dec", "+1d")]
    assert [each.is_whole_day for each in days] == [True, True, True, False]


@pytest.mark.parametrize(
    ("country", "zone"),
    [
        ("IN", "Asia/Kolkata"), ("BD", "Asia/Dhaka"), ("DE", "Europe/Berlin"), ("US", None),
        ("CN", None), ("XX", None),
    ],
)  # fmt: skip
def test_a_country_has_a_zone_if_all_of_it_has_one(country, zone):
    assert only_zone(country) == zone

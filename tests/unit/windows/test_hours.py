"""Hours of one zone: whether they never close, which days they name, and sums of spans."""

from datetime import UTC, datetime, timedelta, timezone
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest

from dispatcher.windows.hours import Hours, intersect_spans, merge_spans, subtract_spans
from dispatcher.windows.schedule import Schedule
from dispatcher.windows.zone_names import ZoneError, parse_zone, zone_name

ALL_DAY = "daily 00:00-24:00"


@pytest.mark.parametrize(
    ("windows", "blackouts", "is_always_open"),
    [
        ([], [], True),
        ([], ["2026-12-25"], False),
        ([ALL_DAY], [], True),
        ([ALL_DAY], ["2026-12-25"], False),
        ([ALL_DAY, "2026-12-24 10:00-12:00"], [], False),
        (["2026-12-24 00:00-24:00"], [], False),
        (["daily 12:00-00:00", "daily 00:00-12:00"], [], True),
        (["daily 22:00-10:00", "daily 09:00-22:00"], [], True),
        (["daily 22:00-10:00", "daily 09:00-21:59"], [], False),
        (["mon-sat 00:00-24:00"], [], False),
        (["tue-sun 00:00-24:00"], [], False),
        (["tue-sun 00:00-24:00", "mon 00:01-24:00"], [], False),
        (["tue-sun 00:00-24:00", "mon 00:01-24:00", "sun 23:00-00:01"], [], True),
        (["sun 00:00-23:59", "mon-sat 00:00-24:00"], [], False),
    ],
)
def test_hours_never_close_where_no_minute_of_a_week_is_left_out(
    windows, blackouts, is_always_open
):
    assert Hours.parse(windows, blackouts, UTC).is_always_open is is_always_open


@pytest.mark.parametrize(
    ("windows", "blackouts", "day_range", "changes"),
    [
        ([], [], None, []),
        (["mon 09:00-10:00"], [], None, []),
        (["1970-01-11 09:00-10:00"], [], (8, 12), [8, 8]),
        (["1970-01-11..1970-01-21 09:00-10:00"], [], (8, 22), [8, 18]),
        (
            ["1970-01-21 09:00-10:00", "1970-01-11 09:00-10:00", "1970-01-31 09:00-10:00"],
            [],
            (8, 32),
            [18, 18, 8, 8, 28, 28],
        ),
        (["1970-01-11 09:00-10:00", "mon 09:00-10:00"], [], None, [8, 8]),
        ([], ["1970-01-11..1970-01-21"], None, [18]),
        (["1970-01-11 09:00-10:00"], ["1970-01-15"], (8, 12), [8, 8, 12]),
    ],
)
def test_the_days_of_dates_are_known_two_days_around_whatever_the_zone(
    windows, blackouts, day_range, changes
):
    hours = Hours.parse(windows, blackouts, UTC)
    assert (hours.day_range, hours.days_of_change) == (day_range, changes)


@pytest.mark.parametrize(
    ("spans", "merged"),
    [
        ([], []),
        ([(5, 9), (1, 3)], [(1, 3), (5, 9)]),
        ([(1, 3), (3, 5)], [(1, 5)]),
        ([(1, 9), (3, 5)], [(1, 9)]),
        ([(1, 3), (4, 5)], [(1, 3), (4, 5)]),
    ],
)
def test_spans_that_touch_or_overlap_are_one(spans, merged):
    assert merge_spans(spans) == merged


@pytest.mark.parametrize(
    ("some", "others", "both", "rest"),
    [
        ([(0, 9)], [(2, 4)], [(2, 4)], [(0, 2), (4, 9)]),
        ([(0, 9)], [(0, 4)], [(0, 4)], [(4, 9)]),
        ([(0, 9)], [(4, 9)], [(4, 9)], [(0, 4)]),
        ([(0, 3), (6, 9)], [(2, 7)], [(2, 3), (6, 7)], [(0, 2), (7, 9)]),
        ([(0, 3)], [(3, 5)], [], [(0, 3)]),
        ([(0, 9)], [(1, 2), (3, 4)], [(1, 2), (3, 4)], [(0, 1), (2, 3), (4, 9)]),
        ([], [(1, 2)], [], []),
    ],
)
def test_spans_are_cut_by_others_and_out_of_them(some, others, both, rest):
    assert intersect_spans(some, others) == both
    assert subtract_spans(some, others) == rest


DAY = datetime(2026, 12, 1, tzinfo=UTC)  # a Tuesday


def at(hour, minute=0):
    return DAY + timedelta(hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("now", "limit", "opens"),
    [
        (at(8), None, at(9)),
        (at(8), at(9, 1), at(9)),
        (at(8), at(9), None),  # it opens when it is too late
        (at(9), at(9, 1), at(9)),
        (at(9), at(9), None),
        (at(10), at(9), None),
        (at(12), None, at(33)),
    ],
)
def test_an_opening_is_found_before_the_limit(now, limit, opens):
    assert Schedule.parse(["09:00-12:00"], [], UTC).next_open(now, limit) == opens


@pytest.mark.parametrize(
    ("since", "until", "spans"),
    [
        (at(0), at(24), [(at(9), at(12))]),
        (at(10), at(11), [(at(10), at(11))]),
        (at(12), at(33), []),  # from a closing to the next opening
        (at(11, 59), at(33, 1), [(at(11, 59), at(12)), (at(33), at(33, 1))]),
        (at(10), at(10), []),
        (at(11), at(10), []),
    ],
)
def test_the_open_spans_are_cut_to_what_is_asked_for(since, until, spans):
    assert [*Schedule.parse(["09:00-12:00"], [], UTC).open_spans(since, until)] == spans
    always = [*Schedule().open_spans(since, until)]
    assert always == ([(since, until)] if since < until else [])


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("+05", 5), ("UTC+2", 2), ("-03:30", -3.5), ("+0530", 5.5), ("+05:59", 5 + 59 / 60),
        ("+14:00", 14), ("+14:01", None), ("+05:60", None), ("+15", None),
    ],
)  # fmt: skip
def test_an_offset_is_read_up_to_the_largest_that_is_in_use(text, hours):
    if hours is None:
        with pytest.raises(ZoneError):
            parse_zone(text)
    else:
        assert parse_zone(text) == timezone(timedelta(hours=hours))


def test_a_zone_without_a_name_is_known_by_its_offset():
    assert zone_name(ZoneInfo("Asia/Kolkata")) == "Asia/Kolkata"
    assert zone_name(timezone(timedelta(hours=-3, minutes=-30))) == "-03:30"
    with files("tzdata.zoneinfo.Asia").joinpath("Kolkata").open("rb") as file:
        nameless = ZoneInfo.from_file(file)
    with pytest.raises(ValueError, match="neither a name nor a fixed offset"):
        zone_name(nameless)

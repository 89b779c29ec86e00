"""Windows: how people write them, and when they are open, through every change of every clock."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.windows.schedule import ALWAYS, Schedule
from dispatcher.windows.syntax import WindowError, parse_blackouts, parse_windows
from dispatcher.windows.zone_names import parse_zone
from tests.unit.windows.clocks import changes, every_zone

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
MARGIN = 3 * HOUR
PARIS = ZoneInfo("Europe/Paris")
KOLKATA = ZoneInfo("Asia/Kolkata")
BERLIN = ZoneInfo("Europe/Berlin")


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text, zone, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


# Written


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("mon-fri 09:00-18:00", ["mon-fri 09:00-18:00"]),
        ("Monday - Friday 9:00 – 18:00", ["mon-fri 09:00-18:00"]),
        ("sun 10:00-12:00", ["sun 10:00-12:00"]),
        ("daily 08:00-24:00", ["daily 08:00-24:00"]),
        ("08:00-20:00", ["daily 08:00-20:00"]),
        ("mon-sun 08:00-20:00", ["daily 08:00-20:00"]),
        ("22:00-02:00", ["daily 22:00-02:00"]),
        ("22:00-00:00", ["daily 22:00-24:00"]),
        ("sat-mon 10:00-12:00", ["mon,sat-sun 10:00-12:00"]),
        ("mon,wed,fri 10:00-12:00", ["mon,wed,fri 10:00-12:00"]),
        ("mon-fri 09:00-18:00, sat 10:00-12:00", ["mon-fri 09:00-18:00", "sat 10:00-12:00"]),
        ("mon-fri 09:00-12:00,14:00-18:00", ["mon-fri 09:00-12:00", "mon-fri 14:00-18:00"]),
        ("09:00-12:00,14:00-18:00", ["daily 09:00-12:00", "daily 14:00-18:00"]),
        ("2026-12-24 10:00-12:00", ["2026-12-24 10:00-12:00"]),
        ("2026-12-31 22:00-02:00", ["2026-12-31 22:00-02:00"]),
        ("2026-12-24..2026-12-26 10:00-12:00", ["2026-12-24..2026-12-26 10:00-12:00"]),
        ("2026-12-24,2026-12-31 9:00-12:00", ["2026-12-24 09:00-12:00", "2026-12-31 09:00-12:00"]),
    ],
)
def test_a_window_is_read_as_people_write_it(text, meaning):
    windows = parse_windows([text])
    assert [str(window) for window in windows] == meaning
    assert parse_windows(meaning) == windows


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not a valid day"),
        ("mon 09:00-10:00,", "'' is not a valid day"),
        (" 09:00-10:00 , , mon 09:00-10:00", "'' is not a valid day"),
        ("mon", "names days without hours"),
        ("mon-fri 09:00-18:00, sat", "names days without hours"),
        ("mon 9-18", "'9-18' are not valid hours"),
        ("mon 09:00-24:01", "'09:00-24:01' are not valid hours"),
        ("mon 09:00-10:60", "'09:00-10:60' are not valid hours"),
        ("mon 24:00-02:00", "begins at 24:00"),
        ("mon 09:00-09:00", "begins when it ends; the whole day is 00:00-24:00"),
        ("foo 09:00-10:00", "'foo' is not a valid day"),
        ("mon-foo 09:00-10:00", "'foo' is not a valid day"),
        ("mon 09:00 10:00", "is not a valid day"),
        ("2026 09:00-10:00", "'2026' is not a valid day"),
        ("frid-sat 09:00-10:00", "'frid' is not a valid day"),
        ("2026-13-01 09:00-10:00", "'2026-13-01' is not a valid date"),
        ("2026-12-26..2026-12-24 09:00-10:00", "ends before it begins"),
    ],
)
def test_a_wrong_window_is_refused_with_its_place(text, complaint):
    with pytest.raises(WindowError) as refused:
        parse_windows(["daily 00:00-24:00", text])
    assert complaint in str(refused.value)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("2026-12-25", ["2026-12-25"]),
        ("2026-12-24..2026-12-26", ["2026-12-24..2026-12-26"]),
        ("2026-12-25, 2027-01-01", ["2026-12-25", "2027-01-01"]),
        ("2026-12-25..2026-12-25", ["2026-12-25"]),
    ],
)
def test_a_blackout_is_a_date_or_a_range_of_dates(text, dates):
    assert [str(blackout) for blackout in parse_blackouts([text])] == dates


@pytest.mark.parametrize(
    "text", ["", "xmas", "2026-1-1", "20261225", "2026-02-30", "2026-12-24..", "2026-12-26-27"]
)
def test_a_wrong_blackout_is_refused(text):
    with pytest.raises(WindowError, match="is not a valid date"):
        parse_blackouts([text])


# Open and closed


@pytest.mark.parametrize(
    ("windows", "blackouts", "at", "is_open"),
    [  # 2026-12-24 is a Thursday
        (["mon-fri 09:00-18:00"], [], "2026-12-24T08:59:59.999999", False),
        (["mon-fri 09:00-18:00"], [], "2026-12-24T09:00:00", True),
        (["mon-fri 09:00-18:00"], [], "2026-12-24T17:59:59.999999", True),
        (["mon-fri 09:00-18:00"], [], "2026-12-24T18:00:00", False),
        (["mon-fri 09:00-18:00"], [], "2026-12-26T12:00:00", False),
        (["thu 22:00-02:00"], [], "2026-12-25T01:59:59", True),
        (["thu 22:00-02:00"], [], "2026-12-24T01:59:59", False),
        (["daily 20:00-24:00"], [], "2026-12-24T23:59:59", True),
        (["daily 20:00-24:00"], [], "2026-12-25T00:00:00", False),
        # A date's own windows replace the weekly ones that begin on it.
        (["daily 09:00-18:00", "2026-12-24 10:00-12:00"], [], "2026-12-24T13:00:00", False),
        (["daily 09:00-18:00", "2026-12-24 10:00-12:00"], [], "2026-12-24T11:00:00", True),
        (["daily 09:00-18:00", "2026-12-24 10:00-12:00"], [], "2026-12-25T13:00:00", True),
        (["mon-fri 09:00-18:00", "2026-12-26 10:00-12:00"], [], "2026-12-26T11:00:00", True),
        (["daily 22:00-02:00", "2026-12-24 10:00-12:00"], [], "2026-12-24T01:00:00", True),
        (["daily 22:00-02:00", "2026-12-24 10:00-12:00"], [], "2026-12-25T01:00:00", False),
        # A blackout closes its dates from 00:00 to 24:00, whichever day a window belongs to.
        (["daily 22:00-02:00"], ["2026-12-25"], "2026-12-24T23:59:59", True),
        (["daily 22:00-02:00"], ["2026-12-25"], "2026-12-25T00:00:00", False),
        (["daily 22:00-02:00"], ["2026-12-25"], "2026-12-25T23:00:00", False),
        (["daily 22:00-02:00"], ["2026-12-25"], "2026-12-26T00:00:00", True),
        (["2026-12-25 10:00-12:00"], ["2026-12-24..2026-12-26"], "2026-12-25T11:00:00", False),
        ([], ["2026-12-25"], "2026-12-24T23:59:59", True),
        ([], ["2026-12-25"], "2026-12-25T12:00:00", False),
        ([], [], "2026-12-25T12:00:00", True),
    ],
)
def test_windows_and_blackouts_decide_what_is_open(windows, blackouts, at, is_open):
    schedule = Schedule.parse(windows, blackouts, PARIS)
    assert schedule.is_open(local(at, PARIS)) is is_open
    assert schedule.is_open(local(at, PARIS).astimezone(UTC)) is is_open


@pytest.mark.parametrize(
    ("window", "spans"),
    [  # In UTC. Berlin skips 02:00-03:00 on 2027-03-28, and has it twice on 2026-10-25.
        ("2027-03-28 02:30-05:00", ["28 01:00-03:00"]),
        ("2027-03-28 01:00-02:30", ["28 00:00-01:00"]),
        ("2027-03-28 01:00-03:00", ["28 00:00-01:00"]),
        ("2026-10-25 02:30-05:00", ["25 00:30-01:00", "25 01:30-04:00"]),
        ("2026-10-25 01:00-02:30", ["24 23:00-00:30", "25 01:00-01:30"]),
        ("2026-10-25 02:15-02:45", ["25 00:15-00:45", "25 01:15-01:45"]),
        ("2026-10-25 01:00-02:00", ["24 23:00-00:00"]),
        ("2026-10-25 01:00-03:00", ["24 23:00-02:00"]),
        ("2026-10-25 02:00-03:00", ["25 00:00-02:00"]),
    ],
)
def test_a_window_with_an_edge_in_a_gap_or_a_fold_is_open_while_the_clock_reads_inside(
    window, spans
):
    schedule = Schedule.parse([window], [], BERLIN)
    day = utc(window[:10])
    found = [
        f"{start:%d %H:%M}-{end:%H:%M}" for start, end in schedule.open_spans(day - DAY, day + DAY)
    ]
    assert found == spans


@pytest.mark.parametrize(
    ("zone", "window", "change"),
    [  # The hour before midnight comes twice in the first three.
        ("America/Santiago", "09:00-23:30", "2026-04-05T03:00"),
        ("Africa/Cairo", "09:00-23:30", "2026-10-29T21:00"),
        ("Asia/Beirut", "09:00-23:30", "2026-10-24T21:00"),
        ("America/Nuuk", "23:30-02:00", "2026-10-25T01:00"),
        ("Atlantic/Azores", "22:00-00:30", "2026-10-25T01:00"),
        ("America/New_York", "sun 01:15-01:45", "2026-11-01T06:00"),
        ("Australia/Lord_Howe", "01:00-01:45", "2026-04-04T15:00"),
        ("Europe/Berlin", "01:00-02:30", "2026-10-25T01:00"),
    ],
)
def test_in_an_hour_that_comes_twice_a_window_is_closed_while_the_clock_reads_outside(
    zone, window, change
):
    schedule, (parsed,) = Schedule.parse([window], [], ZoneInfo(zone)), parse_windows([window])
    opened = []
    for step in range(-90, 90):
        at = (utc(change) + step * MINUTE).astimezone(ZoneInfo(zone))
        minute = at.hour * 60 + at.minute
        inside = any(parsed.start <= each < parsed.end for each in (minute, minute + 1440))
        assert schedule.is_open(at) is inside
        opened.append(inside)
    openings = sum(b and not a for a, b in pairwise(opened))
    closings = sum(a and not b for a, b in pairwise(opened))
    assert 2 in {openings, closings}  # one in each of the two hours


@pytest.mark.parametrize(
    ("now", "closes"),
    [
        ("2026-04-05T00:00", "2026-04-05T02:30"),  # the first 23:30 in Santiago
        ("2026-04-05T03:10", "2026-04-05T03:30"),
    ],
)
def test_a_window_closes_at_its_end_in_both_hours(now, closes):
    schedule = Schedule.parse(["09:00-23:30"], [], ZoneInfo("America/Santiago"))
    assert schedule.closes_at(utc(now)) == utc(closes)


def test_a_window_that_the_clock_skips_does_not_open():
    schedule = Schedule.parse(["2027-03-28 02:10-02:50"], [], BERLIN)
    assert schedule.next_open(utc("2027-01-01"), utc("2028-01-01")) is None


# Looking ahead


def test_the_next_opening_is_now_when_open_and_the_first_second_when_closed():
    schedule = Schedule.parse(["mon-fri 09:00-18:00"], ["2026-12-25"], KOLKATA)
    limit = utc("2027-01-01")
    noon = local("2026-12-24T12:00:00.5", KOLKATA)
    assert schedule.next_open(noon, limit) == noon
    assert schedule.next_open(local("2026-12-24T18:00", KOLKATA), limit) == local(
        "2026-12-28T09:00", KOLKATA
    )
    assert schedule.next_open(noon, noon) is None
    monday = local("2026-12-28T09:00", KOLKATA)
    assert schedule.next_open(local("2026-12-26T09:00", KOLKATA), monday) is None
    assert schedule.next_open(local("2026-12-26T09:00", KOLKATA), monday + MINUTE) == monday


def test_an_open_span_over_several_days_closes_at_its_end():
    schedule = Schedule.parse(["fri 18:00-24:00", "sat 00:00-24:00", "sun 00:00-06:00"], [], PARIS)
    assert schedule.closes_at(local("2026-12-25T20:00", PARIS)) == local("2026-12-27T06:00", PARIS)
    closed = local("2026-12-27T06:00", PARIS)
    assert schedule.closes_at(closed) == closed


@pytest.mark.parametrize("windows", [[], ["daily 00:00-24:00"], ["06:00-18:00", "18:00-06:00"]])
def test_a_schedule_that_is_always_open_never_closes(windows):
    schedule = Schedule.parse(windows, [], PARIS)
    assert schedule == ALWAYS
    now = utc("2026-10-01T12:00:00.25")
    assert schedule.closes_at(now) is None
    assert schedule.next_open(now) == now
    assert list(schedule.open_spans(now, now + DAY)) == [(now, now + DAY)]
    assert list(schedule.open_spans(now, now)) == []


@pytest.mark.parametrize("days", range(727, 737))
def test_what_opens_after_a_blackout_as_long_as_the_horizon_is_found(days):
    first = date(2026, 5, 4)
    last = first + timedelta(days=days)
    schedule = Schedule.parse(["09:00-10:00"], [f"{first}..{last}"], PARIS)
    opens = datetime.combine(last + timedelta(days=1), time(9), PARIS)
    assert schedule.next_open(datetime(2026, 5, 4, 12, tzinfo=PARIS)) == opens
    assert schedule.next_open(datetime(2026, 5, 5, 12, tzinfo=PARIS)) == opens


def test_a_blackout_beyond_the_horizon_is_not_searched():
    assert Schedule.parse([], ["2036-12-25"], PARIS).closes_at(utc("2026-01-01")) is None
    near = Schedule.parse([], ["2026-12-25"], PARIS).closes_at(utc("2026-01-01"))
    assert near == local("2026-12-25T00:00", PARIS)


def test_hours_that_never_meet_never_open():
    weekdays = Schedule.parse(["mon-fri 09:00-18:00"], [], PARIS)
    weekend = Schedule.parse(["sat,sun 09:00-18:00"], [], PARIS)
    never = weekdays.intersect(weekend)
    assert never.next_open(utc("2026-01-01")) is None
    assert list(never.open_spans(utc("2026-01-01"), utc("9000-01-01"))) == []


def test_a_schedule_that_opens_for_good_is_found():
    schedule = Schedule.parse([], ["2026-12-25"], UTC)
    assert schedule.next_open(utc("2026-12-25T12:00")) == utc("2026-12-26")


def test_dates_far_ahead_are_found_and_past_ones_end_the_search():
    far = Schedule.parse(["2049-05-01 10:00-12:00"], [], UTC)
    assert far.next_open(utc("2026-01-01")) == utc("2049-05-01T10:00")
    assert far.next_open(utc("2049-05-02")) is None
    both = Schedule.parse(["2026-05-01 10:00-12:00", "2027-03-01 10:00-12:00"], [], UTC)
    assert both.next_open(utc("2026-01-01")) == utc("2026-05-01T10:00")
    assert both.next_open(utc("2026-05-02")) == utc("2027-03-01T10:00")
    assert list(far.open_spans(utc("2026-01-01"), utc("9000-01-01"))) == [
        (utc("2049-05-01T10:00"), utc("2049-05-01T12:00"))
    ]


def test_open_spans_are_cut_at_both_ends_and_computed_one_by_one():
    schedule = Schedule.parse(["daily 09:00-18:00"], [], UTC)
    found_spans = schedule.open_spans(utc("2026-01-01T10:30:00.5"), utc("9000-01-01"))
    assert next(found_spans) == (utc("2026-01-01T10:30:00.5"), utc("2026-01-01T18:00"))
    assert next(found_spans) == (utc("2026-01-02T09:00"), utc("2026-01-02T18:00"))
    last = list(schedule.open_spans(utc("2026-01-01T10:30"), utc("2026-01-02T09:00:01")))[-1]
    assert last == (utc("2026-01-02T09:00"), utc("2026-01-02T09:00:01"))


def test_a_time_without_zone_is_refused():
    for schedule in (ALWAYS, Schedule.parse(["daily 09:00-18:00"], [], UTC)):
        for call in (schedule.is_open, schedule.next_open, schedule.closes_at):
            with pytest.raises(ValueError, match="without zone"):
                call(datetime.fromisoformat("2026-01-01"))


def test_several_zones_are_open_where_all_of_them_are():
    schedule = Schedule.parse(["09:00-18:00"], [], PARIS)
    coasts = schedule.in_all_zones([ZoneInfo("America/New_York"), ZoneInfo("America/Los_Angeles")])
    now = utc("2026-07-01T00:00")
    assert next(coasts.open_spans(now + DAY / 4, now + 2 * DAY)) == (
        utc("2026-07-01T16:00"),
        utc("2026-07-01T22:00"),
    )
    with pytest.raises(ValueError, match="need a time zone"):
        schedule.in_all_zones([])


# Against brute force


@lru_cache(maxsize=8)
def readings(zone, since, until):
    """What a clock in `zone` reads at each minute of [since, until), as minutes since 1970."""
    count = (until - since) // MINUTE
    times = ((since + step * MINUTE).astimezone(zone) for step in range(count))
    return [(each.replace(tzinfo=None) - EPOCH) // MINUTE for each in times]


def brute_force(hours, since, until):
    """Whether each minute of [since, until) is open: the clock reads a time inside a window.

    The margin on both sides is longer than any change of the clock.
    """
    read = readings(hours.zone, since - MARGIN, until + MARGIN)
    opened = [not hours.windows] * len(read)

    def mark(start, end, value):
        for place, at in enumerate(read):
            if start <= at < end:
                opened[place] = value

    numbers = range(min(read) // 1440 - 1, max(read) // 1440 + 1)
    dates = [(number * 1440, EPOCH.date() + number * DAY) for number in numbers]
    for midnight, day in dates:
        own = [w for w in hours.windows if w.dates is not None and day in w.dates]
        for window in own or [w for w in hours.windows if day.weekday() in w.weekdays]:
            mark(midnight + window.start, midnight + window.end, True)
    for midnight, day in dates:
        if any(day in blackout for blackout in hours.blackouts):
            mark(midnight, midnight + 1440, False)
    return opened[MARGIN // MINUTE : -(MARGIN // MINUTE)]


def minutes_of(found_spans, since, until):
    opened = [False] * ((until - since) // MINUTE)
    for start, end in found_spans:
        assert start < end
        first, last = (start - since) / MINUTE, (end - since) / MINUTE
        assert first == int(first)
        assert last == int(last)
        opened[int(first) : int(last)] = [True] * int(last - first)
    return opened


def check(schedule, since, until):
    """Check that the schedule agrees with brute force everywhere in [since, until)."""
    expected = [True] * ((until - since) // MINUTE)
    for hours in schedule.hours:
        expected = [
            a and b for a, b in zip(expected, brute_force(hours, since, until), strict=True)
        ]
    found_spans = list(schedule.open_spans(since, until))
    assert minutes_of(found_spans, since, until) == expected
    assert all(end < start for (_, end), (start, _) in pairwise(found_spans))
    for start, end in found_spans:
        assert schedule.is_open(start)
        assert schedule.is_open(end - timedelta(microseconds=1))
        assert end == until or not schedule.is_open(end)
        assert start == since or not schedule.is_open(start - timedelta(microseconds=1))
        assert schedule.next_open(start) == start
        assert end == until or schedule.closes_at(start) == end
    for (_, end), (start, _) in pairwise(found_spans):
        assert schedule.next_open(end) == start
        assert schedule.closes_at(end) == end
    return expected


def written(minutes):
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def around(change):
    """Windows with edges before, at, in and after the readings that a change skips or repeats."""
    low, high = sorted((change.old_reading, change.new_reading))
    low, high = ((each - EPOCH) // MINUTE for each in (low, high))
    length = high - low
    inside, further = low + length // 3, low + length // 2
    pairs = [
        (low - 35, inside),
        (inside, high + 25),
        (inside, further),
        (low, high),
        (low - 35, low),
        (high, high + 25),
        (high + 25, low - 35),
    ]
    return [f"{written(start)}-{written(end)}" for start, end in pairs]


def test_every_change_of_every_zone_in_the_next_five_years_is_as_defined():
    seen = changes(years=5)
    assert len(seen) > 200
    for number, change in enumerate(seen):
        since, until = change.at - 6 * HOUR, change.at + 6 * HOUR
        for window in around(change)[number % 4 :: 4]:
            schedule = Schedule.parse([window], [], change.zone)
            expected = check(schedule, since, until)
            asked = [schedule.is_open(since + i * MINUTE) for i in range(240, 480)]
            assert asked == expected[240:480], (change, window)


def test_a_minute_is_open_if_and_only_if_the_clock_reads_inside_the_window():
    for number, change in enumerate(changes(years=5)):
        for text in around(change):
            schedule = Schedule.parse([text], [], change.zone)
            (window,) = parse_windows([text])
            for step in range(-180 + number % 3, 180, 3):
                at = (change.at + step * MINUTE).astimezone(change.zone)
                minute = at.hour * 60 + at.minute
                inside = any(window.start <= each < window.end for each in (minute, minute + 1440))
                assert schedule.is_open(at) is inside


def test_a_blacked_out_date_has_no_open_minute_in_any_zone():
    for change in changes(years=5):
        day = change.old_reading.date()
        schedule = Schedule.parse([], [str(day)], change.zone)
        for step in range(-1500, 1500, 20):
            at = (change.at + step * MINUTE).astimezone(change.zone)
            assert not (at.date() == day and schedule.is_open(at))
            assert schedule.is_open(at) or abs((at.date() - day).days) <= 1


times = st.integers(0, 95).map(lambda quarter: time(quarter // 4, quarter % 4 * 15))
days = st.sampled_from(["", "daily ", "mon-fri ", "sat,sun ", "fri-mon ", "tue ", "{} "])
spans = st.tuples(times, times).filter(lambda pair: pair[0] != pair[1])
zones = st.sampled_from(every_zone())


@st.composite
def schedules(draw, near):
    def some_date():
        return str((near + draw(st.integers(-2, 2)) * DAY).date())

    windows = [
        draw(days).format(some_date()) + f"{start:%H:%M}-{end:%H:%M}"
        for start, end in draw(st.lists(spans, max_size=3))
    ]
    blackouts = [some_date()] if draw(st.booleans()) else []
    return Schedule.parse(windows, blackouts, parse_zone(draw(zones)))


instants = st.one_of(
    # Deferred, since every test process collects the tests.
    st.deferred(lambda: st.sampled_from([change.at for change in changes(years=5)])),
    st.integers(0, 5 * 365 * 1440).map(lambda minutes: utc("2026-01-01") + minutes * MINUTE),
)


@given(st.data(), instants)
@settings(max_examples=40, deadline=None)
def test_any_schedule_agrees_with_brute_force(data, at):
    check(data.draw(schedules(at)), at - DAY, at + DAY)


@given(st.data(), instants)
@settings(max_examples=40, deadline=None)
def test_an_intersection_is_open_where_both_are(data, at):
    one, other = data.draw(schedules(at)), data.draw(schedules(at))
    both = one.intersect(other)
    for step in range(-1440, 1440, 7):
        minute = at + step * MINUTE
        assert both.is_open(minute) == (one.is_open(minute) and other.is_open(minute))
    found_spans = list(both.open_spans(at - DAY, at + DAY))
    for start, end in found_spans:
        assert one.is_open(start)
        assert other.is_open(end - MINUTE)
    opening = both.next_open(at, at + DAY)
    later = [max(start, at) for start, end in found_spans if end > at]
    assert opening == (later[0] if later else None)


@given(st.data(), instants)
@settings(max_examples=40, deadline=None)
def test_a_schedule_survives_being_stored(data, at):
    schedule = data.draw(schedules(at)).intersect(data.draw(schedules(at)))
    assert Schedule.from_json(orjson.loads(orjson.dumps(schedule.to_json()))) == schedule


def test_offsets_survive_being_stored():
    schedule = Schedule.parse(["09:00-18:00"], [], timezone(-timedelta(hours=3, minutes=30)))
    assert schedule.to_json()[0]["zone"] == "-03:30"
    assert Schedule.from_json(schedule.to_json()) == schedule


@pytest.mark.parametrize(
    ("windows", "blackouts", "opening"),
    [
        (["2035-07-01 09:00-10:00"], [], "2035-07-01 09:00"),
        (["2026-07-01 09:00-10:00", "2035-07-01 09:00-10:00"], [], "2035-07-01 09:00"),
        (["2026-07-01 09:00-10:00", "2035-07-01..2040-07-01 09:00-10:00"], [], "2035-07-01 09:00"),
        (["09:00-10:00"], ["2026-07-02..2034-12-31"], "2035-01-01 09:00"),
        (["mon 09:00-10:00"], ["2026-07-02..2034-12-31"], "2035-01-01 09:00"),
        (["09:00-10:00", "2026-07-02..2034-12-31 22:00-23:00"], [], "2035-01-01 09:00"),
        (["22:00-23:00", "2035-07-01 09:00-10:00"], [], "2035-07-01 09:00"),
        (["22:00-23:00", "2026-07-01 09:00-10:00"], [], None),
        (["2026-07-01 09:00-10:00"], [], None),
    ],
)
def test_an_opening_is_found_however_many_years_after_the_one_before(windows, blackouts, opening):
    days = Schedule.parse(["08:00-20:00"], [], UTC)
    dated = Schedule.parse(windows, blackouts, UTC).intersect(days)
    found = dated.next_open(utc("2026-07-01 12:00"))
    assert found == (None if opening is None else utc(opening))
    spans = dated.open_spans(utc("2026-07-01 12:00"), utc("2045-01-01"))
    assert next(spans, (None,))[0] == found


def test_openings_far_apart_are_listed_in_order_each_once():
    summers = ["2026-07-01 09:00-10:00", "2035-07-01 09:00-10:00", "2038-07-01 09:00-10:00"]
    found = Schedule.parse(summers, [], UTC).open_spans(utc("2026-06-01"), utc("2050-01-01"))
    assert [start.date() for start, _end in found] == [
        date(2026, 7, 1), date(2035, 7, 1), date(2038, 7, 1),
    ]  # fmt: skip

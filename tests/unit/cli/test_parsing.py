"""Rates, times and zones as people write them on the command line."""

import re
from zoneinfo import ZoneInfo

import pytest

from dispatcher.campaigns.timing import Timing
from dispatcher.cli.parsing import check_windows, parse_named_zone, parse_rate, parse_time
from dispatcher.errors import UsageProblem

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "per_second"),
    [
        ("100", 100),
        ("100/s", 100),
        ("100 / s", 100),
        ("0.5/s", 0.5),
        ("100/second", 100),
        ("6000/min", 100),
        ("6000/MINUTE", 100),
        ("6000/m", 100),
        ("3600/h", 1),
        ("1/hour", 1 / 3600),
        ("1000000/s", 1_000_000),
    ],
)
def test_a_rate_is_messages_in_a_second_a_minute_or_an_hour(text, per_second):
    assert parse_rate(text) == pytest.approx(per_second)


@pytest.mark.parametrize(
    "text",
    ["0/s", "-1/s", "1e9/s", "1000001/s", "0.5/h", "100/d", "1,000/s", "1_000/s", "٥/s", "fast",
     "100 per second", "/s", "100/", "inf", "nan", "9" * 400],
)  # fmt: skip
def test_an_invalid_rate_is_refused_with_what_to_write(text):
    with pytest.raises(UsageProblem, match=r"--rate '.*' is not a valid rate") as refused:
        parse_rate(text)
    assert "100/s, 6000/min or 50000/h" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-12-24T09:00", "2026-12-24T08:00:00+00:00"),
        ("2026-12-24 09:00", "2026-12-24T08:00:00+00:00"),
        ("2026-12-24", "2026-12-23T23:00:00+00:00"),
        ("2026-12-24T09:00+05:30", "2026-12-24T03:30:00+00:00"),
        ("2026-12-24T09:00Z", "2026-12-24T09:00:00+00:00"),
        # Berlin skips 02:00 to 03:00 on this day, and has it twice on the other.
        ("2027-03-28T02:30", "2027-03-28T01:00:00+00:00"),
        ("2026-10-25T02:30", "2026-10-25T00:30:00+00:00"),
    ],
)
def test_a_time_without_an_offset_is_in_the_zone(text, utc):
    assert parse_time("--start-at", text, BERLIN).isoformat() == utc


@pytest.mark.parametrize(
    "text",
    ["", "18:00", "tomorrow", "24.12.2026", "2026-12-24T25:00", "2026-02-30", "0001-01-01"],
)
def test_an_invalid_time_is_refused_by_the_name_of_its_option(text):
    with pytest.raises(UsageProblem, match=f"--expire-at '{text}' is not a valid time"):
        parse_time("--expire-at", text, BERLIN)


def test_a_misspelt_zone_is_refused_with_the_right_name():
    with pytest.raises(
        UsageProblem, match="--timezone 'Europe/Berln' is not a valid time zone"
    ) as refused:
        parse_named_zone("Europe/Berln")
    assert refused.value.hint.startswith("did you mean Europe/Berlin?")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"windows": ("25:00",)}, "--window '25:00' is not a valid day: write mon, mon-fri, daily"),
        (
            {"windows": ("mon-fri 18:00-9",)},
            "--window 'mon-fri 18:00-9': '18:00-9' are not valid hours: write",
        ),
        (
            {"blackouts": ("2026-12-26..2026-12-24",)},
            "--blackout '.*' ends before it begins: write 2026-12-25",
        ),
    ],
)
def test_a_wrong_window_names_its_option(values, words):
    with pytest.raises(UsageProblem) as refused:
        check_windows(Timing(**values))
    assert re.search(words, refused.value.in_one_line)

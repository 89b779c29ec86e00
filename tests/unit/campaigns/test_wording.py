"""A campaign's terms in the words that people read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from dispatcher.campaigns.constraints import CampaignConstraints
from dispatcher.campaigns.timing import Timing
from dispatcher.campaigns.wording import hours_in_words, past_dates, rate_in_words, terms_in_words
from dispatcher.status import Kind
from tests.support.stores import settings

KOLKATA = ZoneInfo("Asia/Kolkata")
PLAIN = CampaignConstraints(kind=Kind.TRANSACTIONAL, schedule=None, start_at=None, expire_at=None)
OPEN = settings(timezone="Asia/Kolkata")
LAW = settings(
    timezone="Asia/Kolkata", windows=("daily 09:00-21:00",), kind_windows={Kind.OTP: ()},
    messages_per_second=500, requests_per_second=0.5, daily_limit=2000,
)  # fmt: skip


def schedule(*windows, blackouts=(), zone=KOLKATA):
    return Timing(windows=windows, blackouts=blackouts, zone=zone).schedule


@pytest.mark.parametrize(
    ("account", "wanted", "by_zone", "told"),
    [
        (OPEN, PLAIN, False, {"windows": "at any time", "rate": "no limit"}),
        (
            LAW, PLAIN, False,
            {
                "windows": "daily 09:00-21:00 (Asia/Kolkata), set by the account",
                "rate": "500 messages/s, 0.5 requests/s, 2000 messages a day (account limit)",
            },
        ),
        (
            LAW, replace(PLAIN, schedule=schedule("fri 18:00-09:00"), rate=100.0), False,
            {
                "windows": "fri 18:00-09:00 (Asia/Kolkata),"
                " within the account's daily 09:00-21:00 (Asia/Kolkata)",
                "rate": "100 messages/s,"
                " within the account's 500 messages/s, 0.5 requests/s, 2000 messages a day",
            },
        ),
        (
            OPEN, replace(PLAIN, schedule=schedule(blackouts=["2026-12-24..2026-12-26"])), True,
            {
                "windows": "at any time, not on 2026-12-24..2026-12-26 (each recipient's zone)",
                "rate": "no limit",
            },
        ),
        (
            LAW, replace(PLAIN, kind=Kind.OTP, priority=3), False,
            {
                "windows": "at any time",
                "rate": "500 messages/s, 0.5 requests/s, 2000 messages a day (account limit)",
                "priority": "above all bulk campaigns",
            },
        ),
        (
            OPEN,
            replace(
                PLAIN, priority=-3, start_at=datetime(2026, 12, 21, 3, 30, tzinfo=UTC),
                expire_at=datetime(2026, 12, 24, 12, 30, 5, tzinfo=UTC),
                schedule=schedule("9:00-18:00", zone=timezone(timedelta(hours=2))),
            ),
            False,
            {
                "windows": "daily 09:00-18:00 (+02:00)", "rate": "no limit", "priority": "-3",
                "starts": "2026-12-21 09:00 Asia/Kolkata",
                "expires": "2026-12-24 18:00:05 Asia/Kolkata",
            },
        ),
    ],
)  # fmt: skip
def test_terms_say_when_how_fast_and_in_what_order(account, wanted, by_zone, told):
    assert dict(terms_in_words(account, wanted, by_zone=by_zone)) == told


def test_an_accounts_hours_name_the_kinds_that_have_their_own():
    assert hours_in_words(OPEN) == "at any time"
    assert hours_in_words(LAW) == "daily 09:00-21:00; otp at any time (Asia/Kolkata)"


@pytest.mark.parametrize(
    ("per_second", "words"),
    [
        (100.0, "100 messages/s"),
        (100 / 60, "100 messages/min"),
        (1 / 3600, "1 message/h"),
        (50_000 / 3600, "50000 messages/h"),
        (0.123456, "0.123 messages/s"),
    ],
)
def test_a_rate_is_shown_in_the_unit_in_which_it_is_whole(per_second, words):
    assert rate_in_words(per_second) == words


def test_past_dates_are_shown_in_their_time_zone():
    stored = schedule("2026-12-24 09:00-10:00", "mon 09:00-10:00", blackouts=["2026-12-25"])
    wanted = replace(PLAIN, schedule=stored)
    assert past_dates(wanted, datetime(2026, 12, 24, 18, 29, tzinfo=UTC)) == []
    assert past_dates(wanted, datetime(2026, 12, 24, 18, 30, tzinfo=UTC)) == [
        "window of 2026-12-24"
    ]
    assert past_dates(wanted, datetime(2026, 12, 25, 18, 30, tzinfo=UTC)) == [
        "blackout 2026-12-25",
        "window of 2026-12-24",
    ]

"""`campaign set`: what it changes, what it keeps, and what it refuses."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.cli import in_process, write_config
from tests.support.stores import add_campaign, campaign_of


@pytest.fixture
def run(sqlite_url, tmp_path):
    """`campaign set 1 OPTIONS`; the one campaign of the store is the first."""
    config = write_config(tmp_path, sqlite_url)

    def set_(*options):
        return in_process(
            "--config", str(config), "campaign", "set", "1", *options, folder=tmp_path
        )

    return set_


def in_days(days):
    return datetime.now(UTC) + timedelta(days=days)


WEEKLY = '[{"windows":["mon-fri 09:00-18:00"],"blackouts":["2026-12-25"],"zone":"Europe/Berlin"}]'


@pytest.mark.parametrize(
    ("stored", "options", "schedule"),
    [
        (
            WEEKLY, ["--window", "10:00-24:00"],
            '[{"windows":["daily 10:00-24:00"],"blackouts":["2026-12-25"],"zone":"Europe/Berlin"}]',
        ),
        (
            WEEKLY, ["--blackout", "none", "--timezone", "+05:30"],
            '[{"windows":["mon-fri 09:00-18:00"],"blackouts":[],"zone":"+05:30"}]',
        ),
        (WEEKLY, ["--window", "none", "--blackout", "none"], None),
        # Windows of the whole day are stored as no limit.
        (
            "[]", ["--blackout", "2026-12-24..2026-12-26"],
            '[{"windows":[],"blackouts":["2026-12-24..2026-12-26"],"zone":"Asia/Kolkata"}]',
        ),
        (
            None, ["--window", "2099-12-24 22:00-02:00"],
            '[{"windows":["2099-12-24 22:00-02:00"],"blackouts":[],"zone":"Asia/Kolkata"}]',
        ),
    ],
)  # fmt: skip
def test_windows_blackouts_and_zone_change_each_alone(sqlite_store, run, stored, options, schedule):
    add_campaign(sqlite_store, schedule=stored)
    ended = run(*options)
    assert (ended.code, ended.err) == (0, "")
    assert campaign_of(sqlite_store, 1).schedule == schedule


def test_none_removes_a_rate_and_an_expiry(sqlite_store, run):
    add_campaign(sqlite_store, rate=5.0, expire_at=in_days(1))
    assert run("--rate", "none", "--expire-at", "none").code == 0
    campaign = campaign_of(sqlite_store, 1)
    assert (campaign.rate, campaign.expire_at) == (None, None)


def test_a_campaign_that_started_long_ago_can_be_changed(sqlite_store, run):
    add_campaign(sqlite_store, start_at=in_days(-30))
    assert run("--window", "00:00-24:00").code == 0


@pytest.mark.parametrize(
    ("stored", "options", "code", "words"),
    [
        ({}, [], 2, "nothing to set"),
        ({}, ["--rate", "0/s"], 2, "'0/s' is not a valid rate"),
        ({}, ["--rate", "0.5/h"], 2, "at least 1/h"),
        ({}, ["--rate", "9" * 400], 2, "is not a valid rate"),
        ({}, ["--rate", "10/week"], 2, "write 100/s"),
        ({}, ["--window", "mon-fry 09:00-18:00"], 2, "'mon-fry 09:00-18:00'"),
        ({}, ["--window", "09:00-25:00"], 2, "up to 24:00"),
        ({}, ["--blackout", "2026-02-30"], 2, "'2026-02-30' is not a valid date"),
        ({}, ["--window", "09:00-10:00", "--timezone", "Asia/Kolkatta"], 2, "Asia/Kolkatta"),
        ({}, ["--expire-at", "tomorrow"], 2, "'tomorrow' has no time of day"),
        ({}, ["--start-at", "2099-01-01"], 2, "'2099-01-01' has no time of day"),
        ({}, ["--start-at", "next mon 9:00"], 2, "`next mon` may be one of two days"),
        ({}, ["--expire-at", "0001-01-01T00:00"], 2, "is not a valid time: it is too far away"),
        ({}, ["--expire-at", "2020-01-01T00:00"], 3, "is in the past: 2020-01-01 00:00 Asia/Ko"),
        ({}, ["--start-at", "2020-01-01T00:00"], 3, "--start-at is in the past: 2020-01-01"),
        ({}, ["--rate", ""], 2, "--rate is empty"),
        ({"expire_at": in_days(1)}, ["--start-at", "2099-01-01T00:00"], 3, "not after --start-at"),
        ({}, ["--window", "2020-05-01 09:00-10:00"], 3, "the windows never open"),
        (
            {"schedule": '[{"windows":["2099-05-01 09:00-10:00"],"blackouts":[],"zone":"UTC"}]'},
            ["--expire-at", "2098-01-01T00:00"], 3,
            "never open before 2098-01-01 00:00 Asia/Kolkata: 2099-05-01 09:00-10:00 (UTC)",
        ),
    ],
)  # fmt: skip
def test_invalid_values_are_refused_and_change_nothing(
    sqlite_store, run, stored, options, code, words
):
    add_campaign(sqlite_store, **stored)
    before = campaign_of(sqlite_store, 1)
    ended = run(*options)
    assert (ended.code, words in ended.err) == (code, True), ended
    assert campaign_of(sqlite_store, 1) == before


def test_it_shows_the_terms_after_the_change(sqlite_store, run):
    add_campaign(sqlite_store)
    ended = run("--window", "2099-12-24 22:00-02:00", "--rate", "600/min", "--priority", "5")
    assert ended.out.splitlines() == [
        "campaign 1: rate, priority, windows changed",
        "windows    2099-12-24 22:00-02:00 (Asia/Kolkata)",
        "rate       10 messages/s",
        "priority   5",
        "forecast   nothing leaves before 2099-12-24, and a forecast reaches 2 years",
    ]
    ended = run("--blackout", "2020-01-01", "--window", "none")
    assert "already in the past: blackout 2020-01-01" in ended.out


def test_times_are_in_the_named_zone_or_the_accounts(sqlite_store, run):
    add_campaign(sqlite_store)
    assert run("--expire-at", "2099-05-01T12:00").code == 0
    assert campaign_of(sqlite_store, 1).expire_at == datetime(2099, 5, 1, 6, 30, tzinfo=UTC)
    assert run("--expire-at", "2099-05-01T12:00", "--timezone", "+02:00").code == 0
    assert campaign_of(sqlite_store, 1).expire_at == datetime(2099, 5, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zones", "options", "words"),
    [
        (None, ["--window", "09:00-10:00", "--timezone", "recipient"], "was not submitted with"),
        (None, ["--timezone", "UTC"], "has none"),
        ('["Asia/Kolkata"]', ["--window", "09:00-10:00", "--timezone", "UTC"], "each recipient's"),
        ('["Asia/Kolkata"]', ["--timezone", "recipient"], "nothing to set"),
    ],
)
def test_recipients_zones_cannot_be_removed_or_added_later(
    sqlite_store, run, zones, options, words
):
    add_campaign(sqlite_store, zones=zones)
    before = campaign_of(sqlite_store, 1)
    ended = run(*options)
    assert (ended.code, words in ended.err) == (2, True), ended
    assert campaign_of(sqlite_store, 1) == before


def test_new_windows_must_contain_the_time_scheduled_at_the_provider(sqlite_store, run):
    at = datetime(2099, 5, 1, 6, 30, tzinfo=UTC)  # 12:00 in Kolkata
    add_campaign(sqlite_store, schedule_at=at)
    assert run("--window", "09:00-18:00").code == 0
    ended = run("--window", "13:00-18:00")
    assert (ended.code, "closed at 2099-05-01 12:00 Asia/Kolkata" in ended.err) == (3, True)

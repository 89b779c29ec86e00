"""Times as people say them, through the command line: what is read, said, asked and refused."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.cli import in_process
from tests.support.stores import add_campaign

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "aoc_portal"
api_key = "any"
sender = "SENDER"
{more}
"""


@pytest.fixture
def run(sqlite_store, tmp_path):
    def run(*args, more='country = "IN"'):
        config = tmp_path / "dispatcher.toml"
        config.touch(mode=0o600)
        config.write_text(CONFIG.format(path=sqlite_store.url.database, more=more))
        (tmp_path / "people.csv").write_text("phone\n919820011240\n")
        return in_process("--config", str(config), *args, folder=tmp_path)

    return run


@pytest.fixture
def dry_run(run, tmp_path):
    def dry_run(*options, more='country = "IN"'):
        file = str(tmp_path / "people.csv")
        return run("campaign", "submit", file, "--text", "Hello", "--dry-run", *options, more=more)

    return dry_run


def test_the_default_zone_is_that_of_the_accounts_country(dry_run):
    ended = dry_run("--start-at", "tomorrow 09:00", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["timezone"] == "Asia/Kolkata"
    assert found["start_at"].endswith("T03:30:00.000Z")
    assert datetime.fromisoformat(found["start_at"]) - datetime.now(UTC) < timedelta(days=2)


def test_without_a_zone_words_are_refused_and_an_iso_time_is_said_to_be_utc(dry_run):
    ended = dry_run("--start-at", "tomorrow 09:00", more='country = "US"')
    assert ended.code == 2
    assert "'tomorrow 09:00' needs a time zone" in ended.err
    assert "write `tomorrow 09:00 Europe/Berlin`, or set the account's `timezone`" in ended.err
    for given in ("tomorrow 09:00 America/New_York", "+2h"):
        assert dry_run("--start-at", given, more='country = "US"').code == 0
    ended = dry_run("--start-at", "2099-01-01T09:00", more='country = "US"')
    assert "times and windows are in UTC, because the account has no `timezone`" in (
        " ".join(ended.out.split())
    )


def test_a_day_without_a_time_needs_windows_and_is_said(dry_run):
    ended = dry_run("--start-at", "2099-01-01")
    assert (ended.code, "has no time of day" in ended.err) == (2, True)
    ended = dry_run("--start-at", "2099-01-01", "--window", "09:00-18:00")
    assert ended.code == 0, ended.err
    assert "the first messages leave when the windows open, on Thu 2099-01-01 or later" in (
        " ".join(ended.out.split())
    )
    ended = dry_run("--expire-at", "2099-01-01", "--window", "09:00-18:00")
    assert (ended.code, "has no time of day" in ended.err) == (2, True)


def test_a_time_that_clocks_read_twice_is_named(dry_run):
    zone = 'timezone = "America/Sao_Paulo"'
    ended = dry_run("--start-at", "2099-10-25T02:30", "--timezone", "Europe/Berlin", more=zone)
    assert "--start-at: clocks in Europe/Berlin read 02:30 on 2099-10-25 twice" in (
        " ".join(ended.out.split())
    )


def test_campaign_set_reads_the_same_words(run, sqlite_store):
    add_campaign(sqlite_store)
    ended = run("campaign", "set", "1", "--start-at", "+2h")
    assert ended.code == 0, ended.err
    assert "starts" in ended.out
    assert "Asia/Kolkata" in ended.out

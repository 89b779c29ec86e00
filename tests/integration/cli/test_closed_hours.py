"""What is shown for messages that must wait for opening hours. No provider is asked."""

import pytest

from dispatcher.store.tables import CAMPAIGN
from tests.support.cli import in_process
from tests.support.stores import rows

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "smsnoc"
api_token = "a-key-of-a-test"
base_url = "http://127.0.0.1:9/api/v3"
sender = "SENDER"
country = "IN"
timezone = "Asia/Kolkata"
schedule_timezone = "Asia/Dhaka"
windows = ["2099-12-24 09:00-18:00"]
kind_windows = {{ otp = [] }}
"""
CLOSED = (
    "the windows are closed until 2099-12-24 09:00 Asia/Kolkata:"
    " 2099-12-24 09:00-18:00 (Asia/Kolkata), set by the account"
)


@pytest.fixture
def run(sqlite_store, tmp_path):
    """A command with an account whose windows open in the far future, but for OTP."""
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(path=sqlite_store.url.database), encoding="utf-8")
    (tmp_path / "people.csv").write_text("phone\n9800000001\n", encoding="utf-8")

    def command(*args):
        return in_process("--config", str(config), *args, folder=tmp_path)

    return command


def test_a_message_that_has_to_wait_says_until_when(run):
    ended = run("send", "9800000001", "Your table is ready")
    assert (ended.code, ended.out.strip()) == (
        0, f"campaign 1 waits, {CLOSED}; `dispatcher campaign watch 1`"
    )  # fmt: skip
    ended = run("send", "9800000001", "482913 is your code", "--kind", "otp")
    assert "campaign 2 is on its way" in ended.out


def test_a_test_message_is_refused_before_anything_is_imported(sqlite_store, run, tmp_path):
    people = str(tmp_path / "people.csv")
    ended = run("campaign", "submit", people, "--text", "Hello", "--test-to", "9800000002", "--yes")
    assert (ended.code, f"--test-to: {CLOSED}" in ended.err) == (3, True), ended
    assert rows(sqlite_store, CAMPAIGN) == []


def test_what_was_submitted_already_needs_no_test_message(run, tmp_path):
    submit = ("campaign", "submit", str(tmp_path / "people.csv"), "--text", "Hello", "--yes")
    known = ("--idempotency-key", "k1")
    assert run(*submit, *known).code == 0
    ended = run(*submit, *known, "--test-to", "9800000002")
    assert (ended.code, "was submitted before with this key" in ended.out) == (0, True), ended


@pytest.mark.parametrize(
    ("zone", "at", "told"),
    [
        (None, "06:30", "12:00"), ("Europe/Berlin", "11:00", "16:30"),
        ("recipient", "06:30", "12:00"),
    ],
)  # fmt: skip
def test_a_time_at_the_provider_is_in_the_named_zone(sqlite_store, run, tmp_path, zone, at, told):
    named = ("--timezone", zone) if zone else ()
    ended = run(
        "campaign", "submit", str(tmp_path / "people.csv"), "--text", "Hello", "--yes",
        "--schedule-at-provider", "2099-12-24T12:00", *named,
    )  # fmt: skip
    assert ended.code == 0, ended
    (campaign,) = rows(sqlite_store, CAMPAIGN)
    assert f"{campaign.schedule_at:%H:%M}" == at
    assert f"the provider sends them at 2099-12-24 {told} Asia/Kolkata" in ended.out


def test_what_would_be_ignored_beside_a_contact_list_is_refused(run):
    submit = ("campaign", "submit", "--contact-list", "abc", "--text", "Hello", "--yes")
    for options in (
        ("--limit", "5"), ("--test-to", "9800000002"), ("--timezone", "recipient"),
        ("--fallback", "main"), ("--rejects", "r.csv"), ("--map", "a=b"),
        ("--start-at", "2099-12-24", "--schedule-at-provider", "2099-12-24T10:00"),
    ):  # fmt: skip
        ended = run(*submit, *options)
        assert (ended.code, options[0] in ended.err) == (2, True), ended

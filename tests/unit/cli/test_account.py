"""`dispatcher account …` against the simulated provider."""

import json

import pytest
from click.testing import CliRunner

from dispatcher.cli import cli
from dispatcher.store.engine import Store
from dispatcher.store.migrate import create_tables_if_new
from tests.support.simulator import SimulatorProcess


@pytest.fixture(scope="module")
def simulator():
    with SimulatorProcess() as running:
        yield running


@pytest.fixture
def run(simulator, tmp_path, monkeypatch):
    """Runs `dispatcher account ARGS` with one account, `main`, whose keys may be given."""
    monkeypatch.chdir(tmp_path)

    def account(*args: str, text: str = "", **keys: str):
        given = {
            "provider": "thesmspoint",
            "api_key": "key-of-the-test",
            "base_url": simulator.base_url(),
            "sender": "SENDER",
            "template": "TEMPLATE",
        } | keys
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items() if value)
        (tmp_path / "dispatcher.toml").write_text(f"[accounts.main]\n{lines}{text}")
        return CliRunner().invoke(cli, ["account", *args], catch_exceptions=False)

    return account


def test_a_check_shows_what_the_provider_says_of_the_account(run):
    ended = run("check", "main", "--json")
    report = json.loads(ended.stdout)
    assert ended.exit_code == 0
    assert report["provider"] == "thesmspoint"
    assert report["key"] == "accepted"
    assert report["channels"] == {"transactional": 1, "promotional": 2, "otp": 3}
    assert set(report["balance"]) == {"OTP", "Promotional", "Transactional"}
    assert report["campaigns"]["transactional"] == "possible"
    assert "the sender 'SENDER' is transactional" in report["campaigns"]["promotional"]
    assert "key-of-the-test" not in ended.stdout


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({}, "no limit"),
        (
            {"messages_per_second": 2.5, "parts_per_second": 100, "daily_limit": 12_345_678},
            "2.5 messages/s, 100 parts/s, 12345678 messages a day",
        ),
        ({"requests_per_second": 10}, "10 requests/s"),
    ],
)
def test_the_list_shows_every_limit(run, tmp_path, keys, shown):
    create_tables_if_new(Store(f"sqlite:///{tmp_path}/dispatcher.db"))
    (row,) = json.loads(run("list", "--json", **keys).stdout)
    assert row["rate"] == shown


def test_a_check_reads_well_without_json(run):
    ended = run("check")
    assert ended.exit_code == 0
    lines = [line.split(maxsplit=1) for line in ended.stdout.splitlines()]
    assert ["channels", "transactional = 1; promotional = 2; otp = 3"] in lines
    assert ["transactional", "campaigns  possible"] in lines


def test_a_wrong_key_fails_in_the_providers_words(run):
    ended = run("check", api_key="bad-key")
    assert ended.exit_code == 1
    assert "account main: API Key Does Not Exists" in ended.stderr
    assert "bad-key" not in ended.output


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"sender": "NOBODY"}, "knows no sender 'NOBODY'"),
        ({"sender": "NEWSND"}, "not approved"),
        ({"template": "NOTHING"}, "NOTHING"),
    ],
)
def test_a_sender_or_template_that_cannot_be_used_fails(run, keys, words):
    ended = run("check", **keys)
    assert ended.exit_code == 1
    assert "no campaign can use" in ended.stderr
    assert words in ended.stderr


def test_an_account_without_a_default_sender_does_not_fail(run):
    ended = run("check", sender="")
    assert ended.exit_code == 0
    assert "this account has no sender" in ended.stdout


def test_the_balance_is_listed(run, simulator):
    simulator.set_balance(42, "OTP")
    packages = json.loads(run("balance", "main", "--json").stdout)
    assert {"package": "OTP", "amount": "42"} in packages
    assert "OTP                   42" in run("balance").stdout


def test_senders_and_templates_are_listed_with_their_approval(run):
    senders = {one["name"]: one for one in json.loads(run("senders", "--json").stdout)}
    assert senders["SENDER"]["approved"] is True
    assert senders["NEWSND"]["approved"] is False
    templates = {one["name"]: one for one in json.loads(run("templates", "--json").stdout)}
    assert templates["TEMPLATE"]["sender"] == "SENDER"
    rows = [line.split() for line in run("senders").stdout.splitlines()]
    assert rows[0] == ["name", "ref", "kind", "approved", "status", "purpose"]
    assert ["SENDER", "4101", "transactional", "yes", "Approved", "Order", "updates"] in rows


def test_the_name_may_be_left_out_only_where_there_is_one_account(run):
    second = '[accounts.second]\nprovider = "thesmspoint"\napi_key = "x"\n'
    ended = run("balance", text=second)
    assert ended.exit_code == 2
    assert "there are several accounts" in ended.stderr
    assert "main, second" in ended.stderr


def test_a_configuration_without_accounts_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dispatcher.toml").write_text("")
    ended = CliRunner().invoke(cli, ["account", "check"])
    assert ended.exit_code == 2
    assert "no account is configured" in ended.stderr


def test_a_provider_that_cannot_be_reached_is_named(run):
    ended = run("balance", base_url="http://127.0.0.1:1")
    assert ended.exit_code == 1
    assert ended.stderr.startswith("Error: account main: no connection to 127.0.0.1")


@pytest.mark.parametrize(
    ("provider", "keys", "shown"),
    [
        ("standingtech", {"api_token": "good"}, "accepted"),
        ("voip_communications", {"api_key": "good", "api_password": "p"}, "accepted"),
        ("aoc_portal", {"api_key": "good"}, "not checked: this provider offers no way"),
    ],
)
def test_a_key_is_checked_by_the_message_list_if_there_is_no_other_request(
    run, simulator, provider, keys, shown
):
    own = {"provider": provider, "base_url": simulator.base_url(provider), "api_key": None}
    sender = "12025550100" if provider == "voip_communications" else "SENDER"
    ended = run("check", "--json", **(own | keys), sender=sender, template=None)
    assert json.loads(ended.stdout)["key"].startswith(shown)


def test_a_wrong_key_is_found_by_the_message_list(run, simulator):
    own = {"provider": "standingtech", "base_url": simulator.base_url("standingtech")}
    ended = run("check", api_key=None, template=None, api_token="bad-key", **own)
    assert ended.exit_code == 1
    assert "Unauthenticated." in ended.stderr

"""What people see of the receiver: its command, metrics, doctor, and notices."""

import json
from contextlib import closing
from datetime import timedelta

import pytest
from click.testing import CliRunner

from dispatcher.cli import cli
from dispatcher.config.notify_settings import NotifySettings
from dispatcher.config.settings import Settings, load_settings
from dispatcher.doctor.services import check_receiver
from dispatcher.monitoring.exporter import make_registry, render_metrics
from dispatcher.notify.conditions import find_conditions
from dispatcher.receiver.access import PUSH_PATH, PushAccess
from dispatcher.receiver.intake import AccountPush, store_pushes
from dispatcher.store.engine import Store
from dispatcher.store.push_urls import list_push_urls
from dispatcher.text.opt_outs import StopWords
from dispatcher.types import InboundMessage, PushContent
from tests.support.stores import FIRST_NUMBER, NOW

CONFIG = """
[store]
url = "{url}"
[receiver]
port = 1
url = "https://sms.example.com"
[accounts.main]
provider = "voip_communications"
api_key = "k"
api_password = "p"
[accounts.point]
provider = "thesmspoint"
api_key = "k"
"""


@pytest.fixture
def config(sqlite_url, tmp_path):
    path = tmp_path / "dispatcher.toml"
    path.touch(0o600)
    path.write_text(CONFIG.format(url=sqlite_url))
    return path


@pytest.fixture
def store(sqlite_url):
    with closing(Store(sqlite_url)) as opened:
        yield opened


def run(config, *args):
    return CliRunner().invoke(cli, ["receiver", *args, "--config", str(config)])


def push_replies(store, *texts):
    replies = tuple(InboundMessage(FIRST_NUMBER + n, text) for n, text in enumerate(texts))
    with store.write() as conn:
        push = AccountPush("main", PushContent(replies=replies))
        store_pushes(conn, [push], {"main": StopWords()}, NOW)


def test_a_url_opens_the_account_until_it_is_revoked(config, store):
    first, second = (json.loads(run(config, "url", "main", "--json").stdout) for _ in range(2))
    assert first["url"].startswith(f"https://sms.example.com{PUSH_PATH}main/")
    paths = [one["url"].removeprefix("https://sms.example.com") for one in (first, second)]
    access = PushAccess(store)
    access.reread_if_due()
    assert [access.find_account(path) for path in paths] == ["main", "main"]
    assert run(config, "revoke", "main").stdout == "1 URL revoked\n"
    assert run(config, "revoke", "main").exit_code == 3
    with store.read() as conn:
        assert len(list_push_urls(conn)) == 1
    access = PushAccess(store)
    access.reread_if_due()
    assert [access.find_account(path) for path in paths] == [None, "main"]


def test_an_account_whose_provider_pushes_nothing_gets_no_url(config):
    ended = run(config, "url", "point")
    assert ended.exit_code == 3
    assert "E-UNSUPPORTED" in ended.stderr


def test_beyond_loopback_it_wants_tls(config):
    ended = run(config, "--host", "0.0.0.0")
    assert ended.exit_code == 2
    assert "--certificate" in ended.stderr
    assert run(config, "--certificate", str(config)).exit_code == 2


def test_replies_are_listed_the_newest_first(config, store):
    push_replies(store, "Thanks", "STOP")
    found = json.loads(run(config, "replies", "--json").stdout)
    assert [(one["text"], one["stop"]) for one in found] == [("STOP", True), ("Thanks", False)]
    assert "Thanks" not in run(config, "replies", "--stops").stdout


def test_metrics_and_doctor_show_what_was_pushed(config, store):
    settings = load_settings(config, {})
    with_nobody = [result.what for result in check_receiver(store, settings)]
    assert with_nobody == [
        "nothing listens on port 1, where providers push", "nobody has a URL to push to",
    ]  # fmt: skip
    assert 'dispatcher_pushes_total{account="main"' not in render_metrics(
        make_registry(store, settings)
    )
    run(config, "url", "main")
    first = render_metrics(make_registry(store, settings))
    assert 'dispatcher_pushes_total{account="main",outcome="unreadable"} 0.0' in first
    push_replies(store, "Thanks", "STOP")
    assert "last push was at 2030-05-06 12:00:00 UTC" in [*check_receiver(store, settings)][1].what
    shown = render_metrics(make_registry(store, settings))
    assert 'dispatcher_pushes_total{account="main",outcome="stop"} 1.0' in shown, "pushes_total"
    assert 'dispatcher_receipts_waiting{account="main"} 0.0' in shown
    assert list(check_receiver(store, Settings())) != [], "whoever has a URL may push"


def test_replies_are_one_notice_in_ten_minutes_without_numbers_and_texts(store):
    wanted = NotifySettings(command=("page",), events=("replies_received",))
    push_replies(store, "Thanks", "secret")

    def look(minutes):
        with store.read() as conn:
            now = NOW + timedelta(minutes=minutes)
            return find_conditions(conn, wanted, begun=NOW - timedelta(hours=1), now=now)

    (notice,) = look(1)
    assert notice.subject == "account main replies 2030-05-06T12:00"
    assert notice.body["detail"].startswith("2 replies have come since 11:31 UTC")
    assert str(FIRST_NUMBER) not in str(notice)
    assert look(2)[0].subject == notice.subject
    assert look(40) == []

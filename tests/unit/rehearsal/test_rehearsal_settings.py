"""The accounts of a rehearsal: at the simulator before anything is built, without a key."""

import pytest
from pydantic import SecretStr

from dispatcher.config.settings import load_settings
from dispatcher.errors import ConfigError, Unsupported
from dispatcher.providers import provider_class, provider_names
from dispatcher.rehearsal.settings import open_for_rehearsal, rehearsal_settings, write_config

STORE = "sqlite:////nowhere/sandbox.db"
URLS = {name: f"http://127.0.0.1:9/{name}" for name in provider_names()}
REAL = """
[store]
url = "postgresql://$DB_USER:$DB_PASSWORD@db.example/sms"
[broker]
url = "redis://broker.example:6379/0"
[accounts.main]
provider = "thesmspoint"
base_url = "https://sms.example/api/v1"
api_key = "$UNSET_KEY"
proxy = "http://asha:secret@proxy.example:3128"
sender = "$$CASH"
template = "Say \\"hi\\" \\\\ \\u0001"
windows = ["mon-fri 09:00-18:00"]
kind_windows = { otp = ["00:00-24:00"] }
channels = { otp = 2 }
messages_per_second = 50
daily_limit = 1000
"""


@pytest.fixture
def real(tmp_path):
    path = tmp_path / "dispatcher.toml"
    path.write_text(REAL, encoding="utf-8")
    return path


def account(provider: str, keys: str = "") -> str:
    return f'[accounts.main]\nprovider = "{provider}"\nsender = "S"\n{keys}'


@pytest.mark.parametrize("provider", sorted(provider_names()))
def test_every_account_is_at_the_simulator_and_needs_no_key(provider, tmp_path):
    path = tmp_path / "dispatcher.toml"
    base = 'base_url = "https://sms.example/api/v3"'
    path.write_text(account(provider, base), encoding="utf-8")
    found = rehearsal_settings(path, {}, URLS, STORE).account("main")
    assert found.base_url == URLS[provider]
    keys = [value for value in dict(found).values() if isinstance(value, SecretStr)]
    assert {key.get_secret_value() for key in keys} == {"rehearsal"}
    assert provider_class(provider)(found).secrets


def test_keys_urls_and_proxies_of_file_and_environment_are_not_used(real):
    environ = {
        "UNSET_KEY": "the-real-key",
        "DISPATCHER_ACCOUNTS__MAIN__BASE_URL": "https://other.example",
        "DISPATCHER_ACCOUNTS__MAIN__API_KEY": "the-real-key",
    }
    found = rehearsal_settings(real, environ, URLS, STORE)
    main = found.account("main")
    assert (main.base_url, main.proxy) == (URLS["thesmspoint"], None)
    assert provider_class("thesmspoint")(main).secrets == ("rehearsal",)
    assert (found.store.url, found.broker.url) == (STORE, "embedded")
    assert (main.windows, main.messages_per_second) == (("mon-fri 09:00-18:00",), 50)


def test_its_processes_read_the_same_accounts_from_the_file_that_it_writes(real, tmp_path):
    found = rehearsal_settings(real, {}, URLS, STORE)
    written = tmp_path / "written.toml"
    write_config(found, written)
    again = load_settings(written, environ={})
    assert again.accounts == found.accounts
    assert again.store == found.store


def test_an_opened_account_has_no_hours_and_no_daily_limit_and_is_faster(real):
    opened = open_for_rehearsal(rehearsal_settings(real, {}, URLS, STORE).account("main"), 4)
    assert (opened.windows, opened.kind_windows, opened.daily_limit) == ((), {}, None)
    assert opened.messages_per_second == 200
    assert opened.requests_per_second is None


def test_a_mistake_is_named_at_its_place_in_the_real_file(tmp_path):
    path = tmp_path / "dispatcher.toml"
    path.write_text(account("smsnoc", "messages_per_second = 0"), encoding="utf-8")
    with pytest.raises(ConfigError, match="messages_per_second") as refused:
        rehearsal_settings(path, {}, URLS, STORE)
    assert str(path) in refused.value.message


def test_a_provider_without_a_simulator_is_refused(tmp_path):
    path = tmp_path / "dispatcher.toml"
    path.write_text(account("smsnoc"), encoding="utf-8")
    with pytest.raises(Unsupported, match="account main: its provider smsnoc cannot be rehearsed"):
        rehearsal_settings(path, {}, {"thesmspoint": "http://127.0.0.1:9"}, STORE)

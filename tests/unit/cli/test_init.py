"""The file that `dispatcher init` writes: complete, loadable, private, and never written over."""

import re
import stat
import tomllib

import pytest
from click.testing import CliRunner

from dispatcher.cli import cli
from dispatcher.cli.init import starter_config
from dispatcher.config.settings import Settings, load_settings
from dispatcher.providers import provider_class, provider_names
from dispatcher.providers.shared.settings import ProviderSettings

ENV = {"THESMSPOINT_KEY": "k"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*args: str):
    return CliRunner().invoke(cli, ["init", *args], catch_exceptions=False)


def test_the_file_is_private_and_loads_and_the_next_steps_are_shown(folder):
    ended = init()
    file = folder / "dispatcher.toml"
    assert ended.exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    account = load_settings(file, ENV).account("main")
    assert (account.provider, account.sender, account.template) == (
        "thesmspoint",
        "SENDER",
        "TEMPLATE",
    )
    assert account.api_key.get_secret_value() == "k"
    assert "THESMSPOINT_KEY" in ended.output
    assert "dispatcher account check main" in ended.output
    assert list(folder.iterdir()) == [file]


def test_the_file_loads_only_with_the_key(folder):
    init()
    ended = CliRunner().invoke(cli, ["account", "check"], env={"THESMSPOINT_KEY": None})
    assert ended.exit_code == 2
    assert "accounts.main.api_key" in ended.stderr
    assert "THESMSPOINT_KEY is not set" in ended.stderr


def uncommented() -> dict:
    """The starter with every key that stands behind a # made one."""
    return tomllib.loads(re.sub(r"^# (?=\w+ = )", "", starter_config(), flags=re.MULTILINE))


def test_every_key_is_in_the_file():
    tables = uncommented()
    account = tables.pop("accounts")["main"]
    for section, table in tables.items():
        assert set(table) == set(Settings.model_fields[section].annotation.model_fields)
    assert set(tables) | {"accounts"} == set(Settings.model_fields)
    assert set(account) == set(provider_class("thesmspoint").settings_type.model_fields)


def other_providers() -> str:
    """The accounts that the starter shows for other providers than its own."""
    return "\n".join(re.findall(r"^#   (.*)", starter_config(), flags=re.MULTILINE))


def own_keys(settings_type) -> set[str]:
    return set(settings_type.model_fields) - set(ProviderSettings.model_fields)


@pytest.mark.parametrize("name", provider_names())
def test_the_keys_of_each_provider_are_in_the_file(name):
    settings_type = provider_class(name).settings_type
    accounts = uncommented()["accounts"] | tomllib.loads(other_providers())["accounts"]
    shown = [
        set(account)
        for account in accounts.values()
        if provider_class(account["provider"]).settings_type is settings_type
    ]

    assert name in starter_config()
    assert any(own_keys(settings_type) <= keys for keys in shown)


def test_the_accounts_of_other_providers_load(folder):
    file = folder / "all.toml"
    file.write_text(f"{starter_config()}\n{other_providers()}", encoding="utf-8")
    names = re.findall(r"\$([A-Z_]+)", other_providers())
    settings = load_settings(file, ENV | dict.fromkeys(names, "k"))
    assert set(settings.accounts) == {"main", "noc", "voip", "aoc"}


def test_the_keys_behind_a_hash_show_their_defaults(folder):
    """Keys without a default show an example, and their comment says so in brackets."""
    text = re.sub(r"^# (?=\w+ = )", "", starter_config(), flags=re.MULTILINE)
    # In place of `secret`: the two exclude each other.
    text = re.sub(r"^secret_file = .*", "", text, flags=re.MULTILINE)
    (folder / "all.toml").write_text(text, encoding="utf-8")
    (folder / "plain.toml").write_text(starter_config(), encoding="utf-8")
    everything = load_settings(folder / "all.toml", ENV | {"NOTIFY_SECRET": "k" * 16})
    plain = load_settings(folder / "plain.toml", ENV)
    assert everything.store == plain.store
    assert everything.broker.model_copy(update={"ca_file": None}) == plain.broker
    assert (
        everything.worker.model_copy(update={"spill_dir": None, "metrics_port": None})
        == plain.worker
    )
    shown = {"port": 9110, "url": "https://sms.example.com"}
    files = {"certificate_file": folder / "receiver.pem", "key_file": folder / "receiver.key"}
    assert dict(everything.receiver) == dict(plain.receiver) | shown | files
    notify = dict(everything.notify)
    examples = {"command", "url", "secret", "events", "balance_below", "delivery_below"}
    assert {key for key, value in dict(plain.notify).items() if notify[key] != value} == examples
    shown = dict(everything.account("main"))
    examples = {key for key, value in dict(plain.account("main")).items() if value is None}
    assert examples == {
        "proxy",
        "allow_only",
        "stop_words",
        "confirm_above_cost",
        "confirm_above_recipients",
        "country",
        "messages_per_second",
        "parts_per_second",
        "requests_per_second",
        "daily_limit",
        "max_in_flight",
        "max_recipients",
        "max_parts",
    }
    defaults = dict(plain.account("main"))
    examples |= {"windows", "kind_windows"}
    assert [key for key in shown if key not in examples and shown[key] != defaults[key]] == []


def test_an_existing_file_is_kept_without_force(folder):
    file = folder / "dispatcher.toml"
    file.write_text("# mine\n", encoding="utf-8")
    file.chmod(0o644)
    ended = init()
    assert (ended.exit_code, file.read_text(encoding="utf-8")) == (3, "# mine\n")
    assert "--force" in ended.stderr
    assert init("--force").exit_code == 0
    assert file.read_text(encoding="utf-8") == starter_config()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_path_may_be_a_folder_a_file_or_the_one_of_config(folder):
    (folder / "etc").mkdir()
    assert init("etc").exit_code == 0
    assert (folder / "etc" / "dispatcher.toml").exists()
    ended = init("other.toml")
    assert "dispatcher --config other.toml up" in ended.output
    ended = CliRunner().invoke(cli, ["--config", "third.toml", "init"])
    assert ended.exit_code == 0
    assert (folder / "third.toml").exists()


def test_a_folder_that_does_not_exist_is_named(folder):
    ended = init("no/such/x.toml")
    assert ended.exit_code == 2
    assert "the folder no/such does not exist" in ended.stderr

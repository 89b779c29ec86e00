"""The keys and values of a configuration, where it is found, and errors about mistakes in it."""

from pathlib import Path

import pytest

from dispatcher.config.settings import Settings, load_settings
from dispatcher.config.sources import variable_of
from dispatcher.errors import ConfigError
from dispatcher.providers import provider_class, provider_names
from dispatcher.status import Kind
from dispatcher.store.engine import parse_url

ACCOUNT = """
[accounts.main]
provider = "thesmspoint"
api_key = "$KEY"
"""
ENV = {"KEY": "k-from-env", "HOME": "/nonexistent"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(folder: Path, text: str | None, **env: str) -> Settings:
    if text is None:
        return load_settings(None, ENV | env)
    file = folder / "dispatcher.toml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, ENV | env)


def refusal(folder: Path, text: str | None, **env: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **env)
    return f"{caught.value.message} | {caught.value.hint}"


def test_an_account_gets_its_providers_settings_and_base_url(folder):
    account = load(folder, ACCOUNT).account("main")
    assert type(account).__name__ == "TheSMSPointSettings"
    assert account.base_url == "https://thesmspoint.com/api/v1"
    assert account.api_key.get_secret_value() == "k-from-env"


def test_an_empty_configuration_has_the_defaults(folder):
    settings = load(folder, "")
    assert settings.store.url == f"sqlite:///{folder}/dispatcher.db"
    assert settings.broker.url == "embedded"
    assert (settings.worker.lease_s, settings.worker.requeue_after_s) == (25, 25)
    assert settings.accounts == {}


def test_no_repr_and_no_error_shows_a_secret(folder):
    text = ACCOUNT.replace("$KEY", "s3cret-key") + '[broker]\nurl = "redis://:s3cret@h/0"\n'
    text += '[store]\nurl = "postgresql://u:s3cret@h/d"\n'
    assert "s3cret" not in repr(load(folder, text))
    assert "s3cret" not in str(load(folder, text))
    wrong = text.replace("redis:", "reddis:").replace("postgresql:", "mysql:")
    assert "s3cret" not in refusal(folder, wrong)
    assert "s3cret" not in refusal(folder, text.replace("s3cret-key", "s3cret key"))


@pytest.mark.parametrize(
    ("section", "url"),
    [
        ("store", "postgresql://someone:s3cr@et/pa#ss@db.example/d"),
        ("store", "postgresql://someone:s3cret#pass@db.example/d"),
        ("store", "postgresql://someone:12/s3cret@db.example/d"),
        ("broker", "redis://:s3c@ret/x#y@redis.example/0"),
        ("broker", "rediss://someone:s3cret?x@redis.example/0"),
        ("accounts.main", "https://someone:s3c@ret/x@sms.example/api"),
    ],
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_a_password_that_is_not_escaped_is_refused_with_its_place_and_never_shown(
    folder, section, url, by_variable
):
    key = "base_url" if section == "accounts.main" else "url"
    variable = variable_of((*section.split("."), key))
    if by_variable:
        said = refusal(folder, ACCOUNT, **{variable: url})
    else:
        text = ACCOUNT if key == "base_url" else f"[{section}]\n"
        said = refusal(folder, f"{text}{key} = '{url}'\n")
    assert (variable if by_variable else f"{section}.{key}") in said
    assert key == "base_url" or ("%40" in said and "$NAME" in said)
    assert [part for part in ("s3c", "someone", "example") if part in said] == []


# --- where it is found ------------------------------------------------------------------------


def test_option_variable_folder_and_user_are_searched_in_this_order(folder):
    places = {
        "option": folder / "option.toml",
        "variable": folder / "variable.toml",
        "here": folder / "dispatcher.toml",
        "user": folder / "xdg" / "dispatcher" / "dispatcher.toml",
    }
    (folder / "xdg" / "dispatcher").mkdir(parents=True)
    for place in places.values():
        place.write_text("", encoding="utf-8")
    env = ENV | {"XDG_CONFIG_HOME": str(folder / "xdg")}
    named = env | {"DISPATCHER_CONFIG": str(places["variable"])}
    assert load_settings(places["option"], named).path == places["option"]
    assert load_settings(None, named).path == places["variable"]
    assert load_settings(None, env).path == places["here"]
    places["here"].unlink()
    assert load_settings(None, env).path == places["user"]


def test_the_users_folder_is_dot_config_unless_xdg_names_another(folder):
    file = folder / ".config" / "dispatcher" / "dispatcher.toml"
    file.parent.mkdir(parents=True)
    file.write_text("", encoding="utf-8")
    assert load_settings(None, {"HOME": str(folder), "XDG_CONFIG_HOME": "relative"}).path == file


def test_without_a_configuration_the_error_says_where_one_is_expected(folder):
    said = refusal(folder, None)
    assert "no configuration found" in said
    assert str(folder / "dispatcher.toml") in said
    assert "/nonexistent/.config/dispatcher/dispatcher.toml" in said
    assert "dispatcher init" in said


@pytest.mark.parametrize(
    ("env", "what"),
    [
        ({"DISPATCHER_ACCOUNTS__MAIN__SENDER": "S"}, "__PROVIDER: this key is required"),
        ({"DISPATCHER_ACCOUNTS__MAIN__PROVIDER": "smsnoc"}, "__API_TOKEN: this key is required"),
        (
            {
                "DISPATCHER_ACCOUNTS__MAIN__PROVIDER": "voip_communications",
                "DISPATCHER_ACCOUNTS__OTHER__PROVIDER": "smsnoc",
            },
            "__API_TOKEN: this key is required",
        ),
    ],
    ids=["provider", "key", "several keys"],
)
def test_without_a_file_a_missing_key_says_once_where_a_file_was_looked_for(folder, env, what):
    said = refusal(folder, None, **env)
    assert what in said
    here, home = folder / "dispatcher.toml", "/nonexistent/.config/dispatcher/dispatcher.toml"
    assert said.count(f"no dispatcher.toml was found (looked for {here} and {home})") == 1


def test_a_wrong_value_of_a_variable_and_a_key_missing_in_a_file_do_not_speak_of_a_file(folder):
    assert "was found" not in refusal(folder, None, DISPATCHER_STORE__URL="mysql://x")
    said = refusal(folder, "[accounts.main]\n")
    assert "this key is required" in said
    assert "was found" not in said


def test_without_a_file_an_unknown_account_says_where_a_file_was_looked_for(folder):
    found = load(folder, None, DISPATCHER_STORE__URL="sqlite:///a.db")
    with pytest.raises(ConfigError) as caught:
        found.account("main")
    assert f"looked for {folder / 'dispatcher.toml'}" in caught.value.hint
    assert f"looked for {folder / 'dispatcher.toml'}" in found.find_problems()[0]
    with pytest.raises(ConfigError) as caught:
        load(folder, ACCOUNT).account("other")
    assert "looked for" not in caught.value.hint


def test_a_named_file_must_exist(folder):
    (folder / "dispatcher.toml").write_text("", encoding="utf-8")
    path = folder / "gone.toml"
    with pytest.raises(ConfigError, match=r"gone\.toml that --config names does not exist"):
        load_settings(path, ENV)
    with pytest.raises(ConfigError, match=r"gone\.toml that \$DISPATCHER_CONFIG names"):
        load_settings(None, ENV | {"DISPATCHER_CONFIG": str(path)})


def test_a_folder_is_not_a_configuration_file(folder):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(folder, ENV)


def test_the_environment_alone_is_enough(folder):
    settings = load(
        folder,
        None,
        DISPATCHER_ACCOUNTS__MAIN__PROVIDER="thesmspoint",
        DISPATCHER_ACCOUNTS__MAIN__API_KEY="0123456",
        DISPATCHER_STORE__URL="sqlite:///x.db",
    )
    assert settings.path is None
    assert settings.account("main").api_key.get_secret_value() == "0123456"
    assert settings.store.url == f"sqlite:///{folder}/x.db"


# --- environment ------------------------------------------------------------------------------


def test_the_environment_wins_over_the_file(folder):
    settings = load(
        folder,
        ACCOUNT + 'sender = "FILE"\ntimeout_s = 10\n',
        DISPATCHER_ACCOUNTS__MAIN__SENDER="ENV",
        DISPATCHER_BROKER__URL="redis://h/0",
        DISPATCHER_WORKER__LEASE_S="7.5",
    )
    assert settings.account("main").sender == "ENV"
    assert settings.account("main").timeout_s == 10
    assert settings.broker.url == "redis://h/0"
    assert settings.worker.lease_s == 7.5


def test_a_reference_is_read_from_the_file_that_its_variable_names(folder):
    (folder / "key").write_text("from-a-file\n\n")
    text = ACCOUNT.replace("$KEY", "$TOKEN")
    named = {"TOKEN_FILE": str(folder / "key")}
    assert load(folder, text, **named).account("main").api_key.get_secret_value() == "from-a-file"
    both = load(folder, text, TOKEN="from-a-variable", **named)
    assert both.account("main").api_key.get_secret_value() == "from-a-variable"
    assert "TOKEN_FILE names, cannot be read" in refusal(folder, text, TOKEN_FILE="/none")
    (folder / "key").write_text("\n")
    assert "TOKEN_FILE names, is empty" in refusal(folder, text, **named)


def test_every_key_can_be_given_as_a_variable(folder):
    settings = load(folder, ACCOUNT)
    given = {
        variable_of((section, key)): str(value)
        for section in ("store", "broker", "worker")
        for key, value in dict(getattr(settings, section)).items()
    }
    given["DISPATCHER_WORKER__METRICS_PORT"] = "9111"
    texts = {
        "sender": "S",
        "template": "T",
        "country": "IN",
        "api_key": "other",
        "proxy": "http://proxy.example.com:3128",
        "channels": '{"otp": 2}',
        "windows": '["mon-fri 09:00-18:00"]',
        "kind_windows": '{"otp": []}',
        "allow_only": '["+919820011223"]',
        "stop_words": '["STOP"]',
    }
    for key in type(settings.account("main")).model_fields:
        value = getattr(settings.account("main"), key)
        given[variable_of(("accounts", "main", key))] = texts.get(key, str(value or 1))
    account = load(folder, None, **given).account("main")
    assert (account.sender, account.country, account.max_parts) == ("S", "IN", 1)
    assert account.channels["otp"] == 2
    assert account.allow_only == ("+919820011223",)
    assert account.windows_for(Kind.OTP) == ()
    assert account.windows_for(Kind.PROMOTIONAL) == ("mon-fri 09:00-18:00",)


@pytest.mark.parametrize(
    "line", ['windows = ["mon-fry 09:00-18:00"]', 'kind_windows = { otp = ["9-18"] }']
)
def test_an_invalid_window_is_refused_with_its_place(folder, line):
    assert f"accounts.main.{line.partition(' ')[0]}" in refusal(folder, ACCOUNT + line + "\n")


def test_a_table_can_be_given_key_by_key(folder):
    account = load(folder, ACCOUNT, DISPATCHER_ACCOUNTS__MAIN__CHANNELS__OTP="1").account("main")
    assert account.channels["otp"] == 1


def test_a_variable_finds_its_account_whatever_its_case_and_dashes(folder):
    text = ACCOUNT.replace("main", "My-Account")
    settings = load(folder, text, DISPATCHER_ACCOUNTS__MY_ACCOUNT__SENDER="S")
    assert settings.account("My-Account").sender == "S"


def test_a_variable_that_could_mean_two_accounts_is_refused(folder):
    text = ACCOUNT.replace("main", "a-b") + ACCOUNT.replace("main", "a_b")
    assert "a-b and a_b" in refusal(folder, text, DISPATCHER_ACCOUNTS__A_B__SENDER="S")


def test_variables_that_kubernetes_sets_for_a_service_of_our_name_are_ignored(folder):
    settings = load(
        folder,
        ACCOUNT,
        DISPATCHER_SERVICE_HOST="10.0.0.1",
        DISPATCHER_SERVICE_PORT_HTTP="80",
        DISPATCHER_PORT="tcp://10.0.0.1:80",
        DISPATCHER_FLOWER_PORT_5555_TCP_ADDR="10.0.0.1",
        DISPATCHER_DEBUG="1",
    )
    assert list(settings.accounts) == ["main"]


# --- values from the environment --------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "variables", "url"),
    [
        ("postgresql://u:$PW@h/d", {"PW": "p"}, "postgresql://u:p@h/d"),
        ("postgresql://u:${PW}@h/d", {"PW": "a@b/c%"}, "postgresql://u:a%40b%2Fc%25@h/d"),
        ("postgresql://u:p@$HOSTS/d", {"HOSTS": "h:5433"}, "postgresql://u:p@h:5433/d"),
        (
            "postgresql://h/d?password=$PW",
            {"PW": "a&b=c@"},
            "postgresql://h/d?password=a%26b%3Dc%40",
        ),
        ("sqlite:////$DIR/a.db", {"DIR": "x%41/y?z"}, "sqlite:////x%2541/y%3Fz/a.db"),
        ("$WHOLE", {"WHOLE": "postgresql://u:p@h/d"}, "postgresql://u:p@h/d"),
        ("postgresql://u:a$$b@h/d", {}, "postgresql://u:a$b@h/d"),
    ],
)
def test_a_store_url_takes_its_parts_from_the_environment(folder, template, variables, url):
    assert load(folder, f"[store]\nurl = '{template}'\n", **variables).store.url == url


def test_two_dollar_signs_begin_a_value_that_begins_with_one(folder):
    account = load(folder, ACCOUNT.replace("$KEY", "$$KEY")).account("main")
    assert account.api_key.get_secret_value() == "$KEY"


def test_a_value_taken_from_the_environment_is_not_read_as_another_name(folder):
    account = load(folder, ACCOUNT, KEY="$OTHER").account("main")
    assert account.api_key.get_secret_value() == "$OTHER"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///a.db", "{folder}/a.db"),
        ("sqlite:///sub/a.db?timeout=5", "{folder}/sub/a.db?timeout=5"),
        ("sqlite:////var/lib/a.db", "/var/lib/a.db"),
    ],
)
def test_a_relative_sqlite_path_starts_at_the_configuration_folder(folder, monkeypatch, url, path):
    (folder / "elsewhere").mkdir()
    file = folder / "dispatcher.toml"
    file.write_text(f'[store]\nurl = "{url}"\n', encoding="utf-8")
    monkeypatch.chdir(folder / "elsewhere")
    assert load_settings(file, ENV).store.url == "sqlite:///" + path.format(folder=folder)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("what?.db", "what?.db"),
        ("a?b=c.db", "a?b=c.db"),
        ("c#1.db", "c#1.db"),
        ("100%.db", "100%.db"),
        ("100%ff.db", "100%ff.db"),
        ("a%20b.db", "a b.db"),
        ("a b.db", "a b.db"),
    ],
)
def test_an_sqlite_path_names_the_file_that_is_meant(folder, name, file):
    home = folder / "50%20off #1?"
    home.mkdir()
    settings = load(home, f'[store]\nurl = "sqlite:///{name}"\n')
    assert parse_url(settings.store.url).database == str(home / file)


def test_a_file_whose_name_looks_escaped_is_found_where_only_it_exists(folder):
    text = '[store]\nurl = "sqlite:///a%20b.db"\n'
    (folder / "a%20b.db").touch()
    assert parse_url(load(folder, text).store.url).database == str(folder / "a%20b.db")
    (folder / "a b.db").touch()
    assert parse_url(load(folder, text).store.url).database == str(folder / "a b.db")
    (folder / "50%20off").mkdir()
    text = '[store]\nurl = "sqlite:///50%20off/a.db"\n'
    assert parse_url(load(folder, text).store.url).database == str(folder / "50%20off" / "a.db")


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[stroe]\n", ["stroe in", "dispatcher.toml: unknown key", "did you mean store?"]),
        ("[store]\nurI = 'x'\n", ["store.urI", "did you mean url?"]),
        (ACCOUNT + "timout_s = 5\n", ["accounts.main.timout_s", "did you mean timeout_s?"]),
        (ACCOUNT + "zzz = 5\n", ["accounts.main.zzz", "known here: provider, base_url"]),
        (ACCOUNT + "timeout_s = 601\n", ["accounts.main.timeout_s", "less than or equal to 600"]),
        (ACCOUNT + "poll_max_s = inf\n", ["accounts.main.poll_max_s", "finite"]),
        (ACCOUNT + "timeout_s = 'x'\nmax_parts = 0\n", ["timeout_s", "number", "max_parts"]),
        (ACCOUNT + "max_recipients = 2001\n", ["accounts.main.max_recipients", "2000"]),
        (ACCOUNT + "channels = { otpp = 1 }\n", ["accounts.main.channels.otpp", "'otp'"]),
        (ACCOUNT + "base_url = 'http://example.com'\n", ["base_url", "this machine only"]),
        (ACCOUNT.replace("$KEY", "$ABSENT"), ["accounts.main.api_key", "ABSENT is not set"]),
        (ACCOUNT.replace('api_key = "$KEY"', ""), ["accounts.main.api_key", "required"]),
        ("[accounts.main]\n", ["accounts.main.provider", "required", "thesmspoint"]),
        (ACCOUNT.replace("smspoint", "smspont"), ["accounts.main.provider", "thesmspoint?"]),
        (ACCOUNT.replace("main", '"a b"'), ["accounts.a b in", "letters"]),
        ("[accounts]\nmain = 3\n", ["accounts.main", "[accounts.main]"]),
        ("accounts = 3\n", ["accounts in", "table"]),
        ("worker = 3\n", ["worker in", "must be a table"]),
        ("[worker]\nlease_s = 4\n", ["worker.lease_s", "greater than or equal to 5"]),
        ("[store]\nurl = 'mysql://h/d'\n", ["store.url", "postgresql://"]),
        ("[store]\nurl = 'sqlite://'\n", ["store.url", "needs a file"]),
        ("[store]\nurl = 'sqlite:///:memory:'\n", ["store.url", "needs a file"]),
        ("[broker]\nurl = 'amqp://h'\n", ["broker.url", "redis://"]),
        ("[broker]\nurl = 'redis://:$NOPE@h'\n", ["broker.url", "NOPE is not set"]),
        ("[store]\nurl = sqlite\n", ["dispatcher.toml, line 2, column 7", "TOML"]),
        ("[store\n", ["dispatcher.toml, line 1, column 7"]),
        ("[broker]\nurl = 'redis://h/0?foo=bar'\n", ["broker.url", "unknown option"]),
        ("x = " + "[" * 100_000 + "]" * 100_000, ["nested too deeply"]),
        ("x = " + "{a = " * 100_000, ["nested too deeply"]),
        (".".join("a" * 100_000) + " = 1", ["nested too deeply"]),
        ("[" + ".".join("a" * 100_000) + "]", ["nested too deeply"]),
        ("[store]\nurl = " + "[" * 40 + "]" * 40, ["nested too deeply"]),
        ("[worker]\nmax_polls = " + "9" * 5000, ["too many digits"]),
        ("[worker]\nmax_polls = true\n", ["worker.max_polls", "not true or false"]),
        ("[worker]\nlease_s = false\n", ["worker.lease_s"]),
        ("[worker]\nspill_dir = 'a\\u0000b'\n".replace("'", '"'), ["worker.spill_dir"]),
        (ACCOUNT + "max_in_flight = true\n", ["accounts.main.max_in_flight", "not true or false"]),
        (ACCOUNT + "messages_per_second = true\n", ["accounts.main.messages_per_second"]),
        (ACCOUNT + "channels = { otp = true }\n", ["accounts.main.channels.otp", "not true"]),
        (ACCOUNT + "messages_per_second = 1e-300\n", ["messages_per_second", "one a day"]),
        (ACCOUNT + "requests_per_second = 5e-324\n", ["requests_per_second", "one a day"]),
        (ACCOUNT + "parts_per_second = 1e300\n", ["parts_per_second", "at most"]),
        (ACCOUNT + "parts_per_second = inf\n", ["parts_per_second", "finite"]),
        (ACCOUNT + "parts_per_second = nan\n", ["parts_per_second", "finite"]),
        (ACCOUNT + "messages_per_second = 0\n", ["messages_per_second", "one a day"]),
        (ACCOUNT + "messages_per_second = -1\n", ["messages_per_second", "one a day"]),
        (ACCOUNT + "timeout_s = 1e-300\n", ["timeout_s", "greater than or equal to"]),
        (ACCOUNT + "poll_max_s = 1e300\n", ["poll_max_s", "less than or equal to"]),
        (ACCOUNT + "base_url = 'https://sms.example.com/a b'\n", ["base_url", "spaces"]),
        (ACCOUNT + 'base_url = "https://h.example\\r\\nX: 1"\n', ["base_url", "line breaks"]),
    ],
    ids=lambda value: value[-40:] if isinstance(value, str) else None,
)
def test_a_mistake_in_the_file_is_named_with_its_place_and_remedy(folder, text, words):
    said = refusal(folder, text)
    assert "dispatcher.toml" in said
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DISPATCHER_STORE_URL", "x", ["did you mean DISPATCHER_STORE__URL?"]),
        ("DISPATCHER_STROE__URL", "x", ["did you mean DISPATCHER_STORE__URL?"]),
        ("DISPATCHER_STORE__URI", "x", ["did you mean DISPATCHER_STORE__URL?"]),
        ("DISPATCHER_STORE__URL__X", "x", ["DISPATCHER_STORE__URL__X"]),
        (
            "DISPATCHER_ACCOUNTS__MAIN__SENDR",
            "x",
            ["unknown key", "did you mean DISPATCHER_ACCOUNTS__MAIN__SENDER?"],
        ),
        ("DISPATCHER_ACCOUNTS__MIAN__SENDER", "x", ["no account 'mian'", "did you mean main?"]),
        ("DISPATCHER_ACCOUNTS__MAIN", "x", ["is not a key", "DISPATCHER_ACCOUNTS__MAIN__"]),
        ("DISPATCHER_ACCOUNTS__MAIN__TIMEOUT_S", "soon", ["must be a valid number"]),
        ("DISPATCHER_ACCOUNTS__MAIN__CHANNELS", '{"otp": 9}', ["less than or equal to 3"]),
        ("DISPATCHER_ACCOUNTS__MAIN__CHANNELS", "{otp}", ["must be a table of keys"]),
        ("DISPATCHER_ACCOUNTS__MAIN__TIMEZONE", "Mars/Base", ["Asia/Kolkata"]),
        (
            "DISPATCHER_ACCOUNTS__MAIN__WINDOWS",
            "mon-fri 09:00-18:00",
            ["must be a list", "DISPATCHER_ACCOUNTS__MAIN__WINDOWS='[\"mon-fri 09:00-18:00\"]'"],
        ),
        ("DISPATCHER_WORKER__LEASE_S", "", ["is empty"]),
        ("DISPATCHER_WORKER__MAX_POLLS", "true", ["must be a valid integer"]),
        ("DISPATCHER_ACCOUNTS__MAIN__WINDOWS", "[" * 100_000, ["must be a list"]),
        ("DISPATCHER_ACCOUNTS__MAIN__CHANNELS", '{"otp": true}', ["not true or false"]),
        ("DISPATCHER_ACCOUNTS__MAIN__MESSAGES_PER_SECOND", "1e-300", ["one a day"]),
        ("DISPATCHER_ACCOUNTS__MAIN__MESSAGES_PER_SECOND", "nan", ["finite"]),
        ("DISPATCHER_BROKER__URL", "redis://h/0?foo=bar", ["unknown option"]),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(folder, variable, value, words):
    said = refusal(folder, ACCOUNT, **{variable: value})
    assert [word for word in (variable, *words) if word not in said] == [], said


@pytest.mark.parametrize(
    "key",
    sorted(
        {
            key
            for name in provider_names()
            for key in provider_class(name).settings_type.model_fields
        }
    ),
)
def test_every_key_of_every_provider_is_proposed_for_a_variable_that_lacks_underscores(folder, key):
    said = refusal(folder, ACCOUNT, **{f"DISPATCHER_ACCOUNTS_MAIN_{key.upper()}": "x"})
    assert f"did you mean DISPATCHER_ACCOUNTS__MAIN__{key.upper()}?" in said


def test_a_variable_unlike_any_key_gets_no_suggestion(folder):
    said = refusal(folder, ACCOUNT, DISPATCHER_VERBOSE="1")
    assert "write it as DISPATCHER_SECTION__KEY" in said


def test_every_key_can_be_a_variable(folder):
    keys = {
        "WORKER__LEASE_S": "31",
        "WORKER__SPILL_DIR": "/spill",
        "ACCOUNTS__NEW__PROVIDER": "thesmspoint",
        "ACCOUNTS__NEW__API_KEY": "k",
        "ACCOUNTS__NEW__WINDOWS": '["mon-fri 09:00-18:00"]',
        "ACCOUNTS__NEW__KIND_WINDOWS__PROMOTIONAL": '["10:00-21:00"]',
        "ACCOUNTS__NEW__KIND_WINDOWS__OTP": "[]",
        "ACCOUNTS__NEW__CHANNELS": '{"transactional": 3}',
        "ACCOUNTS__NEW__DAILY_LIMIT": "1000",
        "ACCOUNTS__NEW__MESSAGES_PER_SECOND": "2.5",
    }
    settings = load(folder, None, **{f"DISPATCHER_{key}": value for key, value in keys.items()})
    account = settings.account("new")
    assert settings.worker.lease_s == 31
    assert account.windows == ("mon-fri 09:00-18:00",)
    assert account.kind_windows == {Kind.PROMOTIONAL: ("10:00-21:00",), Kind.OTP: ()}
    assert account.channels[Kind.TRANSACTIONAL] == 3
    assert (account.daily_limit, account.messages_per_second) == (1000, 2.5)


def test_the_error_for_a_missing_key_says_how_to_write_it(folder):
    said = refusal(folder, '[accounts.main]\nprovider = "thesmspoint"\n')
    assert "accounts.main.api_key" in said
    assert 'api_key = "$NAME"' in said
    assert "DISPATCHER_ACCOUNTS__MAIN__API_KEY" in said


def test_a_variable_with_thousands_of_steps_is_refused(folder):
    variable = "DISPATCHER_WORKER" + "__A" * 100_000
    assert "nested too deeply" in refusal(folder, None, **{variable: "1"})


def test_a_file_that_is_too_large_for_a_configuration_is_not_read_whole(folder):
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_settings(Path("/dev/zero"), ENV)
    (folder / "dispatcher.toml").write_text("# a comment\n" * 100_000, encoding="utf-8")
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_settings(None, ENV)


def test_a_file_that_is_not_text_is_refused(folder):
    (folder / "dispatcher.toml").write_bytes(b"[store]\nurl = '\xff'\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(None, ENV)


def test_a_byte_order_mark_does_no_harm(folder):
    (folder / "dispatcher.toml").write_bytes(b"\xef\xbb\xbf[broker]\nurl = 'redis://h/1'\n")
    assert load_settings(None, ENV).broker.url == "redis://h/1"


def test_the_error_for_an_unknown_account_names_the_nearest_and_all_of_them(folder):
    settings = load(folder, ACCOUNT + ACCOUNT.replace("main", "second"))
    with pytest.raises(ConfigError, match="no account 'mian'") as caught:
        settings.account("mian")
    assert caught.value.hint == "did you mean main? configured accounts: main, second"


# --- settings that are unwise -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        (ACCOUNT.replace("$KEY", "literal"), 0o644, ["accounts.main.api_key"]),
        (ACCOUNT.replace("$KEY", "literal"), 0o640, []),
        (ACCOUNT, 0o644, []),
        (ACCOUNT + '[store]\nurl = "postgresql://u:p@h/d"\n', 0o644, ["store.url"]),
        (ACCOUNT + '[store]\nurl = "postgresql://u:$KEY@h/d"\n', 0o644, []),
        (ACCOUNT + '[broker]\nurl = "redis://:p@h/0"\n', 0o644, ["broker.url"]),
    ],
)
def test_literal_secrets_in_a_file_that_everybody_can_read_are_a_problem(
    folder, text, mode, warned
):
    file = folder / "dispatcher.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    problems = load_settings(file, ENV).find_problems()
    assert len(problems) == len(warned)
    assert all(place in problem for place, problem in zip(warned, problems, strict=True))


def test_a_configuration_without_accounts_is_a_problem(folder):
    assert load(folder, "").find_problems() == ["no account is configured: nothing can be sent"]


SEVERAL = """
[stor]
url = "sqlite:///x.db"
[accounts.main]
provider = "smsnoc"
api_token = "a"
messages_per_second = "fast"
timezone = "Nowhere/City"
[accounts.two]
provider = "nobody"
[accounts."no name"]
provider = "smsnoc"
"""


def test_all_mistakes_of_a_configuration_are_said_at_once(tmp_path):
    path = tmp_path / "dispatcher.toml"
    path.write_text(SEVERAL, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_settings(path, {"DISPATCHER_BROKR__URL": "redis://x"})
    said = raised.value.message
    for words in (
        "DISPATCHER_BROKR__URL", "(did you mean DISPATCHER_BROKER__URL?)",
        "stor in ", "unknown key (did you mean store?)",
        "accounts.main.messages_per_second", "accounts.main.timezone",
        "accounts.two.provider", "not a valid account name",
    ):  # fmt: skip
        assert words in said
    assert raised.value.hint is None

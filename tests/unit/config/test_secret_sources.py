"""Secrets from files and commands: read, stripped, never shown, each key once."""

import subprocess
import sys
import time

import pytest
from pydantic import SecretStr

from dispatcher.config.secret_sources import SECRET_KEYS
from dispatcher.config.settings import load_settings
from dispatcher.errors import ConfigError
from dispatcher.local.celery import celery_children, flower_child, receiver_child
from dispatcher.providers import provider_class, provider_names

ACCOUNT = '[accounts.main]\nprovider = "aoc_portal"\nsender = "S"\n'
SECRET = "not-a-real-key"


@pytest.fixture
def load(tmp_path):
    def load(text, **environ):
        path = tmp_path / "dispatcher.toml"
        path.touch(0o600)
        path.write_text(text)
        return load_settings(path, environ)

    return load


def key_of(settings, key="api_key"):
    return getattr(settings.account("main"), key).get_secret_value()


def program(tmp_path, body, name="secret"):
    path = tmp_path / name
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o700)
    return path


def test_a_key_comes_from_a_file_beside_the_configuration(load, tmp_path):
    (tmp_path / "key").write_text(f"{SECRET}\n")
    assert key_of(load(f'{ACCOUNT}api_key_file = "key"')) == SECRET


def test_a_files_path_may_have_a_variable_and_the_key_may_be_one(load, tmp_path):
    (tmp_path / "key").write_text(SECRET)
    settings = load(f'{ACCOUNT}api_key_file = "${{CREDENTIALS_DIRECTORY}}/key"',
                    CREDENTIALS_DIRECTORY=str(tmp_path))  # fmt: skip
    assert key_of(settings) == SECRET
    by_variable = {"DISPATCHER_ACCOUNTS__MAIN__API_KEY_FILE": str(tmp_path / "key")}
    assert key_of(load(ACCOUNT, **by_variable)) == SECRET
    listed = f'["cat", "{tmp_path / "key"}"]'
    assert key_of(load(ACCOUNT, DISPATCHER_ACCOUNTS__MAIN__API_KEY_COMMAND=listed)) == SECRET


def test_a_command_runs_once_in_a_process_without_a_shell(load, tmp_path):
    path = program(tmp_path, "import sys; open('ran', 'a').write('x'); print(sys.argv[1])")
    text = f'{ACCOUNT}api_key_command = ["{path}", "$HOME;{SECRET}"]'
    for _ in range(3):
        assert key_of(load(text)) == f"$HOME;{SECRET}"
    assert (tmp_path / "ran").read_text() == "x"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise SystemExit(3)", "ended with 3"),
        ("print()", "is empty"),
        (f"print('{SECRET}'); print('b')", "has several lines"),
        (f"print('{SECRET}' * 10_000)", "printed more than 64 KiB"),
        (f"import sys; sys.stderr.write('{SECRET}'); sys.exit(1)", "ended with 1"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\xfe')", "is not text"),
    ],
)
def test_a_command_that_gives_no_secret_is_named_and_what_it_printed_is_not(
    load, tmp_path, body, says, capfd
):
    path = program(tmp_path, body)
    with pytest.raises(ConfigError, match=says) as refused:
        load(f'{ACCOUNT}api_key_command = ["{path}"]')
    shown = f"{refused.value.message} {refused.value.hint} {capfd.readouterr()}"
    assert "accounts.main.api_key_command" in shown
    assert SECRET not in shown


def test_a_command_that_hangs_is_killed_with_its_children(load, tmp_path, monkeypatch):
    monkeypatch.setattr("dispatcher.config.secret_sources._COMMAND_S", 0.5)
    path = program(tmp_path, "import subprocess; subprocess.run(['sleep', '31.4159'])")
    began = time.monotonic()
    with pytest.raises(ConfigError, match="took longer than"):
        load(f'{ACCOUNT}api_key_command = ["{path}"]')
    assert time.monotonic() - began < 5
    time.sleep(0.2)
    left = subprocess.run(["pgrep", "-f", "sleep 31.4159"], capture_output=True, check=False)
    assert left.stdout == b""


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('api_key = "a"\napi_key_file = "b"', "api_key and api_key_file are both given"),
        ('api_key_file = "b"\napi_key_command = ["c"]', "are both given"),
        ('api_key_file = "missing"', "missing cannot be read: No such file"),
        ("api_key_file = 7", "must be the path of a file"),
        ('api_key_command = "pass show sms"', "must be a program and its arguments"),
        ("api_key_command = []", "must be a program and its arguments"),
        ('api_key_command = ["/nowhere/at/all"]', "cannot be started: No such file"),
        ('apikey_file = "key"', "unknown key"),
    ],
)
def test_mistakes_name_the_key(load, keys, says):
    with pytest.raises(ConfigError, match=says):
        load(ACCOUNT + keys)


@pytest.mark.parametrize(
    ("section", "url", "merged"),
    [
        ("store", "postgresql://sms@db/sms", "postgresql://sms:p%40ss%2Fword@db/sms"),
        ("broker", "redis://cache:6379/0", "redis://:p%40ss%2Fword@cache:6379/0"),
        ("broker", "rediss://u@cache:6379/0", "rediss://u:p%40ss%2Fword@cache:6379/0"),
    ],
)
def test_a_servers_password_is_put_into_its_url_escaped(load, tmp_path, section, url, merged):
    (tmp_path / "password").write_text("p@ss/word\n")
    settings = load(f'[{section}]\nurl = "{url}"\npassword_file = "password"\n')
    assert getattr(settings, section).url == merged
    assert settings.find_problems() == ["no account is configured: nothing can be sent"]


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ('[store]\npassword = "p"', "names a server only"),
        ('[broker]\nurl = "embedded"\npassword = "p"', "names a server only"),
        ('[broker]\nurl = "redis://:x@h/0"\npassword = "p"', "has a password as well"),
        ('[broker]\nurl = "redis://h/0"\npassword = 7', "must be a text"),
    ],
)
def test_a_password_without_its_place_is_refused(load, section, says):
    with pytest.raises(ConfigError, match=says):
        load(section)


def test_a_literal_password_in_a_file_that_others_read_is_a_problem(load, tmp_path):
    settings = load(f'[broker]\nurl = "redis://h/0"\npassword = "p"\n{ACCOUNT}api_key = "k"')
    (tmp_path / "dispatcher.toml").chmod(0o644)
    (problem,) = settings.find_problems()
    assert "broker.url" in problem
    assert "accounts.main.api_key" in problem


def test_every_secret_of_every_provider_can_be_given_so():
    secret = {
        key
        for name in provider_names()
        for key, field in provider_class(name).settings_type.model_fields.items()
        if field.annotation is SecretStr
    }
    assert secret
    assert secret <= {*SECRET_KEYS}


def test_no_child_of_up_has_a_secret_in_its_arguments_or_its_environment(load, tmp_path):
    (tmp_path / "password").write_text(SECRET)
    settings = load(
        f'[broker]\nurl = "redis://cache/0"\npassword_file = "password"\n'
        f'[receiver]\nport = 9110\n{ACCOUNT}api_key_file = "password"'
    )
    url = settings.broker.url
    assert SECRET in url
    children = [
        *celery_children(settings, url, workers=2),
        flower_child(settings, url, 5555),
        receiver_child(settings, url),
    ]
    for child in children:
        assert SECRET not in " ".join(map(str, child.argv))
        assert SECRET not in str({**child.env} if child.env else {})

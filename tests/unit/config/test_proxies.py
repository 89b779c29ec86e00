"""The key `proxy` of an account: what it may be, whose proxy is used, and what doctor says."""

import pytest

from dispatcher.config.proxies import describe_proxy
from dispatcher.config.settings import load_settings
from dispatcher.errors import ConfigError

URL = "https://sms.example.com/api"


def load(tmp_path, proxy, environ=None, base_url=URL):
    file = tmp_path / "dispatcher.toml"
    file.write_text(
        '[accounts.main]\nprovider = "thesmspoint"\napi_key = "$KEY"\nsender = "S"\n'
        f"base_url = '{base_url}'\n" + (f"proxy = '{proxy}'\n" if proxy else ""),
        encoding="utf-8",
    )
    file.chmod(0o600)
    return load_settings(file, {"KEY": "k", **(environ or {})})


@pytest.mark.parametrize(
    ("written", "variables", "used"),
    [
        (None, {"HTTPS_PROXY": "http://p:1"}, None),
        ("http://proxy.example.com:3128", {"HTTPS_PROXY": "http://p:1"}, "http://proxy.example.com:3128"),
        ("http://u:$PW@p:1", {"PW": "a@b"}, "http://u:a%40b@p:1"),
        ("$WHOLE", {"WHOLE": "http://p:1"}, "http://p:1"),
        ("environment", {}, None),
        ("environment", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("environment", {"https_proxy": "p:1"}, "http://p:1"),
        ("environment", {"ALL_PROXY": "http://p:1/"}, "http://p:1/"),
        ("environment", {"HTTP_PROXY": "http://p:1"}, None),
        ("environment", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "localhost,.example.com"}, None),
        ("environment", {"HTTPS_PROXY": "http://p:1", "no_proxy": "sms.example.com"}, None),
        ("environment", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("environment", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "le.com, x"}, "http://p:1"),
    ],
)  # fmt: skip
def test_the_proxy_of_an_account(written, variables, used, tmp_path):
    assert load(tmp_path, written, variables).account("main").proxy == used


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("proxy.example.com:3128", "must be http://"),
        ("socks5://p:1", "must be http://"),
        ("https://p:1", "must be http://"),
        ("http://p:1/path", "without a path"),
        ("http://", "must be http://HOST:PORT"),
        ("http://u:s3cr#t@p:1", "cannot be read as a URL"),
        ("http://p:99999", "cannot be read as a URL"),
        ("Environment", "must be http://"),
    ],
)
def test_what_is_no_http_proxy_is_refused_without_its_password(proxy, said, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, proxy)
    assert said in caught.value.message
    assert "proxy" in caught.value.message
    assert "s3cr" not in f"{caught.value.message} {caught.value.hint}"


def test_a_variable_that_is_no_http_proxy_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"\$HTTPS_PROXY: must be http://") as caught:
        load(tmp_path, "environment", {"HTTPS_PROXY": "socks5://p:1"})
    assert "[accounts.main]" in caught.value.hint


def test_plain_http_never_goes_through_a_proxy(tmp_path):
    with pytest.raises(ConfigError, match="needs a `base_url` with https"):
        load(tmp_path, "http://p:1", base_url="http://127.0.0.1:8080/api")
    settings = load(
        tmp_path, "environment", {"HTTPS_PROXY": "http://p:1"}, base_url="http://127.0.0.1:8080/a"
    )
    assert settings.account("main").proxy is None


@pytest.mark.parametrize(
    ("written", "variables", "said"),
    [
        (None, {}, None),
        (None, {"HTTPS_PROXY": "http://p:1"}, "do not use the proxy of $HTTPS_PROXY"),
        ("http://u:s3cret@p:1", {}, "go through the proxy p:1 (from `proxy`)"),
        ("environment", {"https_proxy": "http://u:s3cret@p:1"}, "p:1 (from $https_proxy)"),
        ("environment", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "use no proxy"),
    ],
)
def test_doctor_says_whose_proxy_is_used(written, variables, said, tmp_path):
    words = describe_proxy(load(tmp_path, written, variables).account("main"), variables)
    assert (words is None) is (said is None)
    assert said is None or said in words
    assert "s3cret" not in str(words)


def test_a_password_of_a_proxy_in_the_file_is_a_secret_there(tmp_path):
    settings = load(tmp_path, "http://u:s3cret@p:1")
    assert "s3cret" not in repr(settings)
    settings.path.chmod(0o644)
    assert any("accounts.main.proxy" in problem for problem in settings.find_problems())

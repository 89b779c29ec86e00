"""URLs of store, broker and providers: which are accepted or refused, and what is never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import urls
from dispatcher.errors import ConfigError
from dispatcher.store.engine import display_url, parse_url


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///dispatcher.db",
        "sqlite+pysqlite:////var/lib/a b.db?timeout=5",
        "postgresql://u:p@h/d",
        "postgresql+psycopg://u:p%40ss%2Fw%23rd@h:5433/d?sslmode=require",
        "postgresql://u:p:q$!&=+,;~é@[::1]:5432/d",
        "postgresql:///d?host=/var/run/postgresql&user=me",
        "postgresql://h",
    ],
)
def test_a_url_that_names_a_store_is_accepted(url):
    urls.check_store_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://:p%40ss@h:6379/15",
        "rediss://u:p@h/0?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required",
        "unix:///run/redis.sock?db=3",
        "redis+socket:///run/redis.sock?virtual_host=3",
        "redis://[::1]:6379/0",
        "redis:///0",
    ],
)
def test_a_url_that_names_a_broker_is_accepted(url):
    urls.check_broker_url(url)


#: Ways to write a user with the password `PART1…PART2` whose middle is not escaped.
UNESCAPED = ["@", "/", "#", "?", "[", "]", "@@", "a@b/c#d", "12/34@", "?a=b", "?sslmode=x&", "\n"]


@pytest.mark.parametrize("middle", UNESCAPED)
@pytest.mark.parametrize(
    ("check", "template"),
    [
        (urls.check_store_url, "postgresql://someone:{}@db.example/campaigns"),
        (urls.check_store_url, "postgresql://someone:{}@db.example:5432/campaigns?sslmode=require"),
        (urls.check_broker_url, "redis://:{}@redis.example:6379/0"),
        (urls.check_broker_url, "rediss://someone:{}@redis.example/0"),
    ],
)
@pytest.mark.parametrize("ends", [("PART1", "PART2"), ("1", "2")])
def test_a_password_that_is_not_escaped_is_refused_and_never_shown(check, template, middle, ends):
    with pytest.raises(ValueError, match=r"%40|invisible") as caught:
        check(template.format(middle.join(ends)))
    said = str(caught.value)
    assert [secret for secret in ("PART", "someone", "example") if secret in said] == []


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_any_password_is_accepted_as_written_or_refused_and_then_not_shown(drawn):
    """Accepted means that the database gets this password, and not a part of it."""
    password = f"Zq{drawn}"  # no word of ours begins so
    url = f"postgresql://someone:{password}@db.example/campaigns"
    try:
        urls.check_store_url(url)
    except ValueError:
        with pytest.raises(ConfigError) as caught:
            parse_url(url)
        assert password not in caught.value.message
        return
    parsed = parse_url(url)
    assert (parsed.host, parsed.database) == ("db.example", "campaigns")
    assert parsed.password == urls.decode_path(password)
    assert password not in display_url(parsed)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://h/0?foo=bar", "unknown option"),
        ("redis://h/0?db=1", "unknown option"),
        ("redis://h/0?ssl_ca_certs=/x", "unknown option"),
        ("rediss://h/0?ssl_ca_cert=/x", "ssl_ca_certs"),
        ("redis://h/0?foo", "list of options"),
        ("unix:///run/redis.sock?virtual_host=1", "known here: db"),
        ("redis://h:99999/0", "port"),
        ("redis://h:port/0", "port"),
        ("redis://h/abc", "number of a database"),
        ("redis://h/0/1", "number of a database"),
        ("redis://h /0", "space"),
        ("redis://h\r\n/0", "invisible"),
        ("unix://run/redis.sock", "whole path"),
        ("redis://[::1/0", "cannot be read"),
        ("redis", "embedded"),
        ("amqp://h", "redis://"),
    ],
)
def test_a_broker_url_that_cannot_be_used_is_refused(url, words):
    with pytest.raises(ValueError, match=words):
        urls.check_broker_url(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://sms.example.com/a b", "spaces"),
        (" https://sms.example.com", "spaces"),
        ("https://sms.example.com\r\nX-Header: 1", "invisible"),
        ("https://sms.example.com/\t", "invisible"),
        ("https://sms.example.com/\x00", "invisible"),
        ("https://user:secret@sms.example.com", "must not contain a user"),
        ("https://user:se/cr@et@sms.example.com", "must not contain a user"),
        ("https://sms.example.com?key=secret", "a query"),
        ("https://sms.example.com/api?", "a query"),
        ("https://sms.example.com#secret", "a fragment"),
        ("https://sms.example.com\\@evil.example", "must not contain"),
        ("https://sms.example.com:secret/api", "must be a URL"),
        ("https://sms.example.com:65536", "must be a URL"),
        ("https://[::1", "must be a URL"),
        ("https:///api", "must be a URL"),
        ("ftp://sms.example.com", "must be a URL"),
        ("http://sms.example.com", "this machine only"),
        ("http://127.0.0.1.evil.example", "this machine only"),
    ],
)
def test_a_base_url_that_cannot_be_used_is_refused_and_not_shown(url, words):
    with pytest.raises(ValueError, match=words) as caught:
        urls.check_base_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://sms.example.com/api/v3", "https://münchen.example:8443", "http://[::1]:80/x", "http://localhost:9"],
)  # fmt: skip
def test_a_base_url_that_can_be_used_is_accepted(url):
    urls.check_base_url(url)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////srv/what?.db", "/srv/what?.db"),
        ("sqlite:////srv/a?b=c.db", "/srv/a?b=c.db"),
        ("sqlite:////srv/c#1.db", "/srv/c#1.db"),
        ("sqlite:////srv/100%/x.db", "/srv/100%/x.db"),
        ("sqlite:////srv/100%ff/x.db", "/srv/100%ff/x.db"),
        ("sqlite:////srv/a%20b%3F%23%25.db", "/srv/a b?#%.db"),
        ("sqlite:////srv/a+b&c=d.db", "/srv/a+b&c=d.db"),
        ("sqlite:////srv/größe.db", "/srv/größe.db"),
    ],
)
def test_an_sqlite_url_names_the_file_that_is_meant(url, path):
    parsed = parse_url(url)
    assert parsed.database == path
    assert dict(parsed.query) == {}
    assert display_url(parsed) == f"sqlite:///{path}"


def test_options_of_sqlite_are_still_options():
    parsed = parse_url("sqlite:////srv/a.db?timeout=5&mode=ro")
    assert (parsed.database, dict(parsed.query)) == ("/srv/a.db", {"timeout": "5", "mode": "ro"})


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20))
def test_the_url_of_a_path_names_that_path(path):
    written, options = urls.split_sqlite_url(urls.sqlite_url(path))
    assert (urls.decode_path(written), options) == (path, "")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:SECRET@h/d", "postgresql+psycopg://u:***@h/d"),
        ("postgresql://u@h/d?password=SECRET", "postgresql+psycopg://u@h/d?password=***"),
        ("postgresql://h/d?sslpassword=SECRET&sslmode=require",
         "postgresql+psycopg://h/d?sslmode=require&sslpassword=***"),
        ("postgresql://h/d?options=-c%20x%3DSECRET", "postgresql+psycopg://h/d?options=***"),
        ("postgresql:///d?host=/run&passfile=/SECRET",
         "postgresql+psycopg:///d?host=%2Frun&passfile=***"),
    ],
)  # fmt: skip
def test_people_see_a_url_without_its_secrets(url, shown):
    found = display_url(parse_url(url))
    assert found.split("&", 1)[0].split("?")[0] == shown.split("?")[0]
    assert sorted(found.partition("?")[2].split("&")) == sorted(shown.partition("?")[2].split("&"))
    assert "SECRET" not in found


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("postgresql://u:p@h/d", True),
        ("postgresql://h/d?password=p", True),
        ("postgresql://u@h/d", False),
        ("redis://:p@h", True),
        ("redis://h", False),
        ("embedded", False),
        ("unix:///a:b@c", False),
        ("sqlite:////a:b@c", False),
    ],
)
def test_a_url_holds_a_password_or_not(url, holds):
    assert urls.has_password(url) is holds

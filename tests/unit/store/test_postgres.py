"""Connections to PostgreSQL: how TLS is chosen, and what is asked of the server when they start."""

import pytest
from sqlalchemy import make_url

from dispatcher.store.postgres import choose_tls, postgres_engine

HOSTS_HERE = [
    "postgresql://u@/d",
    "postgresql://u@/d?host=/run/postgresql",
    "postgresql://u@localhost/d",
    "postgresql://u@127.0.0.1:5433/d",
    "postgresql://u@127.8.8.8/d",
    "postgresql://u@[::1]/d",
    "postgresql://u@/d?host=localhost,127.0.0.1",
]
HOSTS_ELSEWHERE = [
    "postgresql://u@db.example.com/d",
    "postgresql://u@10.0.0.5/d",
    "postgresql://u@[2001:db8::1]/d",
    "postgresql://u@/d?host=db.example.com",
    "postgresql://u@/d?host=localhost,db.example.com",
    "postgresql://u@/d?host=/run/postgresql&hostaddr=10.0.0.5",
    "postgresql://u@localhost.example.com/d",
]


@pytest.mark.parametrize("url", HOSTS_HERE)
def test_a_server_on_this_machine_is_left_to_libpq(url):
    assert choose_tls(make_url(url), {}) is None


@pytest.mark.parametrize("url", HOSTS_ELSEWHERE)
def test_a_server_elsewhere_must_encrypt(url):
    chosen = choose_tls(make_url(url), {})
    assert (chosen.mode, chosen.is_given) == ("require", False)
    assert "not verified" in chosen.words


@pytest.mark.parametrize("url", HOSTS_ELSEWHERE)
@pytest.mark.parametrize("place", ["url", "environment", "file", "system"])
def test_a_server_elsewhere_is_verified_where_a_root_certificate_is_known(url, place, tmp_path):
    (tmp_path / ".postgresql").mkdir()
    environ = {"HOME": str(tmp_path)}
    if place == "file":
        (tmp_path / ".postgresql/root.crt").touch()
    elif place == "environment":
        environ["PGSSLROOTCERT"] = "/etc/ca.pem"
    else:
        root = "system" if place == "system" else "/etc/ca.pem"
        url += f"{'&' if '?' in url else '?'}sslrootcert={root}"
    assert choose_tls(make_url(url), environ).mode == "verify-full"


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-ca", "verify-full"])
def test_a_mode_that_a_person_chose_is_kept_and_said(mode):
    by_url = choose_tls(make_url(f"postgresql://u@db.example.com/d?sslmode={mode}"), {})
    by_variable = choose_tls(make_url("postgresql://u@db.example.com/d"), {"PGSSLMODE": mode})
    assert by_url == by_variable
    assert by_url.is_given
    assert by_url.words.startswith(f"sslmode={mode}, as configured: ")


@pytest.mark.parametrize(
    ("variables", "chosen"),
    [({"PGHOST": "db.example.com"}, "require"), ({"PGHOST": "/tmp"}, None), ({}, None)],
)
def test_the_hosts_variable_counts_where_the_url_names_no_host(variables, chosen):
    found = choose_tls(make_url("postgresql://u@/d"), variables)
    assert (found and found.mode) == chosen


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql+psycopg://u@db.example.com/d", "require"),
        ("postgresql+psycopg://u@db.example.com/d?sslrootcert=system", "verify-full"),
        ("postgresql+psycopg://u@db.example.com/d?sslmode=disable", "disable"),
        ("postgresql+psycopg://u@127.0.0.1/d", None),
    ],
)
def test_a_connection_starts_with_nothing_that_a_pooler_refuses(url, mode, monkeypatch):
    """PgBouncer refuses `options` among the parameters of a new connection."""
    monkeypatch.delenv("PGSSLMODE", raising=False)
    engine = postgres_engine(make_url(url), 30, max_connections=4)
    given = {}

    class StopConnecting(Exception):
        pass

    def note(*_args, **params):
        given.update(params)
        raise StopConnecting

    monkeypatch.setattr(engine.dialect, "connect", note)
    with pytest.raises(StopConnecting):
        engine.connect()
    assert "options" not in given
    assert given.get("sslmode") == mode

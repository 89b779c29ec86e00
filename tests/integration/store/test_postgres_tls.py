"""PostgreSQL elsewhere: nothing that is secret reaches a server that cannot be verified."""

from contextlib import closing

import psycopg
import pytest

from dispatcher.errors import StoreError
from dispatcher.store.engine import Store
from tests.support.tls import make_certificate, recording_server

PASSWORD = "a-store-password"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_certificate(folder / name, name) for name in ("127.0.0.1", "db.example.com")}


def attempt(server, options):
    """Connect to the server as if it were another machine; the error."""
    url = f"postgresql://u:{PASSWORD}@db.example.com:{server.port}/d?hostaddr=127.0.0.1{options}"
    with closing(Store(url)) as store, pytest.raises(StoreError) as caught, store.read():
        pytest.fail("nobody speaks PostgreSQL there")
    assert PASSWORD not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


@pytest.mark.parametrize(
    ("shown", "trusted"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("db.example.com", "127.0.0.1"),
        ("127.0.0.1", "db.example.com"),
    ],
)
def test_a_certificate_that_cannot_be_verified_gets_nothing(shown, trusted, certificates):
    root = certificates[trusted].with_name("cert.pem")
    with recording_server(certificates[shown]) as server:
        error = attempt(server, f"&sslrootcert={root}")
    assert "certificate that cannot be verified" in error.message
    assert server.received == b""


def test_a_server_without_tls_gets_nothing_unless_a_person_allows_it(certificates):
    with recording_server(None) as server:
        error = attempt(server, "")
        assert "has no TLS" in error.message
        assert "sslmode=disable" in error.hint
        assert server.received == b""
        attempt(server, "&sslmode=disable")
    assert b"u\0" in server.received


def test_the_right_certificate_is_accepted(certificates):
    root = certificates["db.example.com"].with_name("cert.pem")
    with recording_server(certificates["db.example.com"]) as server:
        attempt(server, f"&sslrootcert={root}")
    assert b"database\0d\0" in server.received
    assert psycopg.pq.version() >= 160000

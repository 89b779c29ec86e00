"""sentinels://: the certificates of Sentinels and server are verified before a password is sent."""

import gc
import warnings
from collections.abc import Iterator

import pytest
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from dispatcher.config.sentinel_urls import kombu_url, transport_options
from dispatcher.errors import BrokerError
from dispatcher.local.broker import celery_url, redis_client
from dispatcher.local.broker_probe import probe_broker
from dispatcher.local.broker_tls import celery_tls_options
from tests.support.tls import make_certificate, recording_server
from workers.broker.celery_broker import _Connection

PASSWORD, OF_SENTINELS = "a-broker-password", "a-sentinel-password"
ONCE = Retry(NoBackoff(), 0)
NAMES = ("127.0.0.1", "redis.example.com")


@pytest.fixture(autouse=True)
def no_connection_is_left_to_another_test() -> Iterator[None]:
    """redis and kombu close what they opened to a Sentinel only when it is collected."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A file that trusts both certificates, and both: for this address, and for another name."""
    folder = tmp_path_factory.mktemp("certificates")
    made = {name: make_certificate(folder / name, name) for name in NAMES}
    both = folder / "authority.pem"
    both.write_text("".join(file.with_name("cert.pem").read_text() for file in made.values()))
    return both, made


def naming(port: int) -> bytes:
    """A Sentinel's answer to SENTINEL MASTERS: the server `m` at this port."""
    fields = {
        "name": "m", "ip": "127.0.0.1", "port": str(port), "flags": "master",
        "num-other-sentinels": "0", "num-slaves": "0", "quorum": "1",
    }  # fmt: skip
    words = [word for pair in fields.items() for word in pair]
    said = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    return f"*1\r\n%{len(fields)}\r\n{said}".encode()


def ping_by_client(url):
    with redis_client(url) as client:
        for each in (client, *client.connection_pool.sentinel_manager.sentinels):
            each.set_retry(ONCE)
        client.ping()


def ping_by_celery(url):
    tls = {**celery_tls_options(url), "retry": ONCE}
    options = {"socket_timeout": 2, **transport_options(url, tls)}
    with _Connection(kombu_url(url), ssl=tls, transport_options=options) as connection:
        connection.transport.establish_connection()


@pytest.mark.parametrize("ping", [ping_by_client, ping_by_celery])
@pytest.mark.parametrize(
    ("sentinel", "server", "trusts"),
    [("127.0.0.1", "127.0.0.1", True), ("127.0.0.1", "redis.example.com", True),
     ("redis.example.com", "127.0.0.1", True), ("127.0.0.1", "127.0.0.1", False)],
)  # fmt: skip
def test_a_password_goes_only_to_those_whose_certificate_is_verified(
    ping, sentinel, server, trusts, authority
):
    ca_file, certificates = authority
    with (
        recording_server(certificates[server], b"-ERR no\r\n") as primary,
        recording_server(certificates[sentinel], naming(primary.port)) as watcher,
    ):
        place = f"sentinels://:{PASSWORD}@127.0.0.1:{watcher.port}/0?master_name=m"
        url = celery_url(
            f"{place}&sentinel_password={OF_SENTINELS}",
            "sqlite:////srv/a.db",
            ca_file if trusts else None,
        )
        with pytest.raises((RedisError, OSError)):
            ping(url)
        is_known = trusts and sentinel == NAMES[0]
        assert (OF_SENTINELS.encode() in watcher.received) == is_known
        assert (b"SENTINEL" in watcher.received) == is_known
        assert PASSWORD.encode() not in watcher.received
        if server == NAMES[0] and is_known:
            assert PASSWORD.encode() in primary.received
        else:
            assert primary.received == b""


@pytest.mark.parametrize(
    ("master_name", "trusts", "said"),
    [("m", False, "one of its Sentinels shows a certificate that cannot be verified"),
     ("other", True, "its Sentinels name no primary")],
)  # fmt: skip
def test_doctor_says_why_sentinels_name_no_primary(
    master_name, trusts, said, authority, monkeypatch
):
    ca_file, certificates = authority
    monkeypatch.setattr("redis.backoff.ExponentialWithJitterBackoff.compute", lambda *_: 0)
    with recording_server(certificates[NAMES[0]], naming(1)) as watcher:
        place = (
            f"sentinels://127.0.0.1:{watcher.port}/0?master_name={master_name}&sentinel_password=p"
        )
        with pytest.raises(BrokerError, match=said):
            probe_broker(celery_url(place, "sqlite:////a.db", ca_file if trusts else None))

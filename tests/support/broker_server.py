"""A real broker for tests: the embedded one, in a folder of the session; empty for every test."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from dispatcher.local.broker import EmbeddedBroker, redis_client
from tests.support.folders import FOLDER


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """The session's server. A test that ends it must start it again."""
    with (
        tempfile.TemporaryDirectory(prefix="dispatcher-broker-", dir=FOLDER) as folder,
        EmbeddedBroker(Path(folder, "broker", "broker.sock")) as server,
    ):
        yield server


@pytest.fixture
def redis_connection(broker) -> Iterator[redis.Redis]:
    """A client of the session's server, which holds nothing yet."""
    with redis_client(broker.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_url(broker, redis_connection) -> str:
    """The URL, as Celery writes it, of the session's server, which holds nothing yet."""
    return broker.url

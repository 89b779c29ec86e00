"""Celery's connections to the broker: they reconnect soon, and keep their clients."""

from contextlib import ExitStack

import pytest
from kombu.exceptions import KombuError

from workers.broker.celery_broker import BrokerAMQP


def client_of(channel):
    with channel.conn_or_acquire() as client:
        return client


def test_a_connection_and_those_of_the_pool_keep_their_client(redis_url):
    with ExitStack() as stack:
        own = stack.enter_context(BrokerAMQP.Connection(redis_url))
        pool = own.Pool(2)
        stack.callback(pool.force_close_all)
        for connection in (own, pool.acquire(), pool.acquire()):
            channel = connection.default_channel
            assert client_of(channel) is client_of(channel)


def test_a_broker_that_is_back_is_noticed_within_a_second(monkeypatch):
    slept, pauses = [], []
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)
    with BrokerAMQP.Connection("redis://127.0.0.1:1/0") as connection, pytest.raises(KombuError):
        connection.ensure_connection(lambda _error, pause: pauses.append(pause), max_retries=8)
    assert max(pauses) == 1
    assert sum(pauses[:4]) < 3, "a Sentinel's failover takes some seconds"
    assert sum(slept) == pytest.approx(sum(pauses))

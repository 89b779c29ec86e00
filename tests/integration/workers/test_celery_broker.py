"""Celery's connections to the broker: no command makes a client of its own."""

from contextlib import ExitStack

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

"""Two stores on one Redis database: the first owns it, and the second is refused."""

import shutil
from contextlib import closing

import pytest
import redis

from dispatcher.recovery.broker_owner import OWNER_TTL_S, BrokerOwner
from dispatcher.store import store_identity
from dispatcher.store.engine import Store


@pytest.fixture
def stores(sqlite_template, tmp_path):
    opened = []
    for name in ("first", "second"):
        shutil.copyfile(sqlite_template, tmp_path / f"{name}.db")
        opened.append(Store(f"sqlite:///{tmp_path / name}.db"))
        with opened[-1].write() as conn:
            store_identity.ensure_identity(conn)
    with closing(opened[0]), closing(opened[1]):
        yield opened


def test_the_second_store_is_refused_while_the_first_runs(stores, redis_connection):
    first, second = (BrokerOwner(store, redis_connection) for store in stores)
    assert first.claim_database() is None
    assert "another store" in second.claim_database()
    assert "another store" in second.find_problem()
    assert first.claim_database() is first.find_problem() is None
    assert 0 < redis_connection.ttl("dispatcher:store") <= OWNER_TTL_S


def test_a_store_that_has_ended_gives_its_database_to_the_next(stores, redis_connection):
    first, second = (BrokerOwner(store, redis_connection) for store in stores)
    first.claim_database()
    redis_connection.pexpire("dispatcher:store", 1)
    while redis_connection.exists("dispatcher:store"):
        pass
    assert second.find_problem() is second.claim_database() is None
    assert "another store" in first.claim_database()


def test_the_same_store_in_another_process_is_not_another(stores, redis_connection):
    assert BrokerOwner(stores[0], redis_connection).claim_database() is None
    assert BrokerOwner(stores[0], redis_connection).claim_database() is None


def test_each_database_number_has_its_own_owner(stores, broker, redis_connection):
    with redis.Redis(unix_socket_path=broker.url.partition("://")[2], db=1) as other:
        other.flushdb()
        assert BrokerOwner(stores[0], redis_connection).claim_database() is None
        assert BrokerOwner(stores[1], other).claim_database() is None
        other.flushdb()


def test_a_broker_that_is_away_refuses_nobody(stores, tmp_path):
    away = redis.Redis(unix_socket_path=str(tmp_path / "none.sock"))
    owner = BrokerOwner(stores[0], away)
    assert owner.claim_database() is owner.find_problem() is None


def test_a_key_of_another_kind_refuses_nobody(stores, redis_connection):
    redis_connection.lpush("dispatcher:store", "x")
    owner = BrokerOwner(stores[0], redis_connection)
    assert owner.claim_database() is owner.find_problem() is None

"""Leases: a process renews those it holds, and records that it is alive."""

import time
from contextlib import closing
from datetime import timedelta

import pytest

from dispatcher.outbound.presence import Presence
from dispatcher.store import scheduler
from dispatcher.store.engine import Store, store_now
from tests.support.stores import add_campaign, batch_of, claim, queued
from workers.leases import Leases

LEASE_S = 0.3


def wait_until(condition, within_s=20):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def leases(store):
    kept = Leases(
        store,
        lease_s=LEASE_S,
        presence=Presence("host:1", timedelta(seconds=LEASE_S)),
        concurrency=7,
    )
    kept.start()
    yield kept
    kept.stop()


def now_of(store):
    with store.read() as conn:
        return store_now(conn)


def workers(store):
    with store.read() as conn:
        found = scheduler.list_workers(conn, now_of(store) - timedelta(hours=1))
    return [(worker.name, worker.concurrency) for worker in found]


def test_a_lease_is_renewed_while_it_is_held_and_no_longer(store, leases):
    add_campaign(store, [1, 1])
    tickets = queued(store, now=now_of(store), limit=2)
    held, other = (
        claim(store, ticket, now=now_of(store), lease=timedelta(seconds=LEASE_S))
        for ticket in tickets
    )
    let_go = batch_of(store, other.id).lease_until
    with leases.keep_renewed(held):
        first = batch_of(store, held.id).lease_until
        wait_until(lambda: batch_of(store, held.id).lease_until > first + timedelta(seconds=1))
    lease = timedelta(seconds=LEASE_S)
    wait_until(lambda: now_of(store) > batch_of(store, held.id).lease_until + lease)
    assert batch_of(store, other.id).lease_until == let_go


def test_a_worker_is_seen_while_it_runs(store, leases):
    wait_until(lambda: workers(store) == [("host:1", 7)])
    leases.stop()
    assert workers(store) == []


def test_a_store_without_tables_is_logged_with_what_to_do(empty_store_url, caplog):
    with closing(Store(empty_store_url)) as store:
        kept = Leases(
            store,
            lease_s=LEASE_S,
            presence=Presence("host:1", timedelta(seconds=LEASE_S)),
            concurrency=7,
        )
        kept.start()
        kept.stop()
    assert "has no tables yet: run `dispatcher db upgrade`" in caplog.text

"""A worker that dies in the middle of a bundle: nobody is sent the text twice, nobody is lost."""

from contextlib import contextmanager, suppress

import pytest

from dispatcher.status import IN_FLIGHT, BatchState, MessageState
from dispatcher.store import lost_batches
from dispatcher.store.engine import store_now
from dispatcher.store.tables import BATCH, MESSAGE
from tests.support.bundles import APART, scene
from tests.support.played import Played
from tests.support.stores import LEASE, change, rows


class Killed(Exception):
    """The process has ended here."""


class Mortal:
    """A store whose process dies at its `nth` transaction, before or after the commit."""

    def __init__(self, store, nth, *, is_committed):
        self._store, self._left, self._is_committed = store, nth, is_committed

    def __getattr__(self, name):
        return getattr(self._store, name)

    @contextmanager
    def write(self, **options):
        self._left -= 1
        with self._store.write(**options) as conn:
            yield conn
            if not self._left and not self._is_committed:
                raise Killed
        if not self._left:
            raise Killed


def lose_leases(store):
    with store.write() as conn:
        now = store_now(conn)
        change(conn, BATCH, BATCH.c.state.in_(IN_FLIGHT), lease_until=now - LEASE)
    with store.write() as conn:
        lost_batches.release_expired_claims(conn, now)
        lost_batches.doubt_expired_submissions(conn, now)


def numbers_in(store, campaigns, state):
    """The numbers of the requests whose messages are in a state."""
    return {
        campaigns.index(row.campaign_id) * APART + row.seq
        for row in rows(store, MESSAGE, MESSAGE.c.state == state)
    }


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_who_was_sent_the_text_by_a_worker_that_died_is_not_sent_it_again(store, nth, is_committed):
    client = Played(delay_s=0.02)
    with scene(store, client, max_in_flight=8) as ours:
        ours.services.store = Mortal(store, nth, is_committed=is_committed)
        with suppress(Killed):
            ours.turn().run()
            raise AssertionError("it went on")
    lose_leases(store)
    made, sent = ours.campaigns, set(client.numbers)
    doubtful = numbers_in(store, made, MessageState.IN_DOUBT)
    assert numbers_in(store, made, MessageState.SUBMITTED) | doubtful >= sent
    assert len(doubtful) <= 8 + 8, "those that had begun, and those that were under way"
    assert not sent & numbers_in(store, made, MessageState.PENDING)
    while numbers_in(store, made, MessageState.PENDING):
        with scene(store, client, made=made, max_in_flight=8) as again:
            again.turn().run()
    assert len(client.numbers) == len(set(client.numbers)) == 24 - len(doubtful - sent)
    assert numbers_in(store, made, MessageState.SUBMITTED) == set(client.numbers) - doubtful
    assert numbers_in(store, made, MessageState.IN_DOUBT) == doubtful
    assert {BatchState(row.state) for row in rows(store, BATCH)} == {BatchState.SETTLED}

"""A tick's work follows what is due, and there is one tick at a time."""

import re
import threading

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from dispatcher.outbound.release import find_releasable_accounts, release_batches
from dispatcher.policy.breaker import Breaker
from dispatcher.status import BatchState, CampaignState
from dispatcher.store.tables import BATCH, CAMPAIGN
from dispatcher.store.tick_lock import hold_tick_lock
from tests.support.stores import (
    NOW,
    add_account,
    add_campaign,
    batch_of,
    begin,
    campaign_of,
    change,
    claim,
    close,
    later,
    rows,
    settings,
    settle,
    verdict,
)
from tests.support.ticks import Ticker

CLOSED = '[{"windows":["2020-01-01 09:00-10:00"],"blackouts":[],"zone":"UTC"}]'


def add_waiting(store, account, first):
    """A running campaign whose only message waits for its receipt."""
    add_campaign(store, [1], account=account, first=first)
    with store.write() as conn:
        (ticket,) = release_batches(conn, account, settings(), NOW)
    held = claim(store, ticket)
    (attempt,) = begin(store, held)
    settle(store, held, attempt, verdict(accepted=[0]))
    close(store, held)


def add_closed(store, account, first):
    """A running campaign outside its windows."""
    add_campaign(store, [1], account=account, first=first, schedule=CLOSED)


def add_paused(store, account, first):
    """A running campaign whose account is paused."""
    add_campaign(store, [1], account=account, first=first)
    add_account(store, account, paused_by="operator")


def statements_of_a_tick(ticker):
    seen = []

    def note(_conn, _cursor, statement, *_):
        seen.append(re.sub(r"IN \((?:[^()]|\([^()]*\))*\)", "IN (…)", statement))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        ticker.tick()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return seen


def usual_statements(ticker):
    """The fewest of three ticks: some look at more, as the first in each minute does."""
    return min((statements_of_a_tick(ticker) for _ in range(3)), key=len)


@pytest.mark.parametrize("add", [add_waiting, add_closed, add_paused])
def test_statements_do_not_grow_with_what_is_not_due(store, tmp_path, add):
    names = [f"account{n}" for n in range(6)]
    ticker = Ticker(store, tmp_path, accounts=names)
    add(store, names[0], first=919_800_000_000)
    ticker.tick()
    few = usual_statements(ticker)
    for n, name in enumerate(names[1:], start=1):
        add(store, name, first=919_800_000_000 + n)
    assert usual_statements(ticker) == few


def test_only_accounts_that_may_release_are_visited(store):
    for n, (name, add) in enumerate({"waits": add_waiting, "closed": add_closed}.items()):
        add(store, name, first=919_800_000_000 + n)
    for n, name in enumerate(["due", "paused", "slowed", "broken", "trial", "other"]):
        add_campaign(store, [1], account=name, first=919_800_000_010 + n)
    add_account(store, "paused", paused_by="operator")
    add_account(store, "slowed", not_before=later(1))
    add_account(store, "broken", breaker=Breaker.OPEN)
    add_account(store, "trial", breaker=Breaker.TRIAL)
    names = ["waits", "closed", "due", "paused", "slowed", "broken", "trial"]
    configured = dict.fromkeys(names, settings())
    with store.read() as conn:
        found = find_releasable_accounts(conn, configured, NOW)
        then = find_releasable_accounts(conn, configured, later(1))
    # An account that is not configured here is named, so that the tick can say so.
    assert found == {"due", "trial", "other"}
    assert then == found | {"slowed"}


def test_a_batch_that_was_handed_back_is_due_at_its_time(store):
    campaign = add_campaign(store, [1])
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.campaign_id == campaign, not_before=later(5))
    configured = {"main": settings()}
    with store.read() as conn:
        assert find_releasable_accounts(conn, configured, later(4)) == set()
        assert find_releasable_accounts(conn, configured, later(5)) == {"main"}


@pytest.mark.parametrize("state", [CampaignState.PAUSED, CampaignState.SCHEDULED])
def test_a_campaign_that_does_not_run_has_nothing_due(store, state):
    add_campaign(store, [1], state=state)
    with store.read() as conn:
        assert find_releasable_accounts(conn, {"main": settings()}, NOW) == set()


def test_a_tick_beside_another_one_does_nothing(store, tmp_path):
    ticker = Ticker(store, tmp_path)
    ticker.tick()
    with hold_tick_lock(store) as is_only:
        assert is_only
        with hold_tick_lock(store) as is_second:
            assert not is_second
        statements = statements_of_a_tick(ticker)
    changes = [words for words in statements if words.startswith(("UPDATE", "INSERT"))]
    assert len(changes) == 1  # its own, which sets the last tick back
    with hold_tick_lock(store) as is_only:
        assert is_only
    assert [words for words in statements_of_a_tick(ticker) if words.startswith("UPDATE")]


def test_the_lock_of_ticks_ends_with_an_error(store):
    with pytest.raises(ZeroDivisionError), hold_tick_lock(store):
        raise ZeroDivisionError
    with hold_tick_lock(store) as is_only:
        assert is_only


def test_of_several_ticks_at_once_one_runs(store):
    at_once = threading.Barrier(4)
    taken = []

    def tick():
        at_once.wait()
        with hold_tick_lock(store) as is_only:
            taken.append(is_only)
            at_once.wait()

    threads = [threading.Thread(target=tick) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False, False, False, True]


def test_a_release_among_many_campaigns_asks_once_for_all(store):
    made = [add_campaign(store, [1, 2], first=919_800_000_000 + 10 * n) for n in range(20)]
    seen = []

    def note(_conn, _cursor, statement, *_):
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with store.write() as conn:
            limits = settings(max_in_flight=12, messages_per_second=5)
            (ticket, *others) = release_batches(conn, "main", limits, NOW)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert place_of(store, ticket) == (made[0], 0)
    assert len(others) == 3  # two messages share a turn at this rate
    assert len(seen) < 16
    assert [campaign_of(store, each).turn for each in made] == [1] * 8 + [0] * 12


def test_first_batches_are_followed_by_the_next_ones_in_fair_order(store):
    made = [add_campaign(store, [1, 2, 1], first=919_800_000_000 + 10 * n) for n in range(9)]
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == made[-1], priority=5)
    with store.write() as conn:
        released = release_batches(conn, "main", settings(max_in_flight=14), NOW)
    urgent = [(made[-1], seq) for seq in range(3)]
    first = [(each, 0) for each in made[:-1]]
    # A campaign's batches are in several bundles, each with one ticket.
    assert [place_of(store, ticket) for ticket in released] == [*urgent, (made[0], 1)]
    out = rows(store, BATCH, BATCH.c.state == BatchState.QUEUED)
    assert {(row.campaign_id, row.seq) for row in out} == {
        *urgent, *first, *((each, 1) for each in made[:5])
    }  # fmt: skip


def place_of(store, ticket):
    """The campaign and the place in it of a released batch."""
    batch = batch_of(store, ticket.id)
    return batch.campaign_id, batch.seq

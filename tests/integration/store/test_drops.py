"""Drops: only who is pending, and in no worker's hands, is taken out of a campaign."""

import pytest

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import BatchState
from dispatcher.store import drops
from dispatcher.store.locks import lock_campaign
from dispatcher.store.tables import MESSAGE
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    add_campaign,
    batch_of,
    begin,
    change,
    claimed,
    counts_of,
    queued,
    rows,
    settle,
    states,
    verdict,
)


def drop(store, campaign_id, *places):
    """What becomes of these seqs' numbers."""
    with store.write() as conn:
        campaign = lock_campaign(conn, campaign_id)
        numbers = [FIRST_NUMBER + place for place in places]
        outcomes = drops.drop_recipients(conn, campaign, numbers, NOW)
    return {number - FIRST_NUMBER: outcome for number, outcome in outcomes.items()}


def test_pending_recipients_are_cancelled_and_the_others_go_on(store):
    campaign = add_campaign(store, [3, 2])
    other = add_campaign(store, [3], first=FIRST_NUMBER)
    queued(store)
    assert drop(store, campaign, 1, 4, 77) == {1: "dropped", 4: "dropped", 77: "missing"}
    assert states(store, campaign) == ["pending", "cancelled", "pending", "pending", "cancelled"]
    assert states(store, other) == ["pending"] * 3
    assert counts_of(store, campaign) == {"pending": 3, "cancelled": 2}
    dropped = rows(store, MESSAGE, MESSAGE.c.campaign_id == campaign)[1]
    assert (dropped.final_at, dropped.error) == (NOW, drops.DROPPED)
    assert batch_of(store, 1).state == BatchState.QUEUED
    assert drop(store, campaign, 1) == {1: "cancelled"}


@pytest.mark.parametrize("place", range(5))
def test_each_recipient_is_dropped_in_the_batch_that_has_it(sqlite_store, place):
    """Another campaign that was there before has the same numbers."""
    other, campaign = (add_campaign(sqlite_store, [3, 2], first=FIRST_NUMBER) for _ in range(2))
    assert drop(sqlite_store, campaign, place) == {place: "dropped"}
    expected = ["cancelled" if seq == place else "pending" for seq in range(5)]
    assert states(sqlite_store, campaign) == expected
    assert states(sqlite_store, other) == ["pending"] * 5
    assert counts_of(sqlite_store, campaign) == {"pending": 4, "cancelled": 1}


def test_a_batch_without_anybody_left_is_settled(store):
    campaign = add_campaign(store, [2, 1])
    assert drop(store, campaign, 0, 1) == {0: "dropped", 1: "dropped"}
    assert batch_of(store, 1).state == BatchState.SETTLED
    assert batch_of(store, 2).state == BatchState.PENDING


def test_who_is_in_a_workers_hands_stays(store):
    campaign = add_campaign(store, [2])
    held = claimed(store)
    assert drop(store, campaign, 0) == {0: "in_flight"}
    (attempt,) = begin(store, held)
    assert drop(store, campaign, 1) == {1: "in_flight"}
    settle(store, held, attempt, verdict(accepted=[0], doubtful=[1]))
    assert drop(store, campaign, 0, 1) == {0: "submitted", 1: "in_doubt"}
    assert states(store) == ["submitted", "in_doubt"]


def test_a_late_answer_is_worth_more(store):
    campaign = add_campaign(store, [3])
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.seq == 0, note=int(DoubtNote.ACCEPTED_LATE))
    assert drop(store, campaign, 0) == {0: "submitted"}
    assert drop(store, campaign, 1) == {1: "dropped"}
    assert states(store) == ["submitted", "cancelled", "pending"]
    # It counts once as without a receipt.
    assert counts_of(store, campaign)["no_receipt"] == 1

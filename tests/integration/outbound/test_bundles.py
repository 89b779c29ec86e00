"""Small batches of different campaigns are released, claimed, returned and issued again as one."""

import pytest

from dispatcher.campaigns import control
from dispatcher.outbound.release import release_batches
from dispatcher.policy.breaker import Breaker
from dispatcher.status import BatchState
from dispatcher.store import lost_batches, tickets
from dispatcher.store.tables import ACCOUNT, BATCH
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    NOW,
    add_campaign,
    begin,
    change,
    close,
    counts_of,
    later,
    rows,
    settings,
    settle,
    verdict,
)


def add_campaigns(store, count, *, requests=1, **values):
    """Campaigns of one batch each, of so many recipients, a request for each; their ids."""
    made = [
        add_campaign(store, [requests], first=FIRST_NUMBER + 1000 * n, **values)
        for n in range(count)
    ]
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.campaign_id.in_(made), requests=requests)
    return made


def released(store, *, now=NOW, **values):
    with store.write() as conn:
        return release_batches(conn, "main", settings(**values), now)


def claimed(store, ticket, *, now=NOW):
    with store.write() as conn:
        return tickets.claim_bundle(conn, ticket.id, ticket.fence, now + LEASE)


def in_state(store, state):
    return [row.campaign_id for row in rows(store, BATCH, BATCH.c.state == state)]


def test_one_ticket_stands_for_all_and_is_claimed_once(store):
    made = add_campaigns(store, 20, requests=4)
    (ticket,) = released(store, max_in_flight=50)
    assert in_state(store, BatchState.QUEUED) == made
    claims = claimed(store, ticket)
    assert sorted(claim.campaign_id for claim in claims) == made
    assert claims[0].id == ticket.id
    assert claimed(store, ticket) == []
    assert in_state(store, BatchState.CLAIMED) == made


def test_a_bundle_has_the_slots_of_a_large_batch_until_its_batches_end(store):
    add_campaigns(store, 80, requests=4)
    first, second = released(store, max_in_flight=16)
    assert released(store, max_in_flight=16) == []
    assert len(in_state(store, BatchState.QUEUED)) == 64  # 16 messages for each slot
    held = claimed(store, first)
    for claim in held[:-2]:
        (attempt,) = begin(store, claim)
        settle(store, claim, attempt, verdict(accepted=range(4)), poll=None)
        close(store, claim)
    assert released(store, max_in_flight=16) == []
    for claim in held[-2:]:
        (attempt,) = begin(store, claim)
        settle(store, claim, attempt, verdict(accepted=range(4)), poll=None)
        close(store, claim)
    (third,) = released(store, max_in_flight=16)
    assert len(claimed(store, third)) == 16
    assert len(claimed(store, second)) == 32


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        ({"messages_per_second": 310}, [31, 31]),  # four tenths of a second of the rate
        ({"messages_per_second": 100, "requests_per_second": 30}, [3] * 4),
        ({"messages_per_second": 8}, [1] * 4),
    ],
)
def test_a_bundle_is_no_longer_than_its_share_of_each_rate(store, values, sizes):
    add_campaigns(store, 80, requests=4)
    given = released(store, max_in_flight=128, **values)
    assert [len(claimed(store, ticket)) for ticket in given] == sizes


def test_a_campaign_with_its_own_rate_is_released_alone(store):
    made = add_campaigns(store, 2) + add_campaigns(store, 1, rate=5.0)
    found = {ticket.campaign_id: claimed(store, ticket) for ticket in released(store)}
    assert {each: len(claims) for each, claims in found.items()} == {made[0]: 2, made[2]: 1}


def test_a_probe_is_one_batch(store):
    add_campaigns(store, 5)
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", breaker=Breaker.TRIAL, breaker_at=NOW)
    (ticket,) = released(store, max_in_flight=8)
    (claim,) = claimed(store, ticket)
    assert claim.is_probe


def test_others_are_claimed_where_the_first_was_taken_away(store):
    first, *others = add_campaigns(store, 4)
    (ticket,) = released(store)
    control.cancel_campaign(store, str(first))
    assert sorted(claim.campaign_id for claim in claimed(store, ticket)) == others
    assert in_state(store, BatchState.CANCELLED) == [first]


def test_a_bundle_whose_ticket_nobody_took_becomes_pending_and_the_ticket_has_no_effect(store):
    made = add_campaigns(store, 4)
    (ticket,) = released(store)
    with store.write() as conn:
        assert tickets.return_queued(conn, [(ticket.id, ticket.fence)]) == 4
        assert tickets.return_queued(conn, [(ticket.id, ticket.fence)]) == 0
    assert in_state(store, BatchState.PENDING) == made
    assert claimed(store, ticket) == []
    (newer,) = released(store)
    assert claimed(store, ticket) == []
    assert len(claimed(store, newer)) == 4


def test_what_is_left_of_a_bundle_has_one_ticket_when_it_is_issued_again(store):
    made = add_campaigns(store, 4)
    (lost,) = released(store)
    control.cancel_campaign(store, str(made[0]))
    with store.write() as conn:
        (again,) = tickets.reissue_tickets(conn, later(30), later(60))
    assert again.campaign_id == made[1]
    assert claimed(store, lost) == []
    assert sorted(claim.campaign_id for claim in claimed(store, again)) == made[1:]


def test_batches_are_bundled_anew_after_their_claims_were_lost(store):
    made = add_campaigns(store, 3)
    (ticket,) = released(store)
    assert len(claimed(store, ticket)) == 3
    with store.write() as conn:
        assert lost_batches.release_expired_claims(conn, later(90)) == 3
    assert in_state(store, BatchState.PENDING) == made
    (newer,) = released(store, now=later(90))
    assert claimed(store, ticket) == []
    assert len(claimed(store, newer, now=later(90))) == 3


def test_a_batch_that_kills_its_worker_takes_no_other_campaign_with_it(store):
    deadly, *others = add_campaigns(store, 4)
    now = NOW
    for _ in range(6):
        given = [claimed(store, ticket, now=now) for ticket in released(store, now=now)]
        for held in given:
            if deadly in {claim.campaign_id for claim in held}:
                continue  # its worker dies, with all that it holds
            for claim in held:
                (attempt,) = begin(store, claim, now=now)
                settle(store, claim, attempt, verdict(accepted=[0]), poll=None, now=now)
                close(store, claim, now=now)
        now += 2 * LEASE
        with store.write() as conn:
            lost_batches.release_expired_claims(conn, now)
    assert [counts_of(store, each)["submitted"] for each in others] == [1] * 3
    assert counts_of(store, deadly) == {"failed": 1}


def test_campaigns_that_must_wait_do_not_hide_the_others(store):
    closed = add_campaigns(store, 300, rate=1.0, paid_until=later(3))
    open_ = add_campaigns(store, 2, turn=100)
    given = released(store, max_in_flight=4, validity_hours=1)
    (ticket,) = given
    assert sorted(claim.campaign_id for claim in claimed(store, ticket)) == open_
    assert in_state(store, BatchState.PENDING) == closed

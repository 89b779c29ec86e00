"""Prices: kept with each message as the provider states them, and summed beside the batch."""

from decimal import Decimal

import pytest

from dispatcher.policy.verdict import Accepted, Verdict
from dispatcher.status import AttemptOutcome, MessageState
from dispatcher.store import costs, polls
from dispatcher.store.column_types import format_price
from dispatcher.store.receipts import Receipt, store_receipts
from dispatcher.store.tables import MESSAGE
from tests.support.stores import add_campaign, later, rows, settle, submitting


def taken(*prices):
    """A verdict that accepts one message per price; None where the provider reports none."""
    accepted = [Accepted(n, f"id-{n}", price and Decimal(price)) for n, price in enumerate(prices)]
    return Verdict(outcome=AttemptOutcome.ANSWERED, accepted=accepted, job_id="job")


def total(store):
    with store.read() as conn:
        return costs.campaign_cost(conn, 1)


def report(store, *receipts):
    """The receipts of the one accepted request, as its poll stores them."""
    with store.write() as conn:
        (ticket,) = polls.lease_due_polls(conn, now=later(10), lease_until=later(99), limit=1)
        polled = polls.load_poll(conn, ticket.id, ticket.polls)
        store_receipts(conn, polled, receipts, next_at=later(20), now=later(11))


def delivered(seq, price):
    return Receipt(seq, MessageState.DELIVERED, None, "Delivered", price and Decimal(price))


def test_the_prices_of_an_answer_are_summed(store):
    add_campaign(store, [3])
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, taken("0.25", None, "0.000001"))
    assert total(store) == Decimal("0.250001")


def test_without_a_price_there_is_no_sum_and_not_zero(store):
    add_campaign(store, [2])
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, taken(None, None))
    assert total(store) is None


def test_a_receipt_brings_a_price_changes_one_or_leaves_it(store):
    add_campaign(store, [3])
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, taken(None, "0.25", "0.25"))
    report(store, delivered(0, "0.1"), delivered(1, "0.3"), delivered(2, None))
    assert [m.cost for m in rows(store, MESSAGE)] == [
        Decimal("0.1"),
        Decimal("0.3"),
        Decimal("0.25"),
    ]
    assert total(store) == Decimal("0.65")


def test_an_answer_that_comes_twice_is_summed_once(store):
    add_campaign(store, [1])
    held, (attempt,) = submitting(store)
    for _ in range(2):
        settle(store, held, attempt, taken("0.25"))
    assert total(store) == Decimal("0.25")


@pytest.mark.parametrize(
    ("price", "shown"),
    [("0.250000", "0.25"), ("0E-6", "0"), ("1E+2", "100"), ("1.000001", "1.000001"), ("20", "20")],
)
def test_a_price_is_shown_in_digits(price, shown):
    assert format_price(Decimal(price)) == shown

"""Known failures of other bulk senders, a test each. The store plays the process that died.

A worker that lives but no longer consumes is in `tests/acceptance/test_outages.py`.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.release import release_batches
from dispatcher.policy.verdict import judge_error
from dispatcher.status import CampaignState, MessageState
from dispatcher.store import campaigns, polls
from dispatcher.store.engine import Store
from dispatcher.store.receipts import Receipt, store_receipts
from dispatcher.store.tables import MESSAGE
from dispatcher.types import Recipient
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    add_campaign,
    begin,
    campaign_of,
    claim,
    close,
    counts_of,
    later,
    queued,
    rows,
    settings,
    settle,
    states,
    submitted,
    submitting,
    verdict,
)


def released(store, now=NOW, **values):
    with store.write() as conn:
        return release_batches(conn, "main", settings(**values), now)


def test_a_timeout_after_the_provider_accepted_is_doubt_and_never_a_retry(store):
    campaign_id = add_campaign(store, (2,))
    held, (attempt,) = submitting(store)
    recipients = [Recipient(seq=seq, msisdn=FIRST_NUMBER + seq, text="Hello") for seq in (0, 1)]
    timeout = ProviderError(ErrorKind.DOUBTFUL, "no answer within 60 s")
    settle(store, held, attempt, judge_error(recipients, timeout))
    close(store, held, error=timeout.message, failed_after=8)
    assert states(store, campaign_id) == ["in_doubt", "in_doubt"]
    assert released(store, later(3600)) == []


def test_a_task_that_the_broker_delivers_again_does_nothing(store):
    campaign_id = add_campaign(store, (2,))
    (ticket,) = queued(store)
    held = claim(store, ticket)
    assert claim(store, ticket) is None
    (attempt,) = begin(store, held)
    assert claim(store, ticket) is None
    settle(store, held, attempt, verdict(accepted=[0, 1]))
    close(store, held)
    assert claim(store, ticket) is None
    assert counts_of(store, campaign_id) == {"submitted": 2}
    assert [row.attempts for row in rows(store, MESSAGE)] == [1, 1]


def test_a_restart_in_mid_campaign_goes_on_from_what_is_stored_without_a_cursor(store):
    """The first batch was answered, the second was at the provider, the third was never begun."""
    campaign_id = add_campaign(store, (2, 2, 2))
    submitted(store)
    submitting(store)
    with closing(Store(store.url.render_as_string(hide_password=False))) as restarted:
        tickets = released(restarted, later(1))
        third = claim(restarted, tickets[0], now=later(1))
        assert (len(tickets), third.first_seq) == (1, 4)
    wanted = ["submitted"] * 2 + ["pending"] * 4
    assert states(store, campaign_id) == wanted


@pytest.mark.parametrize("late", [MessageState.UNDELIVERED, MessageState.EXPIRED])
def test_a_status_that_comes_after_the_final_one_changes_nothing(store, late):
    campaign_id = add_campaign(store, (1,))
    submitted(store)
    polled = poll(store)
    for state in (MessageState.DELIVERED, late):
        receive(store, polled, Receipt(0, state, None, None))
    assert counts_of(store, campaign_id) == {"delivered": 1}


def test_a_receipt_for_an_unknown_id_changes_nothing(store):
    campaign_id = add_campaign(store, (1,))
    submitted(store)
    assert receive(store, poll(store), Receipt(77, MessageState.DELIVERED, None, None)) == 0
    assert counts_of(store, campaign_id) == {"submitted": 1}


def poll(store):
    with store.write() as conn:
        (ticket,) = polls.lease_due_polls(conn, now=later(20), lease_until=later(60), limit=1)
        return polls.load_poll(conn, ticket.id, ticket.polls)


def receive(store, polled, receipt):
    with store.write() as conn:
        return store_receipts(conn, polled, [receipt], next_at=later(40), now=later(30))


@pytest.mark.parametrize("unsent", ["waiting", "queued", "held", "at the provider"])
def test_a_campaign_is_not_declared_finished_while_a_row_was_not_sent(store, unsent):
    campaign_id = add_campaign(store, (1, 1))
    submitted(store, poll=None)
    if unsent != "waiting":
        (ticket,) = queued(store)
    if unsent in {"held", "at the provider"}:
        held = claim(store, ticket)
    if unsent == "at the provider":
        begin(store, held)
    with store.write() as conn:
        assert campaigns.finish_campaigns(conn, later(3600)) == []
    assert campaign_of(store, campaign_id).state == CampaignState.RUNNING


def test_two_schedulers_at_the_same_time_release_nothing_twice_and_not_too_much(store):
    add_campaign(store, (1,) * 12)

    def scheduler(_):
        return released(store, max_in_flight=4)

    with ThreadPoolExecutor(2) as both:
        tickets = [ticket for found in both.map(scheduler, range(8)) for ticket in found]
    assert len(tickets) == len({ticket.id for ticket in tickets}) == 4

"""Polls stay within their limit; receipts only move forward and count once."""

import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from dispatcher.status import MessageState
from dispatcher.store import costs, polls
from dispatcher.store.corrections import Correction, load_corrections
from dispatcher.store.polls import PolledRequest, PollTicket
from dispatcher.store.receipts import Receipt, ReportedRequest, store_receipts
from dispatcher.store.tables import ATTEMPT, MESSAGE
from tests.support.stores import (
    NOW,
    add_attempt,
    add_campaign,
    attempt_of,
    change,
    counts_of,
    later,
    rows,
    settle,
    states,
    submitted,
    submitting,
    verdict,
)

POLL_LEASE_S = 100
DUE, ASKED, AGAIN = later(10), later(11), later(20)
DELIVERED, UNDELIVERED, EXPIRED = (
    MessageState.DELIVERED,
    MessageState.UNDELIVERED,
    MessageState.EXPIRED,
)


#: A request of the account that joins are made for.
NOBODY = PolledRequest(
    id=0, polls=0, batch_id=0, campaign_id=0, first_seq=0, size=0, account="main", job_id=None,
    begun_at=NOW, poll_until=later(3600), open=(),
)  # fmt: skip


def release(store, *, now=DUE, limit=10):
    with store.write() as conn:
        lease_until = now + (later(POLL_LEASE_S) - NOW)
        return polls.lease_due_polls(conn, now=now, lease_until=lease_until, limit=limit)


def load(store, ticket):
    with store.read() as conn:
        return polls.load_poll(conn, ticket.id, ticket.polls)


def receive(store, polled, receipts, *, next_at=AGAIN, now=ASKED):
    with store.write() as conn:
        return store_receipts(conn, polled, receipts, next_at=next_at, now=now)


def receipts(state, *seqs):
    return [Receipt(seq, state, "E1", "the provider's word") for seq in seqs]


@pytest.fixture
def polled(store):
    """An accepted request of three messages whose poll is leased."""
    add_campaign(store)
    submitted(store)
    (ticket,) = release(store)
    return load(store, ticket)


# --- Release ----------------------------------------------------------------------------------


@pytest.fixture
def accepted(store):
    """Five accepted requests by id; the last one was due first."""
    with store.write() as conn:
        return [add_attempt(conn, poll_at=later(9 - n), poll_until=later(3600)) for n in range(5)]


def test_polls_are_leased_when_due_the_longest_due_first_and_within_the_limit(store, accepted):
    assert release(store, now=later(4)) == []
    assert {t.id for t in release(store, now=later(10), limit=2)} == set(accepted[3:])
    assert release(store, now=later(10), limit=2) == []
    assert {t.id for t in release(store, now=later(10), limit=4)} == set(accepted[1:3])


def test_polls_that_join_one_look_count_as_one_and_keep_their_account_from_another(store):
    with store.write() as conn:
        for n in range(5):
            add_attempt(conn, poll_at=later(n), poll_until=later(3600))
        for n in range(3):
            add_attempt(conn, account="other", poll_at=later(9 + n / 10), poll_until=later(3600))
        lease_until = later(100)
        limits = {"lease_until": lease_until, "limit": 3, "one_look": ["main"]}
        (first,) = polls.lease_due_polls(conn, now=later(8), **limits)
        polled = replace(NOBODY, id=first.id, polls=first.polls)
        assert (
            len(polls.join_due_polls(conn, polled, now=later(8), lease_until=lease_until, limit=9))
            == 4
        )

        again = polls.lease_due_polls(conn, now=later(10), **limits)

    assert len(again) == 2, "the others have the two places that are left"


def test_a_poll_that_nobody_settles_gets_a_new_ticket(store, accepted):
    first = release(store, now=later(10), limit=5)
    with store.read() as conn:
        assert load_corrections(conn) == {}
    assert release(store, now=later(10 + POLL_LEASE_S - 1), limit=10) == []
    again = release(store, now=later(10 + POLL_LEASE_S), limit=10)
    assert {t.id for t in again} == {t.id for t in first}
    assert all(t.polls == 2 for t in again)
    with store.read() as conn:
        assert load_corrections(conn) == {Correction.POLL_NOT_ANSWERED: 5}


@pytest.mark.parametrize(
    ("poll_s", "lease_s", "is_due"),
    [(0, None, True), (1, None, False), (None, None, False), (0, 0, True), (0, 1, False)],
)
def test_a_poll_is_due_at_its_time_unless_somebody_makes_it(sqlite_store, poll_s, lease_s, is_due):
    at, until = (None if seconds is None else later(seconds) for seconds in (poll_s, lease_s))
    with sqlite_store.write() as conn:
        add_attempt(conn, poll_at=at, poll_until=later(3600), poll_lease_until=until)
        assert polls.has_due_polls(conn, NOW) is is_due
    assert bool(release(sqlite_store, now=NOW, limit=1)) is is_due


def test_a_poll_that_has_just_come_due_counts_while_it_is_made(sqlite_store):
    with sqlite_store.write() as conn:
        for until in (later(60), None):
            add_attempt(conn, poll_at=NOW, poll_until=later(3600), poll_lease_until=until)
    assert release(sqlite_store, now=NOW, limit=1) == []
    assert len(release(sqlite_store, now=NOW, limit=2)) == 1


@pytest.mark.parametrize(
    ("values", "joins"),
    [
        ({}, True),
        ({"account": "other"}, False),
        ({"poll_at": later(9)}, False),
        ({"poll_at": None}, False),
        ({"poll_lease_until": later(8)}, True),
        ({"poll_lease_until": later(9)}, False),
    ],
)
def test_what_is_due_at_the_same_account_joins_a_look(sqlite_store, values, joins):
    """Not the poll that makes the look, although its lease has run out."""
    with sqlite_store.write() as conn:
        mine = add_attempt(
            conn, poll_at=later(1), poll_until=later(3600), poll_lease_until=later(7)
        )
        given = {"poll_at": later(8), "poll_until": later(3600)} | values
        other = add_attempt(conn, **given)
        polled = replace(NOBODY, id=mine)
        joined = polls.join_due_polls(conn, polled, now=later(8), lease_until=later(60), limit=9)
    assert [ticket.id for ticket in joined] == [other] * joins


@pytest.mark.parametrize(
    ("values", "polls_", "is_postponed"),
    [
        ({}, 1, True),
        ({}, 2, False),
        ({"poll_at": None}, 1, False),
        ({"poll_lease_until": None}, 1, False),
    ],
)
def test_only_the_poll_of_the_ticket_is_postponed(sqlite_store, values, polls_, is_postponed):
    given = {"poll_at": NOW, "poll_until": later(3600), "poll_lease_until": later(60), "polls": 1}
    with sqlite_store.write() as conn:
        mine, other = add_attempt(conn, **(given | values)), add_attempt(conn, **given)
        polls.postpone_polls(conn, [(PollTicket(mine, polls_), AGAIN)])
        polls.postpone_polls(conn, [])
    assert attempt_of(sqlite_store, mine).poll_at == (
        AGAIN if is_postponed else values.get("poll_at", NOW)
    )
    assert attempt_of(sqlite_store, other).poll_at == NOW


def test_racing_processes_keep_the_limit_and_lease_no_poll_twice(store):
    with store.write() as conn:
        for n in range(40):
            add_attempt(conn, poll_at=later(n / 100), poll_until=later(3600))
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(release(store, limit=7))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == len(set(found)) == 7
    assert len(rows(store, ATTEMPT, ATTEMPT.c.poll_lease_until.is_not(None))) == 7


# --- Load -------------------------------------------------------------------------------------


def test_a_poll_has_its_requests_own_messages_without_a_final_state(store):
    campaign_id = add_campaign(store, [4])
    held, (one, two) = submitting(store, [[0, 1, 2], [3]])
    settle(store, held, one, verdict(accepted=[0, 2], rejected=[1], job_id="job"))
    settle(store, held, two, verdict(accepted=[3]))
    tickets = {ticket.id: ticket for ticket in release(store)}
    polled = load(store, tickets[one])
    assert (polled.campaign_id, polled.account, polled.job_id) == (campaign_id, "main", "job")
    assert (polled.poll_until, polled.polls) == (later(3600), 1)
    assert [(m.seq, m.provider_message_id) for m in polled.open] == [(0, "id-0"), (2, "id-2")]
    receive(store, polled, receipts(DELIVERED, 0))
    (ticket,) = [t for t in release(store, now=later(20)) if t.id == one]
    assert [m.seq for m in load(store, ticket).open] == [2]


def test_a_poll_without_news_is_postponed_and_an_old_ticket_changes_nothing(store):
    add_campaign(store)
    submitted(store)
    (ticket,) = release(store)
    with store.write() as conn:
        old = PollTicket(ticket.id, ticket.polls - 1)
        polls.postpone_polls(conn, [(old, later(900)), (ticket, AGAIN), (old, later(900))])
    assert release(store, now=later(19)) == []
    (again,) = release(store, now=AGAIN)
    assert again == PollTicket(ticket.id, ticket.polls + 1)


def test_the_lease_of_a_poll_is_extended_but_not_by_an_old_ticket(store):
    add_campaign(store)
    submitted(store)
    (ticket,) = release(store)
    with store.write() as conn:
        polls.renew_poll_leases(conn, [ticket, PollTicket(ticket.id, 9)], later(500))
    assert release(store, now=later(499)) == []
    assert len(release(store, now=later(500))) == 1


def test_only_polls_that_are_given_and_under_way_are_extended(sqlite_store):
    until = [later(60), None, later(60), later(60)]
    with sqlite_store.write() as conn:
        ids = [add_attempt(conn, polls=1, poll_lease_until=each) for each in until]
        given = [PollTicket(ids[0], 1), PollTicket(ids[1], 1), PollTicket(ids[2], 2)]
        polls.renew_poll_leases(conn, given, later(500))
    after = [attempt_of(sqlite_store, each).poll_lease_until for each in ids]
    assert after == [later(500), *until[1:]]


def test_an_old_ticket_has_no_effect(store, polled):
    assert load(store, PollTicket(polled.id, polled.polls - 1)) is None
    assert load(store, PollTicket(polled.id, polled.polls + 1)) is None
    assert load(store, PollTicket(polled.id + 99, polled.polls)) is None
    receive(store, polled, receipts(DELIVERED, 0, 1, 2))
    assert load(store, PollTicket(polled.id, polled.polls)) is None


# --- Receipts ---------------------------------------------------------------------------------


def test_receipts_are_stored_and_the_rest_is_polled_again(store, polled):
    stored = receive(store, polled, receipts(DELIVERED, 0) + receipts(UNDELIVERED, 2))
    assert stored == 2
    assert [(m.final_at, m.error_code, m.error) for m in rows(store, MESSAGE)] == [
        (later(11), None, None),
        (None, None, None),
        (later(11), "E1", "the provider's word"),
    ]
    assert states(store) == ["delivered", "submitted", "undelivered"]
    attempt = attempt_of(store, polled.id)
    assert (attempt.poll_at, attempt.poll_lease_until) == (later(20), None)


@pytest.mark.parametrize("kinds", [1, 9])
def test_receipts_keep_their_texts_whether_these_are_few_or_many(store, kinds):
    add_campaign(store, [9])
    submitted(store)
    (ticket,) = release(store)
    texts = [(f"E{n % kinds}", f"words {n % kinds}") for n in range(9)]
    given = [Receipt(seq, UNDELIVERED, *text) for seq, text in enumerate(texts)]
    assert receive(store, load(store, ticket), given) == 9
    assert [(m.error_code, m.error) for m in rows(store, MESSAGE)] == texts


@pytest.mark.parametrize("kinds", [1, 9])
def test_receipts_of_many_texts_change_no_final_message_and_no_other_requests(sqlite_store, kinds):
    add_campaign(sqlite_store, [9])
    held, (one, two) = submitting(sqlite_store, [[*range(8)], [8]])
    settle(sqlite_store, held, one, verdict(accepted=range(8)))
    settle(sqlite_store, held, two, verdict(accepted=[8]))
    polled = next(load(sqlite_store, each) for each in release(sqlite_store) if each.id == one)
    receive(sqlite_store, polled, receipts(DELIVERED, 0))
    given = [Receipt(seq, UNDELIVERED, f"E{seq % kinds}", "words") for seq in range(9)]
    assert receive(sqlite_store, polled, given) == 7
    assert states(sqlite_store) == ["delivered", *["undelivered"] * 7, "submitted"]


def test_one_price_among_receipts_counts(sqlite_store):
    campaign = add_campaign(sqlite_store)
    submitted(sqlite_store)
    (ticket,) = release(sqlite_store)
    given = [Receipt(0, DELIVERED, None, None, Decimal("0.5")), Receipt(1, DELIVERED, None, None)]
    receive(sqlite_store, load(sqlite_store, ticket), given)
    with sqlite_store.read() as conn:
        assert costs.campaign_cost(conn, campaign) == Decimal("0.5")


def pushed(polled):
    """The request as one whose provider reports by itself."""
    return ReportedRequest(
        polled.id, polled.batch_id, polled.campaign_id, polled.first_seq, polled.size
    )


@pytest.mark.parametrize(("seqs", "is_polled"), [([0], True), ([0, 1], False), ([2], True)])
def test_nobody_polls_a_request_whose_receipts_were_all_pushed(sqlite_store, seqs, is_polled):
    """The other request of the batch is polled still."""
    add_campaign(sqlite_store, [3])
    held, (one, two) = submitting(sqlite_store, [[0, 1], [2]])
    settle(sqlite_store, held, one, verdict(accepted=[0, 1]))
    settle(sqlite_store, held, two, verdict(accepted=[2]))
    polled = next(load(sqlite_store, each) for each in release(sqlite_store) if each.id == one)
    receive(sqlite_store, pushed(polled), receipts(DELIVERED, *seqs), next_at=None)
    assert (attempt_of(sqlite_store, one).poll_at is not None) is is_polled
    assert attempt_of(sqlite_store, two).poll_at is not None


def test_polling_ends_with_the_last_receipt(store, polled):
    receive(store, polled, receipts(DELIVERED, 0, 1) + receipts(EXPIRED, 2))
    attempt = attempt_of(store, polled.id)
    assert (attempt.poll_at, attempt.poll_lease_until) == (None, None)
    assert counts_of(store, polled.campaign_id) == {"delivered": 2, "expired": 1}
    assert release(store, now=later(999)) == []


def test_messages_without_a_receipt_when_polling_ends_are_counted_so(store, polled):
    receive(store, polled, receipts(UNDELIVERED, 1), next_at=None)
    assert states(store) == ["submitted", "undelivered", "submitted"]
    assert counts_of(store, polled.campaign_id) == {
        "submitted": 2, "undelivered": 1, "no_receipt": 2,
    }  # fmt: skip
    assert release(store, now=later(9999)) == []


@pytest.mark.parametrize("later_state", [DELIVERED, UNDELIVERED, EXPIRED])
@pytest.mark.parametrize("first_state", [DELIVERED, UNDELIVERED, EXPIRED])
def test_a_final_state_stays(store, polled, first_state, later_state):
    receive(store, polled, receipts(first_state, 0))
    (ticket,) = release(store, now=later(20))
    again = load(store, ticket)
    assert receive(store, again, receipts(later_state, 0)) == 0
    assert states(store)[0] == first_state.label


def test_a_receipt_for_a_message_of_another_request_changes_nothing(store):
    add_campaign(store, [2])
    held, (one, two) = submitting(store, [[0], [1]])
    settle(store, held, one, verdict(accepted=[0]))
    settle(store, held, two, verdict(accepted=[1]))
    ticket = next(t for t in release(store) if t.id == one)
    assert receive(store, load(store, ticket), receipts(DELIVERED, 1)) == 0
    assert states(store) == ["submitted", "submitted"]


def test_many_different_words_about_messages_of_another_request_change_nothing(store):
    add_campaign(store, [12])
    held, (one, two) = submitting(store, [range(6), range(6, 12)])
    settle(store, held, one, verdict(accepted=range(6)))
    settle(store, held, two, verdict(accepted=range(6, 12)))
    ticket = next(t for t in release(store) if t.id == one)
    told = [Receipt(seq, UNDELIVERED, f"E{seq}", f"word {seq}") for seq in range(12)]
    assert receive(store, load(store, ticket), told) == 6
    assert states(store) == ["undelivered"] * 6 + ["submitted"] * 6


# --- Two pollers ------------------------------------------------------------------------------


@pytest.mark.parametrize("next_at", [None, later(20)])
@pytest.mark.parametrize("seqs", [[], [0], [0, 1, 2]])
def test_one_ticket_settled_twice_counts_once(store, polled, seqs, next_at):
    """The broker delivered the message twice, or a commit was not acknowledged."""
    receive(store, polled, receipts(DELIVERED, *seqs), next_at=next_at)
    before = counts_of(store, polled.campaign_id), attempt_of(store, polled.id)
    for second_at in (next_at, later(30), None):
        assert receive(store, polled, receipts(DELIVERED, *seqs), next_at=second_at) == 0
    assert before == (counts_of(store, polled.campaign_id), attempt_of(store, polled.id))


def test_the_receipts_of_a_poller_that_was_too_slow_count_and_do_not_end_polling(store, polled):
    now = later(10 + POLL_LEASE_S)
    (ticket,) = release(store, now=now)
    newer = load(store, ticket)
    assert receive(store, polled, receipts(DELIVERED, 0), next_at=None) == 1
    attempt = attempt_of(store, polled.id)
    assert (attempt.poll_at is not None, attempt.poll_lease_until) == (True, later(210))
    assert receive(store, newer, receipts(DELIVERED, 0, 1), next_at=None) == 1
    assert counts_of(store, polled.campaign_id) == {
        "delivered": 2, "submitted": 1, "no_receipt": 1,
    }  # fmt: skip


def test_a_receipt_after_the_end_of_polling_is_no_longer_missing(store, polled):
    (ticket,) = release(store, now=later(10 + POLL_LEASE_S))
    receive(store, load(store, ticket), [], next_at=None)
    assert counts_of(store, polled.campaign_id) == {"submitted": 3, "no_receipt": 3}
    assert receive(store, polled, receipts(DELIVERED, 0, 1)) == 2
    assert counts_of(store, polled.campaign_id) == {
        "delivered": 2, "submitted": 1, "no_receipt": 1,
    }  # fmt: skip


def test_racing_pollers_of_one_request_count_each_message_once(store):
    campaign_id = add_campaign(store, [60])
    submitted(store)
    (ticket,) = release(store)
    loaded = load(store, ticket)
    stored = []

    def work(state):
        stored.append(receive(store, loaded, receipts(state, *range(60)), next_at=None))

    threads = [threading.Thread(target=work, args=[s]) for s in (DELIVERED, UNDELIVERED) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(stored) == [0, 0, 0, 60]
    assert sum(counts_of(store, campaign_id).values()) == 60


def test_a_message_in_a_later_state_is_not_polled(store):
    add_campaign(store)
    submitted(store)
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.seq == 1, state=MessageState.DELIVERED)
        change(conn, polls.BATCH, polls.BATCH.c.size == 3, submitted=2, delivered=1)
    (ticket,) = release(store)
    assert [m.seq for m in load(store, ticket).open] == [0, 2]

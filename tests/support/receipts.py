"""Receipts of stored messages, as a poll brings them."""

from decimal import Decimal

from dispatcher.status import MessageState
from dispatcher.store import polls
from dispatcher.store.receipts import Receipt, store_receipts
from tests.support.stores import LEASE, later


def leased_poll(store, attempt_id, *, now=None):
    """The open poll of an attempt, leased."""
    now = now or later(20)
    with store.write() as conn:
        tickets = polls.lease_due_polls(conn, now=now, lease_until=now + LEASE, limit=1000)
        (ticket,) = [one for one in tickets if one.id == attempt_id]
        return polls.load_poll(conn, ticket.id, ticket.polls)


def give_receipts(store, polled, said, *, now=None, ends=True):
    """Store receipts of a poll; how many were new. `said`: seq → state, or (state, code, words)."""
    receipts = []
    for seq, what in said.items():
        state, code, words = (what, None, None) if isinstance(what, str) else what
        receipts.append(Receipt(seq, MessageState[state.upper()], code, words, Decimal("0.5")))
    with store.write() as conn:
        next_at = None if ends else later(2e6)
        return store_receipts(conn, polled, receipts, next_at=next_at, now=now or later(30))

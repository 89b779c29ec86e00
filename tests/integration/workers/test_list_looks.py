"""Looks at a provider's list for a doubt: which count, and when the campaign's rule is followed."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from dispatcher.policy.backoff import UNREAD_FOR
from dispatcher.policy.reconciliation import MAX_SCANS, ListScan
from dispatcher.providers.base import Capabilities, StatusLookup
from dispatcher.status import AttemptOutcome
from dispatcher.store import doubts
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ATTEMPT
from dispatcher.types import ListPage
from tests.support.stores import (
    FakeProvider,
    add_campaign,
    attempt_of,
    change,
    close,
    settings,
    settle,
    states,
    submitting,
    verdict,
)
from workers.lists.doubt import settle_doubt

FIRST_S = 60.0


class Listing(FakeProvider):
    """Its list can prove absence."""

    capabilities = Capabilities(
        max_recipients=100, personal_texts=True, delivery_status=StatusLookup.BY_JOB,
        lists_accepted=True, absence_provable=True,
    )  # fmt: skip


@pytest.fixture
def doubtful(store):
    """A campaign that resends what no list can settle, and its request in doubt."""

    def make(*, age=timedelta(minutes=10), looks=0, rule="resend"):
        add_campaign(store, (2,), on_doubt=rule)
        with store.read() as conn:
            now = store_now(conn)
        held, (attempt,) = submitting(store, now=now)
        said = verdict(doubtful=(0, 1), outcome=AttemptOutcome.DOUBTFUL)
        settle(store, held, attempt, said, now=now)
        close(store, held, now=now)
        with store.write() as conn:
            times = {"doubt_at": now - age, "reconcile_at": now, "looks": looks}
            change(conn, ATTEMPT, ATTEMPT.c.id == attempt, **times)
        return attempt

    return make


def look(store, attempt, *, is_complete):
    """One look at an empty list, that was read to its end or not; what was said of it."""
    scan = ListScan({0})
    scan.add_page(ListPage(entries=(), next_page=None), {})
    scan.is_complete = is_complete
    worker = SimpleNamespace(reconcile_after_s=FIRST_S)
    services = SimpleNamespace(settings=SimpleNamespace(worker=worker))
    with store.write() as conn:
        request = doubts.load_doubtful(conn, attempt)
        return settle_doubt(services, conn, Listing(settings()), request, scan)


@pytest.mark.parametrize("rule", ["resend", "drop", "hold"])
def test_looks_that_did_not_read_the_list_decide_nothing(store, doubtful, rule):
    attempt = doubtful(rule=rule, looks=MAX_SCANS - 1)
    for _ in range(MAX_SCANS + 1):
        assert look(store, attempt, is_complete=False) == "2 still in doubt"
    row = attempt_of(store, attempt)
    assert (row.looks, states(store)) == (MAX_SCANS - 1, ["in_doubt"] * 2)
    assert row.reconcile_at is not None


@pytest.mark.parametrize(
    ("rule", "state"), [("resend", "pending"), ("drop", "failed"), ("hold", "in_doubt")]
)
def test_the_sixth_look_that_read_the_list_follows_the_rule(store, doubtful, rule, state):
    attempt = doubtful(rule=rule, looks=MAX_SCANS - 1)
    look(store, attempt, is_complete=True)
    assert (attempt_of(store, attempt).looks, states(store)) == (MAX_SCANS, [state] * 2)


def test_a_list_that_was_never_read_is_left_to_a_person_after_a_day(store, doubtful):
    attempt = doubtful(age=UNREAD_FOR + timedelta(minutes=1))
    assert "a person has to decide" in look(store, attempt, is_complete=False)
    row = attempt_of(store, attempt)
    assert (row.reconcile_at, row.looks, states(store)) == (None, 0, ["in_doubt"] * 2)
    with store.read() as conn:
        (shown,) = doubts.campaigns_in_doubt(conn)
    assert (shown.next_at, shown.looks) == (None, 0)

"""Small batches of many campaigns share a turn, and each keeps the promises for itself."""

import threading
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest

from dispatcher.campaigns import control
from dispatcher.errors import StoreError
from dispatcher.recovery.spill import Spill
from dispatcher.status import AttemptOutcome, BatchState, CampaignState
from dispatcher.store import lost_batches, suppressions
from dispatcher.store.engine import store_now
from dispatcher.store.store_adoption import adopt_store
from dispatcher.store.store_identity import ensure_identity
from dispatcher.store.suppressions import SuppressionOrigin
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN
from dispatcher.types import HttpResponse, RecipientResult
from tests.support.arrivals import at_most_in_a_second
from tests.support.bundles import APART, scene, sent_of
from tests.support.played import Hiccup, Played, SingleTexts
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    batch_of,
    change,
    counts_of,
    rows,
)


class Priced(SingleTexts):
    """Each text has its price; of a number that ends with 7 nobody has heard."""

    def parse_submit(self, request, response):
        done = super().parse_submit(request, response)
        (result,) = done.results
        if result.msisdn % 10 == 7:
            refused = RecipientResult(msisdn=result.msisdn, accepted=False, error="unknown")
            return done.__class__(results=(refused,))
        return done.__class__(results=(result._replace(cost=Decimal("0.25")),))


def batch_states(store):
    return {BatchState(row.state) for row in rows(store, BATCH)}


def outcomes(store):
    return {AttemptOutcome(row.outcome).name for row in rows(store, ATTEMPT)}


class Counting:
    """Counts the transactions of a store that write."""

    def __init__(self, store):
        self._store, self.count = store, 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    def write(self, **options):
        self.count += 1
        return self._store.write(**options)


def test_every_request_leaves_once_through_the_slots_of_the_bundle(store):
    client = Played(delay_s=0.01)
    with scene(store, client) as ours:
        report = ours.turn().run()
    assert len(client.numbers) == len(set(client.numbers)) == 24
    assert 2 <= client.most_under_way <= 8
    assert (report.unsent, report.slots, report.is_unbegun, report.has_problem) == (
        0, 8, False, False,
    )  # fmt: skip
    assert all(counts_of(store, each) == {"submitted": 4} for each in ours.campaigns)
    assert (batch_states(store), outcomes(store)) == ({BatchState.SETTLED}, {"ANSWERED"})


def test_requests_of_all_batches_share_few_transactions(store):
    client = Played()
    with scene(store, client, sizes=(1,) * 60, max_in_flight=128) as ours:
        ours.services.store = counting = Counting(store)
        ours.turn().run()
    assert len(client.numbers) == 60
    assert counting.count <= 20
    assert batch_states(store) == {BatchState.SETTLED}


def test_a_price_and_a_refusal_are_those_of_their_own_batch(store):
    client = Played()
    with scene(store, client, sizes=(3, 9, 2), adapter=Priced) as ours:
        ours.turn().run()
    one, other, last = ours.campaigns
    assert counts_of(store, one) == {"submitted": 3}
    assert counts_of(store, other) == {"submitted": 8, "rejected": 1}
    prices = {row.campaign_id: row.cost for row in rows(store, BATCH)}
    assert prices == {one: Decimal("0.75"), other: Decimal(2), last: Decimal("0.5")}
    assert batch_states(store) == {BatchState.SETTLED}


def test_no_second_has_more_than_the_rate(store):
    client = Played(delay_s=0.005)
    with scene(store, client, sizes=(3,) * 8, messages_per_second=100) as ours:
        ours.turn().run()
        paid_until = rows(store, ACCOUNT)[0].messages_paid_until
        with store.read() as conn:
            now = store_now(conn)
    arrived = [(at, 1) for at, _number in client.arrived]
    assert len(arrived) == 24
    assert at_most_in_a_second(arrived) <= 101
    assert arrived[-1][0] - arrived[0][0] >= 23 / 100 - 0.1  # the first may be late
    assert (paid_until - now).total_seconds() < 0.3


def test_a_start_that_is_far_away_leaves_all_batches_to_their_caller(store):
    client = Played()

    def use_up(_made):
        with store.write() as conn:
            ahead = store_now(conn) + timedelta(seconds=9)
            change(conn, ACCOUNT, ACCOUNT.c.name == "main", messages_paid_until=ahead)

    with scene(store, client, sizes=(1, 1), messages_per_second=10, before=use_up) as ours:
        report = ours.turn().run()
    assert (client.numbers, report.is_unbegun, report.unsent) == ([], True, 2)
    assert 8 < report.wait_s <= 9
    assert batch_states(store) == {BatchState.CLAIMED}


def test_a_campaign_that_was_paused_gets_its_batch_back_and_the_others_go(store):
    client = Played()

    def pause(made):
        control.pause_campaign(store, str(made[2]))

    with scene(store, client, before=pause) as ours:
        report = ours.turn().run()
    assert (sent_of(client, 2), len(client.numbers)) == ([], 20)
    assert report.unsent_of == {ours.campaigns[2]: 4}
    assert counts_of(store, ours.campaigns[2]) == {"pending": 4}
    states = {row.campaign_id: BatchState(row.state) for row in rows(store, BATCH)}
    assert states.pop(ours.campaigns[2]) is BatchState.PENDING
    assert set(states.values()) == {BatchState.SETTLED}


def test_a_campaign_whose_time_is_over_begins_nothing_and_the_others_go(store):
    client = Played()

    def end(made):
        with store.write() as conn:
            past = store_now(conn) - timedelta(seconds=1)
            change(conn, CAMPAIGN, CAMPAIGN.c.id == made[2], expire_at=past)

    with scene(store, client, before=end) as ours:
        ours.turn().run()
    assert (sent_of(client, 2), len(client.numbers)) == ([], 20)
    (over,) = rows(store, BATCH, BATCH.c.campaign_id == ours.campaigns[2])
    assert rows(store, ATTEMPT, ATTEMPT.c.batch_id == over.id) == []


def test_a_campaign_that_is_paused_meanwhile_sends_no_more_and_is_settled(store):
    client = Played(delay_s=0.15)
    with scene(store, client, sizes=(12, 12), max_in_flight=8) as ours:
        first = ours.campaigns[0]
        pausing = threading.Timer(0.05, control.pause_campaign, (store, str(first)))
        pausing.start()
        ours.turn().run()
        pausing.join()
    sent = len(sent_of(client, 0))
    assert 0 < sent < 12
    assert counts_of(store, first) == {"submitted": sent, "pending": 12 - sent}
    assert sent_of(client, 1)
    assert batch_states(store) <= {BatchState.PENDING, BatchState.SETTLED}


def test_an_account_that_was_paused_gets_everything_back(store):
    client = Played()

    def pause(_made):
        with store.write() as conn:
            change(conn, ACCOUNT, ACCOUNT.c.name == "main", paused_by="person")

    with scene(store, client, before=pause) as ours:
        report = ours.turn().run()
    assert client.numbers == []
    # The task hands back what the turn did not begin.
    assert (report.is_unbegun, report.unsent) == (True, 24)
    assert batch_states(store) == {BatchState.CLAIMED}


def test_after_a_429_nothing_more_leaves_and_only_its_batch_has_tried(store):
    slow_down = HttpResponse(status=429)
    client = Played(delay_s=0.05, special={2 * APART: (0.0, slow_down)})
    with scene(store, client, max_in_flight=8) as ours:
        report = ours.turn().run()
    assert report.has_problem
    assert 0 < len(client.numbers) < 24
    assert batch_states(store) <= {BatchState.PENDING, BatchState.SETTLED}
    tries = {row.campaign_id: row.tries for row in rows(store, BATCH)}
    assert [each for each, count in tries.items() if count] == [ours.campaigns[2]]
    total = sum(counts_of(store, each).get("submitted", 0) for each in ours.campaigns)
    assert total == len(client.numbers) - 1


def test_who_came_onto_the_suppression_list_gets_nothing(store):
    client = Played()

    def suppress(_made):
        with store.write() as conn:
            origin = SuppressionOrigin(None, "test", "test")
            listed = [FIRST_NUMBER + 3 * APART + 1]
            suppressions.add_numbers(
                conn, listed, suppressions.ANY_ACCOUNT, origin, store_now(conn)
            )

    with scene(store, client, before=suppress) as ours:
        ours.turn().run()
    assert (sent_of(client, 3), len(client.numbers)) == ([], 20)
    assert counts_of(store, ours.campaigns[3]) == {"pending": 3, "suppressed": 1}


def test_a_request_that_hangs_keeps_no_other_batch_open(store):
    client = Played(special={0: (1.5, HttpResponse(status=200))})
    seen = []

    def look():
        seen.append({row.campaign_id: row.state for row in rows(store, BATCH)})

    with scene(store, client) as ours:
        looking = threading.Timer(1.0, look)
        looking.start()
        ours.turn().run()
        looking.join()
    (states,) = seen
    assert states.pop(ours.campaigns[0]) == BatchState.SUBMITTING
    assert set(states.values()) == {BatchState.SETTLED}
    assert batch_states(store) == {BatchState.SETTLED}


def test_what_has_not_begun_when_the_turn_is_over_becomes_pending_again(store):
    client = Played(delay_s=0.4)
    with scene(store, client, sizes=(4,) * 8, max_in_flight=4) as ours:
        report = ours.turn().run()
    sent = len(client.numbers)
    assert 0 < sent < 32
    assert report.unsent == 32 - sent
    left = {each: counts_of(store, each).get("pending", 0) for each in ours.campaigns}
    assert report.unsent_of == {each: count for each, count in left.items() if count}
    assert batch_states(store) == {BatchState.PENDING, BatchState.SETTLED}
    assert {row.state for row in rows(store, CAMPAIGN)} == {CampaignState.RUNNING}


def test_an_answer_after_the_lease_was_lost_still_counts(store):
    client = Played(delay_s=0.4)

    def lose():
        with store.write() as conn:
            change(conn, BATCH, BATCH.c.campaign_id == 2, lease_until=store_now(conn) - LEASE)
        with store.write() as conn:
            lost_batches.doubt_expired_submissions(conn, store_now(conn))

    with scene(store, client, sizes=(4, 4)) as ours:
        assert ours.campaigns == [1, 2]
        losing = threading.Timer(0.2, lose)
        losing.start()
        ours.turn().run()
        losing.join()
    assert counts_of(store, 1) == {"submitted": 4}
    assert counts_of(store, 2) == {"submitted": 4}
    assert "OPEN" not in outcomes(store)


def test_the_days_limit_lets_exactly_so_many_leave(store):
    client = Played()
    with scene(store, client, sizes=(4,) * 5, daily_limit=20) as ours:
        with store.write() as conn:
            change(
                conn, ACCOUNT, ACCOUNT.c.name == "main",
                day_count=10, day_until=store_now(conn) + LEASE,
            )  # fmt: skip
        report = ours.turn().run()
    assert (len(client.numbers), report.unsent) == (10, 10)
    (account,) = rows(store, ACCOUNT)
    assert account.day_count == 20
    assert batch_states(store) == {BatchState.PENDING, BatchState.SETTLED}


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_begin_that_may_have_failed_doubles_and_loses_nobody(store, nth, is_committed):
    client = Played(delay_s=0.02)
    with scene(store, client, max_in_flight=8) as ours:
        ours.services.store = Hiccup(store, nth, is_committed=is_committed)
        with suppress(StoreError):
            ours.turn().run()
    sent = client.numbers
    assert len(sent) == len(set(sent))
    for place, each in enumerate(ours.campaigns):
        counts = counts_of(store, each)
        assert counts.get("submitted", 0) == len(sent_of(client, place))
        assert "in_doubt" not in counts
    assert "OPEN" not in outcomes(store)
    assert batch_states(store) <= {BatchState.PENDING, BatchState.SETTLED}
    assert all(batch_of(store, claim.id).fence > claim.fence for claim in ours.held)


@pytest.mark.parametrize("max_in_flight", [8, 128])
def test_nobody_whose_answer_the_store_refuses_is_sent_again(store, tmp_path, max_in_flight):
    """The store is adopted while requests are under way: their answers are another store's."""
    client = Played(delay_s=0.3)

    def adopt():
        with store.write() as conn:
            adopt_store(conn, doubt=False, actor="person", now=store_now(conn))

    with store.write() as conn:
        ensure_identity(conn)
    with scene(store, client, max_in_flight=max_in_flight) as ours:
        ours.services.spill = Spill(tmp_path)
        adopting = threading.Timer(0.15, adopt)
        adopting.start()
        with suppress(StoreError):
            ours.turn().run()
        adopting.join()
    assert client.numbers
    assert len(ours.services.spill.quarantined_files()) >= len(client.numbers)
    states = {row.campaign_id: BatchState(row.state) for row in rows(store, BATCH)}
    sent = [each for place, each in enumerate(ours.campaigns) if sent_of(client, place)]
    assert {states[each] for each in sent} == {BatchState.SUBMITTING}, "their lease runs out"

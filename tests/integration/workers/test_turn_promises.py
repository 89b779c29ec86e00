"""A turn keeps the promises: pauses, a 429, lost acknowledgements, slow answers, rates, limits."""

import threading
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from dispatcher.campaigns import control
from dispatcher.errors import StoreError
from dispatcher.status import AttemptOutcome, BatchState
from dispatcher.store import accounts, campaigns
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH
from dispatcher.types import (
    HttpRequest,
    HttpResponse,
    Recipient,
    SubmitRequest,
)
from tests.support.arrivals import at_most_in_a_second
from tests.support.played import Hiccup, Played, SingleTexts
from tests.support.presence import known_worker
from tests.support.stores import (
    FIRST_NUMBER,
    add_campaign,
    batch_of,
    change,
    claimed,
    counts_of,
    rows,
    settings,
)
from workers.batch.prepared import PreparedBatch
from workers.batch.turn import Turn
from workers.http.http_runtime import HttpRuntime
from workers.http.pace import Paces
from workers.release_clock import ReleaseClock


@contextmanager
def scene(store, client, *, size=40, others=0, **account):
    """A claimed batch of `size` single requests, and the turn that submits it."""
    with store.read() as conn:
        now = store_now(conn)
    campaign_id = add_campaign(store, (size,))
    for number in range(others):
        add_campaign(store, (1,), first=FIRST_NUMBER + 10**6 * (number + 1))
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.campaign_id == campaign_id, requests=size)
    held = claimed(store, now=now, lease=timedelta(minutes=5))
    limits = settings(**{"max_in_flight": 16, "timeout_s": 20, **account})
    with store.read() as conn:
        rows_of = (
            accounts.find_account(conn, "main"), campaigns.load_campaign(conn, campaign_id)
        )  # fmt: skip
    batch = PreparedBatch(
        at=now,
        claim=held,
        provider=SingleTexts(limits),
        requests=[
            SubmitRequest(
                http=HttpRequest(method="POST", url="http://127.0.0.1:9", body=b"%d" % seq),
                recipients=(Recipient(seq, FIRST_NUMBER + seq, "Hello"),),
            )
            for seq in range(size)
        ],
        account=rows_of[0],
        campaign=rows_of[1],
    )
    stopping = threading.Event()
    with closing(HttpRuntime(client)) as runtime:
        services = SimpleNamespace(
            store=store,
            runtime=runtime,
            stopping=stopping,
            release_clock=ReleaseClock(),
            paces=Paces(known_worker()),
            rollback_guard=SimpleNamespace(record_attempts=lambda _ids: None),
            zone_of=lambda _name: ZoneInfo("UTC"),
            spill=None,
        )
        yield SimpleNamespace(
            campaign=campaign_id, held=held, services=services, turn=lambda: Turn(services, batch)
        )


def outcomes(store):
    return sorted(AttemptOutcome(row.outcome).name for row in rows(store, ATTEMPT))


def test_every_request_leaves_once_through_the_window(store):
    client = Played(delay_s=0.01)
    with scene(store, client) as ours:
        report = ours.turn().run()
    # On a busy machine the turn's second may be over before.
    sent = len(client.numbers)
    assert sorted(client.numbers) == [*range(sent)]
    assert 2 <= client.most_under_way <= 8
    assert (report.unsent, report.is_unbegun) == (40 - sent, False)
    assert counts_of(store, ours.campaign)["submitted"] == sent
    ended = BatchState.SETTLED if sent == 40 else BatchState.PENDING
    assert batch_of(store, ours.held.id).state == ended
    assert set(outcomes(store)) == {"ANSWERED"}


def test_a_turn_ends_after_a_second_and_the_rest_waits(store):
    client = Played(delay_s=0.4)
    with scene(store, client, others=1) as ours:
        report = ours.turn().run()
    assert 8 <= len(client.numbers) < 40
    assert report.unsent == 40 - len(client.numbers)
    assert counts_of(store, ours.campaign) == {
        "submitted": len(client.numbers), "pending": report.unsent,
    }  # fmt: skip
    assert batch_of(store, ours.held.id).state == BatchState.PENDING
    assert len(outcomes(store)) == len(client.numbers)


def test_slow_answers_keep_no_slot_from_a_campaign_that_is_alone(store):
    client = Played(delay_s=0.1, special={0: (3.0, HttpResponse(status=200))})
    with scene(store, client, size=300) as ours:
        ours.turn().run()
    first, last = client.arrived[0][0], client.arrived[-1][0]
    # A turn's second is long over when the slow answer comes.
    assert last - first > 1.5
    assert counts_of(store, ours.campaign)["submitted"] == len(client.numbers)


def test_slow_answers_end_the_turn_where_another_campaign_waits(store):
    client = Played(delay_s=0.1, special={0: (3.0, HttpResponse(status=200))})
    with scene(store, client, size=120, others=1) as ours:
        report = ours.turn().run()
    assert report.unsent > 0
    assert counts_of(store, ours.campaign)["pending"] == report.unsent


def test_a_pause_ends_the_turn_and_what_is_under_way_is_settled(store):
    client = Played(delay_s=0.1)
    with scene(store, client, size=200) as ours:
        pausing = threading.Timer(0.3, control.pause_campaign, (store, str(ours.campaign)))
        pausing.start()
        report = ours.turn().run()
        pausing.join()
    sent = len(client.numbers)
    assert 0 < sent < 60
    assert report.unsent == 200 - sent
    assert counts_of(store, ours.campaign) == {"submitted": sent, "pending": 200 - sent}
    assert batch_of(store, ours.held.id).state == BatchState.PENDING


def test_after_a_429_nothing_more_leaves(store):
    slow_down = HttpResponse(status=429)
    client = Played(delay_s=0.05, special={5: (0.0, slow_down)})
    with scene(store, client, messages_per_second=100) as ours:
        report = ours.turn().run()
    last = client.numbers.index(5)
    # What was due within the instant that it took to tell the loop.
    assert len(client.numbers) - last <= 9
    assert report.unsent >= 20
    (account,) = rows(store, ACCOUNT)
    with store.read() as conn:
        assert account.not_before > store_now(conn) + timedelta(seconds=20)
    counts = counts_of(store, ours.campaign)
    assert counts["submitted"] == len(client.numbers) - 1
    assert counts["pending"] == 40 - counts["submitted"]


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_begin_that_may_have_failed_doubles_and_loses_nobody(store, nth, is_committed):
    client = Played(delay_s=0.02)
    with scene(store, client) as ours:
        ours.services.store = Hiccup(store, nth, is_committed=is_committed)
        with suppress(StoreError):
            ours.turn().run()
        sent = client.numbers
    assert len(sent) == len(set(sent))
    counts = counts_of(store, ours.campaign)
    assert counts.get("submitted", 0) == len(sent)
    assert counts.get("pending", 0) == 40 - len(sent)
    assert "in_doubt" not in counts
    assert "OPEN" not in outcomes(store)
    assert batch_of(store, ours.held.id).state in {BatchState.PENDING, BatchState.SETTLED}


@pytest.mark.parametrize("per_second", [20, 50, 200])
def test_no_second_has_more_than_the_rate(store, per_second):
    client = Played(delay_s=0.005)
    keys = {"messages_per_second": per_second, "max_in_flight": 64}
    with scene(store, client, size=min(500, 4 * per_second), **keys) as ours:
        ours.turn().run()
    arrived = [(at, 1) for at, _number in client.arrived]
    assert at_most_in_a_second(arrived) <= per_second + 1
    assert len(arrived) >= 0.5 * per_second


@pytest.mark.parametrize("per_second", [10_000, 1_000_000])
def test_a_rate_that_the_machine_cannot_reach_holds_nothing_back(store, per_second):
    client = Played()
    with scene(store, client, size=300, messages_per_second=per_second, max_in_flight=64) as ours:
        ours.turn().run()
    # At one request for each begin, as it was, it would be a dozen.
    assert len(client.numbers) >= 64


def test_the_days_limit_lets_exactly_so_many_leave(store):
    client = Played()
    with scene(store, client, daily_limit=25) as ours:
        report = ours.turn().run()
    assert (len(client.numbers), report.unsent) == (25, 15)
    assert counts_of(store, ours.campaign) == {"submitted": 25, "pending": 15}

"""Batches that always fail: their tries are bounded, and others go first meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from dispatcher.errors import ErrorKind, ProviderError, Refused
from dispatcher.outbound.release import release_batches
from dispatcher.status import BatchState, CampaignState
from dispatcher.store import accounts, campaigns
from dispatcher.store.engine import Store, store_now
from dispatcher.store.locks import lock_account, lock_campaign_shared
from dispatcher.store.tables import BATCH, MESSAGE
from dispatcher.types import HttpRequest, HttpResponse, Recipient, SubmitRequest
from tests.support.stage import wait_for
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    FakeProvider,
    add_campaign,
    batch_of,
    begin,
    campaign_of,
    change,
    claim,
    counts_of,
    rows,
    settings,
    states,
)
from workers.batch.failures import count_failure, pause_refused_campaign
from workers.batch.prepared import PreparedBatch
from workers.batch.settle import BatchSettler, EndedRequest

LIMITS = settings(max_attempts=3, max_in_flight=1)


class Broken(FakeProvider):
    """An adapter with a bug: it cannot parse its provider's answers."""

    def parse_submit(self, request, response):
        raise KeyError("919800000000")


def process(store):
    """What the functions under test use of a worker process."""
    return SimpleNamespace(
        store=store,
        stopping=threading.Event(),
        settings=SimpleNamespace(account=lambda _name: LIMITS),
    )


def take(store):
    """The next batch that is released, claimed; None if there is none."""
    with store.write() as conn:
        now = store_now(conn)
        change(conn, accounts.ACCOUNT, accounts.ACCOUNT.c.name == "main", not_before=None)
        tickets = release_batches(conn, "main", LIMITS, now)
    return claim(store, tickets[0], now=now) if tickets else None


def time_passes(store):
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.not_before.is_not(None),
               not_before=store_now(conn) - timedelta(seconds=1))  # fmt: skip


def under_way(store, held, *answers, adapter=FakeProvider):
    """Begin a batch with a request for each answer. Returns a function that settles the answers."""
    seqs = range(held.first_seq, held.first_seq + held.size)
    shares = [list(seqs[place :: len(answers)]) for place in range(len(answers))]
    attempts = begin(store, held, shares)
    requests = [
        SubmitRequest(
            http=HttpRequest(method="POST", url="http://127.0.0.1:9"),
            recipients=tuple(Recipient(seq, FIRST_NUMBER + seq, "Hello") for seq in share),
        )
        for share in shares
    ]
    with store.read() as conn:
        account, campaign = (
            accounts.find_account(conn, "main"),
            campaigns.load_campaign(conn, held.campaign_id),
        )
    work = PreparedBatch(
        at=NOW, claim=held, provider=adapter(LIMITS), requests=requests, account=account,
        campaign=campaign,
    )  # fmt: skip
    settler = BatchSettler(process(store), work)
    ended = map(EndedRequest, attempts, requests, answers)
    judged = [settler.judge_answer(each) for each in ended]
    return partial(settler.settle_answers, judged, is_last=True)


def settle(store, held, answer, adapter=FakeProvider):
    """Begin, answer, settle and close a batch of one request."""
    under_way(store, held, answer, adapter=adapter)()


def raised(text):
    """The error of a bug, as it is caught."""
    try:
        return {}[text]
    except KeyError as error:
        return error


THROTTLED = ProviderError(ErrorKind.THROTTLED, "slow down", retry_after_s=1)


def test_a_batch_that_always_fails_is_tried_after_the_others_and_ends_failed(store):
    campaign = add_campaign(store, (1, 1))
    first = take(store)
    settle(store, first, THROTTLED)
    assert batch_of(store, first.id).tries == 1
    # Both may go again as far as the account is concerned: the other one does.
    held = take(store)
    assert held.id != first.id
    while held is not None:
        settle(store, held, THROTTLED)
        time_passes(store)
        held = take(store)
    assert counts_of(store, campaign) == {"failed": 2}
    assert {m.error for m in rows(store, MESSAGE)} == {"slow down"}


def test_a_batch_that_failed_waits_longer_than_its_account(store):
    add_campaign(store, (1,))
    held = take(store)
    settle(store, held, ProviderError(ErrorKind.THROTTLED, "slow down", retry_after_s=30))
    with store.read() as conn:
        account, now = accounts.find_account(conn, "main"), store_now(conn)
    assert account.not_before > now + timedelta(seconds=20)
    assert batch_of(store, held.id).not_before > account.not_before


def test_answers_that_stop_a_campaign_and_its_account_wait_while_another_batch_begins(
    emptied_postgres_url, caplog
):
    """Both lock the account before the campaign, so that there is no deadlock."""
    with closing(Store(emptied_postgres_url)) as store, ThreadPoolExecutor(1) as pool:
        campaign = add_campaign(store, (2,))
        held = take(store)
        refused = ProviderError(ErrorKind.CAMPAIGN, "no such sender")
        settle_both = under_way(store, held, refused, THROTTLED)
        with store.write() as conn:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            lock_account(conn, "main")
            settling = pool.submit(settle_both)
            wait_for(lambda: conn.execute(waiting).scalar_one(), "the account's lock")
            lock_campaign_shared(conn, campaign)
        settling.result()
        assert campaign_of(store, campaign).state == CampaignState.PAUSED
        said = [record.getMessage() for record in caplog.records]
        assert said == [f"campaign {campaign}, account main: paused: no such sender"]


def test_requests_that_cannot_be_built_use_up_their_tries_and_no_text_is_shown(store, caplog):
    campaign = add_campaign(store, (2,))
    for tries in range(1, 4):
        held = take(store)
        count_failure(process(store), held, raised("secret text"))
        assert batch_of(store, held.id).tries == tries
        time_passes(store)
    assert counts_of(store, campaign) == {"failed": 2}
    assert batch_of(store, held.id).state == BatchState.SETTLED
    assert {m.error for m in rows(store, MESSAGE)} == {"its requests could not be built (KeyError)"}
    assert "secret" not in caplog.text


def test_a_bug_after_the_begin_counts_no_try(store):
    add_campaign(store, (1,))
    held = take(store)
    begin(store, held)
    count_failure(process(store), held, raised("x"))
    assert batch_of(store, held.id).state == BatchState.SUBMITTING


def test_a_refusal_before_anything_is_sent_pauses_the_campaign(store):
    campaign = add_campaign(store, (1,))
    held = take(store)
    pause_refused_campaign(process(store), held, Refused("its time zone is not known"))
    row = campaign_of(store, campaign)
    assert (row.state, row.state_reason) == (CampaignState.PAUSED, "its time zone is not known")
    assert (batch_of(store, held.id).state, states(store)) == (BatchState.PENDING, ["pending"])


@pytest.mark.parametrize("body", [b"{}", b""])
def test_an_answer_that_an_adapter_cannot_parse_leaves_doubt(store, body):
    add_campaign(store, (2,))
    held = take(store)
    settle(store, held, HttpResponse(status=200, body=body), adapter=Broken)
    assert states(store) == ["in_doubt", "in_doubt"]
    assert {m.error for m in rows(store, MESSAGE)} == {"the answer could not be read (KeyError)"}

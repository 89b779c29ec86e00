"""A bundle's turn in this process: campaigns whose batches are released and claimed together."""

import threading
from contextlib import closing, contextmanager
from types import SimpleNamespace
from zoneinfo import ZoneInfo

from dispatcher.outbound.release import release_batches
from dispatcher.store import accounts, messages, tickets
from dispatcher.store.engine import store_now
from dispatcher.store.tables import BATCH
from dispatcher.store.workloads import load_campaigns
from dispatcher.types import HttpRequest, Recipient, SubmitRequest
from tests.support.played import SingleTexts
from tests.support.presence import known_worker
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    add_campaign,
    assert_counts_agree,
    change,
    settings,
)
from workers.batch.prepared import PreparedBatch, PreparedBundle
from workers.batch.turn import Turn
from workers.http.http_runtime import HttpRuntime
from workers.http.pace import Paces
from workers.release_clock import ReleaseClock

APART = 1000


def add_campaigns(store, sizes):
    """A campaign of one batch for each of the sizes, a request for each recipient; their ids."""
    made = []
    for place, size in enumerate(sizes):
        made.append(add_campaign(store, (size,), first=FIRST_NUMBER + place * APART))
        with store.write() as conn:
            change(conn, BATCH, BATCH.c.campaign_id == made[-1], requests=size)
    return made


@contextmanager
def scene(store, client, *, sizes=(4,) * 6, made=None, adapter=SingleTexts, before=None, **account):
    """The batch of each of several campaigns, released and claimed together, and their turn.

    The number of a request is that of its campaign, from 0, times 1,000 and its message's seq.
    `made`: they are there already, and what is pending of them is sent.
    """
    is_new = made is None
    made = add_campaigns(store, sizes) if made is None else made
    limits = settings(**{"max_in_flight": 16, "timeout_s": 20, **account})
    with store.write() as conn:
        now = store_now(conn)
        (ticket,) = release_batches(conn, "main", limits, now)
        held = tickets.claim_bundle(conn, ticket.id, ticket.fence, now + LEASE)
    assert len(held) == len(made) or not is_new
    if before is not None:
        before(made)
    with store.read() as conn:
        row = accounts.find_account(conn, "main")
        found = load_campaigns(conn, made)
        pending = messages.load_pending_of_all(conn, held)
    batches = [
        PreparedBatch(
            at=now,
            claim=claim,
            provider=adapter(limits),
            requests=[
                _request(made.index(claim.campaign_id), each.seq) for each in pending[claim.id]
            ],
            account=row,
            campaign=found[claim.campaign_id],
        )
        for claim in sorted(held, key=lambda each: each.campaign_id)
    ]
    with closing(HttpRuntime(client)) as runtime:
        services = SimpleNamespace(
            store=store,
            runtime=runtime,
            stopping=threading.Event(),
            release_clock=ReleaseClock(),
            paces=Paces(known_worker()),
            rollback_guard=SimpleNamespace(record_attempts=lambda _ids: None),
            zone_of=lambda _name: ZoneInfo("UTC"),
            spill=None,
        )
        bundle = PreparedBundle.join(batches)
        yield SimpleNamespace(
            campaigns=made, held=held, services=services, turn=lambda: Turn(services, bundle)
        )
    assert_counts_agree(store)


def _request(place, seq):
    number = place * APART + seq
    return SubmitRequest(
        http=HttpRequest(method="POST", url="http://127.0.0.1:9", body=b"%d" % number),
        recipients=(Recipient(seq, FIRST_NUMBER + number, "Hello"),),
    )


def sent_of(client, place):
    return [number for number in client.numbers if number // APART == place]

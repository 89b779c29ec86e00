"""Tickets: batches are queued, and their tickets published, issued again or returned.

Small batches of different campaigns are released as a bundle. It has one ticket, the first
batch's, which all of its batches have as their `bundle`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, Text, bindparam, select, update

from dispatcher.status import IN_FLIGHT, BatchState
from dispatcher.store.batches import CLAIM_BATCHES, Claim, claim_batch
from dispatcher.store.fetching import columns_of, fetch_all, fetch_optional
from dispatcher.store.locks import lock_queued_bundle
from dispatcher.store.table_values import literal_table
from dispatcher.store.tables import BATCH
from dispatcher.store.transitions import has_state, may_become


class Ticket(NamedTuple):
    """A released batch, as it travels through Redis; without effect once its fence is old.

    One stands for the whole bundle where batches were released together.
    """

    account: str
    id: int
    fence: int
    campaign_id: int


class _QueuedBatch(NamedTuple):
    """The ticket of a batch, and the bundle with which it was released."""

    account: str
    id: int
    fence: int
    campaign_id: int
    bundle: str | None


class _ReleasedWith(NamedTuple):
    """The account of a batch, and the bundle with which it was released."""

    account: str
    bundle: str | None


# Made once: every tick or release runs them.
_IN_FLIGHT = has_state(*IN_FLIGHT)
_QUEUE = (
    update(BATCH)
    .where(BATCH.c.id.in_(bindparam("ids", expanding=True)), may_become(BatchState.QUEUED))
    .values(
        state=BatchState.QUEUED,
        fence=BATCH.c.fence + 1,
        queued_at=bindparam("at"),
        is_probe=bindparam("probes"),
        bundle=None,
    )
    .returning(*columns_of(BATCH, Ticket))
)
_BUNDLE_OF = select(*columns_of(BATCH, _ReleasedWith)).where(BATCH.c.id == bindparam("ticket"))
_TAKE_ALL = CLAIM_BATCHES.where(BATCH.c.id.in_(bindparam("ids", expanding=True)))
_REQUEUE = (
    update(BATCH)
    .where(
        has_state(BatchState.QUEUED),
        _IN_FLIGHT,
        BATCH.c.queued_at < bindparam("before"),
    )
    .values(queued_at=bindparam("again_at"))
    .returning(*columns_of(BATCH, _QueuedBatch))
)
_RETURN_BUNDLES = (
    update(BATCH)
    .where(
        BATCH.c.bundle.in_(bindparam("keys", expanding=True)),
        _IN_FLIGHT,
        may_become(BatchState.PENDING, only_from={BatchState.QUEUED}),
    )
    .values(state=BatchState.PENDING, bundle=None)
)


def mark_queued(
    conn: Connection,
    ids: Sequence[int],
    now: datetime,
    *,
    is_probe: bool = False,
    bundles: Sequence[Sequence[int]] = (),
) -> list[Ticket]:
    """`pending → queued`; the tickets to publish after the commit, in the order of `ids`.

    Batches that are together in one of `bundles` have one ticket, that of the first.
    """
    if not ids:
        return []
    given = {"ids": [*ids], "at": now, "probes": is_probe}
    rows = fetch_all(conn, Ticket, _QUEUE, given)
    tickets = {ticket.id: ticket for ticket in rows}
    queued = [[tickets[i] for i in bundle if i in tickets] for bundle in bundles]
    _mark_bundles(conn, queued)
    others = {ticket.id for bundle in queued for ticket in bundle[1:]}
    return [tickets[i] for i in ids if i in tickets and i not in others]


def _mark_bundles(conn: Connection, bundles: Iterable[Sequence[Ticket]]) -> None:
    """Record which queued batches are claimed together, with the ticket of the first."""
    rows = [
        (ticket.id, bundle_key(bundle[0].id, bundle[0].fence))
        for bundle in bundles
        for ticket in bundle
    ]
    if rows:
        given = literal_table(conn, [("id", BigInteger()), ("key", Text())], rows)
        conn.execute(update(BATCH).where(BATCH.c.id == given.c.id).values(bundle=given.c.key))


def bundle_key(ticket_id: int, fence: int) -> str:
    """What batches that were released together have in common: the ticket of the first."""
    return f"{ticket_id}.{fence}"


def claim_bundle(
    conn: Connection, ticket_id: int, fence: int, lease_until: datetime
) -> list[Claim]:
    """As `claim_batch`, for all batches that were released with this ticket.

    If the first one may not be sent any more, the others are claimed all the same.
    """
    released = fetch_optional(conn, _ReleasedWith, _BUNDLE_OF, {"ticket": ticket_id})
    if released is None:
        return []
    key = bundle_key(ticket_id, fence)
    alone = claim_batch(conn, ticket_id, fence, lease_until) if released.bundle != key else None
    if alone is not None:
        return [alone]
    # Locked in the order of their ids, the first one too: others lock several of them so.
    ids = lock_queued_bundle(conn, released.account, key)
    rows = conn.execute(_TAKE_ALL, {"ids": ids, "lease_ends": lease_until}) if ids else ()
    claims = [Claim(**row._mapping) for row in rows]
    return sorted(claims, key=lambda claim: claim.id != ticket_id)


def queued_batches(conn: Connection, accounts: Sequence[str]) -> list[tuple[int, int]]:
    """Id and fence of the accounts' batches that are released and not claimed yet."""
    rows = conn.execute(
        select(BATCH.c.id, BATCH.c.fence).where(
            BATCH.c.account.in_(accounts),
            has_state(BatchState.QUEUED),
            _IN_FLIGHT,
        )
    )
    return [(batch_id, fence) for batch_id, fence in rows]


def return_queued(conn: Connection, tickets: Iterable[tuple[int, int]]) -> int:
    """`queued → pending` for batches (id, fence) whose tickets nobody will use; how many.

    A ticket that reached the broker all the same has no effect: the batch is not queued any more.
    """
    pairs = list(tickets)
    if not pairs:
        return 0
    given = literal_table(conn, [("id", BigInteger()), ("fence", Integer())], pairs)
    alone = conn.execute(
        update(BATCH)
        .where(
            BATCH.c.id == given.c.id,
            BATCH.c.fence == given.c.fence,
            may_become(BatchState.PENDING, only_from={BatchState.QUEUED}),
        )
        .values(state=BatchState.PENDING, bundle=None)
    ).rowcount
    keys = [bundle_key(*pair[:2]) for pair in pairs]
    return alone + conn.execute(_RETURN_BUNDLES, {"keys": keys}).rowcount


def reissue_tickets(conn: Connection, queued_before: datetime, now: datetime) -> list[Ticket]:
    """Tickets of batches that were queued long ago: Redis lost them, or no worker was free.

    What is left of a bundle stays together: its slots are counted so.
    """
    given = {"before": queued_before, "again_at": now}
    rows = sorted(fetch_all(conn, _QueuedBatch, _REQUEUE, given), key=attrgetter("id"))
    tickets, bundles = list[Ticket](), defaultdict[str, list[Ticket]](list)
    for row in rows:
        ticket = Ticket(*row[:-1])
        if row.bundle is None:
            tickets.append(ticket)
        else:
            bundles[row.bundle].append(ticket)
    _mark_bundles(conn, bundles.values())
    return [*tickets, *(bundle[0] for bundle in bundles.values())]

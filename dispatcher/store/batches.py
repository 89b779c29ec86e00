"""Batches: what is due, claim, renew. `tickets.py` queues them, `batch_endings.py` hands them back.

`lost_batches.py` takes them from lost workers.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    bindparam,
    func,
    or_,
    select,
    update,
)

from dispatcher.logs.events import EventFields
from dispatcher.policy.fair_queue import DueBatch
from dispatcher.status import (
    HELD,
    IN_FLIGHT,
    BatchState,
    CampaignState,
)
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.locks import lock_batches
from dispatcher.store.row_parts import InFlightBatch
from dispatcher.store.rows import CampaignRow
from dispatcher.store.table_values import literal_table
from dispatcher.store.tables import BATCH, CAMPAIGN, IDENTITY
from dispatcher.store.transitions import has_state, may_become

# Made once: every tick runs them.
_IN_FLIGHT = has_state(*IN_FLIGHT)
_OUT = select(*columns_of(BATCH, InFlightBatch)).where(
    BATCH.c.account == bindparam("of_account"), _IN_FLIGHT
)
_RUNNING = select(*columns_of(CAMPAIGN, CampaignRow)).where(
    CAMPAIGN.c.account == bindparam("of_account"),
    has_state(CampaignState.RUNNING),
    CAMPAIGN.c.finished_at.is_(None),
)
_ACCOUNT_OF = select(CAMPAIGN.c.account).where(CAMPAIGN.c.id == bindparam("of_campaign"))
_DUE = (
    select(*columns_of(BATCH, DueBatch, size=BATCH.c.pending))
    .where(
        BATCH.c.campaign_id == bindparam("of_campaign"),
        BATCH.c.account == _ACCOUNT_OF.scalar_subquery(),
        has_state(BatchState.PENDING),
        or_(BATCH.c.not_before.is_(None), BATCH.c.not_before <= bindparam("now")),
    )
    .order_by(BATCH.c.seq)
    .limit(bindparam("most"))
)
#: Of batches that are chosen by further conditions.
CLAIM_BATCHES = (
    update(BATCH)
    .where(may_become(BatchState.CLAIMED))
    .values(
        state=BatchState.CLAIMED, fence=BATCH.c.fence + 1, lease_until=bindparam("lease_ends")
    )
    .returning(
        BATCH.c.id, BATCH.c.fence, BATCH.c.campaign_id, BATCH.c.account, BATCH.c.encoding,
        BATCH.c.first_seq, BATCH.c.size, BATCH.c.tries, BATCH.c.zone, BATCH.c.is_probe,
        select(IDENTITY.c.store_id).scalar_subquery().label("store_id"),
    )
)  # fmt: skip
_TAKE = CLAIM_BATCHES.where(BATCH.c.id == bindparam("ticket"), BATCH.c.fence == bindparam("newest"))
#: A claimed batch waits for its start for some seconds at most.
_LONGEST_WAIT = timedelta(seconds=10)
_MINE = BATCH.alias("mine")
#: Batches that were released before mine and wait for their first start. A campaign that waits for
#: its own rate does not use the account's.
_AHEAD = (
    select(func.count())
    .select_from(BATCH)
    .join(CAMPAIGN, CAMPAIGN.c.id == BATCH.c.campaign_id)
    .where(
        _MINE.c.id == bindparam("of_batch"),
        BATCH.c.account == _MINE.c.account,
        _IN_FLIGHT,
        has_state(BatchState.CLAIMED),
        BATCH.c.queued_at < _MINE.c.queued_at,
        BATCH.c.queued_at > bindparam("not_lost"),
        or_(CAMPAIGN.c.paid_until.is_(None), CAMPAIGN.c.paid_until <= bindparam("next_start")),
    )
)
#: The most that is pending of a batch that is being sent beside mine, by the same rates.
_BESIDE = select(func.coalesce(func.max(BATCH.c.pending), 0)).where(
    _MINE.c.id == bindparam("of_batch"),
    BATCH.c.campaign_id == _MINE.c.campaign_id,
    BATCH.c.account == _MINE.c.account,
    BATCH.c.id != _MINE.c.id,
    _IN_FLIGHT,
    has_state(BatchState.SUBMITTING),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A batch that one worker holds while its fence is the newest."""

    id: int
    fence: int
    campaign_id: int
    account: str
    encoding: int
    first_seq: int
    size: int
    tries: int
    zone: str | None
    #: Released to probe a provider whose breaker is open: only one recipient is submitted.
    is_probe: bool = False
    #: The store in which it was claimed: an answer must not go to another one at the same place.
    #: None in spill files of an earlier version.
    store_id: str | None = None

    @property
    def log_fields(self) -> EventFields:
        """What a line about it is about."""
        return EventFields(campaign=self.campaign_id, batch=self.id, account=self.account)


def batches_in_flight(conn: Connection, account: str) -> list[InFlightBatch]:
    """What each of the account's batches in flight still has to send."""
    return fetch_all(conn, InFlightBatch, _OUT, {"of_account": account})


def due_batches(
    conn: Connection,
    campaign_id: int,
    now: datetime,
    limit: int,
    zones: Sequence[str] | None = None,
) -> Iterator[DueBatch]:
    """The campaign's batches that are due, in order, at most `limit`; only of `zones`, if given.

    Batches at another account than the campaign's are not due: they still have to move.
    """
    given = {"of_campaign": campaign_id, "now": now, "most": limit}
    query = _DUE if zones is None else _DUE.where(BATCH.c.zone.in_(zones))
    yield from fetch_all(conn, DueBatch, query, given)


def claim_batch(
    conn: Connection, ticket_id: int, fence: int, lease_until: datetime
) -> Claim | None:
    """`queued → claimed` for the first worker with the newest fence; None for others."""
    given = {"ticket": ticket_id, "newest": fence, "lease_ends": lease_until}
    row = conn.execute(_TAKE, given).one_or_none()
    return None if row is None else Claim(**row._mapping)


def count_waiting_ahead(
    conn: Connection, batch_id: int, next_start: datetime, now: datetime
) -> int:
    """How many batches of its account were released before this one and have not begun yet.

    `next_start`: the account's next free start. Without rates of their own they wait for it, too.
    One that was released long ago has lost its worker.
    """
    given = {"of_batch": batch_id, "next_start": next_start, "not_lost": now - _LONGEST_WAIT}
    return int(conn.execute(_AHEAD, given).scalar_one())


def count_pending_beside(conn: Connection, batch_id: int) -> int:
    """The most that is pending of another batch of its campaign and account that is being sent."""
    return int(conn.execute(_BESIDE, {"of_batch": batch_id}).scalar_one())


def settle_empty(conn: Connection, held: Claim) -> None:
    """`claimed → settled` if no message is pending any more."""
    conn.execute(
        update(BATCH)
        .where(
            BATCH.c.id == held.id,
            BATCH.c.fence == held.fence,
            may_become(BatchState.SETTLED, only_from={BatchState.CLAIMED}),
            BATCH.c.pending == 0,
        )
        .values(state=BatchState.SETTLED, lease_until=None)
    )


def renew_leases(conn: Connection, held: Iterable[tuple[int, int]], lease_until: datetime) -> int:
    """Extend the leases of batches (id, fence) that are still held; how many were."""
    # Locked in the order of their ids: a turn locks several batches, too.
    pairs = sorted(held)
    if not pairs:
        return 0
    ids = [batch_id for batch_id, _fence in pairs]
    lock_batches(conn, ids)
    given = literal_table(conn, [("id", BigInteger()), ("fence", Integer())], pairs)
    return conn.execute(
        update(BATCH)
        .where(
            BATCH.c.id == given.c.id,
            BATCH.c.fence == given.c.fence,
            has_state(*HELD),
        )
        .values(lease_until=lease_until)
    ).rowcount


def running_campaigns(conn: Connection, account: str) -> list[CampaignRow]:
    """The account's running campaigns."""
    return fetch_all(conn, CampaignRow, _RUNNING, {"of_account": account})

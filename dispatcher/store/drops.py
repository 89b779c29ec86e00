"""Takes single recipients out of a campaign while they are pending."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Connection, select, update

from dispatcher.status import HELD, UNCLAIMED, MessageState
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.late_answers import accept_noted
from dispatcher.store.locks import lock_batch
from dispatcher.store.ranges import messages_of
from dispatcher.store.returns import LockedBatch, count_moved, return_batch
from dispatcher.store.rows import CampaignRow
from dispatcher.store.table_values import literal_table
from dispatcher.store.tables import BATCH, MESSAGE
from dispatcher.store.transitions import has_state, may_become

#: The error of a message that a person dropped.
DROPPED: Final = "dropped by a person"
#: A worker holds its batch: whether it is submitted is seen in a moment.
IN_FLIGHT: Final = "in_flight"
#: The campaign has no message to the number.
MISSING: Final = "missing"


class BatchedRecipient(NamedTuple):
    """A message of a campaign by its number, and the batch that is to send it, if one is."""

    msisdn: int
    seq: int
    state: int
    batch_id: int | None


def drop_recipients(
    conn: Connection, campaign: CampaignRow, msisdns: Sequence[int], now: datetime
) -> dict[int, str]:
    """`pending → cancelled` for these numbers, unless a worker holds their batch.

    Returns what became of each: `dropped`, `in_flight`, `missing`, or the label of the state that
    it has already. Lock the campaign first.
    """
    outcomes = dict.fromkeys(msisdns, MISSING)
    waiting: dict[int, list[int]] = {}
    for one in _find_recipients(conn, campaign.id, msisdns):
        outcomes[one.msisdn] = MessageState(one.state).label
        if one.batch_id is not None:
            waiting.setdefault(one.batch_id, []).append(one.msisdn)
    for batch_id in sorted(waiting):
        held = dict.fromkeys(waiting[batch_id], IN_FLIGHT)
        outcomes |= held | _drop_of_batch(conn, campaign, batch_id, waiting[batch_id], now)
    return outcomes


def _find_recipients(
    conn: Connection, campaign_id: int, msisdns: Sequence[int]
) -> list[BatchedRecipient]:
    given = literal_table(conn, [("msisdn", BigInteger())], [(msisdn,) for msisdn in msisdns])
    batch_id = (
        select(BATCH.c.id)
        .where(
            BATCH.c.campaign_id == campaign_id,
            has_state(*UNCLAIMED, *HELD),
            MESSAGE.c.seq.between(BATCH.c.first_seq, BATCH.c.first_seq + BATCH.c.size - 1),
            has_state(MessageState.PENDING),
        )
        .limit(1)
        .correlate(MESSAGE)
        .scalar_subquery()
    )
    query = select(*columns_of(MESSAGE, BatchedRecipient, batch_id=batch_id)).where(
        MESSAGE.c.msisdn == given.c.msisdn, MESSAGE.c.campaign_id == campaign_id
    )
    return fetch_all(conn, BatchedRecipient, query)


def _drop_of_batch(
    conn: Connection, campaign: CampaignRow, batch_id: int, msisdns: Sequence[int], now: datetime
) -> dict[int, str]:
    """What became of recipients of one batch; nothing is said where a worker holds it."""
    batch = lock_batch(conn, batch_id)
    if batch.state not in UNCLAIMED:
        return {}
    # What a late answer says about a message is worth more.
    accept_noted(conn, batch)
    given = literal_table(conn, [("msisdn", BigInteger())], [(msisdn,) for msisdn in msisdns])
    dropped = list(
        conn.execute(
            update(MESSAGE)
            .where(
                messages_of(batch),
                MESSAGE.c.msisdn == given.c.msisdn,
                may_become(MessageState.CANCELLED, only_from={MessageState.PENDING}),
            )
            .values(state=MessageState.CANCELLED, final_at=now, error=DROPPED)
            .returning(MESSAGE.c.msisdn)
        ).scalars()
    )
    count_moved(conn, batch.id, len(dropped), BATCH.c.cancelled)
    left = select(BATCH.c.pending).where(BATCH.c.id == batch.id)
    if conn.execute(left).scalar_one() == 0:
        return_batch(conn, LockedBatch(campaign=campaign, batch=batch), now=now)
    known = dict.fromkeys(msisdns, MessageState.SUBMITTED.label)
    return known | dict.fromkeys(dropped, "dropped")

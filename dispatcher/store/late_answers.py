"""Late answers: which ids they bring, and which messages have moved on without them."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Integer, select

from dispatcher.policy.verdict import Verdict
from dispatcher.store import alternate_ids
from dispatcher.store.alternate_ids import AlternateMessageId
from dispatcher.store.batches import Claim
from dispatcher.store.fetching import columns_of, fetch_messages, fetch_one
from dispatcher.store.row_parts import BatchSpan, SubmittedMessage
from dispatcher.store.table_values import literal_table
from dispatcher.store.tables import BATCH, MESSAGE


def with_current_range(conn: Connection, held: Claim) -> Claim:
    """The claim with its batch's present range of messages: some may have moved to a fallback."""
    query = select(*columns_of(BATCH, BatchSpan)).where(BATCH.c.id == held.id)
    span = fetch_one(conn, BatchSpan, query)
    return replace(held, first_seq=span.first_seq, size=span.size)


def drop_matched(conn: Connection, held: Claim, verdict: Verdict) -> Verdict:
    """The verdict without acceptances whose id reconciliation gave to another, equal message.

    One id cannot prove two messages, so these messages stay in doubt.
    """
    ids = [one.provider_message_id for one in verdict.accepted if one.provider_message_id]
    others = {
        other.provider_message_id
        for other in alternate_ids.find_known(conn, held.account, ids)
        if other.campaign_id != held.campaign_id
    }
    left = [one for one in verdict.accepted if one.provider_message_id not in others]
    return replace(verdict, accepted=left)


def keep_missed_ids(
    conn: Connection, held: Claim, attempt_id: int, verdict: Verdict, now: datetime
) -> int:
    """Keep the ids of accepted messages that have moved on without this answer; how many did.

    Such a message was submitted again: the provider accepted it twice and sends two receipts.
    """
    if not verdict.accepted:
        return 0
    given = literal_table(conn, [("seq", Integer())], [(one.seq,) for one in verdict.accepted])
    rows = fetch_messages(
        conn,
        SubmittedMessage,
        select(*columns_of(MESSAGE, SubmittedMessage)).where(
            MESSAGE.c.campaign_id == held.campaign_id, MESSAGE.c.seq == given.c.seq
        ),
    )
    stored = {row.seq: row for row in rows}
    others = [
        one
        for one in verdict.accepted
        if stored[one.seq].provider_message_id != one.provider_message_id
    ]
    alternate_ids.keep_former(
        conn,
        [
            AlternateMessageId(
                held.account, one.provider_message_id, stored[one.seq].msisdn, held.campaign_id,
                one.seq, attempt_id,
            )
            for one in others
            if one.provider_message_id is not None
        ],
        now,
    )  # fmt: skip
    return len(others)

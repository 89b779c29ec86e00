"""Purges: numbers and texts of campaigns that ended are dropped; counts, requests and audit stay.

A campaign is marked first, and then emptied in slices, each a short transaction, so that nobody
waits. What a killed purge left is found by its mark and the next purge drops it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from dispatcher.status import CampaignState
from dispatcher.store.audit import add_audit_row
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.former_outcomes import forget_numbers
from dispatcher.store.locks import lock_campaign
from dispatcher.store.ranges import messages_between
from dispatcher.store.tables import (
    ALTERNATE_ID,
    ATTEMPT,
    BATCH,
    CAMPAIGN,
    FORMER_OUTCOME,
    MESSAGE,
    REJECT,
    SOURCE_ROWS,
)

#: Messages, or rejected rows, that one transaction drops.
SLICE: Final = 10_000
#: The text of a purged campaign.
PURGED_TEXT: Final = ""


_ENDED: Final = and_(
    CAMPAIGN.c.finished_at.is_not(None),
    CAMPAIGN.c.state.in_([CampaignState.FINISHED, CampaignState.CANCELLED, CampaignState.REJECTED]),
)


class PurgeCandidate(NamedTuple):
    """A campaign that ended, and what keeps it from being purged: both 0 if nothing does."""

    id: int
    name: str
    finished_at: datetime
    rows: int
    total: int
    in_doubt: int
    polls: int

    @property
    def is_free(self) -> bool:
        """Whether nothing of it is open any more."""
        return not self.in_doubt and not self.polls


class MessageSlice(NamedTuple):
    """Some batches of a campaign, with all messages from `first_seq` to `last_seq`."""

    first_batch: int
    last_batch: int
    first_seq: int
    last_seq: int


class _BatchRange(NamedTuple):
    id: int
    first_seq: int
    size: int


def list_ended(
    conn: Connection, before: datetime, *, campaign_id: int | None = None
) -> list[PurgeCandidate]:
    """The campaigns that ended by then and are not purged yet, oldest first; or just one."""
    in_doubt = (
        select(func.coalesce(func.sum(BATCH.c.in_doubt), 0))
        .where(BATCH.c.campaign_id == CAMPAIGN.c.id)
        .correlate(CAMPAIGN)
        .scalar_subquery()
    )
    polls = (
        select(func.count())
        .where(ATTEMPT.c.campaign_id == CAMPAIGN.c.id, ATTEMPT.c.poll_at.is_not(None))
        .correlate(CAMPAIGN)
        .scalar_subquery()
    )
    query = (
        select(*columns_of(CAMPAIGN, PurgeCandidate, in_doubt=in_doubt, polls=polls))
        .where(_ENDED, CAMPAIGN.c.finished_at <= before, CAMPAIGN.c.purged_at.is_(None))
        .order_by(CAMPAIGN.c.id)
    )
    if campaign_id is not None:
        query = query.where(CAMPAIGN.c.id == campaign_id)
    return fetch_all(conn, PurgeCandidate, query)


def count_purged(conn: Connection) -> int:
    """How many campaigns were purged so far."""
    query = select(func.count()).where(CAMPAIGN.c.purged_at.is_not(None))
    return int(conn.execute(query).scalar_one())


def list_half_purged(conn: Connection) -> list[int]:
    """Campaigns that are marked as purged and still have messages or rows: a purge was killed."""
    has_rows = [
        exists(select(table.c.campaign_id).where(table.c.campaign_id == CAMPAIGN.c.id))
        for table in (MESSAGE, REJECT)
    ]
    query = select(CAMPAIGN.c.id).where(CAMPAIGN.c.purged_at.is_not(None), or_(*has_rows))
    return list(conn.execute(query.order_by(CAMPAIGN.c.id)).scalars())


def mark_purged(conn: Connection, candidate: PurgeCandidate, *, now: datetime, actor: str) -> bool:
    """Drop a campaign's text, and mark it: from now on nothing reads its messages.

    False where it is not over any more, or something of it is open again.
    """
    campaign = lock_campaign(conn, candidate.id)
    # Read again behind the lock: doubt may have come back with a late answer.
    again = list_ended(conn, candidate.finished_at, campaign_id=candidate.id)
    if not again or not again[0].is_free:
        return False
    conn.execute(
        update(CAMPAIGN)
        .where(CAMPAIGN.c.id == candidate.id)
        .values(purged_at=now, text=PURGED_TEXT, columns="[]")
    )
    add_audit_row(
        conn,
        "campaign purged",
        now=now,
        actor=actor,
        campaign_id=candidate.id,
        detail=f"numbers and texts of {campaign.total} recipients; "
        f"it ended at {candidate.finished_at:%Y-%m-%d %H:%M} UTC",
    )
    return True


def list_slices(conn: Connection, campaign_id: int, size: int = SLICE) -> list[MessageSlice]:
    """A campaign's batches in groups of about `size` messages."""
    query = (
        select(*columns_of(BATCH, _BatchRange))
        .where(BATCH.c.campaign_id == campaign_id, BATCH.c.size > 0)
        .order_by(BATCH.c.first_seq)
    )
    return list(_join_batches(fetch_all(conn, _BatchRange, query), size))


def _join_batches(batches: list[_BatchRange], size: int) -> Iterator[MessageSlice]:
    group: list[_BatchRange] = []
    for batch in batches:
        group.append(batch)
        if batch.first_seq + batch.size - group[0].first_seq >= size:
            yield _slice_of(group)
            group = []
    if group:
        yield _slice_of(group)


def _slice_of(group: list[_BatchRange]) -> MessageSlice:
    ids = [batch.id for batch in group]
    last = group[-1]
    return MessageSlice(min(ids), max(ids), group[0].first_seq, last.first_seq + last.size - 1)


def drop_messages(conn: Connection, campaign_id: int, part: MessageSlice) -> int:
    """Drop a slice's messages, with all that is kept of them elsewhere; how many messages."""
    _overwrite_deleted(conn)
    lock_campaign(conn, campaign_id)
    chosen = messages_between(campaign_id, part.first_seq, part.last_seq)
    # Only what was submitted more than once, or was in doubt, has further ids.
    numbers = select(MESSAGE.c.msisdn).where(
        chosen, or_(MESSAGE.c.note.is_not(None), MESSAGE.c.attempts > 1)
    )
    conn.execute(
        delete(ALTERNATE_ID).where(
            ALTERNATE_ID.c.msisdn.in_(numbers), ALTERNATE_ID.c.campaign_id == campaign_id
        )
    )
    forget_numbers(
        conn,
        (FORMER_OUTCOME.c.campaign_id == campaign_id)
        & FORMER_OUTCOME.c.seq.between(part.first_seq, part.last_seq),
    )
    conn.execute(
        delete(SOURCE_ROWS).where(
            SOURCE_ROWS.c.campaign_id == campaign_id,
            SOURCE_ROWS.c.first_seq.between(part.first_seq, part.last_seq),
        )
    )
    _drop_words(conn, campaign_id, part)
    return conn.execute(delete(MESSAGE).where(chosen)).rowcount


def _drop_words(conn: Connection, campaign_id: int, part: MessageSlice) -> None:
    """Drop what providers said about batches and requests: it may name a recipient."""
    batches = BATCH.c.id.between(part.first_batch, part.last_batch)
    of_campaign: ColumnElement[bool] = BATCH.c.campaign_id == campaign_id
    ids = select(BATCH.c.id).where(batches, of_campaign)
    conn.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.batch_id.in_(ids), ATTEMPT.c.error.is_not(None))
        .values(error=None)
    )
    conn.execute(
        update(BATCH).where(batches, of_campaign, BATCH.c.error.is_not(None)).values(error=None)
    )


def drop_rejects(conn: Connection, campaign_id: int) -> int:
    """Drop some of a campaign's rejected rows; how many, 0 when none is left."""
    _overwrite_deleted(conn)
    first = select(func.min(REJECT.c.row)).where(REJECT.c.campaign_id == campaign_id)
    row = conn.execute(first).scalar_one()
    if row is None:
        return 0
    chosen = and_(REJECT.c.campaign_id == campaign_id, REJECT.c.row < row + SLICE)
    return conn.execute(delete(REJECT).where(chosen)).rowcount


def _overwrite_deleted(conn: Connection) -> None:
    """Have SQLite overwrite what is deleted: else it stays in the file until the room is used."""
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("PRAGMA secure_delete=ON")

"""Retries: failed messages that a person submits again, except those that were in doubt before."""

from datetime import datetime

from sqlalchemy import Connection, or_, select, update

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import HELD, MessageState
from dispatcher.store import campaigns
from dispatcher.store.audit import add_audit_row
from dispatcher.store.decisions import reopen_batch
from dispatcher.store.locks import lock_batch, lock_campaign
from dispatcher.store.ranges import messages_of
from dispatcher.store.tables import BATCH, MESSAGE
from dispatcher.store.transitions import may_become

#: A person gave up its doubt: the provider may have accepted it.
_GIVEN_UP = MESSAGE.c.note.bitwise_and(int(DoubtNote.DROPPED)) != 0


def batches_with_failures(conn: Connection, campaign_id: int) -> list[int]:
    """The campaign's batches that have failed messages, in order."""
    query = select(BATCH.c.id).where(BATCH.c.campaign_id == campaign_id, BATCH.c.failed > 0)
    return list(conn.execute(query.order_by(BATCH.c.seq)).scalars())


def retry_batch(conn: Connection, batch_id: int, now: datetime) -> int | None:
    """`failed → pending` in one batch; how many messages, or None while a worker holds the batch.

    Counts the batch's tries from zero again, and reopens a campaign that had finished.
    """
    campaign_id = conn.execute(
        select(BATCH.c.campaign_id).where(BATCH.c.id == batch_id)
    ).scalar_one()
    lock_campaign(conn, campaign_id)
    batch = lock_batch(conn, batch_id)
    if batch.state in HELD:
        return None
    moved = conn.execute(
        update(MESSAGE)
        .where(
            messages_of(batch),
            may_become(MessageState.PENDING, only_from={MessageState.FAILED}),
            or_(MESSAGE.c.note.is_(None), ~_GIVEN_UP),
        )
        .values(state=MessageState.PENDING, final_at=None, error=None, error_code=None)
    ).rowcount
    if moved:
        conn.execute(
            update(BATCH)
            .where(BATCH.c.id == batch_id)
            .values(
                pending=BATCH.c.pending + moved, failed=BATCH.c.failed - moved, lost=0, error=None
            )
        )
        reopen_batch(conn, batch_id, tries=0)
        campaigns.reopen_finished(conn, campaign_id, now)
    return moved


def audit_retry(
    conn: Connection, campaign_id: int, moved: int, *, actor: str, now: datetime
) -> None:
    """Add an audit row: `actor` had `moved` failed messages submitted again."""
    add_audit_row(
        conn,
        "campaign retry",
        now=now,
        actor=actor,
        campaign_id=campaign_id,
        detail=f"{moved} recipients",
    )

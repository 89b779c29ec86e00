"""Retries: failed messages that a person submits again, except those that were in doubt before."""

from datetime import datetime

from sqlalchemy import Connection, or_, select, update

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import MessageState
from dispatcher.store.audit import add_audit_row
from dispatcher.store.returns import lock_with_campaign, return_messages
from dispatcher.store.tables import BATCH, MESSAGE

#: A person gave up its doubt: the provider may have accepted it.
_GIVEN_UP = MESSAGE.c.note.bitwise_and(int(DoubtNote.DROPPED)) != 0


def batches_with_failures(conn: Connection, campaign_id: int) -> list[int]:
    """The campaign's batches that have failed messages, in order."""
    query = select(BATCH.c.id).where(BATCH.c.campaign_id == campaign_id, BATCH.c.failed > 0)
    return list(conn.execute(query.order_by(BATCH.c.seq)).scalars())


def retry_batch(conn: Connection, batch_id: int, now: datetime) -> int | None:
    """`failed → pending` in one batch; how many messages, or None while a worker holds the batch.

    Counts the batch's tries from zero again. None of a cancelled campaign moves.
    """
    locked = lock_with_campaign(conn, batch_id)
    if locked.is_held:
        return None
    _state, moved = return_messages(
        conn,
        locked,
        or_(MESSAGE.c.note.is_(None), ~_GIVEN_UP),
        old=MessageState.FAILED,
        values={},
        tries=0,
        now=now,
    )
    if moved:
        conn.execute(update(BATCH).where(BATCH.c.id == batch_id).values(lost=0, error=None))
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

"""Polling: which accepted requests are asked about, and the receipts that come of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, Text, func, or_, select, update

from dispatcher.status import MessageState
from dispatcher.store.sets import AnyRow, Columns, value_set
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE

_FINAL = (MessageState.DELIVERED, MessageState.UNDELIVERED, MessageState.EXPIRED)


class PollTicket(NamedTuple):
    """The id of an accepted request to ask about; worthless once `polls` is old."""

    id: int
    polls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """An accepted request that this worker asks about, with its messages still open."""

    id: int
    polls: int
    batch_id: int
    campaign_id: int
    account: str
    job_id: str | None
    poll_until: datetime
    #: seq, msisdn and provider_message_id of each message without a final state.
    open: Sequence[AnyRow]


class Receipt(NamedTuple):
    """A final state for the message `seq`."""

    seq: int
    state: MessageState
    error_code: str | None
    error: str | None


def release(
    conn: Connection, *, now: datetime, lease_until: datetime, limit: int
) -> list[PollTicket]:
    """Hand out due polls so that at most `limit` are out at a time."""
    open_ = ATTEMPT.c.poll_at.is_not(None)
    out = conn.execute(
        select(func.count()).select_from(ATTEMPT).where(open_, ATTEMPT.c.poll_lease_until > now)
    ).scalar_one()
    if out >= limit:
        return []
    idle = or_(ATTEMPT.c.poll_lease_until.is_(None), ATTEMPT.c.poll_lease_until <= now)
    due = (
        select(ATTEMPT.c.id)
        .where(open_, ATTEMPT.c.poll_at <= now, idle)
        .order_by(ATTEMPT.c.poll_at)
        .limit(limit - out)
        .with_for_update(skip_locked=True)
    )
    rows = conn.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.id.in_(due.scalar_subquery()))
        .values(poll_lease_until=lease_until, polls=ATTEMPT.c.polls + 1)
        .returning(ATTEMPT.c.id, ATTEMPT.c.polls)
    )
    return [PollTicket(row.id, row.polls) for row in rows]


def load(conn: Connection, ticket_id: int, polls: int) -> Polled | None:
    """What to ask about; None where the ticket is old or nothing is open."""
    row = conn.execute(
        select(ATTEMPT, BATCH.c.first_seq, BATCH.c.size.label("batch_size"))
        .join_from(ATTEMPT, BATCH, BATCH.c.id == ATTEMPT.c.batch_id)
        .where(ATTEMPT.c.id == ticket_id, ATTEMPT.c.polls == polls, ATTEMPT.c.poll_at.is_not(None))
    ).one_or_none()
    if row is None:
        return None
    open_ = conn.execute(
        select(MESSAGE.c.seq, MESSAGE.c.msisdn, MESSAGE.c.provider_message_id).where(
            MESSAGE.c.campaign_id == row.campaign_id,
            MESSAGE.c.seq.between(row.first_seq, row.first_seq + row.batch_size - 1),
            MESSAGE.c.attempt_id == row.id,
            MESSAGE.c.state == MessageState.SUBMITTED,
        )
    ).all()
    return Polled(
        id=row.id,
        polls=row.polls,
        batch_id=row.batch_id,
        campaign_id=row.campaign_id,
        account=row.account,
        job_id=row.job_id,
        poll_until=row.poll_until,
        open=open_,
    )


def settle(
    conn: Connection,
    polled: Polled,
    receipts: Sequence[Receipt],
    *,
    next_at: datetime | None,
    now: datetime,
) -> int:
    """Store final states, and when to ask again (None: never). Returns how many were new.

    Receipts only move forward: a message that is final already keeps its state. What is still
    `submitted` when polling ends has no receipt.
    """
    batch_lock = select(BATCH.c.id).where(BATCH.c.id == polled.batch_id).with_for_update()
    conn.execute(batch_lock)
    mine = conn.execute(
        select(ATTEMPT.c.id)
        .where(ATTEMPT.c.id == polled.id, ATTEMPT.c.polls == polled.polls)
        .with_for_update()
    ).one_or_none()
    moved = Counter[MessageState]()
    for state in _FINAL:
        rows = [r for r in receipts if r.state is state]
        if rows:
            moved[state] = _apply(conn, polled, state, rows, now)
    values: dict[str, Any] = {
        state.label: BATCH.c[state.label] + count for state, count in moved.items() if count
    }
    total = moved.total()
    ends = mine is not None and (next_at is None or total >= len(polled.open))
    if ends:
        values["no_receipt"] = BATCH.c.no_receipt + len(polled.open) - total
    if values:
        values["submitted"] = BATCH.c.submitted - total
        conn.execute(update(BATCH).where(BATCH.c.id == polled.batch_id).values(**values))
    if mine is not None:
        conn.execute(
            update(ATTEMPT)
            .where(ATTEMPT.c.id == polled.id)
            .values(poll_at=None if ends else next_at, poll_lease_until=None)
        )
    return total


def _apply(
    conn: Connection,
    polled: Polled,
    state: MessageState,
    rows: Sequence[Receipt],
    now: datetime,
) -> int:
    columns: Columns = [("seq", Integer()), ("code", Text()), ("reason", Text())]
    given = value_set(conn, columns, [(r.seq, r.error_code, r.error) for r in rows])
    return conn.execute(
        update(MESSAGE)
        .where(
            MESSAGE.c.campaign_id == polled.campaign_id,
            MESSAGE.c.seq == given.c.seq,
            MESSAGE.c.attempt_id == polled.id,
            MESSAGE.c.state == MessageState.SUBMITTED,
        )
        .values(state=state, final_at=now, error_code=given.c.code, error=given.c.reason)
    ).rowcount

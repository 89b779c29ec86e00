"""Decisions on doubt, made by the provider's list, the campaign's rule or a person.

Each takes messages of one request out of `in_doubt`, with the counts of their batch. The lock order
is that of `locks.py`.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    FromClause,
    Integer,
    SmallInteger,
    Text,
    and_,
    func,
    select,
    update,
)

from dispatcher.errors import StoreError
from dispatcher.status import MessageState
from dispatcher.store import alternate_ids, costs, former_outcomes
from dispatcher.store.alternate_ids import AlternateMessageId
from dispatcher.store.answers import PollPlan
from dispatcher.store.audit import add_audit_row
from dispatcher.store.column_types import Money
from dispatcher.store.locked_attempts import LockedAttempt
from dispatcher.store.ranges import messages_of
from dispatcher.store.returns import LockedBatch, return_messages
from dispatcher.store.rows import AttemptRow, BatchRow
from dispatcher.store.table_values import ColumnTypes, literal_table
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state


class ListedMatch(NamedTuple):
    """A message that was found in the provider's list."""

    seq: int
    msisdn: int
    provider_message_id: str
    cost: Decimal | None
    note: int


class AnnotatedMessage(NamedTuple):
    """A message, and the `DoubtNote` flags that its row gets."""

    seq: int
    note: int


def accept_listed(
    conn: Connection,
    case: LockedAttempt,
    entries: Sequence[ListedMatch],
    *,
    poll: PollPlan | None,
    now: datetime,
) -> int:
    """`in_doubt → submitted` with the ids from the provider's list; how many messages.

    Raises StoreError, which undoes the transaction, if another message has one of the ids.
    """
    a = case.attempt
    if not entries:
        return 0
    before = _count_submitted(conn, a, case.batch)
    columns: ColumnTypes = [
        ("seq", Integer()), ("provider_id", Text()), ("cost", Money()), ("note", SmallInteger()),
    ]  # fmt: skip
    given = literal_table(
        conn, columns, [(e.seq, e.provider_message_id, e.cost, e.note) for e in entries]
    )
    moved = conn.execute(
        update(MESSAGE)
        .where(case.leaving_doubt(MessageState.SUBMITTED), MESSAGE.c.seq == given.c.seq)
        .values(
            state=MessageState.SUBMITTED,
            provider_message_id=given.c.provider_id,
            cost=given.c.cost,
            note=given.c.note,
            error=None,
            error_code=None,
        )
    ).rowcount
    if moved != len(entries):
        raise StoreError(f"{case.name} changed while it was reconciled")
    ids = [
        AlternateMessageId(
            a.account, one.provider_message_id, one.msisdn, a.campaign_id, one.seq, a.id
        )
        for one in entries
    ]
    alternate_ids.insert_matched(conn, ids, now)
    if any(one.cost is not None for one in entries):
        costs.update_batch_cost(conn, case.batch.id, case.batch)
    _count_move(conn, case, MessageState.SUBMITTED, moved)
    if poll is None:
        _count_no_receipt(conn, case, moved)
    elif not case.is_polled:
        conn.execute(
            update(ATTEMPT)
            .where(ATTEMPT.c.id == a.id)
            .values(poll_at=poll.first_at, poll_until=poll.until, poll_lease_until=None)
        )
        _count_no_receipt(conn, case, -before)
    return moved


def return_to_pending(
    conn: Connection,
    case: LockedAttempt,
    rows: Sequence[AnnotatedMessage],
    *,
    failed_after: int | None,
    now: datetime,
) -> MessageState:
    """Take messages that the provider does not have out of doubt; returns their new state.

    `pending`; `failed` if the batch has used up `failed_after` tries, this one included;
    `cancelled` if the campaign was cancelled. Raises StoreError while a worker holds the batch.
    """
    if case.is_at_provider:
        raise StoreError(f"batch {case.batch.id} is held by a worker: no message can return to it")
    tries = case.batch.tries + (failed_after is not None)
    if failed_after is not None and tries >= failed_after and not case.is_cancelled:
        _move_messages(conn, case, MessageState.FAILED, rows, {"final_at": now})
        return MessageState.FAILED
    given = _given_notes(conn, rows)
    locked = LockedBatch(campaign=case.campaign, batch=case.batch)
    if not case.is_cancelled:
        chosen = MESSAGE.c.seq.in_(select(given.c.seq))
        former_outcomes.keep_outcomes(conn, and_(case.doubtful, chosen), now)
    state, moved = return_messages(
        conn,
        locked,
        and_(case.carried, MESSAGE.c.seq == given.c.seq),
        old=MessageState.IN_DOUBT,
        values={"note": given.c.note},
        tries=tries,
        now=now,
    )
    _check_moved(case, moved, rows)
    return state


def resolve_as(
    conn: Connection,
    case: LockedAttempt,
    state: MessageState,
    rows: Sequence[AnnotatedMessage],
    *,
    now: datetime,
) -> int:
    """`in_doubt → submitted` (without an id) or `→ failed`, as a person decided; how many."""
    final = state is MessageState.FAILED
    moved = _move_messages(conn, case, state, rows, {"final_at": now if final else None})
    if state is MessageState.SUBMITTED and not case.is_polled:
        _count_no_receipt(conn, case, moved)
    return moved


def annotate_messages(
    conn: Connection, case: LockedAttempt, rows: Sequence[AnnotatedMessage]
) -> None:
    """Store what is known of messages that stay in doubt."""
    if rows:
        given = _given_notes(conn, rows)
        conn.execute(
            update(MESSAGE)
            .where(case.doubtful, MESSAGE.c.seq == given.c.seq)
            .values(note=given.c.note)
        )


def reschedule_doubt(
    conn: Connection, case: LockedAttempt, *, next_at: datetime | None, looked: bool = False
) -> int:
    """Set when messages still in doubt are reconciled next (None: never); how many there are.

    `looked` counts one more look at the provider's list.
    """
    left: int = conn.execute(
        select(func.count()).select_from(MESSAGE).where(case.doubtful)
    ).scalar_one()
    values: dict[str, Any] = {"reconcile_at": next_at if left else None}
    if not left:
        values["doubt_at"] = None
    if looked:
        values["looks"] = func.coalesce(ATTEMPT.c.looks, 0) + 1
    conn.execute(update(ATTEMPT).where(ATTEMPT.c.id == case.attempt.id).values(**values))
    return left


def audit_decision(
    conn: Connection, case: LockedAttempt, action: str, count: int, *, actor: str, now: datetime
) -> None:
    """Add an audit row: a decision on `count` recipients of a request."""
    add_audit_row(
        conn,
        f"doubt {action}",
        now=now,
        actor=actor,
        account=case.batch.account,
        campaign_id=case.batch.campaign_id,
        detail=f"{case.name}: {count} recipients",
    )


def _move_messages(
    conn: Connection,
    case: LockedAttempt,
    state: MessageState,
    rows: Sequence[AnnotatedMessage],
    values: dict[str, Any],
) -> int:
    given = _given_notes(conn, rows)
    moved = conn.execute(
        update(MESSAGE)
        .where(case.leaving_doubt(state), MESSAGE.c.seq == given.c.seq)
        .values(state=state, note=given.c.note, **values)
    ).rowcount
    _check_moved(case, moved, rows)
    _count_move(conn, case, state, moved)
    return moved


def _given_notes(conn: Connection, rows: Sequence[AnnotatedMessage]) -> FromClause:
    return literal_table(conn, [("seq", Integer()), ("note", SmallInteger())], rows)


def _check_moved(case: LockedAttempt, moved: int, rows: Sequence[AnnotatedMessage]) -> None:
    if moved != len(rows):
        raise StoreError(f"{case.name} changed while it was resolved")


def _count_move(conn: Connection, case: LockedAttempt, state: MessageState, moved: int) -> None:
    into = BATCH.c[state.label]
    conn.execute(
        update(BATCH)
        .where(BATCH.c.id == case.batch.id)
        .values({BATCH.c.in_doubt: BATCH.c.in_doubt - moved, into: into + moved})
    )


def _count_no_receipt(conn: Connection, case: LockedAttempt, more: int) -> None:
    if more:
        conn.execute(
            update(BATCH)
            .where(BATCH.c.id == case.batch.id)
            .values(no_receipt=BATCH.c.no_receipt + more)
        )


def _count_submitted(conn: Connection, attempt: AttemptRow, batch: BatchRow) -> int:
    """How many messages of the request are `submitted`: without a receipt, if polling has ended."""
    count: int = conn.execute(
        select(func.count())
        .select_from(MESSAGE)
        .where(
            messages_of(batch),
            MESSAGE.c.attempt_id == attempt.id,
            has_state(MessageState.SUBMITTED),
        )
    ).scalar_one()
    return count

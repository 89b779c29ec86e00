"""How a claimed batch ends: settled, or given back with the messages that are left."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update

from dispatcher.status import AttemptOutcome, BatchState, MessageState
from dispatcher.store import accounts, late_answers
from dispatcher.store.batches import Claim
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.locks import lock_account, lock_batch_hold, lock_campaign
from dispatcher.store.ranges import messages_of
from dispatcher.store.returns import (
    LockedBatch,
    count_moved,
    lock_with_campaign,
    return_batch,
    return_messages,
)
from dispatcher.store.row_parts import CancelledAttempt
from dispatcher.store.tables import ATTEMPT, BATCH, IDENTITY, MESSAGE
from dispatcher.store.transitions import has_state, may_become

# Made once: to build a statement takes time, during which every other writer waits.
_STORE_ID = select(IDENTITY.c.store_id)
_CANCEL = (
    update(ATTEMPT)
    .where(
        ATTEMPT.c.id.in_(bindparam("attempts", expanding=True)),
        may_become(AttemptOutcome.NOT_SENT, only_from={AttemptOutcome.OPEN}),
    )
    .values(outcome=AttemptOutcome.NOT_SENT, ended_at=bindparam("now"))
    .returning(*columns_of(ATTEMPT, CancelledAttempt))
)
_HOLD = select(BATCH.c.fence, BATCH.c.state).where(BATCH.c.id == bindparam("batch"))


def is_of_this_store(conn: Connection, held: Claim) -> bool:
    """Whether the batch was claimed in this store, and the store was not adopted since."""
    if held.store_id is None:
        return True
    store_id = conn.execute(_STORE_ID).scalar_one_or_none()
    return bool(store_id == held.store_id)


def is_known_claim(conn: Connection, held: Claim) -> bool:
    """Whether the store has the claim's batch."""
    query = select(BATCH.c.id).where(
        BATCH.c.id == held.id,
        BATCH.c.campaign_id == held.campaign_id,
        BATCH.c.fence >= held.fence,
    )
    return conn.execute(query).first() is not None


def is_owned(conn: Connection, held: Claim) -> bool:
    """Whether the batch is still `submitting` under this claim. Once it is not, it never is."""
    batch = conn.execute(_HOLD, {"batch": held.id}).one()
    return bool(batch.fence == held.fence and batch.state == BatchState.SUBMITTING)


def lock_if_owned(conn: Connection, held: Claim) -> bool:
    """Lock the batch; whether it is still `submitting` under this claim."""
    batch = lock_batch_hold(conn, held.id)
    return batch.fence == held.fence and batch.state == BatchState.SUBMITTING


def hand_back(
    conn: Connection,
    held: Claim,
    *,
    now: datetime,
    not_before: datetime | None = None,
    error: str | None = None,
) -> bool:
    """Give back a claimed batch of which nothing was attempted. False if the lease was lost."""
    locked = _lock_held(conn, held, BatchState.CLAIMED)
    if locked is None:
        return False
    values: dict[str, Any] = {"error": error} if error else {}
    return_batch(conn, locked, now=now, not_before=not_before, **values)
    return True


def close_batch(
    conn: Connection,
    held: Claim,
    *,
    not_before: datetime | None,
    error: str | None,
    failed_after: int | None,
    now: datetime,
    held_as: BatchState = BatchState.SUBMITTING,
) -> BatchState | None:
    """End a held batch: `settled`, or given back if messages are left; None if it was lost.

    `error` says why messages are left. `failed_after` counts this as a failed try; after that many
    tries the messages that they tried become `failed`, and the others begin anew. `held_as` is
    CLAIMED if the try failed before its attempts were recorded.
    """
    locked = _lock_held(conn, held, held_as)
    if locked is None:
        return None
    if locked.batch.pending:
        late_answers.accept_noted(conn, locked.batch)
    tries = held.tries
    if locked.batch.pending and failed_after is not None:
        tries += 1
        if tries >= failed_after and not locked.is_cancelled:
            left = messages_of(held)
            if held_as is BatchState.SUBMITTING:
                left &= MESSAGE.c.attempt_id.in_(_tried_by(held))
            failed = conn.execute(
                update(MESSAGE)
                .where(left, may_become(MessageState.FAILED, only_from={MessageState.PENDING}))
                .values(state=MessageState.FAILED, error=error, final_at=now)
            ).rowcount
            count_moved(conn, held.id, failed, BATCH.c.failed)
            if failed < locked.batch.pending:
                tries = 0
    return return_batch(conn, locked, now=now, not_before=not_before, error=error, tries=tries)


def close_if_answered(conn: Connection, held: Claim, now: datetime) -> None:
    """Close a batch that is still held as `held`, if none of its attempts is open any more.

    Lock the campaign first.
    """
    is_open = select(ATTEMPT.c.id).where(
        ATTEMPT.c.batch_id == held.id, has_state(AttemptOutcome.OPEN)
    )
    if lock_if_owned(conn, held) and conn.execute(is_open.limit(1)).first() is None:
        close_batch(conn, held, not_before=None, error=None, failed_after=None, now=now)


def cancel_attempts(
    conn: Connection, held: Claim, attempt_ids: Sequence[int], now: datetime
) -> set[int]:
    """Close attempts that were not sent: their messages stay pending, and they do not count.

    Returns which of them were open. If the lease has run out, their messages are in doubt already,
    and nothing changes.
    """
    # Lock order: the account before the batch.
    account = lock_account(conn, held.account)
    if not lock_if_owned(conn, held):
        return set()
    closed = fetch_all(conn, CancelledAttempt, _CANCEL, {"attempts": attempt_ids, "now": now})
    if not closed:
        return set()
    ids = {each.id for each in closed}
    conn.execute(
        update(MESSAGE)
        .where(messages_of(held), MESSAGE.c.attempt_id.in_(sorted(ids)))
        .values(attempts=MESSAGE.c.attempts - 1)
    )
    if account is not None:
        accounts.uncount_today(conn, account, closed)
    late_answers.accept_noted(conn, held)
    return ids


def reverse_doubt(conn: Connection, held: Claim, attempt_id: int, now: datetime) -> int:
    """Take messages out of doubt whose attempt lost its lease and was not sent; how many.

    Only the worker that held it knows that no byte has left.
    """
    locked = lock_with_campaign(conn, held.id)
    _state, moved = return_messages(
        conn,
        locked,
        MESSAGE.c.attempt_id == attempt_id,
        old=MessageState.IN_DOUBT,
        values={"attempts": MESSAGE.c.attempts - 1},
        now=now,
    )
    if moved:
        conn.execute(
            update(ATTEMPT)
            .where(
                ATTEMPT.c.id == attempt_id,
                may_become(AttemptOutcome.NOT_SENT, only_from={AttemptOutcome.DOUBTFUL}),
            )
            .values(outcome=AttemptOutcome.NOT_SENT, ended_at=now, doubt_at=None, reconcile_at=None)
        )
    return moved


def take_back_unsent(
    conn: Connection, held: Claim, attempt_ids: Sequence[int], now: datetime
) -> None:
    """Take back attempts of which surely no byte has left, whether the lease was lost or not.

    Lock the account and the campaign first.
    """
    closed = cancel_attempts(conn, held, attempt_ids, now)
    for attempt_id in attempt_ids:
        if attempt_id not in closed:
            reverse_doubt(conn, held, attempt_id, now)


def hand_back_unsent(conn: Connection, held: Claim, after_attempt_id: int, now: datetime) -> None:
    """Take back the claim's attempts after `after_attempt_id`: surely none of them was sent.

    Whether they were stored is not known: the commit of their begin was not acknowledged. The batch
    ends, unless another attempt of it has no answer yet.
    """
    lock_account(conn, held.account)
    lock_campaign(conn, held.campaign_id)
    opened = select(ATTEMPT.c.id).where(
        ATTEMPT.c.batch_id == held.id,
        ATTEMPT.c.fence == held.fence,
        ATTEMPT.c.id > after_attempt_id,
        may_become(AttemptOutcome.NOT_SENT),
    )
    take_back_unsent(conn, held, list(conn.execute(opened).scalars()), now)
    if not hand_back(conn, held, now=now):
        close_if_answered(conn, held, now)


def _lock_held(conn: Connection, held: Claim, state: BatchState) -> LockedBatch | None:
    """Lock the campaign and the batch; None if the batch is not held by this claim any more."""
    locked = lock_with_campaign(conn, held.id, shared=True)
    is_held = locked.batch.fence == held.fence and locked.batch.state == state
    return locked if is_held else None


def _tried_by(held: Claim) -> Select[tuple[int]]:
    """The attempts that were made under this claim."""
    return select(ATTEMPT.c.id).where(
        ATTEMPT.c.batch_id == held.id,
        ATTEMPT.c.fence == held.fence,
        ATTEMPT.c.outcome != AttemptOutcome.NOT_SENT,
    )

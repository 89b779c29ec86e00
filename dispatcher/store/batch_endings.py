"""How a claimed batch ends: settled, cancelled, or handed back with the messages that are left."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Select, bindparam, select, update

from dispatcher.status import HELD, AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import accounts, campaigns
from dispatcher.store.batches import Claim, hand_back
from dispatcher.store.fetching import columns_of, fetch_optional
from dispatcher.store.locks import lock_account, lock_batch_hold
from dispatcher.store.ranges import messages_of
from dispatcher.store.row_parts import CancelledAttempt
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, MESSAGE
from dispatcher.store.transitions import has_state, may_become

# Made once: to build a statement takes time, during which every other writer waits.
_END = {
    state: update(BATCH)
    .where(BATCH.c.id == bindparam("batch"), may_become(state, only_from=HELD))
    .values(
        state=state, lease_until=None, not_before=bindparam("again_at"), error=bindparam("words"),
        tries=bindparam("tried"),
    )
    for state in (BatchState.PENDING, BatchState.SETTLED)
}  # fmt: skip


def lock_if_owned(conn: Connection, held: Claim) -> bool:
    """Lock the batch; whether it is still `submitting` under this claim."""
    batch = lock_batch_hold(conn, held.id)
    return batch.fence == held.fence and batch.state == BatchState.SUBMITTING


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
    """`submitting → settled`, or `→ pending` if messages are left; None if the lease was lost.

    `error` says why messages are left. `failed_after` counts this as a failed try; after that many
    tries the messages that they tried become `failed`, and the others begin anew. If the campaign
    was cancelled, they are cancelled. `held_as` is CLAIMED if the try failed before its attempts
    were recorded.
    """
    batch = lock_batch_hold(conn, held.id)
    if batch.fence != held.fence or batch.state != held_as:
        return None
    if batch.pending == 0:
        return _end_batch(
            conn, held, BatchState.SETTLED, error=error, not_before=None, tries=held.tries
        )
    tries = held.tries + (failed_after is not None)
    campaign = conn.execute(select(CAMPAIGN.c.state).where(CAMPAIGN.c.id == held.campaign_id)).one()
    if campaign.state == CampaignState.CANCELLED:
        return cancel_held_batch(conn, held, held_as, now)
    if failed_after is None or tries < failed_after:
        return _end_batch(
            conn, held, BatchState.PENDING, error=error, not_before=not_before, tries=tries
        )
    left = messages_of(held) & may_become(MessageState.FAILED, only_from={MessageState.PENDING})
    if held_as is BatchState.SUBMITTING:
        left &= MESSAGE.c.attempt_id.in_(_tried_by(held))
    failed = conn.execute(
        update(MESSAGE).where(left).values(state=MessageState.FAILED, error=error, final_at=now)
    ).rowcount
    count_moved(conn, held.id, failed, BATCH.c.failed)
    if failed < batch.pending:
        return _end_batch(
            conn, held, BatchState.PENDING, error=error, not_before=not_before, tries=0
        )
    return _end_batch(conn, held, BatchState.SETTLED, error=error, not_before=None, tries=tries)


def _tried_by(held: Claim) -> Select[tuple[int]]:
    """The attempts that were made under this claim."""
    return select(ATTEMPT.c.id).where(
        ATTEMPT.c.batch_id == held.id,
        ATTEMPT.c.fence == held.fence,
        ATTEMPT.c.outcome != AttemptOutcome.NOT_SENT,
    )


def close_if_answered(conn: Connection, held: Claim, now: datetime) -> None:
    """Close a batch that is still held as `held`, if none of its attempts is open any more."""
    is_open = select(ATTEMPT.c.id).where(
        ATTEMPT.c.batch_id == held.id, has_state(AttemptOutcome.OPEN)
    )
    if lock_if_owned(conn, held) and conn.execute(is_open.limit(1)).first() is None:
        close_batch(conn, held, not_before=None, error=None, failed_after=None, now=now)


def cancel_attempt(conn: Connection, held: Claim, attempt_id: int, now: datetime) -> None:
    """Close an attempt that was not sent: its messages stay pending, and it does not count as one.

    If the lease has run out, its messages are in doubt already, and nothing changes.
    """
    # Lock order: the account before the batch.
    account = lock_account(conn, held.account)
    if not lock_if_owned(conn, held):
        return
    statement = (
        update(ATTEMPT)
        .where(
            ATTEMPT.c.id == attempt_id,
            may_become(AttemptOutcome.NOT_SENT, only_from={AttemptOutcome.OPEN}),
        )
        .values(outcome=AttemptOutcome.NOT_SENT, ended_at=now)
        .returning(*columns_of(ATTEMPT, CancelledAttempt))
    )
    closed = fetch_optional(conn, CancelledAttempt, statement)
    if closed is None:
        return
    conn.execute(
        update(MESSAGE)
        .where(messages_of(held), MESSAGE.c.attempt_id == attempt_id)
        .values(attempts=MESSAGE.c.attempts - 1)
    )
    if account is not None:
        accounts.uncount_today(conn, account, closed.size, closed.begun_at)


def reverse_doubt(conn: Connection, held: Claim, attempt_id: int, now: datetime) -> int:
    """`in_doubt → pending` for an attempt that lost its lease and was not sent; how many messages.

    Only the worker that held it knows that no byte has left. A finished campaign is reopened; if
    the campaign was cancelled, the next tick cancels the messages. Lock the campaign first.
    """
    lock_if_owned(conn, held)
    moved = conn.execute(
        update(MESSAGE)
        .where(
            messages_of(held),
            MESSAGE.c.attempt_id == attempt_id,
            may_become(MessageState.PENDING, only_from={MessageState.IN_DOUBT}),
        )
        .values(state=MessageState.PENDING, error=None, attempts=MESSAGE.c.attempts - 1)
    ).rowcount
    if not moved:
        return 0
    count_moved(conn, held.id, moved, BATCH.c.pending, out_of=BATCH.c.in_doubt)
    conn.execute(
        update(BATCH)
        .where(
            BATCH.c.id == held.id, may_become(BatchState.PENDING, only_from={BatchState.SETTLED})
        )
        .values(state=BatchState.PENDING, not_before=None)
    )
    conn.execute(
        update(ATTEMPT)
        .where(
            ATTEMPT.c.id == attempt_id,
            may_become(AttemptOutcome.NOT_SENT, only_from={AttemptOutcome.DOUBTFUL}),
        )
        .values(outcome=AttemptOutcome.NOT_SENT, ended_at=now, doubt_at=None, reconcile_at=None)
    )
    campaigns.reopen_finished(conn, held.campaign_id, now)
    return moved


def hand_back_unsent(conn: Connection, held: Claim, after_attempt_id: int, now: datetime) -> None:
    """Take back the claim's attempts after `after_attempt_id`: surely none of them was sent.

    Whether they were stored is not known: the commit of their begin was not acknowledged. The batch
    ends, unless another attempt of it has no answer yet.
    """
    opened = select(ATTEMPT.c.id).where(
        ATTEMPT.c.batch_id == held.id,
        ATTEMPT.c.fence == held.fence,
        ATTEMPT.c.id > after_attempt_id,
        may_become(AttemptOutcome.NOT_SENT),
    )
    attempt_ids: list[int] = list(conn.execute(opened).scalars())
    for attempt_id in attempt_ids:
        cancel_attempt(conn, held, attempt_id, now)
        reverse_doubt(conn, held, attempt_id, now)
    if not hand_back(conn, held, not_before=None):
        close_if_answered(conn, held, now)


def cancel_held_batch(
    conn: Connection, held: Claim, state: BatchState, now: datetime
) -> BatchState | None:
    """Cancel a held batch of a cancelled campaign, with its pending messages; None if lost."""
    taken = conn.execute(
        update(BATCH)
        .where(
            BATCH.c.id == held.id,
            BATCH.c.fence == held.fence,
            may_become(BatchState.CANCELLED, only_from={state}),
        )
        .values(state=BatchState.CANCELLED, lease_until=None)
    ).rowcount
    if not taken:
        return None
    left = messages_of(held) & may_become(MessageState.CANCELLED, only_from={MessageState.PENDING})
    cancelled = conn.execute(
        update(MESSAGE).where(left).values(state=MessageState.CANCELLED, final_at=now)
    ).rowcount
    count_moved(conn, held.id, cancelled, BATCH.c.cancelled)
    return BatchState.CANCELLED


def count_moved(
    conn: Connection,
    batch_id: int,
    moved: int,
    into: Column[Any],
    *,
    out_of: Column[Any] = BATCH.c.pending,
) -> None:
    """Change the batch's counters: `moved` messages went `out_of` one state and `into` another."""
    if moved:
        conn.execute(
            update(BATCH)
            .where(BATCH.c.id == batch_id)
            .values({out_of: out_of - moved, into: into + moved})
        )


def _end_batch(
    conn: Connection,
    held: Claim,
    state: BatchState,
    *,
    error: str | None,
    not_before: datetime | None,
    tries: int,
) -> BatchState:
    given = {"again_at": not_before, "words": error, "tried": tries}
    conn.execute(_END[state], {"batch": held.id, **given})
    return state

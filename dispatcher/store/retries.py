"""Retries: messages that a person has submitted again, and which of them never are.

A retried message begins anew: what had become of it is kept in `former_outcome`, its provider id in
`other_id`.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, and_, or_, select, update

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import MessageState
from dispatcher.store import alternate_ids, former_outcomes
from dispatcher.store.alternate_ids import AlternateMessageId
from dispatcher.store.audit import RETRY_ACTION, add_audit_row
from dispatcher.store.fetching import columns_of, fetch_messages
from dispatcher.store.ranges import messages_of
from dispatcher.store.returns import LockedBatch, lock_with_campaign, return_messages
from dispatcher.store.table_values import literal_table
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state

#: The states that a person may have submitted again.
RETRYABLE: Final = (
    MessageState.FAILED,
    MessageState.UNDELIVERED,
    MessageState.EXPIRED,
    MessageState.REJECTED,
)
#: A person gave up its doubt: the provider may have accepted it.
_GIVEN_UP: Final = DoubtNote.DROPPED
#: Another request of it than the one with this outcome may have been accepted.
_TWOFOLD: Final = (
    DoubtNote.UNEXPLAINED
    | DoubtNote.RESENT
    | DoubtNote.ASSUMED
    | DoubtNote.DROPPED
    | DoubtNote.ACCEPTED_LATE
)


class RetryCandidate(NamedTuple):
    """A message that may be submitted again, with its latest outcome."""

    seq: int
    msisdn: int
    attempt_id: int | None
    account: str | None
    provider_message_id: str | None
    error_code: str | None
    error: str | None


#: Whether a message with this code and these words is meant: `ErrorCode`, `error`.
ReasonFilter = Callable[[str | None, str | None], bool]


def may_retry(state: MessageState) -> ColumnElement[bool]:
    """Messages in `state` that are not doubtful: no request of them may have been accepted.

    An undelivered one had one request accepted, of which the provider says that it did not arrive.
    """
    doubted = _GIVEN_UP if state is MessageState.FAILED else _TWOFOLD
    is_certain = or_(MESSAGE.c.note.is_(None), MESSAGE.c.note.bitwise_and(int(doubted)) == 0)
    # An erased number is negative: there is nobody to submit to.
    return and_(is_certain, MESSAGE.c.msisdn >= 0)


def batches_with_states(
    conn: Connection, campaign_id: int, states: Collection[MessageState]
) -> list[int]:
    """The campaign's batches that have messages in one of these states, in order."""
    counted = or_(*(BATCH.c[state.label] > 0 for state in states))
    query = select(BATCH.c.id).where(BATCH.c.campaign_id == campaign_id, counted)
    return list(conn.execute(query.order_by(BATCH.c.seq)).scalars())


def retry_batch(
    conn: Connection,
    batch_id: int,
    now: datetime,
    states: Collection[MessageState] = (MessageState.FAILED,),
    is_meant: ReasonFilter | None = None,
) -> int | None:
    """Make messages of one batch that are in one of `states` pending again; how many.

    None while a worker holds the batch. `is_meant` chooses by reason. Counts the batch's tries from
    zero again. None of a cancelled campaign moves.
    """
    locked = lock_with_campaign(conn, batch_id)
    if locked.is_held:
        return None
    if locked.is_cancelled:
        return 0
    moved = sum(_retry_state(conn, locked, state, is_meant, now) for state in sorted(states))
    if moved:
        conn.execute(update(BATCH).where(BATCH.c.id == batch_id).values(lost=0, error=None))
    return moved


def audit_retry(
    conn: Connection, campaign_id: int, moved: int, *, what: str = "", actor: str, now: datetime
) -> None:
    """Add an audit row: `actor` had `moved` messages submitted again; `what` says which."""
    add_audit_row(
        conn,
        RETRY_ACTION,
        now=now,
        actor=actor,
        campaign_id=campaign_id,
        detail=f"{moved} recipient{'' if moved == 1 else 's'}{f': {what}' if what else ''}",
    )


def _retry_state(
    conn: Connection,
    locked: LockedBatch,
    state: MessageState,
    is_meant: ReasonFilter | None,
    now: datetime,
) -> int:
    query = (
        select(*columns_of(MESSAGE, RetryCandidate, account=ATTEMPT.c.account))
        .join_from(MESSAGE, ATTEMPT, ATTEMPT.c.id == MESSAGE.c.attempt_id, isouter=True)
        .where(messages_of(locked.batch), has_state(state), may_retry(state))
    )
    rows = [
        row
        for row in fetch_messages(conn, RetryCandidate, query)
        if is_meant is None or is_meant(row.error_code, row.error)
    ]
    if not rows:
        return 0
    given = literal_table(conn, [("seq", Integer())], [(row.seq,) for row in rows])
    chosen = MESSAGE.c.seq.in_(select(given.c.seq))
    former_outcomes.keep_outcomes(conn, messages_of(locked.batch) & chosen, now)
    _keep_former_ids(conn, locked, rows, now)
    values: dict[str, object] = {"provider_message_id": None, "cost": None}
    if state is not MessageState.FAILED:
        # It said how an earlier doubt ended; the new request has none yet.
        values["note"] = None
    _state, moved = return_messages(
        conn, locked, chosen & may_retry(state), old=state, values=values, tries=0, now=now
    )
    return moved


def _keep_former_ids(
    conn: Connection, locked: LockedBatch, rows: Collection[RetryCandidate], now: datetime
) -> None:
    """Keep the ids of the earlier requests: in the provider's list they explain its entries."""
    ids = [
        AlternateMessageId(
            row.account, row.provider_message_id, row.msisdn, locked.campaign.id, row.seq,
            row.attempt_id,
        )
        for row in rows
        if row.provider_message_id is not None
        and row.account is not None
        and row.attempt_id is not None
    ]  # fmt: skip
    alternate_ids.keep_former(conn, ids, now)

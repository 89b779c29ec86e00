"""Batches whose worker was lost: their lease ran out before they were handed back or settled."""

import logging
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select, update

from dispatcher.logs.events import LogEvent, log_event
from dispatcher.status import HELD, IN_FLIGHT, AttemptOutcome, BatchState, MessageState
from dispatcher.store import late_answers
from dispatcher.store.doubts import doubt_columns
from dispatcher.store.ranges import messages_of
from dispatcher.store.returns import LockedBatch, count_moved, lock_with_campaign, return_batch
from dispatcher.store.rows import BatchRow
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state, may_become

log = logging.getLogger(__name__)

LOST = "its worker was lost before an answer was stored"
LOST_TOO_OFTEN = "its worker was lost several times before anything was submitted"
#: A batch fails after this many claims whose worker was lost.
_MOST_LOST = 5

# Made once: every tick runs them.
_LEASE_RAN_OUT = and_(has_state(*IN_FLIGHT), BATCH.c.lease_until < bindparam("now"))
_EXPIRED = {
    state: select(BATCH.c.campaign_id, BATCH.c.id).where(has_state(state), _LEASE_RAN_OUT)
    for state in HELD
}


def release_expired_claims(conn: Connection, now: datetime) -> int:
    """Take back claims whose lease ran out: nothing was attempted. Returns how many.

    A batch whose worker was lost several times may itself be the cause: it fails and is not sent.
    """
    expired = _lock_expired(conn, BatchState.CLAIMED, now)
    for locked in expired:
        values: dict[str, Any] = {"lost": locked.batch.lost + 1}
        if locked.batch.lost + 1 >= _MOST_LOST and not locked.is_cancelled:
            _fail_pending(conn, locked.batch, now)
            values["error"] = LOST_TOO_OFTEN
        return_batch(conn, locked, now=now, not_before=locked.batch.not_before, **values)
    return len(expired)


def doubt_expired_submissions(conn: Connection, now: datetime) -> int:
    """Where the lease of `submitting` ran out, messages of open attempts are in doubt.

    Messages that no open attempt carries are given back. Returns how many batches there were.
    """
    expired = _lock_expired(conn, BatchState.SUBMITTING, now)
    for locked in expired:
        _doubt_batch(conn, locked.batch, now)
        late_answers.accept_noted(conn, locked.batch)
        return_batch(conn, locked, now=now, not_before=locked.batch.not_before, error=LOST)
    return len(expired)


def _lock_expired(conn: Connection, state: BatchState, now: datetime) -> list[LockedBatch]:
    """Lock batches whose lease ran out; one that was renewed or settled meanwhile is left out."""
    # Sorted here: with ORDER BY, SQLite would rather read the whole table.
    found = sorted(
        (int(row[0]), int(row[1])) for row in conn.execute(_EXPIRED[state], {"now": now})
    )
    locked = [lock_with_campaign(conn, batch_id, shared=True) for _campaign, batch_id in found]
    return [
        each
        for each in locked
        if each.batch.state == state
        and each.batch.lease_until is not None
        and each.batch.lease_until < now
    ]


def _fail_pending(conn: Connection, batch: BatchRow, now: datetime) -> None:
    failed = conn.execute(
        update(MESSAGE)
        .where(
            messages_of(batch), may_become(MessageState.FAILED, only_from={MessageState.PENDING})
        )
        .values(state=MessageState.FAILED, error=LOST_TOO_OFTEN, final_at=now)
    ).rowcount
    count_moved(conn, batch.id, failed, BATCH.c.failed)


def _doubt_batch(conn: Connection, batch: BatchRow, now: datetime) -> None:
    is_open = and_(ATTEMPT.c.batch_id == batch.id, may_become(AttemptOutcome.DOUBTFUL))
    doubtful = conn.execute(
        update(MESSAGE)
        .where(
            messages_of(batch),
            may_become(MessageState.IN_DOUBT),
            MESSAGE.c.attempt_id.in_(select(ATTEMPT.c.id).where(is_open)),
            ~late_answers.IS_NOTED,
        )
        .values(state=MessageState.IN_DOUBT, error=LOST)
    ).rowcount
    count_moved(conn, batch.id, doubtful, BATCH.c.in_doubt)
    if doubtful:
        words = (
            f"campaign {batch.campaign_id}, account {batch.account}, batch {batch.id}: "
            f"{doubtful:,} recipients are in doubt: {LOST}"
        )
        log_event(
            log,
            LogEvent.IN_DOUBT,
            words,
            campaign=batch.campaign_id,
            batch=batch.id,
            account=batch.account,
        )
    conn.execute(
        update(ATTEMPT)
        .where(is_open)
        .values(outcome=AttemptOutcome.DOUBTFUL, error=LOST, ended_at=now, **doubt_columns(now))
    )

"""Batches whose worker was lost: their lease ran out before they were handed back or settled."""

from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, select, update

from dispatcher.status import IN_FLIGHT, AttemptOutcome, BatchState, MessageState
from dispatcher.store.doubts import doubt_columns
from dispatcher.store.fetching import columns_of, fetch_all, fetch_one
from dispatcher.store.ranges import messages_of
from dispatcher.store.row_parts import LostClaim, LostSubmission
from dispatcher.store.rows import BatchRow
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state, may_become

LOST = "its worker was lost before an answer was stored"
LOST_TOO_OFTEN = "its worker was lost several times before anything was submitted"
#: A batch fails after so many claims whose worker was lost.
_MOST_LOST = 5

# Made once: every tick runs them.
_LEASE_RAN_OUT = and_(has_state(*IN_FLIGHT), BATCH.c.lease_until < bindparam("now"))
_LOSE_CLAIMS = (
    update(BATCH)
    .where(
        may_become(BatchState.PENDING, only_from={BatchState.CLAIMED}),
        _LEASE_RAN_OUT,
    )
    .values(
        state=BatchState.PENDING,
        fence=BATCH.c.fence + 1,
        lost=BATCH.c.lost + 1,
        lease_until=None,
    )
    .returning(*columns_of(BATCH, LostClaim))
)
_LOST_SUBMISSIONS = (
    select(*columns_of(BATCH, LostSubmission))
    .where(
        has_state(BatchState.SUBMITTING),
        _LEASE_RAN_OUT,
    )
    .with_for_update()
)


def release_expired_claims(conn: Connection, now: datetime) -> int:
    """`claimed → pending` where the lease ran out: nothing was attempted. Returns how many.

    A batch whose worker was lost several times may be what ends them: it fails, and is not sent.
    """
    rows = fetch_all(conn, LostClaim, _LOSE_CLAIMS, {"now": now})
    for row in rows:
        if row.lost >= _MOST_LOST:
            _fail_batch(conn, row.id, now)
    return len(rows)


def _fail_batch(conn: Connection, batch_id: int, now: datetime) -> None:
    query = select(*columns_of(BATCH, BatchRow)).where(BATCH.c.id == batch_id)
    batch = fetch_one(conn, BatchRow, query)
    failed = conn.execute(
        update(MESSAGE)
        .where(
            messages_of(batch),
            may_become(MessageState.FAILED, only_from={MessageState.PENDING}),
        )
        .values(state=MessageState.FAILED, error=LOST_TOO_OFTEN, final_at=now)
    ).rowcount
    conn.execute(
        update(BATCH)
        .where(
            BATCH.c.id == batch_id, may_become(BatchState.SETTLED, only_from={BatchState.PENDING})
        )
        .values(
            state=BatchState.SETTLED,
            pending=BATCH.c.pending - failed,
            failed=BATCH.c.failed + failed,
            error=LOST_TOO_OFTEN,
        )
    )


def doubt_expired_submissions(conn: Connection, now: datetime) -> int:
    """Where the lease of `submitting` ran out, messages of open attempts are in doubt.

    Messages that no open attempt carries stay pending. Returns how many batches there were.
    """
    expired = fetch_all(conn, LostSubmission, _LOST_SUBMISSIONS, {"now": now})
    for batch in expired:
        _doubt_batch(conn, batch, now)
    return len(expired)


def _doubt_batch(conn: Connection, batch: LostSubmission, now: datetime) -> None:
    is_open = and_(ATTEMPT.c.batch_id == batch.id, may_become(AttemptOutcome.DOUBTFUL))
    doubtful = conn.execute(
        update(MESSAGE)
        .where(
            messages_of(batch),
            may_become(MessageState.IN_DOUBT),
            MESSAGE.c.attempt_id.in_(select(ATTEMPT.c.id).where(is_open)),
        )
        .values(state=MessageState.IN_DOUBT, error=LOST)
    ).rowcount
    left = batch.pending - doubtful
    ended = BatchState.PENDING if left else BatchState.SETTLED
    conn.execute(
        update(BATCH)
        .where(BATCH.c.id == batch.id, may_become(ended, only_from={BatchState.SUBMITTING}))
        .values(
            state=ended,
            fence=BATCH.c.fence + 1,
            lease_until=None,
            pending=left,
            in_doubt=BATCH.c.in_doubt + doubtful,
            error=LOST,
        )
    )
    conn.execute(
        update(ATTEMPT)
        .where(is_open)
        .values(outcome=AttemptOutcome.DOUBTFUL, error=LOST, ended_at=now, **doubt_columns(now))
    )

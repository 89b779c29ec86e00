"""The one way back to `pending`, for messages and for batches.

The campaign's state decides: what returns to a cancelled campaign is cancelled, a finished campaign
is opened again. So a campaign that is over has nothing pending.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Update, bindparam, select, update

from dispatcher.status import HELD, BatchState, CampaignState, MessageState
from dispatcher.store import campaigns
from dispatcher.store.locks import lock_batch, lock_campaign, lock_campaign_shared
from dispatcher.store.ranges import messages_of
from dispatcher.store.rows import BatchRow, CampaignRow
from dispatcher.store.tables import BATCH, MESSAGE
from dispatcher.store.transitions import may_become

# Made once: to build a statement takes time, during which every other writer waits.
_CAMPAIGN_ID = select(BATCH.c.campaign_id).where(BATCH.c.id == bindparam("batch"))
_PENDING = select(BATCH.c.pending).where(BATCH.c.id == bindparam("batch"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBatch:
    """A batch and its campaign, locked in the other order until the transaction ends."""

    campaign: CampaignRow
    batch: BatchRow

    @property
    def is_cancelled(self) -> bool:
        """Whether the campaign was cancelled: nothing of it is submitted again."""
        return bool(self.campaign.state == CampaignState.CANCELLED)

    @property
    def is_held(self) -> bool:
        """Whether a worker holds the batch."""
        return self.batch.state in HELD


def lock_with_campaign(conn: Connection, batch_id: int, *, shared: bool = False) -> LockedBatch:
    """Lock the campaign of a batch, then the batch.

    `shared` is enough where messages are pending already: then the campaign is not finished, and
    nothing of its row changes.
    """
    campaign_id = conn.execute(_CAMPAIGN_ID, {"batch": batch_id}).scalar_one()
    lock = lock_campaign_shared if shared else lock_campaign
    return LockedBatch(campaign=lock(conn, campaign_id), batch=lock_batch(conn, batch_id))


def return_messages(
    conn: Connection,
    locked: LockedBatch,
    which: ColumnElement[bool],
    *,
    old: MessageState,
    values: dict[str, Any],
    tries: int | None = None,
    now: datetime,
) -> tuple[MessageState, int]:
    """Make those of the batch's messages `pending` again that are in state `old` and meet `which`.

    Returns the state that they got, and how many they were. In a cancelled campaign messages in
    doubt become `cancelled`, and all others stay as they are. `values` are set in the messages
    too, `tries` in the batch.
    """
    state = MessageState.CANCELLED if locked.is_cancelled else MessageState.PENDING
    if locked.is_cancelled and old is not MessageState.IN_DOUBT:
        return old, 0
    final_at = None if state is MessageState.PENDING else now
    given = {"error": None, "error_code": None} if state is MessageState.PENDING else {}
    moved = conn.execute(
        update(MESSAGE)
        .where(messages_of(locked.batch), which, may_become(state, only_from={old}))
        .values(state=state, final_at=final_at, **(given | values))
    ).rowcount
    count_moved(conn, locked.batch.id, moved, BATCH.c[state.label], out_of=BATCH.c[old.label])
    if moved and state is MessageState.PENDING:
        _open_batch(conn, locked, tries)
        _reopen_campaign(conn, locked, now)
    return state, moved


def return_batch(
    conn: Connection,
    locked: LockedBatch,
    *,
    now: datetime,
    not_before: datetime | None = None,
    **values: Any,
) -> BatchState:
    """Take a batch from whoever holds it, with the messages that are pending still.

    It becomes `pending`, `settled` where nothing is left, or `cancelled` with its campaign. Returns
    which. `values` are columns of the batch.
    """
    batch = locked.batch
    pending = conn.execute(_PENDING, {"batch": batch.id}).scalar_one()
    old, state = BatchState(batch.state), BatchState.PENDING
    ended = old if old is BatchState.SETTLED else BatchState.CANCELLED
    if not pending:
        state = old if old is BatchState.CANCELLED else BatchState.SETTLED
    elif locked.is_cancelled:
        state = ended
        _cancel_pending(conn, batch, now)
    else:
        values["not_before"] = not_before
        _reopen_campaign(conn, locked, now)
    given = {f"new_{name}": value for name, value in values.items()}
    conn.execute(_return_stmt(state, old, tuple(values)), {"batch": batch.id, **given})
    return state


@cache
def _return_stmt(state: BatchState, old: BatchState, names: tuple[str, ...]) -> Update:
    """The UPDATE that takes a batch from its holder, and sets these columns."""
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    return (
        update(BATCH)
        .where(BATCH.c.id == bindparam("batch"), may_become(state, only_from={old}))
        .values(state=state, fence=BATCH.c.fence + 1, lease_until=None, bundle=None, **values)
    )


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


def _open_batch(conn: Connection, locked: LockedBatch, tries: int | None) -> None:
    """`settled → pending` with a new fence. A batch that waits, or that a worker holds, stays."""
    if locked.batch.state == BatchState.SETTLED:
        conn.execute(
            update(BATCH)
            .where(
                BATCH.c.id == locked.batch.id,
                may_become(BatchState.PENDING, only_from={BatchState.SETTLED}),
            )
            .values(
                state=BatchState.PENDING,
                fence=BATCH.c.fence + 1,
                not_before=None,
                lease_until=None,
                queued_at=None,
            )
        )
    if tries is not None:
        conn.execute(update(BATCH).where(BATCH.c.id == locked.batch.id).values(tries=tries))


def _reopen_campaign(conn: Connection, locked: LockedBatch, now: datetime) -> None:
    if locked.campaign.state == CampaignState.FINISHED:
        campaigns.reopen_finished(conn, locked.campaign.id, now)


def _cancel_pending(conn: Connection, batch: BatchRow, now: datetime) -> None:
    state = MessageState.CANCELLED
    cancelled = conn.execute(
        update(MESSAGE)
        .where(messages_of(batch), may_become(state, only_from={MessageState.PENDING}))
        .values(state=state, final_at=now)
    ).rowcount
    count_moved(conn, batch.id, cancelled, BATCH.c.cancelled)

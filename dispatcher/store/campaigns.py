"""Campaign rows: load one, start them, change their state and virtual time, end them.

`campaign_search.py` finds and counts, `campaign_settings.py` changes rate, windows and times.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
    update,
)

from dispatcher.status import UNCLAIMED, BatchState, CampaignState, MessageState
from dispatcher.store.audit import add_audit_row
from dispatcher.store.column_types import UtcTime
from dispatcher.store.fetching import columns_of, fetch_optional
from dispatcher.store.locks import lock_campaigns
from dispatcher.store.ranges import join_ranges, messages_between
from dispatcher.store.rows import CampaignRow
from dispatcher.store.table_values import TableParameter, literal_table
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, MESSAGE
from dispatcher.store.transitions import IS_UNSETTLED, has_state, may_become

#: Messages that one transaction ends: a few tenths of a second, in which other writers wait.
_GROUP = 50_000
#: The partial index's condition. A cancelled campaign is open until its batches are settled.
_IS_OPEN = CAMPAIGN.c.finished_at.is_(None)
_HAS_WAITING = exists().where(BATCH.c.campaign_id == CAMPAIGN.c.id, has_state(*UNCLAIMED))
_IS_CANCELLED = has_state(CampaignState.CANCELLED)
#: It has batches to settle, requests to poll or doubts to reconcile.
_IS_BUSY = or_(
    exists().where(BATCH.c.campaign_id == CAMPAIGN.c.id, IS_UNSETTLED),
    exists().where(ATTEMPT.c.campaign_id == CAMPAIGN.c.id, ATTEMPT.c.poll_at.is_not(None)),
    exists().where(
        ATTEMPT.c.campaign_id == CAMPAIGN.c.id,
        ATTEMPT.c.doubt_at.is_not(None),
        ATTEMPT.c.reconcile_at.is_not(None),
    ),
)
_HAS_ENDED = and_(_IS_OPEN, ~_IS_BUSY)
_ANY_OPEN = select(CAMPAIGN.c.id).where(_IS_OPEN).limit(1)
_BY_ID = select(*columns_of(CAMPAIGN, CampaignRow)).where(CAMPAIGN.c.id == bindparam("campaign"))
_PAY = (
    update(CAMPAIGN)
    .where(CAMPAIGN.c.id == bindparam("campaign_id"))
    .values(paid_until=bindparam("until", type_=UtcTime()))
)


def load_campaign(conn: Connection, campaign_id: int) -> CampaignRow | None:
    """The campaign's row; None where there is none with this id."""
    return fetch_optional(conn, CampaignRow, _BY_ID, {"campaign": campaign_id})


def has_open_campaign(conn: Connection) -> bool:
    """Whether a campaign is not over yet: without one a tick has little to do."""
    return conn.execute(_ANY_OPEN).first() is not None


def start_due(conn: Connection, now: datetime) -> list[int]:
    """`scheduled → running` for campaigns whose `start_at` has come; return their ids."""
    return list(
        conn.execute(
            update(CAMPAIGN)
            .where(
                may_become(CampaignState.RUNNING),
                or_(CAMPAIGN.c.start_at.is_(None), CAMPAIGN.c.start_at <= now),
                _IS_OPEN,
            )
            .values(state=CampaignState.RUNNING)
            .returning(CAMPAIGN.c.id)
        ).scalars()
    )


def record_campaign_paid_until(
    conn: Connection, campaign_id: int, paid_for_s: float, now: datetime
) -> None:
    """Record until when the campaign's own rate is paid; the caller has locked the campaign."""
    paid_until = now + timedelta(seconds=paid_for_s)
    conn.execute(_PAY, {"campaign_id": campaign_id, "until": paid_until})


def set_virtual_times(conn: Connection, served: Mapping[int, int], now: datetime) -> None:
    """Store virtual times by campaign id; the first release of each is recorded as its start."""
    statement, given = _virtual_times_stmt(conn.dialect.name)
    conn.execute(statement, given.to_parameters(sorted(served.items())) | {"at": now})


@cache
def _virtual_times_stmt(dialect: str) -> tuple[Update, TableParameter]:
    given = TableParameter(dialect, [("id", BigInteger()), ("turn", BigInteger())])
    new = given.table.c
    started_at = func.coalesce(CAMPAIGN.c.started_at, bindparam("at", type_=UtcTime()))
    statement = update(CAMPAIGN).where(CAMPAIGN.c.id == new.id)
    return statement.values(turn=new.turn, started_at=started_at), given


def give_back_virtual_time(conn: Connection, campaign_id: int, messages: int) -> None:
    """Take messages that were released and did not leave off the campaign's virtual time."""
    conn.execute(
        update(CAMPAIGN).where(CAMPAIGN.c.id == campaign_id).values(turn=CAMPAIGN.c.turn - messages)
    )


def change_state(
    conn: Connection,
    campaign_id: int,
    old: Sequence[CampaignState],
    new: CampaignState,
    *,
    actor: str,
    reason: str | None,
    now: datetime,
) -> bool:
    """Change a campaign's state and add an audit row. False where its state was not in `old`.

    Raises ValueError where `status.py` does not allow the change.
    """
    done = conn.execute(
        update(CAMPAIGN)
        .where(CAMPAIGN.c.id == campaign_id, may_become(new, only_from=old))
        .values(state=new, state_reason=reason)
    ).rowcount
    if done:
        add_audit_row(
            conn, f"campaign {new}", now=now, actor=actor, campaign_id=campaign_id, detail=reason
        )
    return bool(done)


def reopen_finished(conn: Connection, campaign_id: int, now: datetime) -> bool:
    """`finished → scheduled` for a campaign that has work again; the next tick starts it.

    False where it had not finished.
    """
    done = change_state(
        conn,
        campaign_id,
        [CampaignState.FINISHED],
        CampaignState.SCHEDULED,
        actor="dispatcher",
        reason=None,
        now=now,
    )
    if done:
        conn.execute(update(CAMPAIGN).where(CAMPAIGN.c.id == campaign_id).values(finished_at=None))
    return done


def lapse_expired(conn: Connection, now: datetime) -> int:
    """`pending → lapsed` in the unclaimed batches of expired campaigns; how many messages.

    Ends a group of batches in each campaign: call it again for the rest.
    """
    is_expired = and_(
        has_state(CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED),
        CAMPAIGN.c.expire_at <= now,
        _IS_OPEN,
        _HAS_WAITING,
    )
    return sum(
        end_waiting_batches(conn, campaign_id, MessageState.LAPSED, now)
        for campaign_id in lock_campaigns(conn, is_expired)
    )


def has_waiting_batches(conn: Connection, campaign_id: int) -> bool:
    """Whether the campaign has batches that no worker holds and that have not ended."""
    query = select(BATCH.c.id).where(BATCH.c.campaign_id == campaign_id, has_state(*UNCLAIMED))
    return conn.execute(query.limit(1)).first() is not None


def end_waiting_batches(
    conn: Connection, campaign_id: int, state: MessageState, now: datetime
) -> int:
    """Make pending messages of unclaimed batches `cancelled` or `lapsed`; how many messages.

    Ends a group of batches, since other writers wait meanwhile. Lock the campaign first.
    """
    counter = BATCH.c[state.label]
    ended = BatchState.CANCELLED if state is MessageState.CANCELLED else BatchState.SETTLED
    given = literal_table(conn, [("id", BigInteger())], _waiting_group(conn, campaign_id))
    ended_ranges: Iterable[tuple[int, int]] = conn.execute(
        update(BATCH)
        .where(BATCH.c.id == given.c.id, may_become(ended, only_from=UNCLAIMED))
        .values(
            {
                BATCH.c.state: ended,
                BATCH.c.fence: BATCH.c.fence + 1,
                counter: counter + BATCH.c.pending,
                BATCH.c.pending: 0,
            }
        )
        .returning(BATCH.c.first_seq, BATCH.c.size)
    ).all()
    done = 0
    for first, last in join_ranges(sorted(ended_ranges)):
        done += conn.execute(
            update(MESSAGE)
            .where(
                messages_between(campaign_id, first, last),
                may_become(state, only_from={MessageState.PENDING}),
            )
            .values(state=state, final_at=now)
        ).rowcount
    return done


def _waiting_group(conn: Connection, campaign_id: int) -> list[tuple[int]]:
    """The ids of the next unclaimed batches, with about `_GROUP` messages in all."""
    query = (
        select(BATCH.c.id, BATCH.c.size)
        .where(BATCH.c.campaign_id == campaign_id, has_state(*UNCLAIMED))
        .order_by(BATCH.c.seq)
        .limit(_GROUP)
    )
    batches: Iterable[tuple[int, int]] = conn.execute(query).all()
    found: list[tuple[int]] = []
    messages = 0
    for batch_id, size in batches:
        if messages >= _GROUP:
            break
        messages += size
        found.append((batch_id,))
    return found


def is_any_over(conn: Connection, now: datetime) -> bool:
    """Whether `finish_campaigns` may have a campaign to end."""
    query = select(CAMPAIGN.c.id).where(_may_end(now)).limit(1)
    return conn.execute(query).first() is not None


def _may_finish(now: datetime) -> ColumnElement[bool]:
    return or_(
        may_become(CampaignState.FINISHED, only_from={CampaignState.RUNNING}),
        and_(
            may_become(CampaignState.FINISHED, only_from={CampaignState.PAUSED}),
            CAMPAIGN.c.expire_at <= now,
        ),
    )


def _may_end(now: datetime) -> ColumnElement[bool]:
    return and_(or_(_may_finish(now), _IS_CANCELLED), _HAS_ENDED)


def finish_campaigns(conn: Connection, now: datetime, *, only: int | None = None) -> list[int]:
    """`running → finished` where nothing is pending, in flight, polled or reconciled any more.

    This includes a campaign that was paused until it expired: nothing of it can be sent any more.
    A cancelled campaign gets its `finished_at` by the same rule. Returns the ids of both kinds.
    `only` is a campaign to look at, instead of all.
    """
    # Who gives a campaign work locks it. So it is decided after the lock, on a new snapshot.
    which = true() if only is None else CAMPAIGN.c.id == only
    locked = lock_campaigns(conn, and_(which, _may_end(now)))
    if not locked:
        return []
    of_locked = CAMPAIGN.c.id.in_(locked)
    finished = conn.execute(
        update(CAMPAIGN)
        .where(of_locked, _may_finish(now), _HAS_ENDED)
        .values(state=CampaignState.FINISHED, finished_at=now)
        .returning(CAMPAIGN.c.id)
    ).scalars()
    ended = list(finished)
    cancelled = conn.execute(
        update(CAMPAIGN)
        .where(of_locked, _IS_CANCELLED, _HAS_ENDED)
        .values(finished_at=now)
        .returning(CAMPAIGN.c.id)
    ).scalars()
    return ended + list(cancelled)


def runs_alone(conn: Connection, account: str, campaign_id: int) -> bool:
    """Whether no other campaign of the account is running."""
    others = (
        select(CAMPAIGN.c.id)
        .where(
            CAMPAIGN.c.state == CampaignState.RUNNING,
            _IS_OPEN,
            CAMPAIGN.c.account == account,
            CAMPAIGN.c.id != campaign_id,
        )
        .limit(1)
    )
    return conn.execute(others).first() is None


def list_running_accounts(conn: Connection) -> list[str]:
    """The accounts that have a running campaign."""
    query = select(CAMPAIGN.c.account).where(has_state(CampaignState.RUNNING), _IS_OPEN).distinct()
    return list(conn.execute(query).scalars())

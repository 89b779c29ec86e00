"""What is due to be released: one question for all accounts, or for one.

Its cost follows the running campaigns with a look into an index for each, not what they have sent.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Text,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
)

from dispatcher.policy.breaker import Breaker
from dispatcher.policy.fair_queue import DueBatch
from dispatcher.status import IN_FLIGHT, BatchState, CampaignState
from dispatcher.store.column_types import UtcTime
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.rows import CampaignRow
from dispatcher.store.tables import ACCOUNT, BATCH, CAMPAIGN
from dispatcher.store.transitions import has_state


class WaitingCampaigns(NamedTuple):
    """Running campaigns with recipients in batches that are due, alike in when they may be sent.

    `pending` are those recipients, and `since` is when the first of them became due. `expire_at` is
    there only with a `schedule_at`, which it must not be before.
    """

    account: str
    kind: str
    schedule: str | None
    zones: str | None
    schedule_at: datetime | None
    expire_at: datetime | None
    pending: int
    since: datetime

    @property
    def start_at(self) -> datetime | None:
        """None: their start has passed."""
        return None


class DueCampaign(NamedTuple):
    """What decides when a campaign that has a batch due is served."""

    id: int
    kind: str
    one_off: bool
    priority: int
    turn: int


_NOW = bindparam("now", type_=UtcTime())
_IS_DUE_BATCH = and_(
    BATCH.c.campaign_id == CAMPAIGN.c.id,
    BATCH.c.account == CAMPAIGN.c.account,
    has_state(BatchState.PENDING),
    or_(BATCH.c.not_before.is_(None), BATCH.c.not_before <= _NOW),
)
# Not EXISTS: PostgreSQL could make a join of it, and read every pending batch there is.
_FIRST_DUE_BATCH = (
    select(BATCH.c.id)
    .where(_IS_DUE_BATCH)
    .order_by(BATCH.c.seq)
    .limit(1)
    .correlate(CAMPAIGN)
    .scalar_subquery()
)
_IS_RUNNING = has_state(CampaignState.RUNNING) & CAMPAIGN.c.finished_at.is_(None)
# It may have to be checked at its provider first (`rechecks.py`).
_HAS_DUE = _IS_RUNNING & CAMPAIGN.c.recheck_at.is_(None) & _FIRST_DUE_BATCH.is_not(None)
# Nothing is released at these accounts, whatever is due.
_IS_CLOSED = exists().where(
    ACCOUNT.c.name == CAMPAIGN.c.account,
    or_(
        ACCOUNT.c.paused_by.is_not(None),
        ACCOUNT.c.stopped_at.is_not(None),
        ACCOUNT.c.breaker == literal(Breaker.OPEN, Text()),
        ACCOUNT.c.not_before > _NOW,
    ),
)
# Built once: every tick and every release executes them.
_DUE = select(*columns_of(CAMPAIGN, CampaignRow)).where(_HAS_DUE)
_DUE_OF_ACCOUNT = select(*columns_of(CAMPAIGN, DueCampaign)).where(
    _HAS_DUE, CAMPAIGN.c.account == bindparam("of_account")
)
_DUE_AT_OPEN_ACCOUNTS = _DUE.where(~_IS_CLOSED)
_FIRST_BATCHES = (
    select(BATCH.c.campaign_id, *columns_of(BATCH, DueBatch, size=BATCH.c.pending))
    .join_from(CAMPAIGN, BATCH, BATCH.c.id == _FIRST_DUE_BATCH)
    .where(CAMPAIGN.c.id.in_(bindparam("campaigns", expanding=True)))
)
_ACCOUNTS_WITH_DUE = select(CAMPAIGN.c.account).where(_HAS_DUE).distinct()
_ACCOUNTS_WITH_QUEUED = (
    select(BATCH.c.account).where(has_state(BatchState.QUEUED), has_state(*IN_FLIGHT)).distinct()
)


def due_campaigns(conn: Connection, account: str, now: datetime) -> list[DueCampaign]:
    """The account's running campaigns that have a batch due; their windows may be closed."""
    return fetch_all(conn, DueCampaign, _DUE_OF_ACCOUNT, {"of_account": account, "now": now})


def due_at_open_accounts(conn: Connection, now: datetime) -> list[CampaignRow]:
    """Running campaigns with a batch due, of all accounts that may send now."""
    return fetch_all(conn, CampaignRow, _DUE_AT_OPEN_ACCOUNTS, {"now": now})


def first_due_batches(
    conn: Connection, campaign_ids: Sequence[int], now: datetime
) -> dict[int, DueBatch]:
    """The first batch that is due in each of these campaigns, by campaign id, in any zone."""
    rows = conn.execute(_FIRST_BATCHES, {"campaigns": list(campaign_ids), "now": now})
    found: Iterable[Sequence[int]] = rows
    return {campaign_id: DueBatch._make(batch) for campaign_id, *batch in found}


def sum_waiting(conn: Connection, now: datetime) -> list[WaitingCampaigns]:
    """What is due of all accounts, also of campaigns that wait for their check at a provider.

    Without those that wait for their start or their own rate, or have expired.
    """
    return fetch_all(conn, WaitingCampaigns, _waiting_query(conn.dialect.name), {"now": now})


def accounts_with_waiting(conn: Connection, now: datetime) -> set[str]:
    """The accounts with a batch that is due, or released and not claimed yet."""
    due = conn.execute(_ACCOUNTS_WITH_DUE, {"now": now}).scalars()
    return {*due, *conn.execute(_ACCOUNTS_WITH_QUEUED).scalars()}


@cache
def _waiting_query(dialect: str) -> Executable:
    latest = func.greatest if dialect == "postgresql" else func.max
    times = (CAMPAIGN.c.start_at, CAMPAIGN.c.started_at, BATCH.c.not_before)
    any_time = func.coalesce(*times, CAMPAIGN.c.created_at)
    since = latest(*(func.coalesce(at, any_time) for at in times), type_=UtcTime())
    keys: dict[str, ColumnElement[object]] = {
        **{name: CAMPAIGN.c[name] for name in ("account", "kind", "schedule", "zones")},
        "schedule_at": CAMPAIGN.c.schedule_at,
        "expire_at": case((CAMPAIGN.c.schedule_at.is_not(None), CAMPAIGN.c.expire_at)),
    }
    sums = {"pending": cast(func.sum(BATCH.c.pending), BigInteger), "since": func.min(since)}
    return (
        select(*columns_of(CAMPAIGN, WaitingCampaigns, **keys, **sums))
        .join_from(CAMPAIGN, BATCH, _IS_DUE_BATCH)
        .where(
            _IS_RUNNING,
            or_(CAMPAIGN.c.start_at.is_(None), CAMPAIGN.c.start_at <= _NOW),
            or_(CAMPAIGN.c.paid_until.is_(None), CAMPAIGN.c.paid_until <= _NOW),
            or_(CAMPAIGN.c.expire_at.is_(None), CAMPAIGN.c.expire_at > _NOW),
        )
        .group_by(*keys.values())
    )

"""What is due to be released: one question for all accounts, or for one.

Its cost follows the running campaigns with a look into an index for each, not what they have sent.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Text, bindparam, exists, literal, or_, select

from dispatcher.policy.breaker import Breaker
from dispatcher.policy.fair_queue import DueBatch
from dispatcher.status import IN_FLIGHT, BatchState, CampaignState
from dispatcher.store.column_types import UtcTime
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.rows import CampaignRow
from dispatcher.store.tables import ACCOUNT, BATCH, CAMPAIGN
from dispatcher.store.transitions import has_state


class WaitingCampaign(NamedTuple):
    """A running campaign with a batch due: when it may be sent, and what it has waited for.

    `not_before` is that of its first due batch.
    """

    id: int
    account: str
    kind: str
    schedule: str | None
    zones: str | None
    start_at: datetime | None
    expire_at: datetime | None
    schedule_at: datetime | None
    paid_until: datetime | None
    created_at: datetime
    started_at: datetime | None
    not_before: datetime | None


_NOW = bindparam("now", type_=UtcTime())
# Not EXISTS: PostgreSQL could make a join of it, and read every pending batch there is.
_FIRST_DUE_BATCH = (
    select(BATCH.c.id)
    .where(
        BATCH.c.campaign_id == CAMPAIGN.c.id,
        BATCH.c.account == CAMPAIGN.c.account,
        has_state(BatchState.PENDING),
        or_(BATCH.c.not_before.is_(None), BATCH.c.not_before <= _NOW),
    )
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
_DUE_OF_ACCOUNT = _DUE.where(CAMPAIGN.c.account == bindparam("of_account"))
_DUE_AT_OPEN_ACCOUNTS = _DUE.where(~_IS_CLOSED)
_FIRST_BATCHES = (
    select(BATCH.c.campaign_id, *columns_of(BATCH, DueBatch, size=BATCH.c.pending))
    .join_from(CAMPAIGN, BATCH, BATCH.c.id == _FIRST_DUE_BATCH)
    .where(CAMPAIGN.c.id.in_(bindparam("campaigns", expanding=True)))
)
_WITH_FIRST_DUE = (
    select(*columns_of(CAMPAIGN, WaitingCampaign, not_before=BATCH.c.not_before))
    .join_from(CAMPAIGN, BATCH, BATCH.c.id == _FIRST_DUE_BATCH)
    .where(_IS_RUNNING)
)
_ACCOUNTS_WITH_DUE = select(CAMPAIGN.c.account).where(_HAS_DUE).distinct()
_ACCOUNTS_WITH_QUEUED = (
    select(BATCH.c.account).where(has_state(BatchState.QUEUED), has_state(*IN_FLIGHT)).distinct()
)


def due_campaigns(conn: Connection, account: str, now: datetime) -> list[CampaignRow]:
    """The account's running campaigns that have a batch due; their windows may be closed."""
    return fetch_all(conn, CampaignRow, _DUE_OF_ACCOUNT, {"of_account": account, "now": now})


def due_at_open_accounts(conn: Connection, now: datetime) -> list[CampaignRow]:
    """As `due_campaigns`, of all accounts that are not paused, not broken, and need not wait."""
    return fetch_all(conn, CampaignRow, _DUE_AT_OPEN_ACCOUNTS, {"now": now})


def first_due_batches(
    conn: Connection, campaign_ids: Sequence[int], now: datetime
) -> dict[int, DueBatch]:
    """The first batch that is due in each of these campaigns, by campaign id, in any zone."""
    rows = conn.execute(_FIRST_BATCHES, {"campaigns": list(campaign_ids), "now": now})
    found: Iterable[Sequence[int]] = rows
    return {campaign_id: DueBatch._make(batch) for campaign_id, *batch in found}


def list_waiting(conn: Connection, now: datetime) -> list[WaitingCampaign]:
    """As `due_campaigns`, of all accounts; those too that wait for their check at a provider."""
    return fetch_all(conn, WaitingCampaign, _WITH_FIRST_DUE, {"now": now})


def accounts_with_waiting(conn: Connection, now: datetime) -> set[str]:
    """The accounts with a batch that is due, or released and not claimed yet."""
    due = conn.execute(_ACCOUNTS_WITH_DUE, {"now": now}).scalars()
    return {*due, *conn.execute(_ACCOUNTS_WITH_QUEUED).scalars()}

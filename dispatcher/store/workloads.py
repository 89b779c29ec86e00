"""What open campaigns have left, by account: for the order of release and for the forecast."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, literal_column, select

from dispatcher.status import CampaignState, Kind
from dispatcher.store.table_values import AnyRow
from dispatcher.store.tables import BATCH, CAMPAIGN

#: One-off messages and OTP go before any bulk batch, whatever the priorities.
_BEFORE_BULK = 100_000


def effective_priority(campaign: Any) -> int:
    """How far in front a campaign stands: its priority, and more where somebody waits for it."""
    urgent = campaign.one_off or campaign.kind == Kind.OTP
    return int(campaign.priority) + (_BEFORE_BULK if urgent else 0)


def load_open_work(conn: Connection, account: str) -> Sequence[AnyRow]:
    """Pending messages, parts and requests of the account's open campaigns, by zone."""
    left = and_(
        BATCH.c.campaign_id == CAMPAIGN.c.id,
        # The literal lets both databases use the partial index.
        BATCH.c.state < literal_column("4"),
    )
    return conn.execute(
        select(
            CAMPAIGN,
            BATCH.c.zone,
            func.sum(BATCH.c.pending).label("messages"),
            func.sum(BATCH.c.parts * BATCH.c.pending / BATCH.c.size).label("parts_left"),
            func.sum(BATCH.c.requests).label("requests"),
        )
        .join_from(CAMPAIGN, BATCH, left)
        .where(
            CAMPAIGN.c.account == account,
            CAMPAIGN.c.state.in_([CampaignState.SCHEDULED, CampaignState.RUNNING]),
            CAMPAIGN.c.finished_at.is_(None),
        )
        .group_by(CAMPAIGN.c.id, BATCH.c.zone)
    ).all()

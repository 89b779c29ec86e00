"""What an account's open campaigns have yet to send: for release and forecast."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, select

from dispatcher.status import CampaignState, Kind
from dispatcher.store.table_values import AnyRow
from dispatcher.store.tables import BATCH, CAMPAIGN
from dispatcher.store.transitions import IS_UNSETTLED, has_state

#: One-off messages and OTP go before every bulk batch, whatever the priorities are.
_BEFORE_BULK = 100_000


def effective_priority(campaign: Any) -> int:
    """The campaign's priority for release; above all bulk campaigns where a person waits."""
    urgent = campaign.one_off or campaign.kind == Kind.OTP
    return int(campaign.priority) + (_BEFORE_BULK if urgent else 0)


def load_open_work(conn: Connection, account: str) -> Sequence[AnyRow]:
    """Pending messages, parts and requests of the account's open campaigns, by zone."""
    left = and_(
        BATCH.c.campaign_id == CAMPAIGN.c.id,
        IS_UNSETTLED,
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
            has_state(CampaignState.SCHEDULED, CampaignState.RUNNING),
            CAMPAIGN.c.finished_at.is_(None),
        )
        .group_by(CAMPAIGN.c.id, BATCH.c.zone)
    ).all()

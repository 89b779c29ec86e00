"""Healing: a campaign that is over has nothing pending. Ticks repair what breaks that."""

from datetime import datetime

from sqlalchemy import Connection, func, select

from dispatcher.status import CampaignState, MessageState
from dispatcher.store import campaigns
from dispatcher.store.locks import lock_campaign
from dispatcher.store.returns import lock_with_campaign, return_batch
from dispatcher.store.tables import BATCH, CAMPAIGN
from dispatcher.store.transitions import HAS_STRAY, IS_UNSETTLED, has_state

#: Repaired in one tick.
_MOST = 100


def heal_ended_campaigns(conn: Connection, now: datetime) -> int:
    """Repair campaigns that are over and still have work; returns how many batches or campaigns.

    What waits in a cancelled campaign is cancelled, a group of batches at a time: also the rest of
    a cancellation whose process was killed. A finished campaign is opened again. Pending messages
    in a batch that has ended return by the same rules.
    """
    healed = 0
    for campaign_id in _ended_with_work(conn):
        state = lock_campaign(conn, campaign_id).state
        if state == CampaignState.CANCELLED:
            campaigns.end_waiting_batches(conn, campaign_id, MessageState.CANCELLED, now)
            healed += 1
        elif state == CampaignState.FINISHED:
            healed += campaigns.reopen_finished(conn, campaign_id, now)
    strays = select(BATCH.c.id).where(HAS_STRAY).order_by(BATCH.c.id).limit(_MOST)
    for batch_id in conn.execute(strays).scalars().all():
        return_batch(conn, lock_with_campaign(conn, batch_id), now=now)
        healed += 1
    return healed


def _ended_with_work(conn: Connection) -> list[int]:
    """The campaigns that are over and have waiting batches.

    Steps from one campaign with open batches to the next in the partial index, whatever the number
    of their batches, and of campaigns that are over.
    """
    first = select(func.min(BATCH.c.campaign_id).label("id")).where(IS_UNSETTLED)
    steps = first.cte("step", recursive=True)
    following = (
        select(func.min(BATCH.c.campaign_id))
        .where(IS_UNSETTLED, BATCH.c.campaign_id > steps.c.id)
        .scalar_subquery()
    )
    steps = steps.union_all(select(following).where(steps.c.id.is_not(None)))
    open_ = conn.execute(select(steps.c.id).where(steps.c.id.is_not(None))).scalars().all()
    is_over = has_state(CampaignState.CANCELLED, CampaignState.FINISHED)
    over = conn.execute(select(CAMPAIGN.c.id).where(CAMPAIGN.c.id.in_(open_), is_over)).scalars()
    waiting = [each for each in sorted(over) if campaigns.has_waiting_batches(conn, each)]
    return waiting[:_MOST]

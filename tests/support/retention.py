"""Campaigns that have ended, and all that a store holds: for purges and erasures."""

from datetime import UTC, datetime

from dispatcher.status import CampaignState, MessageState
from dispatcher.store.tables import BATCH, CAMPAIGN, MESSAGE
from tests.support.stores import change

ENDED = datetime(2025, 5, 6, tzinfo=UTC)


def end(store, campaign_id, *, at=ENDED, state=CampaignState.FINISHED, message=MessageState.FAILED):
    """End a campaign: all its messages are in one state."""
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state=state, finished_at=at)
        mine = BATCH.c.campaign_id == campaign_id
        change(conn, BATCH, mine, state=4, pending=0, **{message.label: BATCH.c.size})
        change(conn, MESSAGE, MESSAGE.c.campaign_id == campaign_id, state=message)


def everything(store):
    """All texts and numbers of the store, as one text."""
    found = []
    with store.read() as conn:
        for table in MESSAGE.metadata.sorted_tables:
            found += [str(tuple(row)) for row in conn.execute(table.select())]
    return "\n".join(found)

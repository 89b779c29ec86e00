"""Pages of messages: what one statement reads of many, so that no read transaction is long."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from dispatcher.store.fetching import fetch_all
from dispatcher.store.ranges import messages_between
from dispatcher.store.tables import BATCH, MESSAGE

#: Messages that one statement looks at.
PAGE: Final = 100_000
#: Campaigns of a page: single messages are campaigns too.
_MOST_CAMPAIGNS: Final = 500


class _CampaignEnd(NamedTuple):
    campaign_id: int
    end: int


def message_pages(
    conn: Connection, campaign_ids: Sequence[int], size: int = PAGE
) -> list[ColumnElement[bool]]:
    """Conditions that select all messages of these campaigns, about `size` each.

    A large campaign has several pages, small ones share one.
    """
    pages: list[ColumnElement[bool]] = []
    shared: list[int] = []
    room = size
    for row in _campaign_ends(conn, campaign_ids):
        if row.end > size // 2:
            pages += [
                messages_between(row.campaign_id, first, min(first + size, row.end) - 1)
                for first in range(0, row.end, size)
            ]
            continue
        if row.end > room or len(shared) == _MOST_CAMPAIGNS:
            pages.append(MESSAGE.c.campaign_id.in_(shared))
            shared, room = [], size
        shared.append(row.campaign_id)
        room -= row.end
    if shared:
        pages.append(MESSAGE.c.campaign_id.in_(shared))
    return pages


def _campaign_ends(conn: Connection, campaign_ids: Sequence[int]) -> list[_CampaignEnd]:
    """One more than the highest seq of each campaign."""
    found: list[_CampaignEnd] = []
    for at in range(0, len(campaign_ids), _MOST_CAMPAIGNS):
        query = (
            select(BATCH.c.campaign_id, func.max(BATCH.c.first_seq + BATCH.c.size).label("end"))
            .where(BATCH.c.campaign_id.in_(campaign_ids[at : at + _MOST_CAMPAIGNS]))
            .group_by(BATCH.c.campaign_id)
            .order_by(BATCH.c.campaign_id)
        )
        found += fetch_all(conn, _CampaignEnd, query)
    return [row for row in found if row.end]

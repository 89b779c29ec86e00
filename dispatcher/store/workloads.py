"""Campaigns of an account that have something to send: for release, submission and forecast."""

from collections.abc import Collection
from functools import cache
from typing import Protocol, cast

from sqlalchemy import Connection, Executable, and_, func, select

from dispatcher.status import CampaignState, Kind
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.row_parts import OpenWork
from dispatcher.store.rows import CampaignRow
from dispatcher.store.table_values import NumbersParameter
from dispatcher.store.tables import BATCH, CAMPAIGN
from dispatcher.store.transitions import IS_UNSETTLED, has_state

#: One-off messages and OTP go before every bulk batch, whatever the priorities are.
_BEFORE_BULK = 100_000


class PrioritizedCampaign(Protocol):
    """What a campaign's priority depends on: a stored row has it, and one that is to be stored."""

    @property
    def kind(self) -> str:
        """Its `status.Kind`."""

    @property
    def priority(self) -> int:
        """What its submitter gave."""

    @property
    def one_off(self) -> bool:
        """Whether it is a single message that a person waits for."""


def effective_priority(campaign: PrioritizedCampaign) -> int:
    """The campaign's priority for release; above all bulk campaigns where a person waits."""
    urgent = campaign.one_off or campaign.kind == Kind.OTP
    return campaign.priority + (_BEFORE_BULK if urgent else 0)


def load_open_work(conn: Connection, account: str) -> list[OpenWork]:
    """Pending messages, parts and requests of the account's open campaigns, by zone."""
    left = and_(
        BATCH.c.campaign_id == CAMPAIGN.c.id,
        IS_UNSETTLED,
    )
    rows = conn.execute(
        select(
            *columns_of(CAMPAIGN, CampaignRow),
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
    )
    width = len(CampaignRow._fields)
    works = []
    for row in rows:
        # A sum may be a Decimal.
        zone, *sums = cast("tuple[str | None, float, float, float]", row[width:])
        messages, parts, requests = map(int, sums)
        works.append(OpenWork(CampaignRow._make(row[:width]), zone, messages, parts, requests))
    return works


def load_campaigns(conn: Connection, campaign_ids: Collection[int]) -> dict[int, CampaignRow]:
    """The rows of campaigns, by id."""
    query, ids = _by_ids_query(conn.dialect.name)
    rows = fetch_all(conn, CampaignRow, query, ids.to_parameters(campaign_ids))
    return {row.id: row for row in rows}


@cache
def _by_ids_query(dialect: str) -> tuple[Executable, NumbersParameter]:
    ids = NumbersParameter(dialect, "campaigns")
    query = select(*columns_of(CAMPAIGN, CampaignRow)).where(ids.contains(CAMPAIGN.c.id))
    return query, ids

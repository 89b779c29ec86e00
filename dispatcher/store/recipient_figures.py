"""Recipients by state, as metrics count them: sums over batches, never over messages."""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Connection, any_, bindparam, cast, func, select

from dispatcher.store.fetching import columns_of, fetch_all, fetch_driver_rows
from dispatcher.store.tables import BATCH, CAMPAIGN


class RecipientSums(NamedTuple):
    """Messages at one account, by state; `no_receipt` are those of `submitted`."""

    account: str
    pending: int
    submitted: int
    delivered: int
    undelivered: int
    expired: int
    rejected: int
    failed: int
    in_doubt: int
    suppressed: int
    cancelled: int
    lapsed: int
    no_receipt: int


_IS_OVER = CAMPAIGN.c.finished_at.is_not(None)
_SUMS = columns_of(BATCH, RecipientSums, **{
    name: cast(func.sum(BATCH.c[name]), BigInteger) for name in RecipientSums._fields[1:]
})  # fmt: skip
_OPEN_IDS = select(CAMPAIGN.c.id).where(~_IS_OVER)
_OF_OPEN = select(*_SUMS).group_by(BATCH.c.account)
# Not a join, for which SQLite reads the batches of all campaigns there ever were.
_OF_OPEN_SQLITE = _OF_OPEN.where(BATCH.c.campaign_id.in_(_OPEN_IDS))
# PostgreSQL looks into the index once for an array, but once per campaign for a join or an IN.
_OF_OPEN_POSTGRES = _OF_OPEN.where(
    BATCH.c.campaign_id == any_(func.array(_OPEN_IDS.scalar_subquery()))
)
_OF_OVER = (
    select(BATCH.c.campaign_id, *_SUMS)
    .join_from(BATCH, CAMPAIGN, CAMPAIGN.c.id == BATCH.c.campaign_id)
    .where(_IS_OVER)
    .group_by(BATCH.c.campaign_id, BATCH.c.account)
)
_OF_SOME = _OF_OVER.where(CAMPAIGN.c.id.in_(bindparam("campaigns", expanding=True)))
#: With more campaigns than this, those of all are read.
_MOST_CAMPAIGNS: Final = 500
_ENDS = select(CAMPAIGN.c.id, CAMPAIGN.c.finished_at).where(_IS_OVER)


def sum_open_recipients(conn: Connection) -> list[RecipientSums]:
    """Messages by account and state of the campaigns that are not over."""
    query = _OF_OPEN_SQLITE if conn.dialect.name == "sqlite" else _OF_OPEN_POSTGRES
    return fetch_all(conn, RecipientSums, query)


def sum_ended_recipients(
    conn: Connection, campaign_ids: Collection[int]
) -> dict[int, list[RecipientSums]]:
    """Messages by campaign, account and state of these that are over; of all, if these are many."""
    if len(campaign_ids) > _MOST_CAMPAIGNS:
        return _by_campaign(fetch_driver_rows(conn, _OF_OVER))
    parameters = {"campaigns": list(campaign_ids)}
    return _by_campaign(fetch_driver_rows(conn, _OF_SOME, parameters))


def list_ends(conn: Connection) -> set[tuple[int, object]]:
    """Each campaign that is over, with its end as the database says it: to see what has changed."""
    return set(fetch_driver_rows(conn, _ENDS))


def _by_campaign(
    rows: Iterable[tuple[int, *tuple[object, ...]]],
) -> dict[int, list[RecipientSums]]:
    found: dict[int, list[RecipientSums]] = {}
    for campaign_id, *sums in rows:
        found.setdefault(campaign_id, []).append(RecipientSums._make(sums))
    return found

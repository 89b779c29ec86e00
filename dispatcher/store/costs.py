"""What messages cost, as providers report it: a sum per batch, so that no query scans messages.

SQLite keeps whole millionths, whose plain sum may have more than 64 bits: there the whole units and
the rest are summed apart.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    bindparam,
    literal_column,
    select,
    union_all,
    update,
)

from dispatcher.store.fetching import fetch_all
from dispatcher.store.ranges import MESSAGES_OF_BATCH, MessageRange, range_parameters
from dispatcher.store.table_values import NumbersParameter
from dispatcher.store.tables import BATCH, FORMER_OUTCOME, MESSAGE

#: Where prices are looked for, and how many are taken.
_BATCHES_LOOKED_AT: Final = 2000
_PRICED_BATCHES: Final = 5
_MOST_PRICES: Final = 5000
#: A sum that the column cannot hold is not stored: the answer itself must be.
_BATCH_SUM: Final = {
    "postgresql": "CASE WHEN abs(sum(priced.cost)) < 1e12 THEN sum(priced.cost) END",
    "sqlite": (
        "CASE WHEN abs(sum(priced.cost / 1000000)) + abs(sum(priced.cost % 1000000)) / 1000000 "
        "< 1000000000000 - 1 THEN sum(priced.cost / 1000000) * 1000000 "
        "+ sum(priced.cost % 1000000) END"
    ),
}


class _CostSum(NamedTuple):
    """The price of a campaign's messages, in whole units and the rest where that is apart."""

    campaign_id: int
    units: Decimal | int | None
    millionths: Decimal | int


def update_batch_cost(conn: Connection, batch_id: int, messages: MessageRange) -> None:
    """Store the sum over `messages`, all messages of the batch. The caller holds its lock.

    What their earlier requests cost, before a retry, is in the sum.
    """
    given = range_parameters(messages) | {"batch": batch_id}
    conn.execute(_sum_stmt(conn.dialect.name), given)


def update_batch_costs(conn: Connection, batch_ids: Collection[int]) -> None:
    """As `update_batch_cost`, for several batches."""
    statement, ids = _sums_stmt(conn.dialect.name)
    conn.execute(statement, ids.to_parameters(batch_ids))


@cache
def _sums_stmt(dialect: str) -> tuple[Update, NumbersParameter]:
    ids = NumbersParameter(dialect, "batches")
    total: ColumnElement[Decimal] = literal_column(_BATCH_SUM[dialect])
    last_seq = BATCH.c.first_seq + BATCH.c.size - literal_column("1")
    prices = (
        select(table.c.cost)
        .where(
            table.c.campaign_id == BATCH.c.campaign_id,
            table.c.seq.between(BATCH.c.first_seq, last_seq),
        )
        .correlate(BATCH)
        for table in (MESSAGE, FORMER_OUTCOME)
    )
    query = select(total).select_from(union_all(*prices).subquery("priced")).scalar_subquery()
    return update(BATCH).where(ids.contains(BATCH.c.id)).values(cost=query), ids


@cache
def _sum_stmt(dialect: str) -> Update:
    total: ColumnElement[Any] = literal_column(_BATCH_SUM[dialect])
    former = select(FORMER_OUTCOME.c.cost).where(
        FORMER_OUTCOME.c.campaign_id == bindparam("of_campaign"),
        FORMER_OUTCOME.c.seq.between(bindparam("from_seq"), bindparam("to_seq")),
    )
    priced = union_all(select(MESSAGE.c.cost).where(MESSAGES_OF_BATCH), former).subquery("priced")
    query = select(total).select_from(priced).scalar_subquery()
    return update(BATCH).where(BATCH.c.id == bindparam("batch")).values(cost=query)


def campaign_cost(conn: Connection, campaign_id: int) -> Decimal | None:
    """What a campaign's messages cost so far; None if no provider reported a price."""
    return costs_of(conn, [campaign_id]).get(campaign_id)


def costs_of(conn: Connection, campaign_ids: Sequence[int]) -> dict[int, Decimal]:
    """What the messages of each campaign cost so far; without those that have no price."""
    whole: ColumnElement[Any] = literal_column("sum(batch.cost)")
    rest: ColumnElement[Any] = literal_column("0")
    if conn.dialect.name == "sqlite":
        whole = literal_column("sum(batch.cost / 1000000)")
        rest = literal_column("sum(batch.cost % 1000000)")
    query = (
        select(BATCH.c.campaign_id, whole.label("units"), rest.label("millionths"))
        .where(BATCH.c.campaign_id.in_(campaign_ids))
        .group_by(BATCH.c.campaign_id)
    )
    return {
        row.campaign_id: Decimal(row.units) + Decimal(row.millionths).scaleb(-6)
        for row in fetch_all(conn, _CostSum, query)
        if row.units is not None
    }


class MessagePrice(NamedTuple):
    """What a message cost."""

    msisdn: int
    parts: int
    cost: Decimal


def latest_prices(conn: Connection, account: str) -> list[MessagePrice]:
    """Prices of messages of the account's latest batches that have any: a few thousand at most."""
    latest = (
        select(BATCH.c.campaign_id, BATCH.c.first_seq, BATCH.c.size, BATCH.c.cost)
        .where(BATCH.c.account == account)
        .order_by(BATCH.c.id.desc())
        .limit(_BATCHES_LOOKED_AT)
        .subquery()
    )
    priced = select(latest).where(latest.c.cost.is_not(None)).limit(_PRICED_BATCHES).subquery()
    query = (
        select(MESSAGE.c.msisdn, MESSAGE.c.parts, MESSAGE.c.cost)
        .join(
            priced,
            (MESSAGE.c.campaign_id == priced.c.campaign_id)
            & (MESSAGE.c.seq >= priced.c.first_seq)
            & (MESSAGE.c.seq < priced.c.first_seq + priced.c.size),
        )
        .where(MESSAGE.c.cost.is_not(None), MESSAGE.c.msisdn > 0)
        .limit(_MOST_PRICES)
    )
    return fetch_all(conn, MessagePrice, query)

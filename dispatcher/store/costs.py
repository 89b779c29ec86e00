"""What messages cost, as providers report it: a sum per batch, so that no query scans messages.

SQLite keeps whole millionths, whose plain sum may have more than 64 bits: there the whole units and
the rest are summed apart.
"""

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, literal_column, select, update

from dispatcher.store.tables import BATCH, MESSAGE

#: A sum that the column cannot hold is not stored: the answer itself must be.
_BATCH_SUM: Final = {
    "postgresql": "CASE WHEN abs(sum(message.cost)) < 1e12 THEN sum(message.cost) END",
    "sqlite": (
        "CASE WHEN abs(sum(message.cost / 1000000)) + abs(sum(message.cost % 1000000)) / 1000000 "
        "< 1000000000000 - 1 THEN sum(message.cost / 1000000) * 1000000 "
        "+ sum(message.cost % 1000000) END"
    ),
}


def update_batch_cost(conn: Connection, batch_id: int, messages: ColumnElement[bool]) -> None:
    """Store the sum over `messages`, all messages of the batch. The caller holds its lock."""
    total: ColumnElement[Any] = literal_column(_BATCH_SUM[conn.dialect.name])
    query = select(total).select_from(MESSAGE).where(messages).scalar_subquery()
    conn.execute(update(BATCH).where(BATCH.c.id == batch_id).values(cost=query))


def campaign_cost(conn: Connection, campaign_id: int) -> Decimal | None:
    """What a campaign's messages cost so far; None if no provider reported a price."""
    whole: ColumnElement[Any] = literal_column("sum(batch.cost)")
    rest: ColumnElement[Any] = literal_column("0")
    if conn.dialect.name == "sqlite":
        whole = literal_column("sum(batch.cost / 1000000)")
        rest = literal_column("sum(batch.cost % 1000000)")
    query = select(whole, rest).select_from(BATCH).where(BATCH.c.campaign_id == campaign_id)
    sums: tuple[Decimal | int | None, Decimal | int] = conn.execute(query).one()
    units, millionths = sums
    return None if units is None else Decimal(units) + Decimal(millionths).scaleb(-6)

"""What messages cost, as providers report it: a sum per batch, so that no query scans messages."""

from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, func, select, update

from dispatcher.store.tables import BATCH, MESSAGE


def update_batch_cost(conn: Connection, batch_id: int, messages: ColumnElement[bool]) -> None:
    """Store the sum over `messages`, all messages of the batch. The caller holds its lock."""
    total = select(func.sum(MESSAGE.c.cost)).where(messages).scalar_subquery()
    conn.execute(update(BATCH).where(BATCH.c.id == batch_id).values(cost=total))


def campaign_cost(conn: Connection, campaign_id: int) -> Decimal | None:
    """What a campaign's messages cost so far; None if no provider reported a price."""
    total: Decimal | None = conn.execute(
        select(func.sum(BATCH.c.cost)).where(BATCH.c.campaign_id == campaign_id)
    ).scalar_one()
    return total

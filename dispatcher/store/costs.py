"""What messages cost in the providers' words, as a sum beside each batch: nobody scans messages."""

from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, func, select, update

from dispatcher.store.tables import BATCH, MESSAGE


def update_batch_cost(conn: Connection, batch_id: int, messages: ColumnElement[bool]) -> None:
    """Store the sum over `messages`, all those of the batch, which the caller has locked."""
    total = select(func.sum(MESSAGE.c.cost)).where(messages).scalar_subquery()
    conn.execute(update(BATCH).where(BATCH.c.id == batch_id).values(cost=total))


def campaign_cost(conn: Connection, campaign_id: int) -> Decimal | None:
    """What its messages cost so far; None where no provider has named a price."""
    total: Decimal | None = conn.execute(
        select(func.sum(BATCH.c.cost)).where(BATCH.c.campaign_id == campaign_id)
    ).scalar_one()
    return total

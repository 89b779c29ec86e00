"""Provider ids that messages have otherwise than from the answer to their latest attempt.

Those that a look at the provider's list matched, and those of former attempts: each is used once.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Text, insert, select

from dispatcher.store.table_values import insert_or_ignore, literal_table
from dispatcher.store.tables import ALTERNATE_ID


class AlternateMessageId(NamedTuple):
    """An id, and whose it is; `attempt_id` is the request that it came of."""

    account: str
    provider_message_id: str
    msisdn: int
    campaign_id: int
    seq: int
    attempt_id: int


def find_known(conn: Connection, account: str, ids: Collection[str]) -> list[AlternateMessageId]:
    """Of `ids` those that stand here."""
    if not ids:
        return []
    given = literal_table(conn, [("id", Text())], [(message_id,) for message_id in ids])
    columns = [ALTERNATE_ID.c[name] for name in AlternateMessageId._fields]
    rows = conn.execute(
        select(*columns).where(
            ALTERNATE_ID.c.account == account, ALTERNATE_ID.c.provider_message_id == given.c.id
        )
    )
    return [AlternateMessageId(*row) for row in rows]


def insert_matched(conn: Connection, ids: Iterable[AlternateMessageId], now: datetime) -> None:
    """Enter ids that a look gave to messages. Raises StoreError where one is used already."""
    conn.execute(insert(ALTERNATE_ID), [{**one._asdict(), "at": now} for one in ids])


def keep_former(conn: Connection, ids: Iterable[AlternateMessageId], now: datetime) -> None:
    """Enter ids of former attempts, so that late receipts find their message."""
    for one in ids:
        insert_or_ignore(conn, ALTERNATE_ID, {**one._asdict(), "at": now})

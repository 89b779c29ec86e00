"""Further provider ids of messages, besides the id in the answer to their latest attempt.

They were matched in the provider's list, or are of earlier attempts. Each id is used once.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Text, insert, select

from dispatcher.store.table_values import insert_all_or_ignore, literal_table
from dispatcher.store.tables import ALTERNATE_ID


class AlternateMessageId(NamedTuple):
    """A provider id and its message; `attempt_id` is the attempt that caused the id."""

    account: str
    provider_message_id: str
    msisdn: int
    campaign_id: int
    seq: int
    attempt_id: int


def find_known(conn: Connection, account: str, ids: Collection[str]) -> list[AlternateMessageId]:
    """Those of `ids` that the store has as further ids."""
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
    """Insert ids that were matched in the list. Raises StoreError where one is used already."""
    conn.execute(insert(ALTERNATE_ID), [{**one._asdict(), "at": now} for one in ids])


def keep_former(conn: Connection, ids: Iterable[AlternateMessageId], now: datetime) -> None:
    """Insert ids of earlier attempts, so that late receipts find their message."""
    insert_all_or_ignore(conn, ALTERNATE_ID, [{**one._asdict(), "at": now} for one in ids])

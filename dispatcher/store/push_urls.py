"""The secret URLs that providers push to: made, revoked, and loaded to be compared."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.tables import PUSH_URL


class PushUrlRow(NamedTuple):
    """A row of `push_url`."""

    id: int
    account: str
    digest: str
    actor: str
    at: datetime


def add_push_url(conn: Connection, account: str, digest: str, *, actor: str, now: datetime) -> None:
    """Let the provider of an account push to the URL whose token has this digest."""
    given = {"account": account, "digest": digest, "actor": actor, "at": now}
    conn.execute(insert(PUSH_URL), given)


def list_push_urls(conn: Connection) -> list[PushUrlRow]:
    """All of them, by account, the oldest first."""
    query = select(*columns_of(PUSH_URL, PushUrlRow)).order_by(PUSH_URL.c.account, PUSH_URL.c.id)
    return fetch_all(conn, PushUrlRow, query)


def revoke_push_urls(conn: Connection, account: str, *, but_newest: bool) -> int:
    """Remove an account's URLs, perhaps but the newest one; how many there were."""
    ids = [row.id for row in list_push_urls(conn) if row.account == account]
    gone = ids[:-1] if but_newest else ids
    return conn.execute(delete(PUSH_URL).where(PUSH_URL.c.id.in_(gone))).rowcount if gone else 0

"""Replies that people sent to an account's numbers."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.table_values import insert_or_ignore
from dispatcher.store.tables import REPLY


class NewReply(NamedTuple):
    """A reply to store; `push_key` is the same for each push of it."""

    account: str
    msisdn: int
    text: str
    push_key: str
    is_stop: bool


class ReplyRow(NamedTuple):
    """A row of `reply`, without its key."""

    id: int
    account: str
    msisdn: int
    text: str
    is_stop: bool
    at: datetime


class RecentReplies(NamedTuple):
    """The replies to an account since some time."""

    account: str
    n: int
    newest: datetime


def add_reply(conn: Connection, reply: NewReply, now: datetime) -> bool:
    """Store a reply; False if it was pushed before."""
    return insert_or_ignore(conn, REPLY, {**reply._asdict(), "at": now})


def list_replies(
    conn: Connection,
    *,
    limit: int,
    account: str | None = None,
    msisdns: Sequence[int] | None = None,
    only_stops: bool = False,
) -> list[ReplyRow]:
    """The newest replies: to one account, from some numbers, or only those that say stop."""
    query = select(*columns_of(REPLY, ReplyRow)).order_by(REPLY.c.id.desc()).limit(limit)
    if account is not None:
        query = query.where(REPLY.c.account == account)
    if msisdns is not None:
        query = query.where(REPLY.c.msisdn.in_(msisdns))
    if only_stops:
        query = query.where(REPLY.c.is_stop)
    return fetch_all(conn, ReplyRow, query)


def drop_replies(conn: Connection, before: datetime) -> int:
    """Remove replies that came before a time; how many."""
    return conn.execute(delete(REPLY).where(REPLY.c.at < before)).rowcount


def find_recent_replies(conn: Connection, since: datetime) -> list[RecentReplies]:
    """By account: how many replies came since then, and when the newest one did."""
    query = (
        select(REPLY.c.account, func.count().label("n"), func.max(REPLY.c.at).label("newest"))
        .where(REPLY.c.at >= since)
        .group_by(REPLY.c.account)
    )
    return fetch_all(conn, RecentReplies, query)

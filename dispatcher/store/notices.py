"""The outbox of notices: one row for each event and each way to notify of it.

An event is a condition that has become true. Its rows are open, with a unique key, while it is
true: so it is stored once, whatever number of processes looks. A way is called until it succeeds,
by one process at a time; a process that ends in the middle makes it be called again.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, delete, func, insert, or_, select, update

from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.rows import NoticeRow
from dispatcher.store.table_values import insert_or_ignore
from dispatcher.store.tables import NOTICE

#: The first row of a store: events before it are history, which nobody is notified of.
_BEGIN: Final = "begin"
_KEPT: Final = timedelta(days=30)


class NewNotice(NamedTuple):
    """An event: `subject` names what it is about; `body` is what is said, without id and time."""

    kind: str
    subject: str
    body: Mapping[str, object]


def begun_at(conn: Connection, now: datetime) -> datetime:
    """When this store began to notify; now, and stored, if it had not begun."""
    query = select(NOTICE.c.at).where(NOTICE.c.open_key == _BEGIN)
    begun: datetime | None = conn.execute(query).scalar_one_or_none()
    if begun is not None:
        return begun
    given = {"event_id": _BEGIN, "kind": _BEGIN, "subject": "", "channel": "", "body": "{}"}
    insert_or_ignore(conn, NOTICE, {**given, "at": now, "open_key": _BEGIN, "tries": 0})
    return now


def has_begun(conn: Connection) -> datetime | None:
    """When this store began to notify; None if it has not."""
    query = select(NOTICE.c.at).where(NOTICE.c.open_key == _BEGIN)
    begun: datetime | None = conn.execute(query).scalar_one_or_none()
    return begun


def open_keys(conn: Connection) -> set[str]:
    """The keys of the conditions that were true at the last look."""
    query = select(NOTICE.c.open_key).where(NOTICE.c.open_key.is_not(None))
    return {key for key in conn.execute(query).scalars() if key != _BEGIN}


def key_of(notice: NewNotice, channel: str) -> str:
    """The key of an event's row while its condition is true."""
    return f"{notice.kind}|{notice.subject}|{channel}"


def add_notices(
    conn: Connection, found: Sequence[NewNotice], channels: Sequence[str], now: datetime
) -> int:
    """Store events whose condition was not true before; the number of rows that are new."""
    added = 0
    for notice in found:
        event_id = uuid.uuid4().hex
        body = {"id": event_id, "event": notice.kind, "at": now.isoformat(), **notice.body}
        for channel in channels:
            values = {
                "event_id": event_id,
                "kind": notice.kind,
                "subject": notice.subject,
                "channel": channel,
                "body": orjson.dumps(body).decode(),
                "at": now,
                "next_at": now,
                "tries": 0,
                "open_key": key_of(notice, channel),
            }
            added += insert_or_ignore(conn, NOTICE, values)
    return added


def end_conditions(conn: Connection, keys: Collection[str], now: datetime) -> None:
    """Close the rows whose condition is no longer true, and drop what is long over."""
    conn.execute(update(NOTICE).where(NOTICE.c.open_key.in_([*keys])).values(open_key=None))
    over = (NOTICE.c.open_key.is_(None), NOTICE.c.next_at.is_(None), NOTICE.c.at < now - _KEPT)
    conn.execute(delete(NOTICE).where(*over))


def list_due(
    conn: Connection, channels: Sequence[str], now: datetime, limit: int
) -> list[NoticeRow]:
    """The oldest rows to be sent now, that nobody is sending."""
    query = (
        select(*columns_of(NOTICE, NoticeRow))
        .where(NOTICE.c.next_at <= now, NOTICE.c.channel.in_(channels), _is_free(now))
        .order_by(NOTICE.c.id)
        .limit(limit)
    )
    return fetch_all(conn, NoticeRow, query)


def claim_notice(conn: Connection, row: NoticeRow, now: datetime, until: datetime) -> bool:
    """Take a row to send it; False if another process has it, or has sent it."""
    statement = (
        update(NOTICE)
        .where(NOTICE.c.id == row.id, NOTICE.c.next_at <= now, _is_free(now))
        .values(lease_until=until, tries=NOTICE.c.tries + 1)
    )
    return bool(conn.execute(statement).rowcount)


def mark_sent(conn: Connection, notice_id: int, now: datetime) -> None:
    """The way was called, and answered that it took the event."""
    values = {"sent_at": now, "next_at": None, "lease_until": None, "error": None}
    conn.execute(update(NOTICE).where(NOTICE.c.id == notice_id).values(**values))


def mark_failed(conn: Connection, notice_id: int, error: str, next_at: datetime | None) -> None:
    """The call failed; it is made again at `next_at`, or never (None)."""
    values = {"error": error, "next_at": next_at, "lease_until": None}
    conn.execute(update(NOTICE).where(NOTICE.c.id == notice_id).values(**values))


def list_newest_notices(conn: Connection, limit: int) -> list[NoticeRow]:
    """The newest rows, newest first."""
    query = select(*columns_of(NOTICE, NoticeRow)).where(NOTICE.c.kind != _BEGIN)
    return fetch_all(conn, NoticeRow, query.order_by(NOTICE.c.id.desc()).limit(limit))


def count_unsent(conn: Connection, since: datetime) -> int:
    """Rows since then whose call has failed at least once, and that are not sent."""
    query = select(func.count()).where(
        NOTICE.c.sent_at.is_(None), NOTICE.c.error.is_not(None), NOTICE.c.at >= since
    )
    return int(conn.execute(query).scalar_one())


def add_single(conn: Connection, kind: str, channel: str, now: datetime) -> NoticeRow:
    """Store an event without a condition, already taken by the caller; its row."""
    event_id = uuid.uuid4().hex
    body = {"id": event_id, "event": kind, "at": now.isoformat(), "detail": "this is a test"}
    values = {
        "event_id": event_id,
        "kind": kind,
        "subject": "",
        "channel": channel,
        "body": orjson.dumps(body).decode(),
        "at": now,
        "tries": 1,
    }
    conn.execute(insert(NOTICE).values(**values))
    query = select(*columns_of(NOTICE, NoticeRow)).where(NOTICE.c.event_id == event_id)
    return fetch_all(conn, NoticeRow, query)[0]


def _is_free(now: datetime) -> ColumnElement[bool]:
    return or_(NOTICE.c.lease_until.is_(None), NOTICE.c.lease_until <= now)

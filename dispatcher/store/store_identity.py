"""The store's identity: its random id, its place, its highest attempt, and why it is held.

`rollback_guard.py` compares it with what is recorded outside the store; `store_adoption.py` gives a
restored store a new one.
"""

import uuid
from collections.abc import Sequence
from weakref import WeakSet

from sqlalchemy import (
    Connection,
    Engine,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from dispatcher.status import (
    CampaignState,
)
from dispatcher.store.fetching import columns_of, fetch_one, fetch_optional
from dispatcher.store.rows import IdentityRow
from dispatcher.store.table_values import insert_or_ignore
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, IDENTITY

#: SQL for cluster, timeline, database and table.
_PLACE = (
    "(SELECT system_identifier FROM pg_control_system())",
    "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)",
    "(SELECT oid FROM pg_database WHERE datname = current_database())",
    "'attempt'::regclass::oid",
)
_WHOLE_PLACE = text(f"SELECT {', '.join(_PLACE)}")
#: Engines whose server allows the whole query: it then needs no savepoint.
_locatable = WeakSet[Engine]()
#: A SQLite file's place is in its companion file, which no query can read.
_SQLITE_PLACE = "file"

_IDENTITY = select(*columns_of(IDENTITY, IdentityRow))
_HELD = select(IDENTITY.c.held)
_HIGHEST = select(func.coalesce(func.max(ATTEMPT.c.id), 0))


def load_identity(conn: Connection) -> IdentityRow | None:
    """The store's identity; None before the first campaign."""
    return fetch_optional(conn, IdentityRow, _IDENTITY)


def ensure_store_id(conn: Connection) -> None:
    """Give the store its id, before anything is claimed in it."""
    made = {"id": 1, "store_id": str(uuid.uuid4()), "attempt_id": 0, "witnessed_id": 0}
    insert_or_ignore(conn, IDENTITY, made)


def ensure_identity(conn: Connection) -> IdentityRow:
    """The store's identity; it is created, and its place recorded, where that is missing."""
    row = load_identity(conn)
    if row is not None and row.place is not None:
        return row
    if row is None:
        ensure_store_id(conn)
    update_identity(conn, place=locate_tables(conn))
    return fetch_one(conn, IdentityRow, _IDENTITY)


def update_identity(conn: Connection, **values: object) -> None:
    """Change columns of the identity."""
    conn.execute(update(IDENTITY).values(**values))


def load_hold_reason(conn: Connection) -> str | None:
    """Why nothing may be released; None while the store agrees with its witness."""
    reason: str | None = conn.execute(_HELD).scalar_one_or_none()
    return reason


def may_send(conn: Connection) -> bool:
    """Whether batches may be released and claimed here.

    The store must not be held, and must be where it was at the last tick: after a failover its
    last commits may be missing, until a tick has compared it with its witnesses.
    """
    row = load_identity(conn)
    if row is None or row.place is None:
        return True
    return row.held is None and is_same_place(row.place, locate_tables(conn))


def is_same_place(recorded: str, found: str) -> bool:
    """Whether two places are the same. A part that the server did not give proves nothing."""
    pairs = zip(recorded.split("/"), found.split("/"), strict=False)
    return all(then == now or not then or not now for then, now in pairs)


def highest_attempt_id(conn: Connection) -> int:
    """The highest attempt id in the store now; 0 where there is none."""
    return int(conn.execute(_HIGHEST).scalar_one())


def locate_tables(conn: Connection) -> str:
    """Where the tables are.

    PostgreSQL: the cluster's identifier and timeline (a recovery or failover changes it), and the
    ids of database and table (restoring a dump changes them). A part is empty where the server
    does not allow the query.
    """
    if conn.dialect.name == "sqlite":
        return _SQLITE_PLACE
    if conn.engine in _locatable:
        row = conn.execute(_WHOLE_PLACE).one()
        return "/".join(map(str, row))
    known = _query_texts(conn, _PLACE)
    if known:
        _locatable.add(conn.engine)
    return "/".join(known or [(_query_texts(conn, [one]) or [""])[0] for one in _PLACE])


def _query_texts(conn: Connection, parts: Sequence[str]) -> list[str]:
    """The values as texts; an empty list where a hosted server refuses one of `parts`."""
    try:
        with conn.begin_nested():
            row = conn.execute(text(f"SELECT {', '.join(parts)}")).one()
    except DBAPIError:
        return []
    return [str(value) for value in row]


def has_unsent(conn: Connection) -> bool:
    """Whether an accepted campaign has messages that are pending or in doubt."""
    accepted = CAMPAIGN.c.state.not_in([CampaignState.IMPORTING, CampaignState.REJECTED])
    unsent = or_(BATCH.c.pending > 0, BATCH.c.in_doubt > 0)
    query = select(BATCH.c.id).join(CAMPAIGN, CAMPAIGN.c.id == BATCH.c.campaign_id)
    return conn.execute(query.where(accepted, unsent).limit(1)).first() is not None

"""Imports: write a campaign's rows in groups; each group is checked against the import's fence."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from dispatcher.errors import RepeatRefused
from dispatcher.status import CampaignState
from dispatcher.store.engine import take_advisory_lock
from dispatcher.store.fetching import columns_of, fetch_all, fetch_one, fetch_optional
from dispatcher.store.row_parts import AbandonedImport
from dispatcher.store.rows import CampaignRow
from dispatcher.store.store_identity import ensure_store_id
from dispatcher.store.table_values import TableParameter, bulk_insert
from dispatcher.store.tables import BATCH, CAMPAIGN, MESSAGE, REJECT, SOURCE_ROWS
from dispatcher.store.transitions import has_state, may_become

_MESSAGE_COLUMNS = ("seq", "row", "msisdn", "parts", "variables")
_REJECT_COLUMNS = ("campaign_id", "row", "kind", "msisdn", "reason", "cells")
_BATCH_COLUMNS = (
    "campaign_id", "seq", "account", "encoding", "first_seq", "size", "parts", "pending",
    "requests", "zone",
)  # fmt: skip
_DISCARD_GROUP = 20_000
_CACHE_KIB = 20 * 1024
#: Messages of one statement: its JSON document is in memory twice.
_ROWS_AT_ONCE = 500


#: The values of a NewMessage: of a campaign's many messages no object is made for each.
MessageValues: TypeAlias = tuple[int, int, int, int, str | None]


class NewMessage(NamedTuple):
    """A message to import; `variables` is a JSON array or None."""

    seq: int
    row: int
    msisdn: int
    parts: int
    variables: str | None


class NewBatch(NamedTuple):
    """A batch to import; `cells` has its original columns (see `pack_cells`), or is None."""

    seq: int
    encoding: int
    zone: str | None
    first_seq: int
    messages: Sequence[NewMessage | MessageValues]
    requests: int
    cells: bytes | None


class NewReject(NamedTuple):
    """A row of the file that gets no message; `cells` is a JSON array."""

    row: int
    kind: int
    msisdn: int | None
    reason: str
    cells: str


class RunningImport(NamedTuple):
    """An import that this process runs. It is valid while its fence is the newest."""

    campaign_id: int
    account: str
    fence: int


_RUNNING_IMPORT = columns_of(
    CAMPAIGN, RunningImport, campaign_id=CAMPAIGN.c.id, fence=CAMPAIGN.c.import_fence
)


def start_import(
    conn: Connection, values: dict[str, object], lease_until: datetime
) -> RunningImport:
    """Insert a campaign as `importing`. Call `find_unfinished` before, in this transaction."""
    ensure_store_id(conn)
    statement = (
        insert(CAMPAIGN)
        .values(
            **values, state=CampaignState.IMPORTING, import_fence=1, import_lease_until=lease_until
        )
        .returning(*_RUNNING_IMPORT)
    )
    return fetch_one(conn, RunningImport, statement)


def find_unfinished(
    conn: Connection, content_key: str, idempotency_key: str | None
) -> CampaignRow | None:
    """An import of the same content, or with the same key, that was never accepted.

    Locks as `lock_starts`, so that two imports cannot miss each other.
    """
    lock_starts(conn)
    same = CAMPAIGN.c.content_key == content_key
    if idempotency_key is not None:
        same = same | (CAMPAIGN.c.idempotency_key == idempotency_key)
    query = select(*columns_of(CAMPAIGN, CampaignRow)).where(
        same, has_state(CampaignState.IMPORTING)
    )
    return fetch_optional(conn, CampaignRow, query.limit(1))


def lock_starts(conn: Connection) -> None:
    """Make other imports that start, or are accepted, wait until the transaction ends."""
    take_advisory_lock(conn, "start of an import")


def list_abandoned(conn: Connection, now: datetime) -> list[AbandonedImport]:
    """Imports that were never accepted and whose lease has run out, oldest first."""
    query = select(*columns_of(CAMPAIGN, AbandonedImport)).where(
        has_state(CampaignState.IMPORTING), CAMPAIGN.c.import_lease_until <= now
    )
    return fetch_all(conn, AbandonedImport, query.order_by(CAMPAIGN.c.id))


def take_over_import(
    conn: Connection, left: CampaignRow, lease_until: datetime
) -> RunningImport | None:
    """Take an import from its process by a new fence; None where another process was faster."""
    fence = left.import_fence
    statement = (
        update(CAMPAIGN)
        .where(CAMPAIGN.c.id == left.id, *_has_fence(fence))
        .values(import_fence=fence + 1, import_lease_until=lease_until)
        .returning(*_RUNNING_IMPORT)
    )
    return fetch_optional(conn, RunningImport, statement)


def write_group(
    conn: Connection,
    running: RunningImport,
    batches: Iterable[NewBatch],
    rejects: Sequence[NewReject],
    *,
    lease_until: datetime,
) -> None:
    """Store a group of batches and rejects. Raises Refused where the import was taken over.

    `batches` may be made one by one: only the messages of one are in memory.
    """
    _change_fenced(conn, running, import_lease_until=lease_until)
    if conn.dialect.name == "sqlite":
        # Numbers come in no order: with fewer pages in memory, their index is read and written
        # again within a transaction.
        conn.exec_driver_sql(f"PRAGMA cache_size={-_CACHE_KIB}")
    cid = running.campaign_id
    listed: list[tuple[object, ...]] = []
    kept: list[tuple[object, ...]] = []

    def list_messages() -> Iterator[NewMessage | MessageValues]:
        for batch in batches:
            size = len(batch.messages)
            parts = sum([parts for _seq, _row, _msisdn, parts, _variables in batch.messages])
            listed.append(
                (
                    cid, batch.seq, running.account, batch.encoding, batch.first_seq, size, parts,
                    size, batch.requests, batch.zone,
                )
            )  # fmt: skip
            if batch.cells is not None:
                kept.append((cid, batch.first_seq, batch.cells))
            yield from batch.messages

    _insert_messages(conn, cid, list_messages())
    bulk_insert(conn, BATCH, _BATCH_COLUMNS, listed)
    bulk_insert(conn, SOURCE_ROWS, ("campaign_id", "first_seq", "cells"), kept)
    bulk_insert(conn, REJECT, _REJECT_COLUMNS, [(cid, *r) for r in rejects])


def _insert_messages(
    conn: Connection, campaign_id: int, messages: Iterable[NewMessage | MessageValues]
) -> None:
    if conn.dialect.name != "sqlite":
        bulk_insert(conn, MESSAGE, _MESSAGE_COLUMNS, messages, fixed={"campaign_id": campaign_id})
        return
    # Few statements, during which other threads of this process compute. With `executemany` they
    # would hand over Python's lock for each row.
    rows = map(tuple, messages)
    while some := [*islice(rows, _ROWS_AT_ONCE)]:
        document = orjson.dumps(some).decode()
        conn.execute(_insert_messages_stmt(), {"of_campaign": campaign_id, "given": document})


@cache
def _insert_messages_stmt() -> Insert:
    """The INSERT of messages from one JSON document, for SQLite."""
    given = TableParameter(
        "sqlite",
        [
            ("seq", Integer()), ("row", Integer()), ("msisdn", BigInteger()),
            ("parts", Integer()), ("variables", Text()),
        ],
    ).table  # fmt: skip
    rows = select(bindparam("of_campaign", type_=Integer()), *given.c)
    return insert(MESSAGE).from_select(
        ["campaign_id", *_MESSAGE_COLUMNS], rows, include_defaults=False
    )


def finish_import(
    conn: Connection, running: RunningImport, counts: dict[str, int | str], lease_until: datetime
) -> None:
    """Store the totals of a complete import; nothing is released before `accept_import`."""
    _change_fenced(conn, running, import_lease_until=lease_until, **counts)


def mark_import_accepted(
    conn: Connection,
    running: RunningImport,
    state: CampaignState,
    now: datetime,
    *,
    content_key: str | None = None,
) -> None:
    """`importing → scheduled`, or `→ rejected` where nothing in the file can be sent.

    `content_key` is that of the rows; None leaves it as it was when the import started.
    """
    ended: dict[str, object] = {} if content_key is None else {"content_key": content_key}
    if state is CampaignState.REJECTED:
        ended["finished_at"] = now
    may_end = may_become(state, only_from={CampaignState.IMPORTING})
    _change_fenced(
        conn, running, may_end, state=state, import_lease_until=None, created_at=now, **ended
    )


def was_accepted(conn: Connection, running: RunningImport) -> bool:
    """Whether this import, and not one that took it over, was accepted or rejected."""
    row = conn.execute(
        select(CAMPAIGN.c.state, CAMPAIGN.c.import_fence).where(
            CAMPAIGN.c.id == running.campaign_id
        )
    ).one_or_none()
    return (
        row is not None
        and row.import_fence == running.fence
        and row.state != CampaignState.IMPORTING
    )


def discard_group(conn: Connection, running: RunningImport, lease_until: datetime) -> bool:
    """Delete a group of rows of an import that was not accepted; True once nothing is left.

    It goes in groups since other writers wait meanwhile on SQLite, and PostgreSQL limits the time
    of a statement.
    """
    _change_fenced(conn, running, import_lease_until=lease_until)
    for key in (MESSAGE.c.seq, SOURCE_ROWS.c.first_seq, REJECT.c.row, BATCH.c.seq):
        table, mine = key.table, key.table.c.campaign_id == running.campaign_id
        last = conn.execute(select(func.max(key)).where(mine)).scalar_one()
        if last is not None:
            conn.execute(delete(table).where(mine, key > last - _DISCARD_GROUP))
            return False
    conn.execute(delete(CAMPAIGN).where(CAMPAIGN.c.id == running.campaign_id))
    return True


def _change_fenced(
    conn: Connection, running: RunningImport, *conditions: ColumnElement[bool], **values: Any
) -> None:
    """Change the campaign's row. Raises Refused where the import's fence is not the newest."""
    done = conn.execute(
        update(CAMPAIGN)
        .where(CAMPAIGN.c.id == running.campaign_id, *_has_fence(running.fence), *conditions)
        .values(**values)
    ).rowcount
    if not done:
        raise RepeatRefused(
            "another submission of the same file took over this import; nothing was sent from here",
            "`dispatcher campaign list` shows the other one",
        )


def _has_fence(fence: int) -> tuple[Any, Any]:
    return (CAMPAIGN.c.import_fence == fence, has_state(CampaignState.IMPORTING))

"""Imports: write a campaign's rows in groups; each group is checked against the import's fence."""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
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
from dispatcher.store.table_values import bulk_insert, insert_columns
from dispatcher.store.tables import BATCH, CAMPAIGN, MESSAGE, REJECT, SOURCE_ROWS
from dispatcher.store.transitions import has_state, may_become

_MESSAGE_COLUMNS = ("seq", "row", "msisdn", "parts", "variables")
_REJECT_COLUMNS = ("campaign_id", "row", "kind", "msisdn", "reason", "cells")
_BATCH_COLUMNS = (
    "campaign_id", "seq", "account", "encoding", "first_seq", "size", "parts", "pending",
    "requests", "zone",
)  # fmt: skip
_DISCARD_GROUP = 20_000
_CACHE_KIB = 12 * 1024
#: What a campaign says of its file while none of it is stored.
_WITHOUT_ROWS: Final[dict[str, object]] = dict.fromkeys(
    ("rows", "total", "invalid", "duplicate", "suppressed", "parts"), 0
) | {"zones": None}
#: Messages of one statement. SQLite takes at most 32,766 parameters, five for each.
_ROWS_AT_ONCE = 2_000


class MessageColumns(NamedTuple):
    """Messages to import, as columns; each of `variables` is a JSON array or None."""

    rows: Sequence[int]
    msisdns: Sequence[int]
    parts: Sequence[int]
    variables: Sequence[str | None]


class NewBatch(NamedTuple):
    """A batch to import; its messages have consecutive numbers from `first_seq` on.

    `cells` has its original columns (see `pack_cells`), or is None.
    """

    seq: int
    encoding: int
    zone: str | None
    first_seq: int
    messages: MessageColumns
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
    batches: Sequence[NewBatch],
    rejects: Sequence[NewReject],
    *,
    lease_until: datetime,
) -> None:
    """Store consecutive batches and rejects. Raises Refused where the import was taken over."""
    _change_fenced(conn, running, import_lease_until=lease_until)
    if conn.dialect.name == "sqlite":
        # Numbers come in no order: with fewer pages in memory, their index is read and written
        # again within a transaction.
        conn.exec_driver_sql(f"PRAGMA cache_size={-_CACHE_KIB}")
    cid = running.campaign_id
    if batches:
        _insert_messages(conn, cid, batches)
    listed: list[tuple[object, ...]] = []
    for batch in batches:
        size, parts = len(batch.messages.rows), sum(batch.messages.parts)
        listed.append(
            (
                cid, batch.seq, running.account, batch.encoding, batch.first_seq, size, parts,
                size, batch.requests, batch.zone,
            )
        )  # fmt: skip
    kept = [(cid, batch.first_seq, batch.cells) for batch in batches if batch.cells is not None]
    bulk_insert(conn, BATCH, _BATCH_COLUMNS, listed)
    bulk_insert(conn, SOURCE_ROWS, ("campaign_id", "first_seq", "cells"), kept)
    bulk_insert(conn, REJECT, _REJECT_COLUMNS, [(cid, *r) for r in rejects])


def _insert_messages(conn: Connection, campaign_id: int, batches: Sequence[NewBatch]) -> None:
    messages = [batch.messages for batch in batches]
    first_seq = batches[0].first_seq
    rows = [*chain.from_iterable(each.rows for each in messages)]
    columns: list[Sequence[object]] = [
        range(first_seq, first_seq + len(rows)),
        rows,
        [*chain.from_iterable(each.msisdns for each in messages)],
        [*chain.from_iterable(each.parts for each in messages)],
        [*chain.from_iterable(each.variables for each in messages)],
    ]
    fixed = {"campaign_id": campaign_id}
    if conn.dialect.name != "sqlite":
        listed = zip(*columns, strict=True)
        bulk_insert(conn, MESSAGE, _MESSAGE_COLUMNS, listed, fixed=fixed)
        return
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = [column[start : start + _ROWS_AT_ONCE] for column in columns]
        insert_columns(conn, MESSAGE, _MESSAGE_COLUMNS, some, fixed=fixed)


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
    if _delete_group(conn, running, lease_until):
        return False
    conn.execute(delete(CAMPAIGN).where(CAMPAIGN.c.id == running.campaign_id))
    return True


def cancel_group(
    conn: Connection, running: RunningImport, lease_until: datetime, *, reason: str, now: datetime
) -> bool:
    """As `discard_group`, but the campaign stays, cancelled; its idempotency key is free again."""
    if _delete_group(conn, running, lease_until):
        return False
    _change_fenced(
        conn,
        running,
        may_become(CampaignState.CANCELLED, only_from={CampaignState.IMPORTING}),
        **_WITHOUT_ROWS,
        state=CampaignState.CANCELLED,
        state_reason=reason,
        idempotency_key=None,
        import_lease_until=None,
        finished_at=now,
    )
    return True


def _delete_group(conn: Connection, running: RunningImport, lease_until: datetime) -> bool:
    """Delete a group of rows of an import; False where it has none any more."""
    _change_fenced(conn, running, import_lease_until=lease_until)
    for key in (MESSAGE.c.seq, SOURCE_ROWS.c.first_seq, REJECT.c.row, BATCH.c.seq):
        table, mine = key.table, key.table.c.campaign_id == running.campaign_id
        last = conn.execute(select(func.max(key)).where(mine)).scalar_one()
        if last is not None:
            conn.execute(delete(table).where(mine, key > last - _DISCARD_GROUP))
            return True
    return False


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
            "another submission of the same file took over this import, or it was cancelled; "
            "nothing was sent from here",
            "`dispatcher campaign list` shows the other one",
        )


def _has_fence(fence: int) -> tuple[Any, Any]:
    return (CAMPAIGN.c.import_fence == fence, has_state(CampaignState.IMPORTING))

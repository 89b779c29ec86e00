"""Read messages to submit them, and messages and rejected rows to export them in file order."""

import zlib
from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, select

from dispatcher.status import MessageState
from dispatcher.store.batches import Claim
from dispatcher.store.fetching import columns_of, fetch_all, fetch_messages
from dispatcher.store.ranges import messages_between, messages_of
from dispatcher.store.row_parts import BatchSpan, ExportedMessage, PendingMessage
from dispatcher.store.rows import RejectRow
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE, REJECT, SOURCE_ROWS

_PAGE = 2000


def load_pending(conn: Connection, held: Claim, limit: int | None) -> Sequence[PendingMessage]:
    """A claimed batch's first `limit` pending messages, in order."""
    query = (
        select(*columns_of(MESSAGE, PendingMessage))
        .where(messages_of(held), MESSAGE.c.state == MessageState.PENDING)
        .order_by(MESSAGE.c.seq)
        .limit(limit)
    )
    return fetch_messages(conn, PendingMessage, query)


def list_batches_by_encoding(conn: Connection, campaign_id: int) -> list[list[BatchSpan]]:
    """The campaign's batches by encoding and zone; each group is in the file's order."""
    query = (
        select(*columns_of(BATCH, BatchSpan))
        .where(BATCH.c.campaign_id == campaign_id, BATCH.c.size > 0)
        .order_by(BATCH.c.first_seq)
    )
    grouped: dict[tuple[int, str | None], list[BatchSpan]] = {}
    for row in fetch_all(conn, BatchSpan, query):
        grouped.setdefault((row.encoding, row.zone), []).append(row)
    return list(grouped.values())


def load_range(
    conn: Connection, campaign_id: int, first_seq: int, size: int
) -> tuple[Sequence[ExportedMessage], list[list[str]]]:
    """The messages of a batch's range with their latest attempt, and their original cells."""
    query = (
        select(
            *columns_of(
                MESSAGE,
                ExportedMessage,
                job_id=ATTEMPT.c.job_id,
                account=ATTEMPT.c.account,
                begun_at=ATTEMPT.c.begun_at,
            )
        )
        .join_from(MESSAGE, ATTEMPT, ATTEMPT.c.id == MESSAGE.c.attempt_id, isouter=True)
        .where(messages_between(campaign_id, first_seq, first_seq + size - 1))
        .order_by(MESSAGE.c.seq)
    )
    rows = fetch_messages(conn, ExportedMessage, query)
    blob = conn.execute(
        select(SOURCE_ROWS.c.cells).where(
            SOURCE_ROWS.c.campaign_id == campaign_id, SOURCE_ROWS.c.first_seq == first_seq
        )
    ).scalar_one_or_none()
    return rows, unpack_cells(blob) if blob is not None else [[] for _ in rows]


def list_rejects(
    conn: Connection, campaign_id: int, after_row: int, limit: int = _PAGE
) -> Sequence[RejectRow]:
    """A page of rejected rows in the file's order."""
    query = (
        select(*columns_of(REJECT, RejectRow))
        .where(REJECT.c.campaign_id == campaign_id, REJECT.c.row > after_row)
        .order_by(REJECT.c.row)
        .limit(limit)
    )
    return fetch_messages(conn, RejectRow, query)


def pack_cells(rows: Sequence[Sequence[str]]) -> bytes:
    """Compress original columns, to about a sixth of their size."""
    return zlib.compress(orjson.dumps(rows), 1)


def unpack_cells(blob: bytes) -> list[list[str]]:
    """Undo `pack_cells`."""
    cells: list[list[str]] = orjson.loads(zlib.decompress(blob))
    return cells

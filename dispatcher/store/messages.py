"""Read messages to submit them, and messages and rejected rows to export them in file order."""

import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar, cast

import orjson
from sqlalchemy import BigInteger, Connection, Executable, Integer, and_, bindparam, select

from dispatcher.status import MessageState
from dispatcher.store.batches import Claim
from dispatcher.store.column_types import Money, UtcTime
from dispatcher.store.fetching import columns_of, fetch_driver_rows, fetch_messages, iterate_rows
from dispatcher.store.ranges import MESSAGES_OF_BATCH, join_ranges, range_parameters
from dispatcher.store.row_parts import BatchSpan, ExportedMessage, PendingMessage
from dispatcher.store.rows import RejectRow
from dispatcher.store.table_values import TableParameter
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE, REJECT, SOURCE_ROWS
from dispatcher.store.transitions import has_state
from dispatcher.tuples import make_tuples

Value = TypeVar("Value")
Result = TypeVar("Result")
_PAGE = 2000
#: First message, size and account of a batch in a stream.
_STREAM_VALUES = 3
_TIME, _MONEY = UtcTime(), Money()
_EXPORTED = (
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
    .where(MESSAGES_OF_BATCH)
    .order_by(MESSAGE.c.seq)
)
_CELLS = select(SOURCE_ROWS.c.first_seq, SOURCE_ROWS.c.cells).where(
    SOURCE_ROWS.c.campaign_id == bindparam("of_campaign"),
    SOURCE_ROWS.c.first_seq.between(bindparam("from_seq"), bindparam("to_seq")),
)


class ExportedColumns(NamedTuple):
    """Messages as columns, with the fields of ExportedMessage."""

    seq: Sequence[int]
    row: Sequence[int]
    msisdn: Sequence[int]
    parts: Sequence[int]
    state: Sequence[int]
    attempts: Sequence[int]
    final_at: Sequence[datetime | None]
    cost: Sequence[Decimal | None]
    provider_message_id: Sequence[str | None]
    error_code: Sequence[str | None]
    error: Sequence[str | None]
    job_id: Sequence[str | None]
    account: Sequence[str | None]
    begun_at: Sequence[datetime | None]


class ExportedBatch(NamedTuple):
    """A batch's messages: `size` of them from `first_seq` on."""

    first_seq: int
    size: int
    account: str


_PENDING = (
    select(*columns_of(MESSAGE, PendingMessage))
    .where(MESSAGES_OF_BATCH, has_state(MessageState.PENDING))
    .order_by(MESSAGE.c.seq)
)


def load_pending(conn: Connection, held: Claim, limit: int | None) -> Sequence[PendingMessage]:
    """A claimed batch's first `limit` pending messages, in order."""
    query = _PENDING if limit is None or limit >= held.size else _PENDING.limit(limit)
    rows = fetch_driver_rows(conn, query, range_parameters(held))
    return make_tuples(PendingMessage, rows)


def load_pending_of_all(conn: Connection, held: Sequence[Claim]) -> dict[int, list[PendingMessage]]:
    """The pending messages of small claimed batches, in order, by batch id."""
    query, given = _pending_of_all_query(conn.dialect.name)
    spans = [
        (each.id, each.campaign_id, each.first_seq, each.first_seq + each.size - 1) for each in held
    ]
    found: dict[int, list[PendingMessage]] = {each.id: [] for each in held}
    rows: Iterable[Sequence[object]] = fetch_driver_rows(conn, query, given.to_parameters(spans))
    for batch_id, *values in rows:
        found[cast("int", batch_id)].append(PendingMessage._make(values))
    return found


@cache
def _pending_of_all_query(dialect: str) -> tuple[Executable, TableParameter]:
    given = TableParameter(
        dialect,
        [
            ("batch", BigInteger()), ("campaign", BigInteger()), ("first", Integer()),
            ("last", Integer()),
        ],
    )  # fmt: skip
    new = given.table.c
    query = (
        select(new.batch, *columns_of(MESSAGE, PendingMessage))
        .join_from(
            given.table,
            MESSAGE,
            and_(MESSAGE.c.campaign_id == new.campaign, MESSAGE.c.seq.between(new.first, new.last)),
        )
        .where(has_state(MessageState.PENDING))
        .order_by(MESSAGE.c.campaign_id, MESSAGE.c.seq)
    )
    return query, given


class BatchStream:
    """The batches of one encoding and zone, in the file's order; few bytes for each."""

    def __init__(self, accounts: list[str]) -> None:
        self._accounts = accounts
        self._values = array("q")

    def add_batch(self, span: BatchSpan) -> None:
        """Add a batch behind those before."""
        if span.account not in self._accounts:
            self._accounts.append(span.account)
        self._values.extend((span.first_seq, span.size, self._accounts.index(span.account)))

    def pages(self) -> Iterator[list[ExportedBatch]]:
        """The batches in groups of about a page of messages."""
        page: list[ExportedBatch] = []
        size = 0
        for place in range(0, len(self._values), _STREAM_VALUES):
            first_seq, count, account = self._values[place : place + _STREAM_VALUES]
            page.append(ExportedBatch(first_seq, count, self._accounts[account]))
            size += count
            if size >= _PAGE:
                yield page
                page, size = [], 0
        if page:
            yield page


def list_batch_streams(conn: Connection, campaign_id: int) -> list[BatchStream]:
    """The campaign's batches by encoding and zone."""
    query = (
        select(*columns_of(BATCH, BatchSpan))
        .where(BATCH.c.campaign_id == campaign_id, BATCH.c.size > 0)
        .order_by(BATCH.c.first_seq)
    )
    streams: dict[tuple[int, str | None], BatchStream] = {}
    accounts: list[str] = []
    for span in iterate_rows(conn, BatchSpan, query):
        stream = streams.get((span.encoding, span.zone))
        if stream is None:
            stream = streams[span.encoding, span.zone] = BatchStream(accounts)
        stream.add_batch(span)
    return list(streams.values())


def load_page(
    conn: Connection, campaign_id: int, page: Sequence[ExportedBatch]
) -> tuple[ExportedColumns, list[list[str]]]:
    """The messages of batches with their latest attempt, as columns, and their original cells."""
    rows: list[tuple[Any, ...]] = []
    blobs: dict[int, bytes] = {}
    for first, last in join_ranges([(batch.first_seq, batch.size) for batch in page]):
        span = {"of_campaign": campaign_id, "from_seq": first, "to_seq": last}
        rows += fetch_driver_rows(conn, _EXPORTED, span)
        blobs.update((seq, cells) for seq, cells in conn.execute(_CELLS, span))
    cells: list[list[str]] = []
    for batch in page:
        blob = blobs.get(batch.first_seq)
        cells += [[]] * batch.size if blob is None else unpack_cells(blob)
    columns = ExportedColumns(*zip(*rows, strict=True))
    read_time = partial(_TIME.process_result_value, dialect=conn.dialect)
    read_price = partial(_MONEY.process_result_value, dialect=conn.dialect)
    changed = columns._replace(
        final_at=map_distinct(read_time, columns.final_at),
        begun_at=map_distinct(read_time, columns.begun_at),
        cost=map_distinct(read_price, columns.cost),
    )
    return changed, cells


def map_distinct(change: Callable[[Value], Result], column: Sequence[Value]) -> Sequence[Result]:
    """The changed values of a column in which most are the same."""
    changed = {value: change(value) for value in {*column}}
    return [changed[value] for value in column]


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
    return compress_cells(orjson.dumps(rows))


def compress_cells(document: bytes) -> bytes:
    """`pack_cells` for rows that are a JSON document already. Other threads go on meanwhile."""
    return zlib.compress(document, 1)


def unpack_cells(blob: bytes) -> list[list[str]]:
    """Undo `pack_cells`."""
    cells: list[list[str]] = orjson.loads(zlib.decompress(blob))
    return cells

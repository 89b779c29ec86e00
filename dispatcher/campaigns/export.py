"""The export: one line per row of the file, in the file's order, with its outcome."""

import csv
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from dispatcher.campaigns.wording import iso_time
from dispatcher.recipients.export_cells import EXPORT_COLUMNS, quote_formula
from dispatcher.recipients.preview import RejectedRow
from dispatcher.status import ACCEPTED, MessageState, RejectKind
from dispatcher.store import messages
from dispatcher.store.column_types import format_price
from dispatcher.store.engine import Store
from dispatcher.store.json_columns import decode_texts
from dispatcher.store.messages import BatchStream, ExportedColumns, map_distinct
from dispatcher.store.rows import CampaignRow

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

#: Consecutive lines; the first cell of each is its row's number.
ExportPage: TypeAlias = list[list[object]]
#: Makes a text harmless to the program that reads the export.
QuoteCell: TypeAlias = Callable[[str | None], str | None]
_STATE: Final = EXPORT_COLUMNS.index("state")
_row_of = cast("Callable[[list[object]], int]", itemgetter(0))


def write_export(
    store: Store, campaign: CampaignRow, out: "SupportsWrite[str]", *, rejects_only: bool = False
) -> int:
    """Write the export as CSV; returns the number of rows."""
    writer = csv.writer(out)
    headers = decode_texts(campaign.columns)
    writer.writerow([*EXPORT_COLUMNS, *map(quote_formula, headers)])
    count = 0
    for lines in read_export(store, campaign, rejects_only=rejects_only):
        writer.writerows(lines)
        count += len(lines)
    return count


def read_export(
    store: Store,
    campaign: CampaignRow,
    *,
    rejects_only: bool = False,
    states: Collection[str] = (),
    quote: QuoteCell = quote_formula,
) -> Iterator[ExportPage]:
    """The lines of the export in pages: the cells of EXPORT_COLUMNS, then the original ones.

    Only those in one of `states` where given. `quote` makes texts harmless to where they are
    written. Memory does not grow with the campaign.
    """
    width = len(EXPORT_COLUMNS) + len(decode_texts(campaign.columns))
    streams = [_read_rejects(store, campaign, quote)]
    if not rejects_only:
        with store.read() as conn:
            found = messages.list_batch_streams(conn, campaign.id)
        streams += [_read_batches(store, campaign, stream, quote) for stream in found]
    for lines in _merge_pages(streams):
        yield [
            line if len(line) == width else line + [None] * (width - len(line))
            for line in lines
            if not states or line[_STATE] in states
        ]


def _merge_pages(streams: Sequence[Iterator[ExportPage]]) -> Iterator[ExportPage]:
    """Pages of lines by their first cell; those of each stream are in that order already."""
    heads = [(page, stream) for stream in streams if (page := next(stream, []))]
    while heads:
        last = min(_row_of(page[-1]) for page, _stream in heads)
        lines: ExportPage = []
        following = []
        for page, stream in heads:
            end = bisect_right(page, last, key=_row_of)
            lines += page[:end]
            rest = page[end:] or next(stream, [])
            if rest:
                following.append((rest, stream))
        heads = following
        lines.sort(key=_row_of)
        yield lines


class RejectsFile:
    """Writes rejected rows in the format of the export, without a stored campaign."""

    def __init__(self, out: "SupportsWrite[str]", account: str, headers: Sequence[str]) -> None:
        self.count = 0
        self._account = account
        self._writer = csv.writer(out)
        self._width = len(EXPORT_COLUMNS) + len(headers)
        self._writer.writerow([*EXPORT_COLUMNS, *map(quote_formula, headers)])

    def write_row(self, reject: RejectedRow) -> None:
        """Add one row."""
        line = _reject_line(
            reject.row, reject.kind, reject.msisdn, self._account, reject.reason, reject.cells
        )
        self._writer.writerow(line + [None] * (self._width - len(line)))
        self.count += 1


def _read_batches(
    store: Store, campaign: CampaignRow, stream: BatchStream, quote: QuoteCell
) -> Iterator[ExportPage]:
    for batches in stream.pages():
        with store.read() as conn:
            rows, cells = messages.load_page(conn, campaign.id, batches)
        accounts = [batch.account for batch in batches for _ in range(batch.size)]
        yield _message_lines(rows, accounts, cells, quote)


def _message_lines(
    columns: ExportedColumns,
    accounts: Sequence[str],
    cells: Sequence[Sequence[str]],
    quote: QuoteCell,
) -> ExportPage:
    """The lines of messages; `accounts` are those of their batches, `cells` their originals."""
    was_accepted = [state in ACCEPTED for state in columns.state]
    jobs = [
        job if accepted else None
        for job, accepted in zip(columns.job_id, was_accepted, strict=True)
    ]
    begun = [
        at if accepted else None
        for at, accepted in zip(columns.begun_at, was_accepted, strict=True)
    ]
    own = zip(
        columns.row,
        columns.seq,
        [number if number >= 0 else None for number in columns.msisdn],
        map_distinct(_state_label, columns.state),
        [mine or batch for mine, batch in zip(columns.account, accounts, strict=True)],
        _quote_column(columns.provider_message_id, quote),
        map_distinct(quote, jobs),
        columns.parts,
        map_distinct(format_price, columns.cost),
        columns.attempts,
        map_distinct(quote, columns.error_code),
        map_distinct(quote, columns.error),
        map_distinct(iso_time, begun),
        map_distinct(iso_time, columns.final_at),
        strict=True,
    )
    return [[*line, *map(quote, original)] for line, original in zip(own, cells, strict=True)]


def _quote_column(column: Sequence[str | None], quote: QuoteCell) -> Sequence[str | None]:
    return [None if cell is None else quote(cell) for cell in column]


def _state_label(state: int) -> str:
    return MessageState(state).label


def _read_rejects(store: Store, campaign: CampaignRow, quote: QuoteCell) -> Iterator[ExportPage]:
    after = 0
    while True:
        with store.read() as conn:
            page = messages.list_rejects(conn, campaign.id, after)
        if not page:
            return
        yield [
            _reject_line(
                reject.row,
                RejectKind(reject.kind),
                reject.msisdn,
                campaign.account,
                reject.reason,
                decode_texts(reject.cells),
                quote,
            )
            for reject in page
        ]
        after = page[-1].row


def _reject_line(
    row: int,
    kind: RejectKind,
    msisdn: int | None,
    account: str,
    reason: str,
    cells: Sequence[str],
    quote: QuoteCell = quote_formula,
) -> list[object]:
    filled = dict.fromkeys(EXPORT_COLUMNS) | {
        "row": row,
        "msisdn": msisdn,
        "state": kind.label,
        "account": account,
        "error": quote(reason),
    }
    return [*filled.values(), *map(quote, cells)]

"""The export: one line per row of the file, in the file's order, with its outcome."""

import csv
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias, cast

from dispatcher.campaigns.wording import iso_time
from dispatcher.recipients.export_cells import EXPORT_COLUMNS, quote_formula
from dispatcher.recipients.preview import RejectedRow
from dispatcher.status import ACCEPTED, MessageState, RejectKind
from dispatcher.store import messages
from dispatcher.store.column_types import format_price
from dispatcher.store.engine import Store
from dispatcher.store.json_columns import decode_texts
from dispatcher.store.messages import ExportedColumns, Lane, map_distinct
from dispatcher.store.rows import CampaignRow

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

#: Consecutive lines; the first cell of each is its row's number.
_Page: TypeAlias = list[list[object]]
_row_of = cast("Callable[[list[object]], int]", itemgetter(0))


def write_export(
    store: Store, campaign: CampaignRow, out: "SupportsWrite[str]", *, rejects_only: bool = False
) -> int:
    """Write the export; returns the number of rows. Memory does not grow with the campaign."""
    writer = csv.writer(out)
    headers = decode_texts(campaign.columns)
    width = len(EXPORT_COLUMNS) + len(headers)
    writer.writerow([*EXPORT_COLUMNS, *map(quote_formula, headers)])
    streams = [_read_rejects(store, campaign)]
    if not rejects_only:
        with store.read() as conn:
            lanes = messages.list_lanes(conn, campaign.id)
        streams += [_read_lane(store, campaign, lane) for lane in lanes]
    count = 0
    for lines in _merge_pages(streams):
        writer.writerows(
            line if len(line) == width else line + [None] * (width - len(line)) for line in lines
        )
        count += len(lines)
    return count


def _merge_pages(streams: Sequence[Iterator[_Page]]) -> Iterator[_Page]:
    """Pages of lines by their first cell; those of each stream are in that order already."""
    heads = [(page, stream) for stream in streams if (page := next(stream, []))]
    while heads:
        last = min(_row_of(page[-1]) for page, _stream in heads)
        lines: _Page = []
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


def _read_lane(store: Store, campaign: CampaignRow, lane: Lane) -> Iterator[_Page]:
    for batches in lane.pages():
        with store.read() as conn:
            rows, cells = messages.load_page(conn, campaign.id, batches)
        accounts = [batch.account for batch in batches for _ in range(batch.size)]
        yield _message_lines(rows, accounts, cells)


def _message_lines(
    columns: ExportedColumns, accounts: Sequence[str], cells: Sequence[Sequence[str]]
) -> _Page:
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
        columns.msisdn,
        map_distinct(_state_label, columns.state),
        [mine or batch for mine, batch in zip(columns.account, accounts, strict=True)],
        _quote_column(columns.provider_message_id),
        map_distinct(quote_formula, jobs),
        columns.parts,
        map_distinct(format_price, columns.cost),
        columns.attempts,
        map_distinct(quote_formula, columns.error_code),
        map_distinct(quote_formula, columns.error),
        map_distinct(iso_time, begun),
        map_distinct(iso_time, columns.final_at),
        strict=True,
    )
    return [
        [*line, *map(quote_formula, original)] for line, original in zip(own, cells, strict=True)
    ]


def _quote_column(column: Sequence[str | None]) -> Sequence[str | None]:
    return [None if cell is None else quote_formula(cell) for cell in column]


def _state_label(state: int) -> str:
    return MessageState(state).label


def _read_rejects(store: Store, campaign: CampaignRow) -> Iterator[_Page]:
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
) -> list[object]:
    filled = dict.fromkeys(EXPORT_COLUMNS) | {
        "row": row,
        "msisdn": msisdn,
        "state": kind.label,
        "account": account,
        "error": quote_formula(reason),
    }
    return [*filled.values(), *map(quote_formula, cells)]

"""The export: one line per row of the file, in the file's order, with its outcome."""

import csv
import heapq
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dispatcher.campaigns.wording import iso_time
from dispatcher.recipients.export_cells import EXPORT_COLUMNS, quote_formula
from dispatcher.recipients.preview import RejectedRow
from dispatcher.status import ACCEPTED, MessageState, RejectKind
from dispatcher.store import messages
from dispatcher.store.column_types import format_price
from dispatcher.store.engine import Store
from dispatcher.store.json_columns import decode_texts
from dispatcher.store.row_parts import BatchSpan, ExportedMessage
from dispatcher.store.rows import CampaignRow

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


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
            lanes = messages.list_batches_by_encoding(conn, campaign.id)
        streams += [_read_batches(store, campaign, lane) for lane in lanes]
    count = 0
    for _row, line in heapq.merge(*streams, key=lambda item: item[0]):
        writer.writerow(line + [None] * (width - len(line)))
        count += 1
    return count


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
    store: Store, campaign: CampaignRow, batches: Sequence[BatchSpan]
) -> Iterator[tuple[int, list[object]]]:
    """Lines of the batches of one encoding, which are in the file's order already."""
    for batch in batches:
        with store.read() as conn:
            rows, cells = messages.load_range(conn, campaign.id, batch.first_seq, batch.size)
        for message, original in zip(rows, cells, strict=True):
            yield message.row, _message_line(message, message.account or batch.account, original)


def _message_line(message: ExportedMessage, account: str, original: Sequence[str]) -> list[object]:
    state = MessageState(message.state)
    was_accepted = state in ACCEPTED
    return [
        message.row,
        message.seq,
        message.msisdn,
        state.label,
        account,
        quote_formula(message.provider_message_id),
        quote_formula(message.job_id) if was_accepted else None,
        message.parts,
        format_price(message.cost),
        message.attempts,
        quote_formula(message.error_code),
        quote_formula(message.error),
        iso_time(message.begun_at) if was_accepted else None,
        iso_time(message.final_at),
        *(quote_formula(cell) for cell in original),
    ]


def _read_rejects(store: Store, campaign: CampaignRow) -> Iterator[tuple[int, list[object]]]:
    after = 0
    while True:
        with store.read() as conn:
            page = messages.list_rejects(conn, campaign.id, after)
        if not page:
            return
        for reject in page:
            yield (
                reject.row,
                _reject_line(
                    reject.row,
                    RejectKind(reject.kind),
                    reject.msisdn,
                    campaign.account,
                    reject.reason,
                    decode_texts(reject.cells),
                ),
            )
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

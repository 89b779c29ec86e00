"""The formats of an export beside plain CSV: CSV for Excel, JSON Lines, XLSX; and further columns.

A text is never run: CSV quotes formulas, XLSX has them as strings, and JSON is not a spreadsheet.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Final

import orjson

from dispatcher.campaigns.export import ExportPage, QuoteCell
from dispatcher.policy.routes import route_at
from dispatcher.recipients.export_cells import EXPORT_COLUMNS, quote_formula
from dispatcher.store.rows import CampaignRow
from dispatcher.windows.zone_names import zone_name

if TYPE_CHECKING:
    from _typeshed import SupportsWrite
    from xlsxwriter import Workbook
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

#: Columns after the original ones: which campaign, who sent it, and times in the account's zone.
DETAIL_COLUMNS: Final = (
    "campaign_id", "campaign", "sender", "timezone", "submitted_at_local", "final_at_local",
)  # fmt: skip
#: Rows of a sheet in XLSX, its header included.
_SHEET_ROWS: Final = 1_048_576
_CELL_CHARACTERS: Final = 32_767
#: Excel shows a longer number as 9.19E+11, and drops a zero in front of one.
_EATEN_BY_EXCEL: Final = re.compile(r"0\d+|\d{12,}", re.ASCII)
_ACCOUNT, _MSISDN = EXPORT_COLUMNS.index("account"), EXPORT_COLUMNS.index("msisdn")
_SUBMITTED, _FINAL = EXPORT_COLUMNS.index("submitted_at"), EXPORT_COLUMNS.index("final_at")
_NUMERIC: Final = frozenset(map(EXPORT_COLUMNS.index, ("row", "seq", "parts", "attempts")))


def add_details(
    pages: Iterator[ExportPage], campaign: CampaignRow, zone: tzinfo, quote: QuoteCell
) -> Iterator[ExportPage]:
    """The pages with the cells of DETAIL_COLUMNS at the end of each line."""
    name, label = quote(campaign.name), zone_name(zone)

    @lru_cache
    def sender_at(account: str) -> str | None:
        return quote(route_at(campaign, account).sender)

    @lru_cache(maxsize=4096)
    def local(moment: str | None) -> str | None:
        if moment is None:
            return None
        return f"{datetime.fromisoformat(moment).astimezone(zone):%Y-%m-%d %H:%M:%S}"

    for lines in pages:
        yield [
            [
                *line, campaign.id, name, sender_at(str(line[_ACCOUNT])), label,
                local(_text(line[_SUBMITTED])), local(_text(line[_FINAL])),
            ]
            for line in lines
        ]  # fmt: skip


def write_csv(
    pages: Iterator[ExportPage],
    header: Sequence[str],
    out: "SupportsWrite[str]",
    *,
    for_excel: bool,
) -> int:
    """Write CSV; returns the number of rows.

    `for_excel`: with the mark that tells Excel UTF-8, and with long numbers, and those that begin
    with 0, as `="…"`, which it shows as they are. `submit` reads such cells.
    """
    if for_excel:
        out.write("\ufeff")
    writer = csv.writer(out)
    writer.writerow(map(quote_formula, header))
    count = 0
    for lines in pages:
        writer.writerows([[*map(_keep_digits, line)] for line in lines] if for_excel else lines)
        count += len(lines)
    return count


def write_json_lines(
    pages: Iterator[ExportPage], header: Sequence[str], out: "SupportsWrite[str]"
) -> int:
    """Write an object per row; the original cells are under `columns`. Returns their number."""
    own, details = len(EXPORT_COLUMNS), len(DETAIL_COLUMNS)
    names = _distinct(header[own:-details])
    count = 0
    for lines in pages:
        for line in lines:
            row = dict(zip(EXPORT_COLUMNS, line, strict=False))
            row |= dict(zip(DETAIL_COLUMNS, line[-details:], strict=True))
            row["columns"] = dict(zip(names, line[own:-details], strict=True))
            out.write(orjson.dumps(row).decode() + "\n")
        count += len(lines)
    return count


def write_xlsx(pages: Iterator[ExportPage], header: Sequence[str], out: IO[bytes]) -> int:
    """Write a workbook, on several sheets where there are more rows than one holds.

    Numbers of phones are texts, and no text is a formula or a link. Returns the number of rows.
    """
    import xlsxwriter

    book = xlsxwriter.Workbook(out, {"constant_memory": True, "in_memory": False})
    bold = book.add_format({"bold": True})
    sheet, place, count = None, _SHEET_ROWS, 0
    for lines in pages:
        for line in lines:
            if sheet is None or place == _SHEET_ROWS:
                sheet, place = _add_sheet(book, header, bold), 1
            for column, cell in enumerate(line):
                if cell is None or cell == "":
                    continue
                if column in _NUMERIC and isinstance(cell, int):
                    sheet.write_number(place, column, cell)
                else:
                    sheet.write_string(place, column, _storable(str(cell)))
            place += 1
        count += len(lines)
    if sheet is None:
        _add_sheet(book, header, bold)
    book.close()
    return count


def _add_sheet(book: "Workbook", header: Sequence[str], bold: "Format") -> "Worksheet":
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    sheet.set_column(_MSISDN, _MSISDN, 16)
    for column, name in enumerate(header):
        sheet.write_string(0, column, _storable(name), bold)
    return sheet


def _storable(text: str) -> str:
    """`text` as XML can have it, and as long as a cell may be."""
    kept = "".join(char for char in text if char >= " " or char in "\t\n")
    return kept.replace("\ufffe", "").replace("\uffff", "")[:_CELL_CHARACTERS]


def _keep_digits(cell: object) -> object:
    text = cell if isinstance(cell, str) else str(cell) if isinstance(cell, int) else ""
    return f'="{text}"' if _EATEN_BY_EXCEL.fullmatch(text) else cell


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number after those that came before."""
    found: list[str] = []
    for name in names:
        number, shown = 1, name
        while shown in found:
            number += 1
            shown = f"{name} ({number})"
        found.append(shown)
    return found


def _text(cell: object) -> str | None:
    return cell if isinstance(cell, str) else None

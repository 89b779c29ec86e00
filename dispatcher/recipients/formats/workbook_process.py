"""Reads a sheet of a workbook in a process of its own, whose memory and time are limited.

A sheet is held whole while it is read, and a hostile or damaged file can make its reader ask for
any amount of memory: here that ends this process, and not the command. Standard input is the
workbook, the argument a file descriptor for the table of text, standard output a report in JSON.
"""

import csv
import errno
import io
import json
import os
import resource
import sys
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from dispatcher.recipients.formats.cells import Cell, cell_text
from dispatcher.recipients.formats.sheet_scan import Scan, scan_ods, scan_xlsx

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

MEMORY_BYTES: Final = 2 * 1024**3
PROCESSOR_S: Final = 300
#: All parts of a workbook unpacked.
_LARGEST_BYTES: Final = 2 * 1024**3
#: Other errors of files come from places that the archive names wrongly.
_OF_DISKS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_LARGEST_MANIFEST: Final = 1024 * 1024
#: Formats of which a ZIP archive is the outside, by a part that only they have.
_KINDS: Final = {
    "xl/workbook.xml": "xlsx",
    "content.xml": "ods",
    "xl/workbook.bin": "xlsb",
    "word/document.xml": "docx",
}
_Report = dict[str, Any]


def read_standard_input() -> None:
    """Read the workbook, write the table and the report."""
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CPU, PROCESSOR_S)
    _limit(resource.RLIMIT_CORE, 0)
    _, table, wanted, skips_hidden = sys.argv
    try:
        with os.fdopen(int(table), "wb", closefd=False) as out:
            report = read_workbook(
                sys.stdin.buffer, out, wanted or None, skips_hidden=bool(skips_hidden)
            )
    except OSError as error:
        is_disk = error.errno in _OF_DISKS
        report = {"problem": "disk", "errno": error.errno} if is_disk else {"problem": "damaged"}
    json.dump(report, sys.stdout)


def _limit(what: int, most: int) -> None:
    with suppress(ValueError, OSError):  # a stricter limit holds already
        resource.setrlimit(what, (most, most))


def read_workbook(
    stream: BinaryIO, out: BinaryIO, wanted: str | None, *, skips_hidden: bool
) -> _Report:
    """Write the rows of a sheet to `out` as CSV in UTF-8; row 1 is the sheet's row 1.

    With `skips_hidden` the hidden rows are empty there. The report has `problem` and what belongs
    to it, or what was found.
    """
    from python_calamine import CalamineError, PasswordError

    try:
        with zipfile.ZipFile(stream) as archive:
            kind = _kind_of(archive)
            if kind not in {"xlsx", "ods"}:
                return {"problem": kind}
            return {"format": kind} | _read_archive(
                archive, kind, stream, out, wanted, skips_hidden=skips_hidden
            )
    except PasswordError:
        return {"problem": "password"}
    except (CalamineError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return {"problem": "damaged"}


def _kind_of(archive: zipfile.ZipFile) -> str:
    """The format by what is in the archive, or what is wrong with it."""
    names = set(archive.namelist())
    if sum(each.file_size for each in archive.infolist()) > _LARGEST_BYTES:
        return "large"
    if _is_encrypted_ods(archive, names):
        return "password"
    found = next((kind for name, kind in _KINDS.items() if name in names), "zip")
    return "doctype" if found in {"xlsx", "ods"} and _has_doctype(archive) else found


def _read_archive(
    archive: zipfile.ZipFile,
    kind: str,
    stream: BinaryIO,
    out: BinaryIO,
    wanted: str | None,
    *,
    skips_hidden: bool,
) -> _Report:
    from python_calamine import CalamineWorkbook

    stream.seek(0)
    workbook = CalamineWorkbook.from_filelike(stream)
    report, sheet = _choose_sheet(workbook, wanted)
    if sheet is None:
        return report
    scan = (scan_ods if kind == "ods" else scan_xlsx)(archive, sheet.name)
    scan.merged_rows += sorted({top + 1 for (top, _), _ in sheet.merged_cell_ranges or ()})[:500]
    # Its rows begin with the first column that has anything; columns are counted from there.
    left = sheet.start[1] if sheet.start is not None else 0
    columns = _write_sheet_rows(sheet.iter_rows(), out, scan, left, skips_hidden=skips_hidden)
    return report | columns | {
        "hidden_columns": sorted(column - left for column in scan.hidden_columns),
        "merged_rows": scan.merged_rows,
        "empty_formulas": scan.empty_formulas,
        "zeros": {column - left: count for column, count in scan.zeros.items()},
    }  # fmt: skip


def _is_encrypted_ods(archive: zipfile.ZipFile, names: set[str]) -> bool:
    """Whether its manifest lists encrypted parts, or the one part of newer LibreOffice."""
    if "encrypted-package" in names:
        return True
    if "META-INF/manifest.xml" not in names:
        return False
    with archive.open("META-INF/manifest.xml") as manifest:
        return b":encryption-data" in manifest.read(_LARGEST_MANIFEST)


def _has_doctype(archive: zipfile.ZipFile) -> bool:
    """Whether a part declares entities, which spreadsheet programs never do."""
    for each in archive.infolist():
        if each.filename.endswith((".xml", ".rels")) and not each.flag_bits & 1:
            with archive.open(each) as part:
                if b"<!DOCTYPE" in part.read(4096):
                    return True
    return False


def _choose_sheet(
    workbook: "CalamineWorkbook", wanted: str | None
) -> "tuple[_Report, CalamineSheet | None]":
    """The sheet to read, and all sheets: `[name, hidden, rows]`, rows null where not counted."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    sheets: list[tuple[str, bool, int | None]] = [
        (each.name, each.visible != SheetVisibleEnum.Visible, None)
        for each in workbook.sheets_metadata
        if each.typ == SheetTypeEnum.WorkSheet
    ]
    names = [name for name, _, _ in sheets]
    if wanted is not None:
        found = [name for name in names if name == wanted]
        found = found or [name for name in names if name.casefold() == wanted.strip().casefold()]
        if not found and wanted.isascii() and wanted.isdigit() and 0 < int(wanted) <= len(names):
            found = [names[int(wanted) - 1]]
        if len(found) != 1:
            return {"problem": "sheet", "sheets": sheets}, None
        report = {"sheet": found[0], "sheets": sheets, "is_sure": True}
        return report, workbook.get_sheet_by_name(found[0])
    chosen, filled = None, 0
    for place, (name, is_hidden, _) in enumerate(sheets):
        sheet = workbook.get_sheet_by_name(name)
        sheets[place] = (name, is_hidden, sheet.height)
        if sheet.height and not is_hidden:
            filled += 1
            chosen = chosen or sheet
    if chosen is None:
        return {"problem": "empty", "sheets": sheets}, None
    return {"sheet": chosen.name, "sheets": sheets, "is_sure": filled == 1}, chosen


def _write_sheet_rows(
    rows: Iterable[list[Cell]], out: BinaryIO, scan: Scan, left: int, *, skips_hidden: bool
) -> _Report:
    """Write the table; the report counts numbers and dates per column, and names hidden rows.

    `left`: how many columns of the sheet, for which `scan` counts too, are before the table.
    """
    numbers: dict[int, int] = {}
    dates: dict[int, int] = {}
    hidden: list[int] = []
    text = io.TextIOWrapper(out, encoding="utf-8", errors="replace", newline="")
    writer = csv.writer(text)
    for row, cells in enumerate(rows, 1):
        if row in scan.hidden_rows and any(cell != "" for cell in cells):
            hidden.append(row)
            if skips_hidden:
                writer.writerow(())
                continue
        for column, value in enumerate(cells, 1):
            if isinstance(value, str | bool):
                continue
            counts = numbers if isinstance(value, int | float) else dates
            counts[column] = counts.get(column, 0) + 1
        shown = [cell if isinstance(cell, str) else cell_text(cell) for cell in cells]
        if scan.errors:
            for place, cell in enumerate(shown):
                if not cell and (word := scan.errors.get((row, left + place + 1))):
                    shown[place] = word
        writer.writerow(shown)
    text.flush()
    text.detach()
    return {"numbers": numbers, "dates": dates, "hidden_rows": hidden}


if __name__ == "__main__":
    read_standard_input()

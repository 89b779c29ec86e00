"""Searches the XML of a sheet for what its reader does not say: hidden rows, errors, formats.

Reads in blocks: nothing is kept but what was found, and of that not more than `_MOST`.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from posixpath import join, normpath
from typing import IO, Final, TypeVar
from xml.etree import ElementTree as ET

from dispatcher.recipients.formats.cells import column_index

_T = TypeVar("_T", int, str)
_BLOCK_BYTES: Final = 1024 * 1024
#: A tag with the value of its cell is not longer.
_LONGEST_MATCH: Final = 64 * 1024
_MOST: Final = 500
_MOST_ERRORS: Final = 100_000
#: Spreadsheets have no more rows, and no more columns.
_LAST_ROW: Final = 1_048_576
_LAST_COLUMN: Final = 16_384
_ROW: Final = re.compile(rb"<(?:\w+:)?row\b(?=[^>]*\bhidden=\"(?:1|true)\")[^>]*\br=\"(\d+)\"")
_COLUMN: Final = re.compile(rb"<(?:\w+:)?col\b(?=[^>]*\bhidden=\"(?:1|true)\")[^>]*>")
_ERROR: Final = re.compile(
    rb"<(?:\w+:)?c\b(?=[^>]*\bt=\"e\")[^>]*\br=\"([A-Z]{1,3})(\d+)\"[^>]*>"
    rb"(?:<(?:\w+:)?f\b[^>]*(?:/>|>[^<]*</(?:\w+:)?f>))?<(?:\w+:)?v>([^<]{1,20})<"
)
_EMPTY_FORMULA: Final = re.compile(
    rb"<(?:\w+:)?c\b(?![^>]*\bt=\"str\")[^>]*\br=\"([A-Z]{1,3}\d+)\"[^>]*>"  # "" is a value
    rb"<(?:\w+:)?f\b[^>]*(?:/>|>[^<]*</(?:\w+:)?f>)"
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v></(?:\w+:)?v>)?</(?:\w+:)?c>"
)
_ODS_TAG: Final = re.compile(
    rb"<(/?)table:(table-row|covered-table-cell|table-cell|table-column|table)(?=[\s/>])"
    rb"((?:[^>\"']|\"[^\"]*\"|'[^']*')*?)/?>"
)
#: Formats that show leading zeros: `00000`, `0000 000 000`, `000-000`.
_ZEROS: Final = re.compile(r'"?(?:0[ \-]?){2,}0*"?(?:;@)?')


@dataclass(slots=True)
class Scan:
    """What was found. `errors`: by row and column, from 1; `zeros`: columns of zero formats.

    Hidden rows and columns are all kept, since rows may be left out by them.
    """

    hidden_rows: set[int] = field(default_factory=set)
    hidden_columns: set[int] = field(default_factory=set)
    merged_rows: list[int] = field(default_factory=list)
    empty_formulas: list[str] = field(default_factory=list)
    errors: dict[tuple[int, int], str] = field(default_factory=dict)
    zeros: dict[int, int] = field(default_factory=dict)


def scan_xlsx(workbook: zipfile.ZipFile, sheet: str) -> Scan:
    """Search one sheet of an Excel workbook. Finds nothing in a workbook of an unusual make."""
    scan = Scan()
    if (part := _find_part(workbook, sheet)) is None:
        return scan
    zero_cell = _zero_cells(workbook)
    with workbook.open(part) as stream:
        for block in _read_blocks(stream):
            scan.hidden_rows.update(int(match[1]) for match in _ROW.finditer(block))
            for columns in _COLUMN.finditer(block):
                last = min(_read_number(columns[0], b' max="'), _LAST_COLUMN)
                scan.hidden_columns.update(range(_read_number(columns[0], b' min="'), last + 1))
            formulas = (match[1].decode() for match in _EMPTY_FORMULA.finditer(block))
            _note(scan.empty_formulas, formulas)
            if b't="e"' in block and len(scan.errors) < _MOST_ERRORS:
                errors: list[tuple[bytes, bytes, bytes]] = _ERROR.findall(block)
                for letters, row, word in errors:
                    scan.errors[int(row), column_index(letters.decode())] = word.decode()
            if zero_cell is not None:
                cells: list[bytes] = zero_cell.findall(block)
                for letters in cells:
                    column = column_index(letters.decode())
                    scan.zeros[column] = scan.zeros.get(column, 0) + 1
    return scan


def scan_ods(workbook: zipfile.ZipFile, sheet: str) -> Scan:
    """Search one sheet of an OpenDocument spreadsheet."""
    scan, row, column, is_wanted = Scan(), 0, 0, False
    with workbook.open("content.xml") as stream:
        for block in _read_blocks(stream):
            tags: list[tuple[bytes, bytes, bytes]] = _ODS_TAG.findall(block)
            for closes, tag, attributes in tags:
                if tag == b"table":
                    is_wanted = not closes and _is_named(attributes, sheet)
                    row = column = 0
                elif closes or not is_wanted:
                    continue
                elif tag == b"table-row":
                    end = row + _read_number(attributes, b'-repeated="')
                    if _is_hidden(attributes):
                        scan.hidden_rows.update(range(row + 1, min(end, _LAST_ROW) + 1))
                    row = end
                elif tag == b"table-column":
                    end = column + _read_number(attributes, b'-repeated="')
                    if _is_hidden(attributes):
                        scan.hidden_columns.update(range(column + 1, min(end, _LAST_COLUMN) + 1))
                    column = end
                elif b"-spanned=" in attributes and scan.merged_rows[-1:] != [row]:
                    _note(scan.merged_rows, [row])
    return scan


def _read_number(tag: bytes, name: bytes) -> int:
    """The number that follows `name`, such as ` max="`, in a tag; 1 without one."""
    digits = tag.partition(name)[2].partition(b'"')[0]
    return int(digits) if digits.isdigit() and len(digits) < 10 else 1


def _is_hidden(attributes: bytes) -> bool:
    """Whether a row or column of OpenDocument is hidden (`collapse`), or filtered out."""
    return b"visibility=" in attributes and b'"visible"' not in attributes


def _is_named(attributes: bytes, sheet: str) -> bool:
    element = ET.fromstring(  # noqa: S314 - expat 2.4.1 and newer refuse entity bombs
        b'<a xmlns:table="t"' + _only_table(attributes) + b"/>"
    )
    return element.get("{t}name") == sheet


def _only_table(attributes: bytes) -> bytes:
    """The name among the attributes of a table, whose other prefixes are not declared here."""
    match = re.search(rb"\stable:name=(\"[^\"]*\"|'[^']*')", attributes)
    return match[0] if match else b""


def _note(found: list[_T], more: Iterable[_T]) -> None:
    for each in more:
        if len(found) >= _MOST:
            return
        found.append(each)


def _read_blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Blocks that end where a row of the sheet ends, so that no cell is in two of them."""
    rest = b""
    while block := stream.read(_BLOCK_BYTES):
        block = rest + block
        end = max(block.rfind(b"</row>"), block.rfind(b":row>"), block.rfind(b"-row>")) + 1
        if end <= 0:
            end = max(0, len(block) - _LONGEST_MATCH)
        yield block[:end]
        rest = block[end:]
    yield rest


def _find_part(workbook: zipfile.ZipFile, sheet: str) -> str | None:
    """The name of the part of the archive that has a sheet; None if it cannot be found."""
    try:
        sheets = ET.fromstring(workbook.read("xl/workbook.xml"))  # noqa: S314 - as above
        relations = ET.fromstring(  # noqa: S314 - as above
            workbook.read("xl/_rels/workbook.xml.rels")
        )
    except (KeyError, ET.ParseError):
        return None
    wanted = next(
        (
            value
            for each in _elements_named(sheets, "sheet")
            if each.get("name") == sheet
            for key, value in each.attrib.items()
            if key.endswith("}id")
        ),
        None,
    )
    target = next((each.get("Target") for each in relations if each.get("Id") == wanted), None)
    if wanted is None or target is None:
        return None
    part = target.lstrip("/") if target.startswith("/") else normpath(join("xl", target))
    return part if part in workbook.namelist() else None


def _elements_named(root: ET.Element, name: str) -> Iterator[ET.Element]:
    """Elements of a name in any namespace: strict workbooks have others than usual ones."""
    return (each for each in root.iter() if each.tag.rpartition("}")[2] == name)


def _zero_cells(workbook: zipfile.ZipFile) -> re.Pattern[bytes] | None:
    """Finds cells with numbers whose format shows leading zeros; None if the workbook has none."""
    try:
        styles = ET.fromstring(workbook.read("xl/styles.xml"))  # noqa: S314 - as above
    except (KeyError, ET.ParseError):
        return None
    formats = {
        each.get("numFmtId")
        for each in _elements_named(styles, "numFmt")
        if _ZEROS.fullmatch(each.get("formatCode", ""))
    }
    cells = next(_elements_named(styles, "cellXfs"), None)
    if not formats or cells is None:
        return None
    used = [str(i) for i, style in enumerate(cells) if style.get("numFmtId") in formats]
    if not used:
        return None
    style = rb"(?=[^>]*\bs=\"(?:" + "|".join(used).encode() + rb")\")"
    return re.compile(
        rb"<(?:\w+:)?c\b" + style + rb"(?![^>]*\bt=\"(?:s|str|inlineStr|b|e)\")"
        rb"[^>]*\br=\"([A-Z]{1,3})\d+\"[^>]*>(?:<(?:\w+:)?f\b[^<]*</(?:\w+:)?f>)?<(?:\w+:)?v>"
    )

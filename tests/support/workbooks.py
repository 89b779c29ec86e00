"""Workbooks made part by part, also such as no spreadsheet program writes."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"


def sheet_of(rows: Sequence[Sequence[str | float]]) -> str:
    """The rows of a sheet: texts inline, numbers as numbers; an empty text is no cell."""
    written = []
    for number, row in enumerate(rows, 1):
        cells = [_cell(f"{chr(ord('A') + i)}{number}", value) for i, value in enumerate(row)]
        written.append(f'<row r="{number}">{"".join(cells)}</row>')
    return "".join(written)


def _cell(place: str, value: str | float) -> str:
    if value == "":
        return ""
    if isinstance(value, str):
        text = value.replace("&", "&amp;").replace("<", "&lt;")
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def xlsx(
    path: Path,
    sheets: Mapping[str, str],
    *,
    hidden: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
    prolog: str = "",
) -> Path:
    """Write a workbook: `sheets` are their rows' XML by name, `more` further parts by theirs."""
    entries = [
        f'<sheet name={quoteattr(name)} sheetId="{i}" r:id="rId{i}"'
        + (' state="hidden"/>' if name in hidden else "/>")
        for i, name in enumerate(sheets, 1)
    ]
    relations = [
        f'<Relationship Id="rId{i}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    ]
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}"><Default Extension="xml" ContentType='
        f'"application/xml"/><Override PartName="/xl/workbook.xml" ContentType="{_SHEET_TYPE}"/>'
        "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="rId1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        f"{''.join(entries)}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_RELATIONS}">'
        f"{''.join(relations)}</Relationships>",
    } | dict(more or {})
    for i, rows in enumerate(sheets.values(), 1):
        parts[f"xl/worksheets/sheet{i}.xml"] = (
            f'{prolog}<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'
        )
    return archive(path, parts)


def archive(path: Path, parts: Mapping[str, str]) -> Path:
    """A ZIP archive with these parts."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in parts.items():
            out.writestr(name, content)
    path.write_bytes(packed.getvalue())
    return path

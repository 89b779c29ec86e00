"""What was understood of a file's format: workbooks and their sheets, JSON Lines, gzip."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from dispatcher.cli.output import pluralize, safe_text
from dispatcher.errors import FileRefused

if TYPE_CHECKING:
    from dispatcher.recipients.reader import RecipientFile

_SHOWN: Final = 5


def format_label(file: "RecipientFile") -> str:
    """`UTF-8` of a table of text, else what the file is: `Excel workbook`."""
    label = {"xlsx": "Excel workbook", "ods": "OpenDocument spreadsheet", "jsonl": "JSON Lines"}
    named = label.get(file.found_format.name, file.found_encoding.label)
    return f"gzip, {named}" if file.found_format.is_gzip else named


def format_words(file: "RecipientFile") -> str:
    """How the file was read, in a line."""
    from dispatcher.recipients.detection.delimiters import label_delimiter
    from dispatcher.recipients.detection.encodings import Origin

    found, label = file.found_format, format_label(file)
    header_row = file.header_place.rows_above + found.first_number
    if found.sheet is not None:
        of = f" (of {len(found.sheets)} sheets)" if len(found.sheets) > 1 else ""
        return f"{label}, sheet {safe_text(found.sheet)!r}{of}, header in row {header_row}"
    if not found.is_text:
        return f"{label}, an object in each line; rows have the numbers of lines"
    guessed = {Origin.GUESSED: " (guessed)", Origin.GIVEN: " (--encoding)"}
    return (
        f"{label}{guessed.get(file.found_encoding.origin, '')}, "
        f"delimiter {label_delimiter(file.delimiter)}, header in row {header_row}"
    )


def format_notes(file: "RecipientFile", used: Collection[int]) -> list[str]:
    """What a table of text does not show, and what may have been meant otherwise.

    `used`: the columns that the text takes, from 0.
    """
    found, notes = file.found_format, []
    if found.misnamed is not None:
        notes.append(
            f"the name of the file says that it is {found.misnamed}, and it is {format_label(file)}"
        )
    if found.left_out:
        fields = ", ".join(map(safe_text, found.left_out[:_SHOWN]))
        notes.append(f"left out, since there are lists or objects in them: {fields}")
    if found.sheet is not None:
        notes += [*_sheet_notes(file), *_value_notes(file, used)]
    return notes


def _sheet_notes(file: "RecipientFile") -> list[str]:
    found, first = file.found_format, file.header_place.rows_above + 1
    findings, notes = found.findings, []
    others = ", ".join(_name_sheet(each) for each in found.other_sheets[:_SHOWN])
    if not found.is_sure:
        notes.append(f"other sheets have data too, and are not read: {others}. Choose with --sheet")
    if hidden := hidden_rows(file):
        rows = f"{pluralize(len(hidden), 'row is', 'rows are')} hidden in the workbook"
        do = "left out" if findings.skips_hidden else "sent to as well, unless --hidden-rows skip"
        notes.append(f"{rows}, and {do}: {_list_rows(hidden)}")
    if any(each.name == found.sheet and each.is_hidden for each in found.sheets):
        notes.append(f"the sheet {safe_text(found.sheet)!r} is hidden in the workbook")
    if merged := [row for row in findings.merged_rows if row > first]:
        notes.append(
            f"cells are merged, and only the first of them has their value: {_list_rows(merged)}"
        )
    if cells := findings.empty_formulas:
        notes.append(
            f"formulas without a stored value count as empty: {', '.join(cells[:_SHOWN])}; open "
            "the workbook in a spreadsheet program and save it"
        )
    phone = file.phone_index + 1
    if count := findings.numbers.get(phone, 0):
        notes.append(
            f"{pluralize(count, 'cell')} of the phone column {_are(count)} not text: zeros or a + "
            "in front may be lost"
        )
    return notes


def hidden_rows(file: "RecipientFile") -> list[int]:
    """The rows below the header that the workbook hides, as a filter does."""
    first = file.header_place.rows_above + 1
    return [row for row in file.found_format.findings.hidden_rows if row > first]


def _value_notes(file: "RecipientFile", used: Collection[int]) -> list[str]:
    """What texts get for dates and for numbers that are shown with zeros in front."""
    findings, notes = file.found_format.findings, []
    headers = {i + 1: safe_text(file.headers[i]) for i in sorted(used)}
    dates = [name for column, name in headers.items() if column in findings.dates]
    zeros = [name for column, name in headers.items() if column in findings.zeros]
    used_hidden = [
        name
        for column, name in {file.phone_index + 1: file.phone_column, **headers}.items()
        if column in findings.hidden_columns
    ]
    if used_hidden:
        notes.append(f"hidden in the workbook: column {', '.join(map(safe_text, used_hidden))}")
    if dates:
        notes.append(f"dates are written as 2026-12-24 in texts: column {', '.join(dates)}")
    if zeros:
        notes.append(
            "numbers that are shown with zeros in front are read without them: column "
            f"{', '.join(zeros)}; make the cells text to keep them"
        )
    return notes


def format_json(file: "RecipientFile") -> dict[str, Any]:
    """The same as data."""
    found = file.found_format
    return {
        "format": found.name,
        "gzip": found.is_gzip,
        "sheet": found.sheet,
        "sheets": [
            {"name": each.name, "hidden": each.is_hidden, "rows": each.rows}
            for each in found.sheets
        ],
        "sheet_is_sure": found.is_sure,
        "hidden_rows": list(found.findings.hidden_rows),
        "hidden_rows_skipped": found.findings.skips_hidden,
        "hidden_columns": [
            file.headers[i - 1]
            for i in sorted(found.findings.hidden_columns)
            if 0 < i <= len(file.headers)
        ],
        "merged_rows": list(found.findings.merged_rows),
        "fields_left_out": list(found.left_out),
    }


def refuse_unsure_sheet(file: "RecipientFile") -> None:
    """Raises FileRefused for a workbook with data in several sheets, where nobody chose one."""
    found = file.found_format
    if not found.is_sure:
        filled = [each for each in found.sheets if each.rows and not each.is_hidden]
        names = ", ".join(map(_name_sheet, filled))
        raise FileRefused(
            f"{len(filled)} sheets of the workbook have data: {names}",
            "choose one with --sheet",
        )


def refuse_hidden_rows(file: "RecipientFile") -> None:
    """Raises FileRefused for a workbook with hidden rows, which a filter may have left out."""
    if hidden := hidden_rows(file):
        rows = pluralize(len(hidden), "row of the sheet is", "rows of the sheet are")
        raise FileRefused(
            f"{rows} hidden, as a filter does: {_list_rows(hidden)}",
            "give --hidden-rows skip to leave them out, or --hidden-rows send",
        )


def _name_sheet(sheet: Any) -> str:
    hidden = ", hidden" if sheet.is_hidden else ""
    return f"{safe_text(sheet.name)!r} ({pluralize(sheet.rows or 0, 'row')}{hidden})"


def _list_rows(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:_SHOWN])) + (", …" if len(rows) > _SHOWN else "")
    return f"row {shown}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"

"""The columns of our own export, and its cells: quoted on their way out, unquoted on their way in.

A file of rejected rows can be mended in a spreadsheet and submitted again as it is.
"""

import re
from collections.abc import Sequence
from typing import Final

from dispatcher.text.invisible import ALL_INVISIBLE

#: Public names. The recipient file's own columns follow them.
EXPORT_COLUMNS: Final = (
    "row", "seq", "msisdn", "state", "account", "provider_message_id", "job_id", "parts", "cost",
    "attempts", "error_code", "error", "submitted_at", "final_at",
)  # fmt: skip
#: Spreadsheets take a cell that begins with one of these as a formula (OWASP, "CSV Injection"),
#: full-width signs included. Some look for the sign behind blanks and what shows nothing.
FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


_FORMULA: Final = re.compile(rf"['\s{ALL_INVISIBLE}]*[{re.escape(''.join(FORMULA_SIGNS))}]")


def quote_formula(cell: str | None) -> str | None:
    """The cell with an apostrophe in front if a spreadsheet would run it as a formula."""
    # One with apostrophes of its own gets another, so that exactly ours is taken away again.
    if not cell or cell[0].isalnum() or _FORMULA.match(cell) is None:
        return cell
    return f"'{cell}"


def unquote_formula(cell: str) -> str:
    """The cell without an apostrophe that was put in front of a formula's sign."""
    is_quoted = cell.startswith("'") and _FORMULA.match(cell) is not None
    return cell[1:] if is_quoted else cell


def is_export(headers: Sequence[str]) -> bool:
    """Whether a file with these headers was written by the export."""
    return tuple(headers[: len(EXPORT_COLUMNS)]) == EXPORT_COLUMNS


def read_duplicate_number(cells: Sequence[str]) -> str:
    """The number in a row of our export that the export says was a duplicate; else empty."""
    is_duplicate = len(cells) > _STATE and cells[_STATE] == "duplicate"
    return cells[_MSISDN].strip("'+ ") if is_duplicate else ""


_MSISDN: Final = EXPORT_COLUMNS.index("msisdn")
_STATE: Final = EXPORT_COLUMNS.index("state")

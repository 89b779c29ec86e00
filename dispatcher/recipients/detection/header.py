"""Where the table of a recipient file begins: titles above the header are not rows of it."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from dispatcher.recipients.columns import guess_phone_columns
from dispatcher.recipients.detection.delimiters import FoundDelimiter
from dispatcher.recipients.lines import CleanLines, LineTooLong
from dispatcher.text.invisible import remove_all_invisible
from dispatcher.text.template import fold_name

_ROWS_LOOKED_AT: Final = 40
_MOST_TITLES: Final = 15
_NUMBER_CELL: Final = re.compile(r"[\s'+(=\"]*\d[\d\s().\-/]{5,}\d\s*")


class HeaderPlace(NamedTuple):
    """`rows_above`: how many rows stand above the header; `titles`: those that say something."""

    rows_above: int
    titles: tuple[str, ...]


def find_header(
    head: bytes, codec: str, delimiter: FoundDelimiter, wanted: str | None
) -> HeaderPlace:
    """The place of the header, from the first bytes of a file.

    It is the first row that names a phone column (`wanted`, or by a usual name) and has about as
    many cells as the table; if there is none, the first row that is not blank.
    """
    rows = list(islice(_read_rows(head, codec, delimiter), _ROWS_LOOKED_AT))
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    width = sorted(filled)[-2] if len(filled) > 1 else 0  # one wider row is a mistake
    first = next((place for place, count in enumerate(filled) if count), 0)
    for place in range(first, min(len(rows), first + _MOST_TITLES + 1)):
        if any(_NUMBER_CELL.fullmatch(cell) for cell in rows[place]):
            break  # this is data
        if filled[place] * 2 > width and _names_phones(rows[place], wanted):
            shown = (" ".join(filter(None, map(str.strip, row))) for row in rows[:place])
            return HeaderPlace(place, tuple(filter(None, shown)))
    return HeaderPlace(first, ())


def clean_headers(cells: Iterable[str]) -> tuple[str, ...]:
    """Names of columns, each on one line and without what shows nothing."""
    return tuple(" ".join(remove_all_invisible(cell).split()) for cell in cells)


def _read_rows(head: bytes, codec: str, delimiter: FoundDelimiter) -> Iterable[list[str]]:
    lines = CleanLines(io.BytesIO(head), codec, delimiter.char)
    try:
        table = islice(lines, delimiter.leading_lines, None)
        yield from csv.reader(table, delimiter=delimiter.char, skipinitialspace=True)
    except (csv.Error, LineTooLong, UnicodeDecodeError):
        return  # reading the whole file says where


def _names_phones(row: Sequence[str], wanted: str | None) -> bool:
    headers = clean_headers(row)
    if wanted is not None:
        return fold_name(wanted) in map(fold_name, headers)
    return bool(guess_phone_columns(headers))

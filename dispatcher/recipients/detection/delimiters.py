"""The delimiter of a recipient file: found from a sample of its text, or as a person gives it."""

import csv
import io
import re
from collections import Counter
from typing import Final, NamedTuple

from dispatcher.errors import WrongValue

_DELIMITERS: Final = ",;\t|"
_NAMES: Final = {
    "tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " ",
    "blank": " ", "colon": ":",
}  # fmt: skip
_LABELS: Final = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe", " ": "space"}
_EXCEL_SEPARATOR_LINE: Final = re.compile('\ufeff*"?sep=([^\r\n"])"?(?:\r\n|\n|\r)', re.IGNORECASE)
#: A cell that is nothing but a telephone number, with what spreadsheets put around it.
_NUMBER_CELL: Final = re.compile(r"[\s'\"=+(]*\d[\d\s().+\-/]{5,}\d[\s'\")]*")
#: A share of the rows that is more than chance.
_MANY: Final = 0.5


class FoundDelimiter(NamedTuple):
    """`leading_lines`: how many lines are Excel's own `sep=;`. `is_sure`: no other fits as well."""

    char: str
    leading_lines: int = 0
    is_sure: bool = True


def label_delimiter(char: str) -> str:
    """How people call a delimiter: tab, semicolon."""
    return _LABELS.get(char, repr(char))


def parse_delimiter(given: str) -> str:
    """One character, or a name such as `tab`. Raises UsageProblem."""
    char = _NAMES.get(given.strip().lower(), given)
    if len(char) != 1 or char in '\r\n"':
        raise WrongValue(
            f"--delimiter {given!r} is not a valid delimiter", "give one character, or `tab`"
        )
    return char


def choose_delimiter(head: bytes, codec: str, given: str | None) -> FoundDelimiter:
    """The delimiter that a person gave, else the one that fits the whole lines of `head`.

    Raises UsageProblem for a `given` that is not a delimiter.
    """
    text = head.decode(codec, "ignore")
    found = find_delimiter(text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text)
    if given is None:
        return found
    return FoundDelimiter(parse_delimiter(given), found.leading_lines)


def find_delimiter(sample: str) -> FoundDelimiter:
    """The delimiter with which the rows of `sample` make a table, and one of its columns numbers.

    Excel's `sep=` line names it. A file of one column has a comma.
    """
    if match := _EXCEL_SEPARATOR_LINE.match(sample):
        return FoundDelimiter(match[1], leading_lines=1)
    fits = {delimiter: _measure_fit(sample, delimiter) for delimiter in _DELIMITERS}
    best, second = sorted(fits, key=lambda delimiter: fits[delimiter], reverse=True)[:2]
    return FoundDelimiter(best, is_sure=fits[best] > fits[second] or fits[best].width < 2)


class _Fit(NamedTuple):
    """How well a delimiter fits, in the order of importance."""

    has_numbers: bool
    same_width: float
    numbers: float
    width: int


def _measure_fit(sample: str, delimiter: str) -> _Fit:
    lines = io.StringIO(sample, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    rows = [row for row in reader if any(map(str.strip, row))]
    widths = Counter(len(row) for row in rows if len(row) > 1)
    if not widths:
        return _Fit(False, 0.0, 0.0, 0)
    width = max(widths, key=lambda each: (widths[each], each))
    table = [row for row in rows if len(row) == width]
    numbers = max(
        sum(_NUMBER_CELL.fullmatch(row[column]) is not None for row in table)
        for column in range(width)
    )
    share = numbers / len(table)
    return _Fit(share >= _MANY, round(widths[width] / len(rows), 2), round(share, 2), width)

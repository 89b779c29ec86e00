"""Cells of a spreadsheet as text: what people see of them, without their formats."""

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

Cell: TypeAlias = str | float | bool | date | time | timedelta

#: Spreadsheets keep 15 digits of a number.
_DIGITS: Final = 15


def cell_text(value: Cell) -> str:
    """`919820011240` for 919820011240.0, `2026-12-24`, `2026-12-24 09:00`, `TRUE`, `0.3`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float | int):
        return number_text(value)
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    if isinstance(value, datetime | time):
        text = value.isoformat(timespec="seconds" if value.second else "minutes")
        return text.replace("T", " ")
    return value.isoformat()


def number_text(value: float) -> str:
    """A number with the digits that a spreadsheet keeps, and never with an exponent."""
    if not math.isfinite(value):
        return ""
    if abs(value) < 10**_DIGITS and value == int(value):
        return str(int(value))
    text = format(Decimal(f"{value:.{_DIGITS}g}"), "f")
    return text.rstrip("0").removesuffix(".") if "." in text else text


def column_letters(index: int) -> str:
    """`A` for 1, `AA` for 27."""
    letters = ""
    while index > 0:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def column_index(letters: str) -> int:
    """1 for `A`, 27 for `AA`."""
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("A") + 1
    return index

"""Reads and writes windows and blackouts: `mon-fri 09:00-18:00`, `22:00-02:00`, `2026-12-25`.

`hours.py` computes when they are open.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

MINUTES_OF_A_DAY: Final = 24 * 60


class WindowError(ValueError):
    """A window or blackout that cannot be read: a sentence for a person, which quotes the place."""


@dataclass(frozen=True, slots=True)
class DateRange:
    """Local calendar dates, both included."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"


@dataclass(frozen=True, slots=True)
class Window:
    """Opening hours on some weekdays (0 is Monday), or on some dates if `dates` is given.

    `start` and `end` are minutes since the day's first midnight, the end excluded. The end of a
    window over midnight is above 1440.
    """

    weekdays: frozenset[int]
    dates: DateRange | None
    start: int
    end: int

    def __str__(self) -> str:
        days = str(self.dates) if self.dates else _format_days(self.weekdays)
        last = self.end if self.end <= MINUTES_OF_A_DAY else self.end - MINUTES_OF_A_DAY
        return f"{days} {_format_time(self.start)}-{_format_time(last)}"


def parse_windows(texts: Iterable[str]) -> tuple[Window, ...]:
    """Read windows; a text may have several, separated by commas.

        mon-fri 09:00-18:00        sat,sun 10:00-14:00       mon-fri 09:00-12:00, sat 10:00-12:00
        22:00-02:00                daily 08:00-24:00         2026-12-24 10:00-12:00

    A window without days holds for the days named before it in the same text, else for every day.
    One over midnight belongs to the day on which it begins. Raises WindowError.
    """
    return tuple(dict.fromkeys(window for text in texts for window in _parse_text(text)))


def parse_blackouts(texts: Iterable[str]) -> tuple[DateRange, ...]:
    """Read dates and ranges of dates: `2026-12-25`, `2026-12-24..2026-12-26`.

    A text may have several, separated by commas. Raises WindowError.
    """
    pieces = [(piece.strip(), text) for text in texts for piece in text.split(",")]
    return tuple(dict.fromkeys(_parse_dates(piece, text) for piece, text in pieces))


_DAY_NAMES: Final = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
)  # fmt: skip
_WEEKDAYS: Final = {
    name: number for number, full in enumerate(_DAY_NAMES) for name in (full, full[:3])
}
_EVERY_DAY: Final = frozenset(range(7))
_DASHES: Final = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
_SPACED_DASH: Final = re.compile(r"\s*-\s*")
_WITH_HOURS: Final = re.compile(r"(?:(?P<days>\S.*)\s)?\s*(?P<hours>[\d:.]+-[\d:.]+)", re.ASCII)
_TIME: Final = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

#: Weekdays, or dates.
_Days = frozenset[int] | DateRange


def _parse_text(text: str) -> Iterator[Window]:
    days: list[_Days] = []
    are_used = False
    for piece in _SPACED_DASH.sub("-", text.translate(_DASHES)).split(","):
        match = _WITH_HOURS.fullmatch(piece.strip())
        named = match["days"] if match else piece
        if named is not None:
            if are_used:
                days, are_used = [], False
            days.append(_parse_days(named.strip().lower(), text))
        if match:
            are_used = bool(days)
            start, end = _parse_hours(match["hours"], text)
            yield from _windows_on_days(days or [_EVERY_DAY], start, end)
    if days and not are_used:
        raise WindowError(f"{text!r} names days without hours; write both: mon-fri 09:00-18:00")


def _windows_on_days(days: Iterable[_Days], start: int, end: int) -> Iterator[Window]:
    weekdays = frozenset[int]()
    for each in days:
        if isinstance(each, DateRange):
            yield Window(frozenset(), each, start, end)
        else:
            weekdays |= each
    if weekdays:
        yield Window(weekdays, None, start, end)


def _parse_days(piece: str, text: str) -> _Days:
    if piece == "daily":
        return _EVERY_DAY
    if piece[:4].isdecimal() and piece[4:5] == "-":
        return _parse_dates(piece, text)
    first, dash, last = piece.partition("-")
    try:
        begin, end = _WEEKDAYS[first], _WEEKDAYS[last if dash else first]
    except KeyError as unknown:
        raise WindowError(
            f"{_quote_place(unknown.args[0], text)} is not a valid day; write mon, mon-fri, daily, "
            "or a date such as 2026-12-24, and hours such as 09:00-18:00"
        ) from None
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _parse_hours(piece: str, text: str) -> tuple[int, int]:
    start, end = (_parse_minutes(each, piece, text) for each in piece.split("-"))
    if start == MINUTES_OF_A_DAY:
        raise WindowError(
            f"{_quote_place(piece, text)} begins at 24:00; write 00:00 and the next day"
        )
    if start == end:
        raise WindowError(
            f"{_quote_place(piece, text)} begins when it ends; the whole day is 00:00-24:00"
        )
    return start, end if end > start else end + MINUTES_OF_A_DAY


def _parse_minutes(time: str, piece: str, text: str) -> int:
    match = _TIME.fullmatch(time)
    minutes = int(match[1]) * 60 + int(match[2]) if match and int(match[2]) < 60 else None
    if minutes is None or minutes > MINUTES_OF_A_DAY:
        raise WindowError(
            f"{_quote_place(piece, text)} are not valid hours; write 09:00-18:00, up to 24:00"
        )
    return minutes


def _parse_dates(piece: str, text: str) -> DateRange:
    first, dots, last = (each.strip() for each in piece.partition(".."))
    begin = _parse_date(first)
    end = _parse_date(last) if dots else begin
    if begin is None or end is None:
        raise WindowError(
            f"{_quote_place(piece, text)} is not a valid date; "
            "write 2026-12-25, or 2026-12-24..2026-12-26"
        )
    if end < begin:
        raise WindowError(f"{_quote_place(piece, text)} ends before it begins")
    return DateRange(begin, end)


def _quote_place(piece: str, text: str) -> str:
    return repr(text) if piece == text else f"{text!r}: {piece!r}"


def _parse_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def _format_days(weekdays: frozenset[int]) -> str:
    if weekdays == _EVERY_DAY:
        return "daily"
    runs: list[list[int]] = []
    for day in sorted(weekdays):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    short = [name[:3] for name in _DAY_NAMES]
    return ",".join(
        short[run[0]] if len(run) == 1 else f"{short[run[0]]}-{short[run[-1]]}" for run in runs
    )


def _format_time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"

"""Reads moments as people say them: `tomorrow 09:00`, `mon 9am`, `+2h`, `2026-12-01 09:00 UTC`.

Only words with one meaning are read; nothing is guessed. A text to thousands of people must not
leave a month early because 01/12 was taken for January.
"""

import re
from calendar import isleap
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from dispatcher.windows.wall_clock import first_instant
from dispatcher.windows.zone_guesses import guess_zones
from dispatcher.windows.zone_names import (
    FixedOffsetError,
    ZoneError,
    parse_given_zone,
    zone_name,
)

_WRITE: Final = "write 2026-12-24T09:00, `tomorrow 09:00`, `mon 9:00` or `+2h`"
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_SHORT: Final = {"tues": 1, "wednes": 2, "thur": 3, "thurs": 3}
_UNITS: Final = {
    "m": "minutes", "min": "minutes", "mins": "minutes", "minute": "minutes", "minutes": "minutes",
    "h": "hours", "hr": "hours", "hrs": "hours", "hour": "hours", "hours": "hours",
    "d": "days", "day": "days", "days": "days", "w": "weeks", "week": "weeks", "weeks": "weeks",
}  # fmt: skip
_PERIOD: Final = re.compile(r"(?:\+ ?|in )((?:\d{1,6} ?[a-z]+ ?)+)")
_PART: Final = re.compile(r"(\d+) ?([a-z]+)")
_CLOCK: Final = re.compile(
    r"(?<![\d:.+\-])(?:(\d{1,2}):(\d{2})(?::(\d{2}))?(?: ?(am|pm))?|(\d{1,2}) ?(am|pm)|(noon))"
    r"(?![\w:])"
)
_FILLERS: Final = re.compile(r"\b(?:at|on)\b|,")
_MOST_DAYS: Final = 3660


class MomentError(ValueError):
    """Why a text is not a moment, and what to write: two sentences for a person."""

    def __init__(self, problem: str, advice: str = _WRITE) -> None:
        super().__init__(f"{problem}; {advice}")
        self.problem = problem
        self.advice = advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """`at` is in UTC. `is_spoken`: it depends on when it was said, as `tomorrow 09:00` does.

    `is_whole_day`: no time of day was given, and `at` is where the day begins. `note` says what
    became of a reading that the clocks skip or show twice. `zone` is the one that it was read in.
    """

    at: datetime
    zone: tzinfo
    is_spoken: bool = False
    is_whole_day: bool = False
    note: str | None = None


def parse_moment(text: str, zone: tzinfo, now: datetime) -> Moment:
    """Read a moment; a local time is in `zone`, unless a zone follows it. Raises MomentError.

    `now`: aware. A weekday is the next one whose time has not passed, a time alone the next time
    that clocks read it. Hours and minutes from now are exact, days and weeks keep the time of day.
    """
    cleaned = " ".join(text.replace("−", "-").split())
    try:
        if (exact := _read_iso(cleaned, zone)) is not None:
            return exact
        words, given = _split_zone(cleaned)
        zone = given or zone
        if (exact := _read_iso(words, zone)) is not None:
            return exact
        if (period := _PERIOD.fullmatch(words)) is not None:
            return _after_period(period[1], zone, now)
        return _read_words(words, zone, now)
    except MomentError:
        raise
    except (OverflowError, ValueError):
        raise MomentError("it is too far away") from None


def _read_iso(text: str, zone: tzinfo) -> Moment | None:
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        return None
    try:
        reading = datetime.fromisoformat(text)
    except ValueError:
        return None
    if reading.tzinfo is not None:
        return Moment(at=reading.astimezone(UTC), zone=reading.tzinfo)
    is_day = re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None
    return _local(reading, zone, is_whole_day=is_day)


def _split_zone(text: str) -> tuple[str, tzinfo | None]:
    """The words without the zone at their end, in small letters, and the zone."""
    words, _, last = text.rpartition(" ")
    is_zone = "/" in last or re.fullmatch(r"[A-Z]{3,5}|[Zz]|(?:UTC|GMT)?[+-]\d.*", last)
    if not words or not is_zone or re.fullmatch(r"\d+/\d+.*", last) or _is_day_word(last.lower()):
        return text.lower(), None
    if last in {"AM", "PM", "Z", "z", "NOON"}:
        return (words if last in "Zz" else text).lower(), UTC if last in "Zz" else None
    try:
        return words.lower(), parse_given_zone(last)
    except ZoneError as error:
        problem, _, advice = str(error).partition("; ")
        if not isinstance(error, FixedOffsetError) and (near := guess_zones(last)) is not None:
            advice = f"write {near}"
        raise MomentError(problem, advice) from None


def _after_period(parts: str, zone: tzinfo, now: datetime) -> Moment:
    amounts: dict[str, int] = {}
    for number, unit in _PART.findall(parts):
        if (name := _UNITS.get(unit)) is None or name in amounts:
            raise MomentError(f"{number}{unit} is not a time", "write +30min, +2h, +1d or +1h30min")
        amounts[name] = int(number)
    days = amounts.get("days", 0) + 7 * amounts.get("weeks", 0)
    if days > _MOST_DAYS:
        raise OverflowError
    note = None
    if days:
        shifted = now.astimezone(zone).replace(tzinfo=None) + timedelta(days=days)
        local = _local(shifted, zone)
        now, note = local.at, local.note
    rest = timedelta(hours=amounts.get("hours", 0), minutes=amounts.get("minutes", 0))
    at = now.astimezone(UTC).replace(microsecond=0) + rest
    return Moment(at=at, zone=zone, is_spoken=True, note=note)


def _read_words(words: str, zone: tzinfo, now: datetime) -> Moment:
    if "midnight" in words:
        raise MomentError("midnight may be where a day begins or ends", "write 00:00 with the date")
    clocks = list(_CLOCK.finditer(words))
    if len(clocks) > 1:
        raise MomentError("there are two times of day in it")
    clock = _read_clock(clocks[0]) if clocks else None
    rest = _CLOCK.sub(" ", words)
    day_words = _FILLERS.sub(" ", rest).split()
    here = now.astimezone(zone)
    if not day_words and clock is None:
        raise MomentError("it is empty")
    days = _candidate_days(day_words, here.date())
    readings = [datetime.combine(day, clock or time()) for day in days]
    moments = [_local(each, zone, is_spoken=True, is_whole_day=clock is None) for each in readings]
    coming = [each for each in moments if each.at > now or each.is_whole_day]
    if not coming:
        raise MomentError(f"it is over: it is {here:%Y-%m-%d %H:%M} {zone_name(zone)} now")
    return coming[0]


def _read_clock(match: re.Match[str]) -> time:
    if match[7]:
        return time(12)
    hour, minute = int(match[1] or match[5]), int(match[2] or 0)
    half = match[4] or match[6]
    if half and not 1 <= hour <= 12:
        raise MomentError(f"{match[0]} is not a time of day", "write 9am, 9:30pm or 21:30")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    try:
        return time(hour, minute, int(match[3] or 0))
    except ValueError:
        raise MomentError(f"{match[0]} is not a time of day", "write 00:00 to 23:59") from None


def _candidate_days(words: list[str], today: date) -> list[date]:
    """The days that may be meant, the first that is not over counts."""
    near = {(): 0, ("today",): 0, ("tomorrow",): 1}.get(tuple(words))
    if near is not None:
        first = today + timedelta(days=near)
        return [first] if words else [first, first + timedelta(days=1)]
    match words:
        case ["next" | "this", _]:
            raise MomentError(f"`{' '.join(words)}` may be one of two days", "write its date")
        case [word] if (number := _find_name(word, _DAYS)) is not None:
            first = today + timedelta(days=(number - today.weekday()) % 7)
            return [first, first + timedelta(days=7)]
        case [word] if re.fullmatch(r"\d{4}-\d\d?-\d\d?", word):
            return [_make_date(*map(int, word.split("-")))]
        case [day, month, *year] if _find_name(month, _MONTHS) is not None:
            return _days_of_year(day, month, year, today)
        case [month, day, *year] if _find_name(month, _MONTHS) is not None:
            return _days_of_year(day, month, year, today)
    raise MomentError(f"{' '.join(words)!r} is not a day with one meaning")


def _days_of_year(day: str, month: str, year: list[str], today: date) -> list[date]:
    number = _find_name(month, _MONTHS)
    is_date = re.fullmatch(r"\d{1,2}", day) and all(re.fullmatch(r"\d{4}", each) for each in year)
    if number is None or not is_date or len(year) > 1:
        raise MomentError(f"{' '.join([day, month, *year])!r} is not a date", "write 24 Dec 2026")
    if year:
        return [_make_date(int(year[0]), number + 1, int(day))]
    this_year, next_year = today.year, today.year + 1
    if (number, int(day)) == (1, 29) and isleap(this_year) != isleap(next_year):
        this_year = next_year = this_year if isleap(this_year) else next_year
    days = [_make_date(each, number + 1, int(day)) for each in (this_year, next_year)]
    return [each for each in days if each >= today]


def _make_date(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise MomentError(f"{year}-{month:02}-{day:02} is not in the calendar") from None


def _find_name(word: str, names: tuple[str, ...]) -> int | None:
    """The place of a name that is written out or by its first three letters."""
    if names is _DAYS and word in _SHORT:
        return _SHORT[word]
    return next((i for i, name in enumerate(names) if word in {name, name[:3]}), None)


def _is_day_word(word: str) -> bool:
    named = _find_name(word, _DAYS) is not None or _find_name(word, _MONTHS) is not None
    return named or word in {"today", "tomorrow"}


def _local(
    reading: datetime, zone: tzinfo, *, is_spoken: bool = False, is_whole_day: bool = False
) -> Moment:
    """The first moment at which a clock in `zone` reads it, or the end of the gap that skips it."""
    at = datetime.fromtimestamp(first_instant(reading, zone), UTC)
    early = reading.replace(tzinfo=zone)
    note = None
    if early.utcoffset() != early.replace(fold=1).utcoffset() and not is_whole_day:
        shown = f"{reading:%H:%M} on {reading:%Y-%m-%d}"
        if at.astimezone(zone).replace(tzinfo=None, fold=0) == reading.replace(microsecond=0):
            note = (
                f"clocks in {zone_name(zone)} read {shown} twice: the first time is meant, "
                f"{at.astimezone(zone).isoformat(timespec='minutes')}; give the offset for another"
            )
        else:
            note = (
                f"clocks in {zone_name(zone)} skip {shown}: "
                f"{at.astimezone(zone):%H:%M} is meant, when they go on"
            )
    return Moment(at=at, zone=zone, is_spoken=is_spoken, is_whole_day=is_whole_day, note=note)

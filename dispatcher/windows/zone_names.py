"""Reads and writes time zones: IANA names in any case, and offsets such as `+05:30`.

In this whole process their rules come from the tzdata package, not from the operating system.
"""

import re
import zoneinfo
from collections.abc import Iterable
from datetime import timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

# An operating system's rules may be years old and differ between machines: Canada, Cuba and
# Morocco changed theirs in 2026. The package is pinned, so all machines have the same rules.
zoneinfo.reset_tzpath(to=())


class ZoneError(ValueError):
    """Why a text is not a valid time zone: a sentence for a person."""


class FixedOffsetError(ZoneError):
    """The IANA database has the name as a fixed offset; where people use it, clocks change."""

    def __init__(self, name: str, meant: str) -> None:
        super().__init__(f"{name} ignores summer time; write {meant}")
        self.meant = meant


def parse_zone(text: str) -> tzinfo:
    """Read `Asia/Kolkata`, `asia/kolkata`, `UTC`, `+05:30`, `+0530`, `UTC+2` or `GMT-3:30`.

    IANA names win over offsets: `Etc/GMT+5` is five hours *behind* UTC. Raises ZoneError, also for
    abbreviations such as IST, which several countries use.
    """
    cleaned = text.strip().translate(_MINUS)
    if name := _names_by_folded().get(cleaned.casefold()):
        return ZoneInfo(name)
    if match := _OFFSET.fullmatch(cleaned):
        hours, minutes = int(match["hours"]), int(match["minutes"] or 0)
        offset = timedelta(hours=hours, minutes=minutes)
        if minutes < 60 and offset <= _LARGEST_OFFSET:
            return timezone(-offset if match["sign"] == "-" else offset)
    shown = cleaned if len(cleaned) <= 40 else cleaned[:40] + "…"
    raise ZoneError(f"{shown!r} is not a valid time zone; write Asia/Kolkata or +05:30")


def parse_given_zone(text: str) -> tzinfo:
    """Like `parse_zone`, for what a person writes now, not for stored zones.

    Raises ZoneError, and FixedOffsetError for names such as EST.
    """
    if meant := _IGNORE_SUMMER_TIME.get(text.strip().casefold()):
        raise FixedOffsetError(text.strip().upper(), meant)
    return parse_zone(text)


def zone_names() -> Iterable[str]:
    """Every IANA name."""
    return _names_by_folded().values()


def zone_name(zone: tzinfo) -> str:
    """The zone's IANA name, else its offset such as `+05:30`; `parse_zone` reads both.

    Raises ValueError for a zone with neither.
    """
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        return zone.key
    offset = zone.utcoffset(None)
    if offset is None:
        raise ValueError(f"{zone!r} has neither a name nor a fixed offset")
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


#: Abbreviations, and the place whose clocks people mean.
_IGNORE_SUMMER_TIME: Final = {
    "est": "America/New_York, or -05:00 if there is none",
    "mst": "America/Denver, or -07:00 if there is none",
}
#: The largest in use: UTC+14, the Line Islands.
_LARGEST_OFFSET: Final = timedelta(hours=14)
_OFFSET: Final = re.compile(
    r"(?:UTC|GMT)? ?(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?",
    re.ASCII | re.IGNORECASE,
)
_MINUS: Final = str.maketrans({"−": "-", "–": "-"})


@cache
def _names_by_folded() -> dict[str, str]:
    """The names in the tzdata package by their case-folded form, without `Factory`."""
    listed = (files("tzdata") / "zones").read_text(encoding="ascii").split()
    return {name.casefold(): name for name in listed if name != "Factory"}

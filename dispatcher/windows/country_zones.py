"""The time zone of a country, where all of it has one."""

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final

from dispatcher.windows.zone_names import parse_zone

#: Zones that agree for so many weeks to come are one.
_WEEKS: Final = 104


@cache
def only_zone(country: str) -> str | None:
    """The IANA name of the zone of a country (ISO 3166); None if it has several, or is unknown.

    Source: zone.tab of the tzdata package, which lists the largest place first.
    """
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    lines = (line.split("\t") for line in table.splitlines() if not line.startswith("#"))
    names = [fields[2] for fields in lines if fields[0] == country]
    if not names:
        return None
    return names[0] if len({*map(_offsets, names)}) == 1 else None


def _offsets(name: str) -> tuple[timedelta | None, ...]:
    zone, now = parse_zone(name), datetime.now(UTC)
    weeks = (now + timedelta(weeks=week) for week in range(_WEEKS))
    return tuple(at.astimezone(zone).utcoffset() for at in weeks)

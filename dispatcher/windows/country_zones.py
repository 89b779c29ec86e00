"""The time zones of a country, and whether all of it has one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final

from dispatcher.windows.zone_names import parse_zone

#: Zones that agree for so many weeks to come are one.
_WEEKS: Final = 104


def only_zone(country: str) -> str | None:
    """The IANA name of the zone of a country (ISO 3166); None if it has several, or is unknown."""
    names = country_zones(country)
    return names[0] if len(names) == 1 else None


@cache
def country_zones(country: str) -> tuple[str, ...]:
    """The IANA names of a country's zones, one for all those that agree; empty if it is unknown.

    Source: zone.tab of the tzdata package, which lists the largest place first.
    """
    names = (fields[2] for fields in read_table("zone.tab") if fields[0] == country)
    differing: dict[tuple[timedelta | None, ...], str] = {}
    for name in names:
        differing.setdefault(_offsets(name), name)
    return tuple(differing.values())


@cache
def listed_zones() -> frozenset[str]:
    """The names that zone.tab has: each place once, without former spellings."""
    return frozenset(fields[2] for fields in read_table("zone.tab"))


def read_table(name: str) -> Iterator[list[str]]:
    """The fields of each line of a table of the tzdata package."""
    table = (files("tzdata") / "zoneinfo" / name).read_text(encoding="utf-8")
    return (line.split("\t") for line in table.splitlines() if not line.startswith("#"))


def _offsets(name: str) -> tuple[timedelta | None, ...]:
    zone, now = parse_zone(name), datetime.now(UTC)
    weeks = (now + timedelta(weeks=week) for week in range(_WEEKS))
    return tuple(at.astimezone(zone).utcoffset() for at in weeks)

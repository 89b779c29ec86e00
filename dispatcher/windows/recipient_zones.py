"""The time zones that a number may be in, and the zone key of its recipient's batch.

A key names one zone, or several; sending must then be allowed in all of them. Zones whose clocks
agree for six years from this year's start count as one, by their best-known name.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final, NamedTuple

from dispatcher.windows.area_codes import AREA_DIGITS, zones_of_area
from dispatcher.windows.wall_clock import find_change, offset_s
from dispatcher.windows.zone_names import parse_given_zone, parse_zone, zone_name

_UNKNOWN: Final = "Etc/Unknown"
#: Xinjiang's custom: China has one official time.
_UNOFFICIAL: Final = "Asia/Urumqi"
_YEARS_COMPARED: Final = 6
#: No zone changes its offset twice within this time.
_STEP_S: Final = 7 * 24 * 60 * 60


class ZoneSource(StrEnum):
    """Where a recipient's zone comes from."""

    #: A column of the recipient's row.
    COLUMN = "column"
    #: The number, which can only be in one zone.
    NUMBER = "number"
    #: The number, which may be in several zones: sending must be allowed in all of them.
    SEVERAL = "several"
    #: The campaign's zone, since nothing is known about the number.
    CAMPAIGN = "campaign"


class ZoneChoice(NamedTuple):
    """A recipient's zone key, for `zones_of_key`, and where it comes from."""

    key: str
    source: ZoneSource


def recipient_zone(explicit: str | None, msisdn: int, default: tzinfo) -> ZoneChoice:
    """The zone key of a recipient: from its zone column, else its number, else the campaign.

    `explicit` is the cell of the zone column; None or blank if there is none. Raises ZoneError if
    the cell is not a valid time zone.
    """
    if explicit is not None and explicit.strip():
        return ZoneChoice(_key_of_text(explicit), ZoneSource.COLUMN)
    if zones := possible_zones(msisdn):
        key = _key_of_names(zones)
        return ZoneChoice(key, ZoneSource.SEVERAL if "," in key else ZoneSource.NUMBER)
    return ZoneChoice(zone_key([default]), ZoneSource.CAMPAIGN)


def zone_key(zones: Iterable[tzinfo]) -> str:
    """The key for zones in all of which sending must be allowed; their order does not matter."""
    return ",".join(sorted({_best_known(zone) for zone in zones}))


@lru_cache(maxsize=4096)
def zones_of_key(key: str) -> tuple[tzinfo, ...]:
    """The zones of a key, for `Schedule.in_all_zones`."""
    return tuple(map(parse_zone, key.split(",")))


def possible_zones(msisdn: int) -> frozenset[str]:
    """IANA names of the zones that a mobile number may be in; empty if nothing is known.

    Those of its area code (`area_codes.py`), else all zones of its country in the IANA database:
    libphonenumber's lists by country are out of date (Morocco as Canary Islands, Nicaragua as
    Chicago, Russia without Kaliningrad), and name places for operators (Indonesia, Chile).
    Raises MsisdnError for digits that do not begin with a calling code.
    """
    # Imported here: the keys of zones are read without the library of phone numbers.
    from dispatcher.numbers.msisdn import calling_code

    code = calling_code(msisdn)
    if (settled := _zones_of_calling_code(code)) is not None:
        return settled
    if code in AREA_DIGITS:
        behind = str(msisdn)[len(str(code)) :]
        if of_area := zones_of_area(code, behind[: AREA_DIGITS[code]]):
            return of_area
    import phonenumbers
    from phonenumbers.timezone import time_zones_for_geographical_number

    number = phonenumbers.parse(f"+{msisdn}")
    of_country = _zones_of_country(phonenumbers.region_code_for_number(number))
    return of_country or frozenset(time_zones_for_geographical_number(number)) - {_UNKNOWN}


@cache
def _zones_of_calling_code(code: int) -> frozenset[str] | None:
    """The zones of every number with this calling code; None unless that is one country's clock."""
    import phonenumbers

    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
    if len(regions) > 1:
        return None
    of_country = _zones_of_country(regions[0])
    return of_country if len(_distinct_clocks(of_country)) == 1 else None


@cache
def _zones_of_country(country: str | None) -> frozenset[str]:
    return frozenset(_zones_by_country().get(country or "", ()))


@cache
def _zones_by_country() -> dict[str, list[str]]:
    """Zone names by ISO 3166 country, from the IANA database's zone.tab."""
    found: dict[str, list[str]] = {}
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    for line in table.splitlines():
        if not line.startswith("#"):
            country, _coordinates, name, *_comment = line.split("\t")
            if name == _UNOFFICIAL:
                continue
            found.setdefault(country, []).append(name)
    return found


@lru_cache(maxsize=4096)
def _key_of_text(text: str) -> str:
    return zone_key([parse_given_zone(text)])


@lru_cache(maxsize=4096)
def _key_of_names(names: frozenset[str]) -> str:
    return zone_key(map(parse_zone, names))


#: A zone's offsets over the compared years: (since when, seconds ahead of UTC).
_OffsetChanges = tuple[tuple[int, int], ...]


@cache
def _offset_changes(zone: tzinfo) -> _OffsetChanges:
    year = datetime.now(UTC).year
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(year + _YEARS_COMPARED, 1, 1, tzinfo=UTC).timestamp())
    found = [(start, offset_s(start, zone))]
    for at in range(start + _STEP_S, end + _STEP_S, _STEP_S):
        if (offset := offset_s(at, zone)) != found[-1][1]:
            found.append((find_change(at - _STEP_S, at, zone), offset))
    return tuple(found)


def _distinct_clocks(names: Iterable[str]) -> set[_OffsetChanges]:
    return {_offset_changes(parse_zone(name)) for name in names}


def _best_known(zone: tzinfo) -> str:
    return _best_known_names().get(_offset_changes(zone)) or zone_name(zone)


@cache
def _best_known_names() -> dict[_OffsetChanges, str]:
    """The most populous zone of each clock of today, from the IANA database's zonenow.tab."""
    table = (files("tzdata") / "zoneinfo" / "zonenow.tab").read_text(encoding="utf-8")
    names = [line.split("\t")[2] for line in table.splitlines() if not line.startswith("#")]
    return {_offset_changes(parse_zone(name)): name for name in names}

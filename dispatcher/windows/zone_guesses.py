"""Guesses which zones somebody means by a city, a country, an abbreviation or a misspelt name.

Source: the tables of the tzdata package. `iso3166.tab` has the names of countries, `zonenow.tab`
one zone for all those whose clocks agree from now on.
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from typing import Final

from dispatcher.windows.country_zones import country_zones, listed_zones, read_table
from dispatcher.windows.zone_names import parse_zone, zone_names

#: So many names are shown.
_MOST: Final = 8
_LIKENESS: Final = 0.8
_LONGEST: Final = 60
_HALF_YEAR: Final = timedelta(days=182)


def guess_zones(text: str) -> str | None:
    """The IANA names that may be meant, as `Asia/Kolkata or Europe/Dublin`; None without a guess.

    It takes milliseconds: not for each row of a file.
    """
    if len(text) > _LONGEST:
        return None
    guesses = (_find_named_places, _find_abbreviation, _find_country, _find_misspelt)
    names = next((found for guess in guesses if (found := guess(text))), [])
    if not names:
        return None
    *first, last = names[:_MOST]
    listed = f"{', '.join(first)} or {last}" if first else last
    return f"one of {', '.join(names[:_MOST])}, …" if len(names) > _MOST else listed


def _fold_name(text: str) -> str:
    """`São Paulo` and `sao-paulo` as `sao_paulo`."""
    letters = "".join(
        c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
    )
    return re.sub(r"[^a-z0-9]+", "_", letters.casefold()).strip("_")


def _find_named_places(text: str) -> list[str]:
    """Zones named after a place, whatever region was written before it."""
    places = _names_by_place()
    found = places.get(_fold_name(text)) or places.get(_fold_name(re.split(r"[/\\]", text)[-1]), [])
    return [name for name in found if name in listed_zones()] or found


def _find_abbreviation(text: str) -> list[str]:
    """Zones whose clocks show an abbreviation such as IST in winter or in summer."""
    wanted, now = text.strip().upper(), datetime.now(UTC)
    names = [fields[2] for fields in read_table("zonenow.tab")]
    return [
        name
        for name in names
        if wanted in {at.astimezone(parse_zone(name)).tzname() for at in (now, now + _HALF_YEAR)}
    ]


def _find_country(text: str) -> list[str]:
    """The zones of a country, by its English name or its code."""
    wanted = _fold_name(text)
    for code, name in read_table("iso3166.tab"):
        # `Britain (UK)` is known by both.
        if wanted and wanted in {code.lower(), *map(_fold_name, (name, *name.split("(")))}:
            return [*country_zones(code)]
    return []


def _find_misspelt(text: str) -> list[str]:
    """Zones with a similar name, or named after a place with a similar one."""
    places = _names_by_place()
    whole = [_fold_name(name) for name in _meant_names()]
    for known in (whole, places):
        if near := get_close_matches(_fold_name(text), known, n=1, cutoff=_LIKENESS):
            found = places[near[0]]
            return [name for name in found if name in listed_zones()] or found
    return []


@cache
def _names_by_place() -> dict[str, list[str]]:
    """IANA names by the end of each: `knox`, `indiana_knox` and the whole one."""
    places: dict[str, list[str]] = {}
    for name in _meant_names():
        for end in _ends_of(name):
            places.setdefault(_fold_name(end), []).append(name)
    return places


def _meant_names() -> list[str]:
    """Not `Etc/GMT+5`: it is five hours behind UTC, which nobody means who misspells a name."""
    return [name for name in zone_names() if not name.startswith("Etc/")]


def _ends_of(name: str) -> Iterator[str]:
    parts = name.split("/")
    yield from ("/".join(parts[start:]) for start in range(len(parts)))

"""The time zones of area codes, in countries whose mobile numbers begin with one.

libphonenumber knows zones by exchange, and one for the exchanges that it does not know, which may
be the wrong one of a split area code. So an area code is in the zones of all its exchanges, and an
overlay is where the code is that it was laid over. The library's zones of Brazil, and some of
Mexico, are out of date: those are here.
"""

from functools import cache
from typing import Final

#: How many digits the area codes behind these calling codes have, at most.
AREA_DIGITS: Final = {1: 3, 52: 3, 55: 2}
#: Overlays of area codes with several clocks (NANPA, CNAC).
_OVERLAYS: Final = {
    "236": "250", "257": "250", "672": "250", "778": "250", "364": "270", "367": "418",
    "581": "418", "448": "850", "458": "541", "879": "709", "930": "812", "986": "208",
}  # fmt: skip
_CHIHUAHUA: Final = frozenset(
    {"America/Chihuahua", "America/Ciudad_Juarez", "America/Ojinaga"}  # both sides of the border
)
_NORTH_EAST: Final = frozenset({"America/Monterrey", "America/Matamoros"})
#: The beginnings of Mexican area codes (IFT) whose clocks changed, or that came later.
_MEXICO: Final = {
    **dict.fromkeys(
        ("614", "621", "625", "626", "627", "628", "629", "635", "636", "639", "648", "649",
         "652", "656", "657", "659"),
        _CHIHUAHUA,
    ),
    "653": frozenset({"America/Hermosillo", "America/Tijuana"}),
    "663": frozenset({"America/Tijuana"}),
    **dict.fromkeys(("86", "873", "877", "878", "89"), _NORTH_EAST),
    "997": frozenset({"America/Merida", "America/Cancun"}),
}  # fmt: skip
#: Brazil's area codes (ANATEL) that are not in Brasilia's time alone.
_BRAZIL: Final = {
    "65": frozenset({"America/Cuiaba"}),
    "66": frozenset({"America/Cuiaba"}),
    "67": frozenset({"America/Campo_Grande"}),
    "68": frozenset({"America/Rio_Branco"}),
    "69": frozenset({"America/Porto_Velho"}),
    "81": frozenset({"America/Recife", "America/Noronha"}),
    "92": frozenset({"America/Manaus"}),
    "95": frozenset({"America/Boa_Vista"}),
    "97": frozenset({"America/Manaus", "America/Eirunepe"}),
}
_BRASILIA: Final = frozenset({"America/Sao_Paulo"})


@cache
def zones_of_area(code: int, area: str) -> frozenset[str]:
    """The IANA names of the zones of an area code; empty if it is not known.

    `code` is one of `AREA_DIGITS`, `area` as many digits behind it.
    """
    if code == 55:
        return _BRAZIL.get(area, _BRASILIA)
    if code == 52 and (found := _MEXICO.get(area) or _MEXICO.get(area[:2])):
        return found
    return _zones_of_exchanges(str(code), _OVERLAYS.get(area, area) if code == 1 else area)


def _zones_of_exchanges(code: str, area: str) -> frozenset[str]:
    """The library's zones of all exchanges of an area code, and of its unknown ones."""
    from phonenumbers.tzdata import TIMEZONE_DATA

    whole = code + area
    found = {
        z for digits, zones in TIMEZONE_DATA.items() if digits.startswith(whole) for z in zones
    }
    if whole not in TIMEZONE_DATA:
        beginnings = (whole[:end] for end in range(len(whole) - 1, len(code), -1))
        found.update(next((TIMEZONE_DATA[b] for b in beginnings if b in TIMEZONE_DATA), ()))
    return frozenset(found)

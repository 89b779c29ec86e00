"""Whether a text fits the template that is registered for it, and where it does not.

India's operators compare each text with its registered template (TRAI's DLT) and drop the others.
"""

import html
import re
from typing import Final, NamedTuple

#: `{#var#}`, and the typed variables that came later, such as `{#numeric#}`.
_VARIABLE: Final = re.compile(r"\{#[^{}#]*#\}")
_SHOWN: Final = 24


class Misfit(NamedTuple):
    """Where a text leaves its template: what both have before, and what each goes on with."""

    after: str
    wanted: str
    found: str


def find_misfit(registered: str, text: str) -> Misfit | None:
    """The first place where `text` does not fit; None where it fits.

    Where a text has nothing of what follows a variable, the place is before that variable.

    A variable takes anything, also nothing. `text` may have placeholders, which fit variables only.
    White space counts as one blank, and `&amp;` in the template as `&`.
    """
    fixed = [_fold_blanks(part) for part in _VARIABLE.split(html.unescape(registered).strip())]
    given = _fold_blanks(text.strip())
    if re.fullmatch(".*".join(map(re.escape, fixed)), given, re.DOTALL):
        return None
    place = _common_start(fixed[0], given)
    if place < len(fixed[0]):
        return _misfit(given, place, fixed[0][place:])
    for part in fixed[1:]:
        found = given.find(part, place)
        if found < 0:
            size = next(n for n in range(len(part), -1, -1) if given.find(part[:n], place) >= 0)
            end = given.find(part[:size], place) + size
            return _misfit(given, end, part[size:] if size else f"{{#var#}}{part}")
        place = found + len(part)
    return _misfit(given, place, "")


def _fold_blanks(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _common_start(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)))  # fmt: skip


def _misfit(text: str, place: int, wanted: str) -> Misfit:
    before = text[max(0, place - _SHOWN) : place]
    return Misfit(before, wanted[:_SHOWN], text[place : place + _SHOWN])

"""Finds the column of the phone numbers, by the names that people give it."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from dispatcher.errors import FileRefused
from dispatcher.numbers.labels import PHONE_WORDS, WEAK_WORDS
from dispatcher.text.template import fold_name, list_names

_BETWEEN_WORDS: Final = re.compile(r"[\s\d!-/:-@\[-`{-~№]+")
_NUMBER_LIKE: Final = re.compile(r"[\s'+(=\"]*\d[\d\s().\-/]*")
_FEWEST_DIGITS: Final = 7
_COLUMN_HINT: Final = "name the column of the phone numbers with --column"


def phone_column(headers: Sequence[str], wanted: str | None) -> int:
    """The index of the phone column: `wanted`, or the only one with a usual name.

    Raises Refused if there is none or more than one, and if `headers` are data.
    """
    for header in headers:
        if _NUMBER_LIKE.fullmatch(header) and sum(map(str.isdecimal, header)) >= _FEWEST_DIGITS:
            raise FileRefused(
                "the file has no header row: its first row already has a number in it",
                "put names above the columns, such as: phone,name",
            )
    if wanted is not None:
        return named_column(headers, wanted)
    candidates = guess_phone_columns(headers)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        names = ", ".join(f"'{headers[index]}'" for index in candidates)
        raise FileRefused(f"several columns may hold the phone numbers: {names}", _COLUMN_HINT)
    raise FileRefused(
        "no column has a name such as phone or mobile",
        f"{_COLUMN_HINT}; the columns are: {list_names(headers)}",
    )


def guess_phone_columns(headers: Sequence[str], *, only_clear: bool = False) -> list[int]:
    """The best candidates: named just so, else with a phone word among others, else weakly.

    `only_clear`: only those named just so.
    """
    words = [set(filter(None, _BETWEEN_WORDS.split(fold_name(header)))) for header in headers]
    # "Mobile Number" and "Phone No." are named just so; "Mobile Network" only has the word.
    clear = [
        index
        for index, found in enumerate(words)
        if found & PHONE_WORDS and found <= PHONE_WORDS | WEAK_WORDS
    ]
    if clear or only_clear:
        return clear
    containing = [i for i, found in enumerate(words) if found & PHONE_WORDS]
    return containing or [i for i, found in enumerate(words) if found and found <= WEAK_WORDS]


def named_column(headers: Sequence[str], wanted: str) -> int:
    """The index of the column that a person named, ignoring case and outer spaces.

    Raises Refused if there is none, naming the nearest, or more than one.
    """
    folded = [fold_name(header) for header in headers]
    found = [index for index, header in enumerate(headers) if header == wanted.strip()]
    found = found or [index for index, name in enumerate(folded) if name == fold_name(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise FileRefused(
            f"{len(found)} columns are named '{wanted.strip()}'", "rename all but one of them"
        )
    nearest = get_close_matches(fold_name(wanted), folded, n=1)
    suggestion = f"did you mean '{headers[folded.index(nearest[0])]}'? " if nearest else ""
    raise FileRefused(
        f"the file has no column '{wanted.strip()}'",
        f"{suggestion}the columns are: {list_names(headers)}",
    )

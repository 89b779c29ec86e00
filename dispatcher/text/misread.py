"""Finds texts damaged before they came here: UTF-8 that a program read as Windows-1252."""

import re
from typing import Final

#: The first byte of a character in UTF-8, and a byte that goes on, as Windows-1252 shows them.
_SPOILT: Final = re.compile(
    "[\xc2-\xf4]"
    "[\x80-\xbf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)


def find_spoilt_word(text: str) -> tuple[str, str] | None:
    """A word of `text` and what it was: `ZoÃ«` and `Zoë`; None if all words are as written."""
    if not _SPOILT.search(text):
        return None
    for word in text.split():
        if not _SPOILT.search(word):
            continue
        try:
            was = word.encode("cp1252").decode("utf-8")
        except UnicodeError:
            continue
        return word, was
    return None

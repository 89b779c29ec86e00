"""The alphabet and the parts of a text, as a provider counts them.

Written apart from the dispatcher's own counting, so that each one checks the other.
"""

import re
from collections.abc import Sequence
from typing import Final

#: GSM 03.38 default alphabet, then its extension table (each of those takes two septets).
_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION: Final = "\f^{}\\[~]|€"
_OUTSIDE: Final = re.compile(f"[^{re.escape(_BASIC + _EXTENSION)}]")
_DOUBLE: Final = re.compile(f"[{re.escape(_EXTENSION)}]")


def fits_gsm7(text: str) -> bool:
    """Whether GSM 03.38 can carry `text`."""
    return _OUTSIDE.search(text) is None


def count_outside_gsm7(texts: Sequence[str]) -> int:
    """How many of `texts` need UCS-2."""
    if fits_gsm7("".join(texts)):
        return 0
    return sum(not fits_gsm7(text) for text in texts)


def count_parts(text: str, *, unicode: bool) -> int:
    """Parts of `text`: 160 or 153 septets each, or 70 or 67 UTF-16 units."""
    if unicode:
        units, single, joined = len(text.encode("utf-16-le")) // 2, 70, 67
    else:
        units, single, joined = len(text) + len(_DOUBLE.findall(text)), 160, 153
    return 1 if units <= single else -(-units // joined)


def count_parts_of_each(texts: Sequence[str], *, unicode: bool) -> list[int]:
    """Parts of each text; fast where all texts are short."""
    shortest_limit = 35 if unicode else 80  # even if every character took two units
    if max(map(len, texts), default=0) <= shortest_limit:
        return [1] * len(texts)
    return [count_parts(text, unicode=unicode) for text in texts]

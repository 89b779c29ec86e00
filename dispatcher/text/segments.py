"""The encoding, length and part count of a text, and the characters that force UCS-2.

Rules: 3GPP TS 23.038 (GSM 03.38) for the alphabets, 3GPP TS 23.040 for concatenation.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.status import Encoding
from dispatcher.text.invisible import (
    INVISIBLE,
    has_invisible,
    remove_all_invisible,
    remove_invisible,
)

#: 3GPP TS 23.038, 6.2.1: the default alphabet, codes 0x00 to 0x7F without 0x1B (escape).
GSM_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
#: 3GPP TS 23.038, 6.2.1.1: the extension table; a character takes two septets: escape and code.
GSM_EXTENSION: Final = "\f^{}\\[~]|€"

#: Septets in a single part, and in each of several, which have a header of 6 octets
#: (TS 23.040, 9.2.3.24.1).
_GSM7_SIZES: Final = (160, 153)
#: The same in UTF-16 code units.
_UCS2_SIZES: Final = (70, 67)

_BASIC_ONLY: Final = re.compile(f"[{re.escape(GSM_BASIC)}]*")
_ODD: Final = re.compile(f"[^{re.escape(GSM_BASIC + GSM_EXTENSION)}]")
_EXTENDED: Final = re.compile(f"[{re.escape(GSM_EXTENSION)}]")
_ASTRAL: Final = re.compile("[\U00010000-\U0010ffff]")
_ESCAPE: Final = "\x1b"
_HIGH_SURROGATE: Final = "\ud800"


@dataclass(frozen=True, slots=True)
class Measure:
    """How a text is sent: `units` are septets (GSM-7) or UTF-16 code units (UCS-2)."""

    encoding: Encoding
    units: int
    parts: int


_ONE_BASIC_PART: Final = tuple(Measure(Encoding.GSM7, n, 1) for n in range(_GSM7_SIZES[0] + 1))


def measure_text(text: str) -> Measure:
    """Measure a text as it is sent.

    A part never ends between an escape and its character, nor inside a surrogate pair. An empty
    text is one part, as providers charge it.
    """
    if len(text) < len(_ONE_BASIC_PART) and _BASIC_ONLY.fullmatch(text):
        return _ONE_BASIC_PART[len(text)]
    if _ODD.search(text):
        pairs = _ASTRAL.sub(_HIGH_SURROGATE + "\udc00", text)
        return Measure(
            Encoding.UCS2, len(pairs), _count_parts(pairs, _HIGH_SURROGATE, *_UCS2_SIZES)
        )
    septets = _EXTENDED.sub(_ESCAPE + "e", text)
    return Measure(Encoding.GSM7, len(septets), _count_parts(septets, _ESCAPE, *_GSM7_SIZES))


def is_basic(text: str) -> bool:
    """Whether `text` has only characters that are one septet each."""
    return _BASIC_ONLY.fullmatch(text) is not None


def count_basic_parts(texts: Sequence[str]) -> list[int]:
    """The parts of texts for which `is_basic` is true."""
    alone, each = _GSM7_SIZES
    lengths = list(map(len, texts))
    if max(lengths, default=0) <= alone:
        return [1] * len(lengths)
    return [1 if length <= alone else -(-length // each) for length in lengths]


def count_ucs2_parts(texts: Sequence[str]) -> list[int | None]:
    """The parts of texts that are UCS-2 also when they are normal, and all in the BMP.

    None for the others: `measure_text` measures them.
    """
    alone, each = _UCS2_SIZES
    all_in_bmp = _is_in_bmp("".join(texts))
    return [
        (1 if len(text) <= alone else -(-len(text) // each))
        if (all_in_bmp or _is_in_bmp(text)) and _IRREPLACEABLE.search(text)
        else None
        for text in texts
    ]


def _is_in_bmp(text: str) -> bool:
    """Whether each character is one UTF-16 code unit."""
    return len(text.encode("utf-16-le", "surrogatepass")) == 2 * len(text)


def _count_parts(units: str, first_of_pair: str, alone: int, each: int) -> int:
    """How many parts `units` take if a part may not end on `first_of_pair`."""
    length = len(units)
    if length <= alone:
        return 1
    if first_of_pair not in units:
        return -(-length // each)
    parts = start = 0
    while start < length:
        start += each
        if start < length and units[start - 1] == first_of_pair:
            start -= 1
        parts += 1
    return parts


def non_gsm_characters(text: str) -> list[str]:
    """The distinct characters of `text` that force UCS-2, in order of appearance."""
    return list(dict.fromkeys(_ODD.findall(text)))


_TYPOGRAPHY: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′‵ʼ´`‹›", "'"),
        **dict.fromkeys("“”„‟″‶«»", '"'),
        **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"),
        "…": "...",
        # All of Unicode's space separators, and the tab, which GSM-7 lacks.
        **dict.fromkeys("\t\xa0\u1680\u202f\u205f\u3000", " "),
        **dict.fromkeys(map(chr, range(0x2000, 0x200B)), " "),
        **dict.fromkeys("\v\x85\u2028\u2029", "\n"),
    }
)
_COMBINING: Final = "\u0300-\u0304\u0306-\u030c\u0327\u0328"
_IRREPLACEABLE: Final = re.compile(
    f"[^{re.escape(GSM_BASIC + GSM_EXTENSION + ''.join(map(chr, _TYPOGRAPHY)))}"
    f"{_COMBINING}{INVISIBLE}]"
)


def normalize(text: str) -> str:
    """Replace typographic quotes, dashes and spaces by those of GSM-7; remove what shows nothing.

    Joiners and accents change only if the whole text becomes GSM-7: elsewhere they belong to a
    script's spelling or to an emoji.
    """
    return normalize_values([text], "".join)[0]


def normalize_values(values: Sequence[str], render: Callable[[list[str]], str]) -> list[str]:
    """The values with which the text that `render` makes of them is as `normalize` would make it.

    The rest of that text must be normal already.
    """
    plain = [remove_invisible(value).translate(_TYPOGRAPHY) for value in values]
    bare = [unicodedata.normalize("NFC", remove_all_invisible(value)) for value in plain]
    return plain if _ODD.search(render(bare)) else bare


def replaceable_characters(text: str) -> list[str]:
    """The characters that force UCS-2 on `text`, if `normalize` would make it GSM-7; else none."""
    odd = _IRREPLACEABLE.search(text)
    if odd is not None and (odd[0] < "\U00010000" or not has_invisible(odd[0])):
        return []
    return [] if _ODD.search(normalize(text)) else non_gsm_characters(text)

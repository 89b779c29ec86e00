"""The texts of a provider's answer, made safe to show and to log. What they mean is not judged."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Final

from dispatcher.numbers.masking import mask_number

MAX_LINE: Final = 200

#: Fields in which providers explain an error.
_ERROR_FIELDS: Final = ("message", "errors", "error", "error_message")
#: An answer can be large: only this many characters of a text are read, and this many texts.
_MAX_RAW: Final = 4000
_MAX_TEXTS: Final = 20
_MAX_DEPTH: Final = 3

#: A phone number, also in groups of digits; not a date and not an IP address.
_PHONE: Final = re.compile(r"(?<!\d)(?!\d{4}-\d\d-\d\d(?!\d))\d(?:[ ()-]{0,2}\d){6,}")
_HIDDEN: Final = "•••"
#: Shorter texts are ordinary words: hiding them would make every answer unreadable.
_MIN_HIDDEN: Final = 4
#: Providers shorten what they quote, so a secret is recognised by its first characters.
_HEAD: Final = 12


def error_texts(answer: object, fields: Iterable[str] = _ERROR_FIELDS) -> list[str]:
    """The texts under `fields` of a JSON answer: strings, or lists and objects of strings."""
    if not isinstance(answer, dict):
        return []
    texts: list[str] = []
    for field in fields:
        for text in _find_strings(answer.get(field), _MAX_DEPTH):
            if len(texts) == _MAX_TEXTS:
                return texts
            texts.append(text)
    return texts


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """`text` on one line of at most `limit` characters, without control and bidi characters."""
    text = text[:_MAX_RAW]
    if not text.isprintable():
        text = "".join(map(_make_printable, text))
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def redacted(text: str, *, hide: Iterable[str] = ()) -> str:
    """A provider's text, safe to show and to log: one line, numbers masked, `hide` hidden."""
    if not hide and text.isalpha() and len(text) <= MAX_LINE:
        return text  # a plain word, such as a status
    line = one_line(text, _MAX_RAW)
    if not line:
        return line
    for secret in sorted({one_line(item, _MAX_RAW) for item in hide}, key=len, reverse=True):
        if len(secret) >= _MIN_HIDDEN:
            line = _hide_secret(line, secret)
    return one_line(_PHONE.sub(_mask_match, line))


def _find_strings(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield value[:_MAX_RAW]
    elif depth:
        nested = value if isinstance(value, list) else ()
        for item in value.values() if isinstance(value, dict) else nested:
            yield from _find_strings(item, depth - 1)


def _make_printable(char: str) -> str:
    category = unicodedata.category(char)
    if category in {"Zl", "Zp"} or char in "\t\n\r\v\f\x85":
        return " "
    return "" if category[0] == "C" else char


def _hide_secret(line: str, secret: str) -> str:
    """`line` with each copy of `secret` replaced, whole or cut short."""
    pieces = []
    while (start := line.find(secret[:_HEAD])) >= 0:
        pairs = zip(line[start:], secret, strict=False)
        quoted = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        pieces += [line[:start], _HIDDEN]
        line = line[start + quoted :]
    return "".join([*pieces, line])


def _mask_match(match: re.Match[str]) -> str:
    return mask_number("".join(str(int(char)) for char in match.group() if char.isdecimal()))

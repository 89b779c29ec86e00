"""Guesses an encoding from words: chardet proposes, the words' own shape and a country judge.

Names are short and few, and detectors are made for prose. So only cells that are not ASCII are
looked at, readings that no language writes are set back, and encodings that read all cells alike
count as one.
"""

import re
import unicodedata
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import BinaryIO, Final, NamedTuple

import phonenumbers

from dispatcher.recipients.detection.code_pages import CODE_PAGES, MULTIBYTE, TWINS, usual_code_page

_CHUNK_BYTES: Final = 256 * 1024
_SAMPLE_BYTES: Final = 16 * 1024
_LONGEST_WORD: Final = 200
#: How many blocks with bytes beyond ASCII are enough.
_MOST_BLOCKS: Final = 16
_BETWEEN_CELLS: Final = re.compile(rb"[\r\n,;\t|\"]+")
_INTERNATIONAL: Final = re.compile(rb"(?:\+|(?<![0-9])00)[ (]{0,2}([1-9][0-9]{0,2})")

#: What is left of the confidence in a reading if a fifth of its words look like no language.
_ODD_SHAPE: Final = 0.05
#: How many times a country's own code page counts.
_AT_HOME: Final = 1.5
#: A guess is sure if it counts this many times as much as the next one …
_CLEARLY: Final = 1.7
#: … or is the country's own and at least about as good as any other.
_AS_GOOD: Final = 0.95
_BETTER: Final = 1.02
#: Below this many bytes beyond ASCII, only a country's own encoding is sure: words prove little.
_FEW_BYTES: Final = 6
_FEW_BYTES_OF_SEVERAL: Final = 16


class CodePageGuess(NamedTuple):
    """An encoding that the words may be in."""

    codec: str
    is_sure: bool


def sample_words(stream: BinaryIO) -> list[bytes]:
    """Distinct cells with bytes beyond ASCII, up to some 16 KiB, from the whole file.

    Reads `stream` from its start, and leaves it there.
    """
    words: dict[bytes, None] = {}
    size = blocks = 0
    while size < _SAMPLE_BYTES and blocks < _MOST_BLOCKS:
        if not (block := stream.read(_CHUNK_BYTES)):
            break
        if block.isascii():
            continue
        blocks += 1
        block += stream.readline()
        for cell in _BETWEEN_CELLS.split(block):
            word = cell[:_LONGEST_WORD].strip()
            if not word.isascii() and word not in words:
                words[word] = None
                size += len(word)
                if size >= _SAMPLE_BYTES:
                    break
    stream.seek(0)
    return list(words)


def country_of_numbers(stream: BinaryIO) -> str | None:
    """The country of most numbers that have a country code, near the start of the file."""
    head = stream.read(_CHUNK_BYTES)
    stream.seek(0)
    codes = Counter(_calling_code(match[1].decode()) for match in _INTERNATIONAL.finditer(head))
    del codes[0]
    if not codes:
        return None
    code, count = codes.most_common(1)[0]
    is_most = count * 2 > codes.total()
    return phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code][0] if is_most else None


def guess_code_pages(words: list[bytes], country: str | None) -> list[CodePageGuess]:
    """Encodings that read every word, the likeliest first; only the first may be sure."""
    from chardet import detect_all

    joined = b"\r\n".join(words)
    home = usual_code_page(country or "")
    readings: dict[str, _Reading] = {}
    for found in detect_all(
        joined, ignore_threshold=True, compat_names=False, include_encodings=CODE_PAGES
    ):
        if (codec := found["encoding"]) is None or (text := _decode(joined, codec)) is None:
            continue
        confidence = found["confidence"] * _rate_shape(text, country)
        reading = readings.setdefault(text, _Reading(codecs=[]))
        readings[text] = reading._replace(
            codecs=[*reading.codecs, codec],
            confidence=max(reading.confidence, confidence),
            is_home=reading.is_home or codec == home,
        )
    ranked = sorted(readings.values(), key=_weight, reverse=True)
    order = list(CODE_PAGES)
    is_sure = bool(ranked) and _is_sure(ranked, joined)
    return [
        CodePageGuess(codec, is_sure and place == 0)
        for place, reading in enumerate(ranked)
        for codec in sorted(reading.codecs, key=order.index)
    ]


class _Reading(NamedTuple):
    """What the words are if read by `codecs`."""

    codecs: list[str]
    confidence: float = 0.0
    is_home: bool = False


def _weight(reading: _Reading) -> float:
    return reading.confidence * (_AT_HOME if reading.is_home else 1)


def _is_sure(ranked: list[_Reading], joined: bytes) -> bool:
    first = ranked[0]
    beyond_ascii = sum(byte > 0x7F for byte in joined)
    few = _FEW_BYTES_OF_SEVERAL if MULTIBYTE.issuperset(first.codecs) else _FEW_BYTES
    if not first.is_home and beyond_ascii < few:
        return False
    if len(ranked) == 1:
        return True
    second = ranked[1]
    if _weight(first) >= _CLEARLY * _weight(second):
        return True
    is_twin = any(TWINS.get(codec) in second.codecs for codec in first.codecs)
    enough = _BETTER if is_twin else _AS_GOOD
    return first.is_home and first.confidence >= enough * second.confidence


def _decode(joined: bytes, codec: str) -> str | None:
    try:
        return joined.decode(codec)
    except UnicodeDecodeError:
        return None


_WORD: Final = re.compile(r"[^\s!-&(-,./:-@\[-`{-~]+")
#: Signs that stand beside letters in names.
_IN_NAMES: Final = frozenset("’‘´`–-·")
#: Turkish, Baltic and Romanian letters become these by a wrong code page.
_ORDINAL_IN_WORD: Final = re.compile(r"[^\W\d_Nn][ªº]|[ªº][^\W\d_]")
_NORDIC_LETTERS: Final = re.compile(r"[þðÞÐ]")
_NORDIC: Final = frozenset({"FO", "IS"})
_NO_CHARACTERS: Final = frozenset({"Cc", "Cn", "Co", "Cs"})
_ONE_SCRIPT: Final = (frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),)


def _rate_shape(text: str, country: str | None) -> float:
    """From 1, for words of one script without signs among the letters, down to _ODD_SHAPE."""
    found: list[str] = _WORD.findall(text)
    words = [word for word in found if not word.isascii()]
    if not words or any(
        unicodedata.category(char) in _NO_CHARACTERS for char in set(text) - set("\r\n")
    ):
        return _ODD_SHAPE
    odd = sum(not _is_word(word, country) for word in words) / len(words)
    return max(_ODD_SHAPE, 1 - 4 * odd)


def _is_word(word: str, country: str | None) -> bool:
    letters = [char for char in word if char.isalpha()]
    has_signs = any(
        not char.isascii() and unicodedata.category(char)[0] in "SPN" and char not in _IN_NAMES
        for char in word
        if unicodedata.category(char) != "Nd"
    ) or (
        _ORDINAL_IN_WORD.search(word) or (country not in _NORDIC and _NORDIC_LETTERS.search(word))
    )
    scripts = {_script(char) for char in letters}
    is_mixed = len(scripts) > 1 and not any(scripts <= each for each in _ONE_SCRIPT)
    # A capital after a small letter: KOI8 and the Windows page for Cyrillic swap them.
    is_swapped = any(
        a.islower() and b.isupper() and not (a + b).isascii() for a, b in pairwise(word)
    )
    return not (has_signs and letters) and not is_mixed and not is_swapped


@cache
def _script(letter: str) -> str:
    """The script, as the first word of the letter's name has it."""
    return unicodedata.name(letter, "?").split()[0]


@cache
def _calling_code(digits: str) -> int:
    """The calling code that digits begin with; 0 if there is none."""
    prefixes = (int(digits[:length]) for length in range(1, len(digits) + 1))
    return next((code for code in prefixes if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), 0)

"""The encoding of a recipient file: by its mark, as UTF-8, as a person names it, or guessed.

Reads a binary stream from its start and leaves it there. A guess says how sure it is and shows what
it makes of the file's own words.
"""

import codecs
from enum import StrEnum
from typing import BinaryIO, Final, NamedTuple

from dispatcher.errors import FileRefused, WrongValue
from dispatcher.recipients.detection.code_pages import label_encoding
from dispatcher.recipients.detection.formats import SAVE_AS_CSV
from dispatcher.recipients.detection.guessing import (
    country_of_numbers,
    guess_code_pages,
    sample_words,
)

_CHUNK_BYTES: Final = 1024 * 1024
_HEAD_BYTES: Final = 64 * 1024
#: UTF-32 first: its little-endian mark begins like that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: All but control codes; a file is not text if one byte of twenty is a control code.
_TEXT_BYTES: Final = bytes(code for code in range(256) if code > 31 or code in b"\t\n\v\f\r\x1b")
_MOST_CONTROLS: Final = 20
_NAME_IT: Final = "name the encoding with --encoding"
#: The share of words with accents that must be valid, to call a file UTF-8 with mistakes.
_MOSTLY: Final = 0.5


class Origin(StrEnum):
    """How an encoding was found."""

    #: The bytes leave no doubt: a byte-order mark, or a whole file that is valid UTF-8.
    CERTAIN = "certain"
    #: A person named it.
    GIVEN = "given"
    #: Proposed by a detector.
    GUESSED = "guessed"


class FoundEncoding(NamedTuple):
    """`codec` is Python's name; `samples` are words of the file as the encoding reads them."""

    codec: str
    origin: Origin
    is_sure: bool = True
    samples: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How people call it: Windows-1250."""
        return label_encoding(self.codec)


def parse_encoding(given: str) -> str:
    """Python's name for an encoding as people write it. Raises UsageProblem for unknown ones."""
    try:
        codec = codecs.lookup(given.strip()).name
        "a".encode(codec)  # refuses codecs that are not of text, such as base64
    except (LookupError, ValueError):
        raise WrongValue(
            f"--encoding {given!r} is not a known encoding",
            "write it like utf-8, windows-1250, shift-jis, gb18030 or koi8-r",
        ) from None
    return codec


def find_encoding(
    stream: BinaryIO, *, given: str | None = None, country: str | None = None
) -> FoundEncoding:
    """The encoding of the whole file, which is read to its end: one accent may decide.

    `given` comes before everything but a byte-order mark. `country` (ISO 3166) is where numbers
    without a country code belong: its usual code page decides between equally good guesses.
    Raises Refused for bytes that the encoding does not allow.
    """
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if given is not None:
        return _check_given(stream, head, given)
    marked = next((codec for mark, codec in _MARKS if head.startswith(mark)), None)
    if (codec := marked or _find_wide_codec(head)) is not None:
        _refuse_undecodable(stream, codec)
        return FoundEncoding(codec, Origin.CERTAIN)
    if not _is_text(head):
        raise FileRefused("the file is not text", SAVE_AS_CSV)
    if (undecodable := _first_undecodable(stream, "utf-8")) is None:
        return FoundEncoding("utf-8", Origin.CERTAIN)
    return _guess(stream, undecodable, country)


def _check_given(stream: BinaryIO, head: bytes, given: str) -> FoundEncoding:
    codec = parse_encoding(given)
    for mark, marked in _MARKS:  # "utf-16" needs to know its byte order, "utf-8" to skip its mark
        if head.startswith(mark) and marked.split("-sig")[0] == codec.removesuffix("-le"):
            codec = marked
    _refuse_undecodable(stream, codec)
    return FoundEncoding(codec, Origin.GIVEN, samples=_decode_words(sample_words(stream), codec))


def _guess(stream: BinaryIO, undecodable: int, country: str | None) -> FoundEncoding:
    words = sample_words(stream)
    valid = sum(_is_utf8(word) for word in words)
    if valid >= _MOSTLY * len(words):
        raise FileRefused(
            f"the file begins as UTF-8, but byte {undecodable + 1} is not",
            f"repair that place, {SAVE_AS_CSV.split(' and ')[0]}, or {_NAME_IT}",
        )
    guesses = guess_code_pages(words, country_of_numbers(stream) or country)
    for guess in guesses:
        if _first_undecodable(stream, guess.codec) is None:
            is_sure = guess.is_sure and guess is guesses[0]
            samples = _decode_words(words, guess.codec)
            return FoundEncoding(guess.codec, Origin.GUESSED, is_sure, samples)
    raise FileRefused("the file is not text in any known encoding", f"{SAVE_AS_CSV}, or {_NAME_IT}")


def _is_text(head: bytes) -> bool:
    return len(head.translate(None, _TEXT_BYTES)) <= len(head) // _MOST_CONTROLS


def _is_utf8(word: bytes) -> bool:
    try:
        word.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decode_words(words: list[bytes], codec: str) -> tuple[str, ...]:
    """Words as the encoding reads them, without those that it cannot."""
    decoded = (word.decode(codec, "replace").strip() for word in words)
    return tuple(text for text in decoded if "\ufffd" not in text)


def _find_wide_codec(head: bytes) -> str | None:
    """UTF-16 without a mark: digits and line ends have a zero byte, always on the same side."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    for codec, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        has_zeros = zeros and zeros >= len(head) // 8 and others <= zeros // 50
        if has_zeros and _is_text(head.decode(codec, "ignore").encode("utf-8", "ignore")):
            return codec
    return None


def _refuse_undecodable(stream: BinaryIO, codec: str) -> None:
    if (undecodable := _first_undecodable(stream, codec)) is not None:
        label = label_encoding(codec)
        raise FileRefused(
            f"the file is not valid {label}: byte {undecodable + 1} is not",
            f"repair that place, or {_NAME_IT}",
        )


def _first_undecodable(stream: BinaryIO, codec: str) -> int | None:
    """The offset of the first byte that the encoding does not allow."""
    decoder = codecs.getincrementaldecoder(codec)()
    offset = 0
    try:
        while True:
            chunk = stream.read(_CHUNK_BYTES)
            state = decoder.getstate()[0]
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return offset - len(state) + error.start
            if not chunk:
                return None
            offset += len(chunk)
    finally:
        stream.seek(0)

"""What kind of text a recipient file is: its encoding and its delimiter, found from its bytes.

Reads a binary stream from its start and leaves it there; knows nothing of rows' meaning.
"""

import codecs
import csv
import io
import re
from collections import Counter
from typing import BinaryIO, Final

from dispatcher.errors import NotAvailableYet, Refused

_SAMPLE_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 1024 * 1024
_DELIMITERS: Final = ",;\t|"
_SAVE_AS: Final = "save it as CSV UTF-8 and try again"
_ZIP: Final = b"PK\x03\x04"
_OLE: Final = b"\xd0\xcf\x11\xe0"
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_EXCEL_SEPARATOR_LINE: Final = re.compile(r"\"?sep=([^\r\n\"])\"?\r?\n", re.IGNORECASE)


def refuse_other_formats(stream: BinaryIO) -> None:
    """Raises NotAvailableYet for a workbook or JSON Lines, Refused for an empty or binary file."""
    head = stream.read(_SAMPLE_BYTES)
    stream.seek(0)
    if head.startswith((_ZIP, _OLE)):
        raise NotAvailableYet("spreadsheet workbooks cannot be read yet", "save it as CSV")
    if head.lstrip().startswith((b'{"', b"{ ", b"{'", b"[{")):
        raise NotAvailableYet("JSON files cannot be read yet", "save it as CSV")
    if not head.strip():
        raise Refused("the file is empty", "it needs a header row and a row for each recipient")
    if b"\0" in head and not head.startswith(_UTF16_MARKS):
        raise Refused("the file is not text", _SAVE_AS)


def find_encoding(stream: BinaryIO) -> str:
    """UTF-16 or UTF-8 by its mark; else UTF-8 where the whole file is valid, else Windows-1252.

    The file is read to its end, because one accent a million rows down decides. Raises Refused
    for a file that begins as UTF-8 and goes on as something else, and for one that is neither.
    """
    head = stream.read(4)
    stream.seek(0)
    encoding = "utf-16" if head.startswith(_UTF16_MARKS) else "utf-8"
    undecodable, ascii_before = _first_undecodable(stream, encoding)
    if undecodable is None:
        return "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else encoding
    if encoding == "utf-16" or not ascii_before:
        raise Refused(
            f"the file begins as {encoding.upper()}, but byte {undecodable + 1} is not",
            f"repair that place, or {_SAVE_AS}",
        )
    # The first character beyond ASCII is no UTF-8, so none of them is.
    if _first_undecodable(stream, "cp1252")[0] is not None:
        raise Refused("the file is neither UTF-8 nor Windows-1252 text", _SAVE_AS)
    return "cp1252"


def _first_undecodable(stream: BinaryIO, encoding: str) -> tuple[int | None, bool]:
    """The offset of the first byte that is no text, and whether all before it is ASCII."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, ascii_only = 0, True
    try:
        while True:
            chunk = stream.read(_CHUNK_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                before = error.object[: error.start]
                return offset - pending + error.start, ascii_only and before.isascii()
            ascii_only = ascii_only and text.isascii()
            if not chunk:
                return None, ascii_only
            offset += len(chunk)
    finally:
        stream.seek(0)


def find_delimiter(stream: BinaryIO, encoding: str) -> tuple[str, int]:
    """The delimiter, and how many lines to leave out before the header: Excel's own `sep=;`.

    The delimiter is the one with which most rows of the sample have as many cells as the header;
    a file of one column has a comma.
    """
    sample = codecs.getincrementaldecoder(encoding)().decode(stream.read(_SAMPLE_BYTES))
    stream.seek(0)
    if match := _EXCEL_SEPARATOR_LINE.match(sample):
        return match[1], 1
    complete = sample[: sample.rfind("\n") + 1] or sample
    return max(_DELIMITERS, key=lambda delimiter: _fitness(complete, delimiter)), 0


def _fitness(sample: str, delimiter: str) -> tuple[float, int]:
    rows = [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row]
    widths = Counter(map(len, rows))
    width = len(rows[0]) if rows else 1
    return (widths[width] / len(rows), width) if width > 1 else (0.0, 0)

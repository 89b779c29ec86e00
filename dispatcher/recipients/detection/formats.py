"""Files that are not tables of text, whatever their name says: they are named for what they are."""

import codecs
import re
from typing import BinaryIO, Final

from dispatcher.errors import FileRefused, NotAvailableYet

_HEAD_BYTES: Final = 4096
SAVE_AS_CSV: Final = "save it as CSV UTF-8 and try again"
_OPEN_AND_SAVE: Final = "open it in a spreadsheet and save it as CSV UTF-8"
_EXPORT_AS_CSV: Final = "export the contacts as CSV instead"
_MARKS: Final = (
    codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF8, codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
)  # fmt: skip

#: How formats that may be read one day begin, and what to do meanwhile.
_NOT_READ_YET: Final = (
    (
        rb"\s*(?:\{\s*'|\[\s*[\[{\"'\]])",
        "JSON files of one list",
        "save it as JSON Lines, with an object in each line, or as CSV",
    ),
    (
        rb"BZh\d|\xfd7zXZ|\x28\xb5\x2f\xfd",
        "files compressed like this",
        "unpack it, or pack it with gzip",
    ),
)
#: How formats begin that are not lists of recipients, or not as text, and what to do.
_NEVER_READ: Final = (
    (rb"\s*<(?:!--.*?-->\s*)*(?:!doctype html|html|head|meta|body|table|div)", "an HTML page",
     _OPEN_AND_SAVE),
    (rb"\s*<\?xml.*(?:urn:schemas-microsoft-com:office:spreadsheet|<Workbook)",
     "an XML spreadsheet", _OPEN_AND_SAVE),
    (rb"\s*<(?:\?xml|!doctype|[a-z][\w:.-]*(?:\s[^<>]*)?>\s*<)", "an XML file", SAVE_AS_CSV),
    (rb"\s*BEGIN:VCARD", "a vCard file", _EXPORT_AS_CSV),
    (rb"\s*BEGIN:VCALENDAR", "a calendar", _EXPORT_AS_CSV),
    (rb"dn:\s*\S+=", "an LDIF file", _EXPORT_AS_CSV),
    (rb"ID;P", "a SYLK spreadsheet", _OPEN_AND_SAVE),
    (rb"TABLE\r?\n0,1\r?\n", "a DIF spreadsheet", _OPEN_AND_SAVE),
    (rb"MIME-Version:", "a saved web page or e-mail", _OPEN_AND_SAVE),
    (rb"\{\\rtf", "a formatted text (RTF)", SAVE_AS_CSV),
    (rb"%PDF-", "a PDF document", SAVE_AS_CSV),
    (rb"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (rb"\s*(?:--.*\n\s*)*(?:INSERT INTO|CREATE TABLE)\b", "an SQL script",
     "export the table as CSV"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture", "a recipient file is a table of text"),
)  # fmt: skip


def refuse_other_formats(stream: BinaryIO) -> None:
    """Read the head of `stream` and leave it at its start.

    Raises Refused for an empty file and for a file of another format, NotAvailableYet for a format
    that may be read one day.
    """
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if not head.strip():
        raise FileRefused("the file is empty", "it needs a header row and a row for each recipient")
    text = _without_marks(head)
    for pattern, what, hint in _NOT_READ_YET:
        if re.match(pattern, text):
            raise NotAvailableYet(f"{what} cannot be read yet", hint)
    for pattern, what, hint in _NEVER_READ:
        if re.match(pattern, text, re.IGNORECASE | re.DOTALL):
            raise FileRefused(f"the file is {what}, not a table of text", hint)


def _without_marks(head: bytes) -> bytes:
    """The head without byte-order marks; of wide encodings only what is ASCII."""
    is_marked = True
    while is_marked:
        is_marked = False
        for mark in _MARKS:
            if head.startswith(mark):
                head, is_marked = head[len(mark) :], True
    return head.replace(b"\0", b"") if head[:64].count(0) >= len(head[:64]) // 3 else head

"""How the text of a table is written: its encoding and delimiter, found or as they are given."""

from typing import Final

from dispatcher.errors import WrongOptions
from dispatcher.recipients.detection.delimiters import FoundDelimiter, choose_delimiter
from dispatcher.recipients.detection.encodings import FoundEncoding, Origin, find_encoding
from dispatcher.recipients.detection.formats import refuse_other_formats
from dispatcher.recipients.formats.found import LABELS, Table

#: What delimiter and header are found from.
HEAD_BYTES: Final = 64 * 1024


def find_text_format(
    table: Table, *, encoding: str | None, delimiter: str | None, country: str | None
) -> tuple[FoundEncoding, FoundDelimiter]:
    """Encoding and delimiter of a table, as given or found.

    Raises FileRefused for bytes that are not a table of text, NotAvailableYet for other formats,
    and WrongOptions for an option that would not count, since the program wrote the table itself.
    """
    if not table.found.is_text:
        for given, option in ((encoding, "--encoding"), (delimiter, "--delimiter")):
            if given is not None:
                what = LABELS[table.found.name]
                raise WrongOptions(f"{option} is for CSV, and the file is {what}", "leave it out")
        return FoundEncoding("utf-8", Origin.CERTAIN), FoundDelimiter(",")
    stream = table.stream
    refuse_other_formats(stream)
    found = find_encoding(stream, given=encoding, country=country)
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    return found, choose_delimiter(head, found.codec, delimiter)

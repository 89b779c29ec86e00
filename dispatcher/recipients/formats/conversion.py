"""Makes a recipient file of any format a table of text; what it is is known by its content."""

import re
from dataclasses import replace
from typing import BinaryIO, Final

from dispatcher.errors import FileRefused, WrongOptions
from dispatcher.recipients.formats.found import LABELS, TEXT, FoundFormat, Table

_HEAD_BYTES: Final = 4096
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_COMPOUND: Final = b"\xd0\xcf\x11\xe0"
_JSON: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{\s*[\"}]")
#: The format that an end of a file's name promises.
_SUFFIXES: Final = {
    "csv": TEXT, "tsv": TEXT, "txt": TEXT, "xlsx": "xlsx", "xlsm": "xlsx", "ods": "ods",
    "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl",
}  # fmt: skip


def make_table(
    stream: BinaryIO, name: str, sheet: str | None, *, skips_hidden: bool = False
) -> Table:
    """The table in a file: `stream` itself if it is one of text, else a temporary file.

    `name` is the file's, `sheet` the one that a person chose; `skips_hidden` leaves its hidden rows
    out. A `stream` that is not returned is
    closed. Raises FileRefused for a file that cannot be read, WrongOptions for a `sheet` of a file
    that has none.
    """
    is_gzip = _read_head(stream).startswith(_GZIP)
    if is_gzip:
        stream = _replace_stream(stream, _unpack(stream))
        if _read_head(stream).startswith(_GZIP):
            raise _closing(stream, FileRefused("the file is packed twice", "unpack it once"))
    try:
        table = _convert(stream, sheet, skips_hidden=skips_hidden)
    except BaseException:
        if is_gzip:
            stream.close()
        raise
    if table.stream is not stream:
        stream.close()
    found = replace(table.found, is_gzip=is_gzip)
    return Table(table.stream, replace(found, misnamed=_misnamed(name, found)))


def _convert(stream: BinaryIO, sheet: str | None, *, skips_hidden: bool) -> Table:
    head = _read_head(stream)
    if head.startswith(_ZIP):
        from dispatcher.recipients.formats.workbooks import read_sheet

        return read_sheet(stream, sheet, skips_hidden=skips_hidden)
    if head.startswith(_COMPOUND):
        from dispatcher.recipients.formats.workbooks import refuse_old_workbook

        raise refuse_old_workbook(stream)
    if sheet is not None:
        raise WrongOptions(
            "--sheet names a sheet of a workbook, and the file is not one", "leave it out"
        )
    if _JSON.match(head):
        from dispatcher.recipients.formats.json_lines import read_json_lines

        return read_json_lines(stream)
    return Table(stream, FoundFormat())


def _unpack(stream: BinaryIO) -> BinaryIO:
    from dispatcher.recipients.formats.gzip_files import unpack_gzip

    return unpack_gzip(stream)


def _replace_stream(old: BinaryIO, new: BinaryIO) -> BinaryIO:
    old.close()
    return new


def _closing(stream: BinaryIO, error: FileRefused) -> FileRefused:
    stream.close()
    return error


def _read_head(stream: BinaryIO) -> bytes:
    stream.seek(0)
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    return head


def _misnamed(name: str, found: FoundFormat) -> str | None:
    """What the name of a file promises, if the file is something else."""
    stem, _, suffix = name.lower().rpartition(".")
    if suffix == "gz":
        if not found.is_gzip:
            return "a gzip file"
        suffix = stem.rpartition(".")[2]
    promised = _SUFFIXES.get(suffix)
    return None if promised in {None, found.name} else LABELS[promised or TEXT]

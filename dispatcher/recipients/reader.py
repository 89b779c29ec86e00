"""Streams the rows of a recipient file, from a path or a pipe, in bounded memory.

Owns opening, rows and their errors; whether a number or a text is good is not decided here.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, Self

from dispatcher.errors import FileRefused, Refused, UsageProblem
from dispatcher.recipients.columns import guess_phone_columns, named_column, phone_column
from dispatcher.recipients.detection.header import clean_headers, find_header
from dispatcher.recipients.detection.text_format import HEAD_BYTES, find_text_format
from dispatcher.recipients.export_cells import (
    EXPORT_COLUMNS,
    is_export,
    read_duplicate_number,
    unquote_formula,
)
from dispatcher.recipients.formats.conversion import make_table
from dispatcher.recipients.formats.found import FoundFormat, Table
from dispatcher.recipients.records import Records, is_blank, quote_refusal, spans_lines
from dispatcher.recipients.rows import Row, RowBlock
from dispatcher.recipients.source import SourceFile, open_twice_readable, stamp_of
from dispatcher.text.template import fold_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How to read a file, as far as a person says it: see `open_recipients`."""

    column: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    country: str | None = None
    is_literal: bool = False


def open_recipients(
    source: Path | BinaryIO,
    *,
    column: str | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    country: str | None = None,
    sheet: str | None = None,
    skips_hidden: bool = False,
    is_literal: bool = False,
) -> "RecipientFile":
    """Open a recipient file; use it as a context manager and iterate once over its rows.

        with open_recipients(Path("people.csv")) as file:
            for row in file: ...

    `column` names the phone column; `mapping` adds, for each field, a column of that name with the
    cells of the named header; `country` (ISO 3166) is where most recipients are; `sheet` is that of
    a workbook, by its name or number; `skips_hidden` leaves its hidden rows out. None is found out.
    The cells of an `is_literal` file are taken as they are, whatever they hold.
    A pipe is copied to a temporary file first. Raises UsageProblem for a path that cannot be read,
    NotAvailableYet for other formats, Refused for a file that is not a table of recipients;
    iterating raises Refused for a broken row, and for a file that changed meanwhile.
    """
    given = ReadingOptions(
        column=column, mapping=mapping or {}, encoding=encoding, delimiter=delimiter,
        country=country, is_literal=is_literal,
    )  # fmt: skip
    stream, path = open_twice_readable(source)
    stamp = stamp_of(os.fstat(stream.fileno())) if path is not None else None
    name = source.name if isinstance(source, Path) else "standard input"
    try:
        with _naming_file(name):
            table = Table(stream, FoundFormat())
            if not is_literal:
                table = make_table(stream, name, sheet, skips_hidden=skips_hidden)
            stream = table.stream
            source_file = SourceFile(stream, path, stamp)
            return RecipientFile(table, source_file, name=name, options=given)
    except BaseException:
        stream.close()
        raise


@contextmanager
def _naming_file(name: str) -> Iterator[None]:
    """Put the name of the file in front of errors about its content."""
    try:
        yield
    except (Refused, UsageProblem) as error:
        raise type(error)(f"{name}: {error.message}", error.hint) from None


class RecipientFile:
    """An open recipient file. `headers` are the file's own, then those that `mapping` adds."""

    def __init__(
        self, table: Table, source: SourceFile, *, name: str, options: ReadingOptions
    ) -> None:
        self._name = name
        self._stream = stream = table.stream
        self._bytes = source
        #: What the file was before it was a table of text.
        self.found_format: Final = table.found
        self.found_encoding, self.found_delimiter = find_text_format(
            table, encoding=options.encoding, delimiter=options.delimiter, country=options.country
        )
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        #: Whether cells are taken as they are.
        self.is_literal: Final = options.is_literal
        self._records = Records(
            self._bytes,
            self.encoding,
            self.found_delimiter,
            cleans=not self.is_literal,
            first_number=table.found.first_number,
        )
        self.header_place: Final = find_header(
            head, self.encoding, self.found_delimiter, options.column
        )
        #: All names above the columns, those of an export of ours too.
        self.found_header: Final = self._read_header()
        header = self.found_header
        #: Whether it is an export of ours, whose own columns are left out.
        self.is_export: Final = is_export(header)
        self._first_column = self._find_first_column(header)
        self.file_headers: Final = header[self._first_column :]
        self.phone_index: Final = phone_column(self.file_headers, options.column)
        self.phone_column: Final = self.file_headers[self.phone_index]
        self._copied = [self._find_copied_column(*names) for names in options.mapping.items()]
        self.headers: Final = (
            *self.file_headers, *(field_name.strip() for field_name in options.mapping),
        )  # fmt: skip
        #: Rows that repeat the header, as in files that were put together.
        self.repeated_headers: list[int] = []

    @property
    def encoding(self) -> str:
        """Python's name for the encoding."""
        return self.found_encoding.codec

    @property
    def delimiter(self) -> str:
        """The character between cells."""
        return self.found_delimiter.char

    @property
    def sha256(self) -> str:
        """Hex digest of the whole file."""
        return self._bytes.sha256

    @property
    def size(self) -> int:
        """In bytes."""
        return self._bytes.size

    @property
    def position(self) -> int:
        """Bytes read so far, of `size`: for showing progress."""
        return self._bytes.position

    def note_position(self, position: int) -> None:
        """Take over how far another process, which reads the file for this one, has come."""
        self._bytes.position = position

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[Row]:
        for block in self.read_blocks():
            yield from map(block.row, range(len(block.cells)))

    def read_blocks(self) -> Iterator[RowBlock]:
        """The rows in blocks, for what handles them a column at a time. Raises as iterating."""
        with _naming_file(self._name):
            for first, records in self._records.read_blocks():
                yield from self._read_block(first, records)
            self._bytes.check_unchanged()

    def check_unchanged(self) -> None:
        """Raises Refused if the file changed while it was read, as iterating to its end does."""
        with _naming_file(self._name):
            self._bytes.check_unchanged()

    def is_repeated_header(self, row: Row) -> bool:
        """Whether a row without a number repeats the header, as in files that were put together.

        Raises Refused if it is another header: the columns below it are not those of the first.
        """
        cells = clean_headers(row.cells[: len(self.file_headers)])
        if [*map(fold_name, cells)] == [*map(fold_name, self.file_headers)]:
            self.repeated_headers.append(row.number)
            return True
        with _naming_file(self._name):
            self._refuse_second_header(row.number, cells)
        return False

    def _refuse_second_header(self, row: int, cells: Sequence[str]) -> None:
        has_digits = any(char.isdecimal() for cell in cells for char in cell)
        if not has_digits and guess_phone_columns(clean_headers(cells), only_clear=True):
            raise FileRefused(
                f"row {row} is a second header, with other columns than the first",
                "submit the parts as files of their own",
            )

    def _read_block(self, first: int, records: list[list[str]]) -> Iterator[RowBlock]:
        """A block of records, read from record `first` on; an error comes after the rows before."""
        if self._is_plain(records):
            if copied := self._copied:
                for cells in records:
                    cells += [cells[index] for index in copied]
            numbers = range(first, first + len(records))
            yield RowBlock(self.phone_index, numbers, records, {})
            return
        rows: list[Row] = []
        try:
            for number, cells in enumerate(records, first):
                if (row := self._read_row(number, cells)) is not None:
                    rows.append(row)
        except Refused:
            yield self._gather_rows(rows)
            raise
        yield self._gather_rows(rows)

    def _is_plain(self, records: list[list[str]]) -> bool:
        """Whether each of the records has all its cells, and nothing that must be mended."""
        if self._first_column or self._records.has_quoted_formulas:
            return False
        if {*map(len, records)} != {len(self.file_headers)}:
            return False
        phone_index = self.phone_index
        return "" not in {cells[phone_index].strip() for cells in records}

    def _gather_rows(self, rows: list[Row]) -> RowBlock:
        width, phone_index = len(self.headers), self.phone_index
        unusual = {
            place: row
            for place, row in enumerate(rows)
            if row.surplus
            or row.sent_as
            or len(row.cells) != width
            or row.cells[phone_index] != row.phone
        }
        cells = [row.cells for row in rows]
        return RowBlock(phone_index, [row.number for row in rows], cells, unusual)

    def _read_row(self, number: int, cells: list[str]) -> Row | None:
        """The row of a record; None for a blank one."""
        width, phone_index, first = len(self.file_headers), self.phone_index, self._first_column
        sent_as = ""
        if first:
            sent_as = read_duplicate_number(cells)
            del cells[:first]
        phone = cells[phone_index] if len(cells) > phone_index else ""
        if not phone.strip() and is_blank(cells):
            return None
        if self._records.has_quoted_formulas:
            cells[:] = map(unquote_formula, cells)
        surplus = False
        if len(cells) != width:
            surplus = not is_blank(cells[width:])
            if (surplus or len(cells) < width) and spans_lines(cells):
                raise quote_refusal(number)  # it went on into the next rows
            if surplus:
                surplus = not self._is_joined(number, cells)
            del cells[width:]
        if self._copied:
            cells.extend([""] * (width - len(cells)))
            cells.extend([cells[index] for index in self._copied])
        return Row(number, phone, cells, surplus, sent_as)

    def _read_header(self) -> tuple[str, ...]:
        for cells in islice(self._records, self.header_place.rows_above, None):
            if not is_blank(cells):
                return clean_headers(cells)
        raise FileRefused("the file is empty", "it needs a header row and a row for each recipient")

    def _find_first_column(self, header: tuple[str, ...]) -> int:
        """Behind our own columns, if the file is an export that kept others."""
        has_others = self.is_export and len(header) > len(EXPORT_COLUMNS)
        return len(EXPORT_COLUMNS) if has_others else 0

    def _find_copied_column(self, name: str, header: str) -> int:
        if fold_name(name) in map(fold_name, self.file_headers):
            raise FileRefused(
                f"the file has a column '{name.strip()}' already",
                f"use {{{{{header.strip()}}}}} in the text, without --map",
            )
        return named_column(self.file_headers, header)

    def _is_joined(self, number: int, cells: list[str]) -> bool:
        """Whether a row runs into a second header, for want of a line break; then mend it."""
        width, header = len(self.file_headers), self.file_headers
        last, rest = cells[width - 1], clean_headers(cells[width:])
        if rest != header[1:] or not last.endswith(header[0]) or self._first_column:
            self._refuse_second_header(number, cells)
            return False
        cells[width - 1] = last.removesuffix(header[0])
        self.repeated_headers.append(number)
        return True

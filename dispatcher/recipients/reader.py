"""Streams the rows of a recipient file (CSV or TSV from a path or a pipe) in bounded memory.

Owns opening, rows and their errors; whether a number or a text is good is not decided here.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self, cast

from dispatcher.errors import NotAvailableYet, Refused
from dispatcher.recipients.columns import named_column, phone_column
from dispatcher.recipients.sniffing import find_delimiter, find_encoding, refuse_other_formats
from dispatcher.recipients.source import CountedBytes, open_twice_readable
from dispatcher.text.template import fold_name

_LONGEST_LINE: Final = 1024 * 1024
_BUFFER_BYTES: Final = 256 * 1024


class Row(NamedTuple):
    """A row of the file: `number` counts rows with something in them, from 1 after the header.

    `cells` are as they stand, one per header or fewer; `surplus` says that there were more filled
    ones than headers, so that a delimiter is probably not quoted and cells are in wrong columns.
    """

    number: int
    phone: str
    cells: list[str]
    surplus: bool = False


def open_recipients(
    source: Path | BinaryIO, *, column: str | None = None, mapping: Mapping[str, str] | None = None
) -> "RecipientFile":
    """Open a recipient file; use it as a context manager and iterate once over its rows.

        with open_recipients(Path("people.csv")) as file:
            for row in file: ...

    `column` names the phone column where its name does not say so; `mapping` adds, for each field,
    a column of that name with the cells of the named header. A pipe is copied to a temporary file
    first. Raises UsageProblem for a path that cannot be read, NotAvailableYet for other formats,
    Refused for a file that is no table of recipients; iterating raises Refused for a broken row.
    """
    stream = open_twice_readable(source)
    name = source.name if isinstance(source, Path) else "standard input"
    try:
        with _naming(name):
            return RecipientFile(stream, name=name, column=column, mapping=mapping or {})
    except BaseException:
        stream.close()
        raise


@contextmanager
def _naming(file: str) -> Iterator[None]:
    """Errors about a file's content say whose it is."""
    try:
        yield
    except (Refused, NotAvailableYet) as error:
        raise type(error)(f"{file}: {error.message}", error.hint) from None


class RecipientFile:
    """An open recipient file. `headers` are the file's own, then those that `mapping` adds."""

    def __init__(
        self, stream: BinaryIO, *, name: str, column: str | None, mapping: Mapping[str, str]
    ) -> None:
        self._name = name
        refuse_other_formats(stream)
        stream.seek(0)
        #: Hex digest of the whole file, before a row of it is read.
        whole = hashlib.file_digest(cast("io.BufferedReader", stream), "sha256")
        self.sha256: Final = whole.hexdigest()
        self.size: Final = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        self.encoding: Final = find_encoding(stream)
        self.delimiter, skipped_lines = find_delimiter(stream, self.encoding)
        self._bytes = CountedBytes(stream)
        self._text = io.TextIOWrapper(
            io.BufferedReader(self._bytes, _BUFFER_BYTES), self.encoding, newline=""
        )
        self._line = ""
        self._row = 0
        self._record_end = 0
        lines = self._lines()
        for _ in range(skipped_lines):
            next(lines)
        self._reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        self.file_headers: Final = self._read_header()
        self.phone_index: Final = phone_column(self.file_headers, column)
        self.phone_column: Final = self.file_headers[self.phone_index]
        self._copied = [self._copied_column(*names) for names in mapping.items()]
        self.headers: Final = (*self.file_headers, *(name.strip() for name in mapping))

    @property
    def position(self) -> int:
        """Bytes read so far, of `size`: for showing progress."""
        return self._bytes.position

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._text.close()

    def __iter__(self) -> Iterator[Row]:
        with _naming(self._name):
            yield from self._rows()

    def _rows(self) -> Iterator[Row]:
        width, phone_index, copied = len(self.file_headers), self.phone_index, self._copied
        for cells in self._records():
            phone = cells[phone_index] if len(cells) > phone_index else ""
            if not phone.strip() and _is_blank(cells):
                continue
            surplus = False
            if len(cells) != width:
                surplus = not _is_blank(cells[width:])
                if (surplus or len(cells) < width) and _spans_lines(cells):
                    raise self._broken_quote()  # it went on into the next rows
                del cells[width:]
            if copied:
                cells.extend([""] * (width - len(cells)))
                cells.extend([cells[index] for index in copied])
            self._row += 1
            yield Row(self._row, phone, cells, surplus)

    def _read_header(self) -> tuple[str, ...]:
        for cells in self._records():
            if not _is_blank(cells):
                return tuple(" ".join(cell.replace("\ufeff", "").split()) for cell in cells)
        raise Refused("the file is empty", "it needs a header row and a row for each recipient")

    def _copied_column(self, name: str, header: str) -> int:
        if fold_name(name) in map(fold_name, self.file_headers):
            raise Refused(
                f"the file has a column '{name.strip()}' already",
                f"use {{{{{header.strip()}}}}} in the text, without --map",
            )
        return named_column(self.file_headers, header)

    def _records(self) -> Iterator[list[str]]:
        while True:
            try:
                for cells in self._reader:
                    self._record_end = self._reader.line_num
                    yield cells
            except csv.Error as error:
                cells = self._mended(error)
            else:
                return
            self._record_end = self._reader.line_num
            yield cells

    def _mended(self, error: csv.Error) -> list[str]:
        """A line with stray quotes is read as it stands; a quote that takes in more is refused."""
        lines = self._reader.line_num - self._record_end
        if lines == 1 and "expected after" in str(error):
            cells = next(csv.reader([self._line], delimiter=self.delimiter))
            if not _spans_lines(cells):
                return cells
        raise self._broken_quote()

    def _broken_quote(self) -> Refused:
        return Refused(
            f"row {self._row + 1} has a quote that is not closed, or a cell that is far too long",
            'a quote inside a quoted cell is written twice: "Robert ""Bob"" Rao"',
        )

    def _lines(self) -> Iterator[str]:
        """Lines of bounded length, the last of them kept for `_mended`."""
        readline = self._text.readline
        try:
            while line := readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise Refused(
                        f"row {self._row + 1} is a line of more than {_LONGEST_LINE} characters",
                        "a recipient file has a line for each recipient",
                    )
                self._line = line
                yield line
        except UnicodeDecodeError:
            raise Refused("the file changed while it was read", "submit it again") from None


def _is_blank(cells: list[str]) -> bool:
    return not any(map(str.strip, cells))


def _spans_lines(cells: list[str]) -> bool:
    return any("\n" in cell or "\r" in cell for cell in cells)

"""The records of a recipient file: its lines cut into cells, with the numbers of a spreadsheet."""

import csv
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from dispatcher.errors import FileRefused, Refused
from dispatcher.recipients.detection.delimiters import FoundDelimiter
from dispatcher.recipients.lines import LONGEST_LINE, CleanLines, LineTooLong, Readable

CHANGED: Final = "the file changed while it was read"
SUBMIT_WHEN_COMPLETE: Final = "submit it again when it is complete"
#: Larger blocks are not faster, and need more memory.
_BLOCK_RECORDS: Final = 1024
_LINE_BREAK: Final = re.compile("\r\n|\r|\n")


class Records:
    """Iterates over records, blank ones too; `number` is that of the last.

    Iterating raises Refused for a broken record.
    """

    def __init__(
        self,
        stream: Readable,
        codec: str,
        delimiter: FoundDelimiter,
        *,
        cleans: bool = True,
        first_number: int = 1,
    ) -> None:
        self._lines = CleanLines(stream, codec, delimiter.char, cleans=cleans)
        self._delimiter = delimiter.char
        lines = islice(self._lines, delimiter.leading_lines, None)
        self._reader = csv.reader(
            lines, delimiter=delimiter.char, strict=True, skipinitialspace=True
        )
        self._last_line = 0
        self.number = first_number - 1

    @property
    def has_quoted_formulas(self) -> bool:
        """Whether a cell read so far may have an apostrophe in front of a formula's sign."""
        return self._lines.has_quoted_formulas

    def __iter__(self) -> Iterator[list[str]]:
        while True:
            try:
                for cells in self._reader:
                    self.number += 1
                    self._last_line = self._reader.line_num
                    yield cells
            except csv.Error as error:
                cells = self._repair_line(error, self.number + 1)
            except LineTooLong:
                raise _long_line_refusal(self.number + 1) from None
            except UnicodeDecodeError:
                raise FileRefused(CHANGED, SUBMIT_WHEN_COMPLETE) from None
            else:
                return
            self.number += 1
            self._last_line = self._reader.line_num
            yield cells

    def read_blocks(self) -> Iterator[tuple[int, list[list[str]]]]:
        """The records that are left, in blocks: the number of the first one, and their cells.

        An error comes after the block of the records before it.
        """
        is_at_end = False
        while not is_at_end:
            block: list[list[str]] = []
            failure: Refused | None = None
            try:
                for cells in islice(self._reader, _BLOCK_RECORDS):
                    block.append(cells)  # noqa: PERF402 - what came before an error is kept
                is_at_end = len(block) < _BLOCK_RECORDS
            except csv.Error as error:
                self._last_line += sum(map(_count_lines, block))
                try:
                    block.append(self._repair_line(error, self.number + len(block) + 1))
                except Refused as refusal:
                    failure = refusal
            except LineTooLong:
                failure = _long_line_refusal(self.number + len(block) + 1)
            except UnicodeDecodeError:
                failure = FileRefused(CHANGED, SUBMIT_WHEN_COMPLETE)
            self._last_line = self._reader.line_num
            first, self.number = self.number + 1, self.number + len(block)
            if block:
                yield first, block
            if failure is not None:
                raise failure

    def _repair_line(self, error: csv.Error, number: int) -> list[str]:
        """Read a line with stray quotes as it stands. Raises Refused if the quote spans lines."""
        lines = self._reader.line_num - self._last_line
        if lines == 1 and "expected after" in str(error):
            line = self._lines.last_line()
            cells = next(csv.reader([line], delimiter=self._delimiter, skipinitialspace=True), [])
            if not spans_lines(cells):
                return cells
        raise quote_refusal(number)


def _count_lines(cells: list[str]) -> int:
    """How many lines a record takes."""
    return 1 + sum(len(_LINE_BREAK.findall(cell)) for cell in cells)


def _long_line_refusal(row: int) -> Refused:
    return FileRefused(
        f"row {row} is a line of more than {LONGEST_LINE} characters",
        "a recipient file has a line for each recipient",
    )


def quote_refusal(row: int) -> Refused:
    """The refusal of a row whose quote takes in the rows below."""
    return FileRefused(
        f"row {row} has a quote that is not closed, or a cell that is far too long",
        'a quote inside a quoted cell is written twice: "Robert ""Bob"" Rao"',
    )


def is_blank(cells: list[str]) -> bool:
    """Whether no cell says anything."""
    return not any(map(str.strip, cells))


def spans_lines(cells: list[str]) -> bool:
    """Whether a cell has a line break."""
    return any("\n" in cell or "\r" in cell for cell in cells)

"""The rows of a recipient file, whatever its format: one by one, and as blocks of columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Row(NamedTuple):
    """A row of the file, numbered as a spreadsheet numbers it: the header is usually row 1.

    `cells` are as they stand, one per header or fewer; `surplus` says that there were more filled
    ones than headers, so that a delimiter is probably not quoted and cells are in wrong columns.
    `sent_as` is the number that our export says this row was a duplicate of, or "".
    """

    number: int
    phone: str
    cells: list[str]
    surplus: bool = False
    sent_as: str = ""


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Consecutive rows as columns: `numbers` and `cells`, which have the phone at `phone_index`.

    `unusual` has, by place in the block, the rows of which this does not say all.
    """

    phone_index: int
    numbers: Sequence[int]
    cells: list[list[str]]
    unusual: Mapping[int, Row]

    def row(self, place: int) -> Row:
        """One row of the block."""
        if (row := self.unusual.get(place)) is not None:
            return row
        cells = self.cells[place]
        return Row(self.numbers[place], cells[self.phone_index], cells)

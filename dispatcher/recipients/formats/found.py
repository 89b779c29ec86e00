"""What a recipient file was before it was read as a table of text, and what was noticed then."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

TEXT: Final = "csv"
LABELS: Final = {
    TEXT: "a table of text (CSV)",
    "xlsx": "an Excel workbook",
    "ods": "an OpenDocument spreadsheet",
    "jsonl": "JSON Lines",
}


class Sheet(NamedTuple):
    """A sheet of a workbook. `rows`: of its table; None if it was not looked at."""

    name: str
    is_hidden: bool
    rows: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetFindings:
    """What a table of text does not show of a sheet; its rows and the table's columns, from 1.

    `numbers`, `dates`, `zeros`: per column, how many cells are numbers, dates, and numbers whose
    format shows leading zeros. `merged_rows` and `empty_formulas` have the first few hundred.
    """

    #: Those with something in them; left out if `skips_hidden`.
    hidden_rows: Sequence[int] = ()
    skips_hidden: bool = False
    hidden_columns: Collection[int] = ()
    merged_rows: Sequence[int] = ()
    #: Cells with a formula that has no stored value, such as `B7`.
    empty_formulas: Sequence[str] = ()
    numbers: dict[int, int] = field(default_factory=dict)
    dates: dict[int, int] = field(default_factory=dict)
    zeros: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFormat:
    """`name`: a key of LABELS. `sheet` and `sheets` are a workbook's, the first is its number 1.

    `first_number`: of the first record. `left_out`: fields that are not in the table.
    """

    name: str = TEXT
    is_gzip: bool = False
    sheet: str | None = None
    sheets: Sequence[Sheet] = ()
    #: Whether another sheet has data too, and nobody chose.
    is_sure: bool = True
    findings: SheetFindings = SheetFindings()
    first_number: int = 1
    left_out: Sequence[str] = ()
    #: What the name of the file says it is, if it is not.
    misnamed: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether the bytes are read as they stand, so that encoding and delimiter matter."""
        return self.name == TEXT

    @property
    def other_sheets(self) -> list[Sheet]:
        """The sheets that were not read, and may have data."""
        return [each for each in self.sheets if each.name != self.sheet and each.rows != 0]


class Table(NamedTuple):
    """An open table of text, and what it was made from."""

    stream: BinaryIO
    found: FoundFormat

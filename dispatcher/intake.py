"""Intake: the rows of a recipient file, one by one, become messages or rejects with a reason.

Used alike by the dry run, which only counts, and by the import, which stores.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from pyroaring import BitMap64

from dispatcher.msisdn import MsisdnError, NumberReader, calling_code
from dispatcher.recipients import RecipientFile, Row
from dispatcher.segments import measure
from dispatcher.status import Encoding, RejectKind
from dispatcher.template import BoundTemplate, RenderError

#: How many rejected rows and rendered texts are shown.
SHOWN_REJECTS = 20
SHOWN_TEXTS = 3
_SURPLUS = "the row has more cells than the header: a cell with the delimiter in it needs quotes"


class Taken(NamedTuple):
    """A row that gets a message. `variables` is a JSON array, or None where the text has none."""

    row: int
    msisdn: int
    text: str
    encoding: Encoding
    parts: int
    variables: str | None
    cells: Sequence[str]


class Rejected(NamedTuple):
    """A row that gets none."""

    row: int
    kind: RejectKind
    msisdn: int | None
    reason: str
    cells: Sequence[str]


@dataclass(slots=True)
class Preview:
    """What a file will become: counts, examples, and three texts as they will arrive."""

    rows: int = 0
    valid: int = 0
    invalid: int = 0
    duplicate: int = 0
    suppressed: int = 0
    parts: int = 0
    #: Messages by encoding and by parts of each.
    shapes: Counter[tuple[Encoding, int]] = field(default_factory=Counter)
    #: Invalid rows by reason.
    reasons: Counter[str] = field(default_factory=Counter)
    calling_codes: Counter[int] = field(default_factory=Counter)
    rejects: list[Rejected] = field(default_factory=list)
    texts: list[Taken] = field(default_factory=list)

    def count(self, item: Taken | Rejected) -> None:
        """Add one row."""
        self.rows += 1
        if isinstance(item, Taken):
            self.valid += 1
            self.parts += item.parts
            self.shapes[item.encoding, item.parts] += 1
            self.calling_codes[calling_code(item.msisdn)] += 1
            if len(self.texts) < SHOWN_TEXTS:
                self.texts.append(item)
            return
        name = item.kind.label
        setattr(self, name, getattr(self, name) + 1)
        if item.kind is RejectKind.INVALID:
            self.reasons[item.reason] += 1
        if len(self.rejects) < SHOWN_REJECTS:
            self.rejects.append(item)


class Intake:
    """Reads rows against one text: `for item in Intake(...)`; `preview` grows meanwhile."""

    def __init__(
        self,
        file: RecipientFile,
        template: BoundTemplate,
        reader: NumberReader,
        *,
        max_parts: int | None,
        limit: int | None = None,
    ) -> None:
        self.preview = Preview()
        self._file = file
        self._template = template
        self._reader = reader
        self._max_parts = max_parts
        self._limit = limit
        self._seen = BitMap64()

    def __iter__(self) -> Iterator[Taken | Rejected]:
        preview = self.preview
        for row in self._file:
            if self._limit is not None and preview.valid >= self._limit:
                return
            item = self._read(row)
            preview.count(item)
            yield item

    def _read(self, row: Row) -> Taken | Rejected:
        if row.surplus:
            return Rejected(row.number, RejectKind.INVALID, None, _SURPLUS, row.cells)
        try:
            msisdn = self._reader.read(row.phone)
        except MsisdnError as error:
            return Rejected(row.number, RejectKind.INVALID, None, str(error), row.cells)
        if msisdn in self._seen:
            reason = "the same number stands in an earlier row"
            return Rejected(row.number, RejectKind.DUPLICATE, msisdn, reason, row.cells)
        values = self._template.values(row.cells)
        try:
            text = self._template.render_values(values)
        except RenderError as error:
            return Rejected(row.number, RejectKind.INVALID, msisdn, str(error), row.cells)
        size = measure(text)
        unsendable = self._unsendable(text, size.parts, size.encoding)
        if unsendable is not None:
            return Rejected(row.number, RejectKind.INVALID, msisdn, unsendable, row.cells)
        self._seen.add(msisdn)
        variables = orjson.dumps(values).decode() if values else None
        return Taken(row.number, msisdn, text, size.encoding, size.parts, variables, row.cells)

    def _unsendable(self, text: str, parts: int, encoding: Encoding) -> str | None:
        if not text.strip():
            return "the text is empty for this row"
        if self._max_parts is None or parts <= self._max_parts:
            return None
        return (
            f"the text has {parts} parts in {encoding.label}; the account allows {self._max_parts}"
        )

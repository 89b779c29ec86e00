"""Intake: the rows of a recipient file, one by one, become messages or rejects with a reason.

Used alike by the dry run, which only counts, and by the import, which stores.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from pyroaring import BitMap64

from dispatcher.numbers.msisdn import MsisdnError, NumberReader, calling_code
from dispatcher.recipients.reader import RecipientFile, Row
from dispatcher.status import Encoding, RejectKind
from dispatcher.text.segments import Measure, measure_text
from dispatcher.text.template import BoundTemplate, RenderError
from dispatcher.windows.recipient_zones import ZoneChoice, ZoneSource
from dispatcher.windows.zone_names import ZoneError

#: How many rejected rows and rendered texts are shown.
SHOWN_REJECTS = 20
SHOWN_TEXTS = 3
_SURPLUS = "the row has more cells than the header: a cell with the delimiter in it needs quotes"
_DUPLICATE = "the same number stands in an earlier row"


class _Unsendable(ValueError):
    """Why a row gets no message, as a sentence."""


class AcceptedRow(NamedTuple):
    """A row that gets a message. `variables` is a JSON array, or None where the text has none."""

    row: int
    msisdn: int
    text: str
    encoding: Encoding
    parts: int
    variables: str | None
    cells: Sequence[str]
    #: What it takes of a request's body.
    size_bytes: int
    #: The zone its windows are in; None: the campaign's.
    zone: str | None = None


class RejectedRow(NamedTuple):
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
    #: Messages by where the recipient's zone comes from, and by zone; empty where it is not asked.
    zone_sources: Counter[ZoneSource] = field(default_factory=Counter)
    zones: Counter[str] = field(default_factory=Counter)
    #: Zones of rows that get no message since the windows never open there.
    closed_zones: set[str] = field(default_factory=set)
    rejects: list[RejectedRow] = field(default_factory=list)
    texts: list[AcceptedRow] = field(default_factory=list)

    def add_row(self, item: AcceptedRow | RejectedRow) -> None:
        """Add one row."""
        self.rows += 1
        if isinstance(item, AcceptedRow):
            self.valid += 1
            self.parts += item.parts
            self.shapes[item.encoding, item.parts] += 1
            self.calling_codes[calling_code(item.msisdn)] += 1
            if item.zone is not None:
                self.zones[item.zone] += 1
            if len(self.texts) < SHOWN_TEXTS:
                self.texts.append(item)
            return
        name = item.kind.label
        setattr(self, name, getattr(self, name) + 1)
        if item.kind is RejectKind.INVALID:
            self.reasons[item.reason] += 1
        if len(self.rejects) < SHOWN_REJECTS:
            self.rejects.append(item)


class RowValidator:
    """Reads rows against one text: `for item in Intake(...)`; `preview` grows meanwhile."""

    def __init__(
        self,
        file: RecipientFile,
        template: BoundTemplate,
        reader: NumberReader,
        *,
        max_parts: int | None,
        bytes_of: Callable[[int, str], int],
        room_bytes: int,
        limit: int | None = None,
        zone_of: Callable[[Sequence[str], int], ZoneChoice] | None = None,
        opens: Callable[[str], bool] = lambda _zone: True,
    ) -> None:
        """`bytes_of` a number and its text are what they take of a request's `room_bytes`.

        `opens`: whether the windows ever let something leave for recipients in a zone.
        """
        self.preview = Preview()
        self._file = file
        self._template = template
        self._reader = reader
        self._max_parts = max_parts
        self._bytes_of = bytes_of
        self._room_bytes = room_bytes
        self._limit = limit
        self._zone_of = zone_of
        self._opens = opens
        self._seen = BitMap64()

    def __iter__(self) -> Iterator[AcceptedRow | RejectedRow]:
        preview = self.preview
        for row in self._file:
            if self._limit is not None and preview.valid >= self._limit:
                return
            item = self._read(row)
            preview.add_row(item)
            yield item

    def _read(self, row: Row) -> AcceptedRow | RejectedRow:
        msisdn = None
        try:
            msisdn = self._number(row)
            if msisdn not in self._seen:
                return self._taken(row, msisdn)
        except (MsisdnError, RenderError, ZoneError, _Unsendable) as error:
            return RejectedRow(row.number, RejectKind.INVALID, msisdn, str(error), row.cells)
        return RejectedRow(row.number, RejectKind.DUPLICATE, msisdn, _DUPLICATE, row.cells)

    def _number(self, row: Row) -> int:
        if row.surplus:
            raise _Unsendable(_SURPLUS)
        return self._reader.read(row.phone)

    def _taken(self, row: Row, msisdn: int) -> AcceptedRow:
        values = self._template.used_values(row.cells)
        text = self._template.render_values(values)
        size = measure_text(text)
        size_bytes = self._bytes_of(msisdn, text)
        self._check(text, size, size_bytes)
        zone = self._zone(row, msisdn)
        self._seen.add(msisdn)
        variables = orjson.dumps(values).decode() if values else None
        return AcceptedRow(
            row.number,
            msisdn,
            text,
            size.encoding,
            size.parts,
            variables,
            row.cells,
            size_bytes,
            zone,
        )

    def _zone(self, row: Row, msisdn: int) -> str | None:
        """The zone that its windows are in; _Unsendable where they never open there."""
        if self._zone_of is None:
            return None
        zone, source = self._zone_of(row.cells, msisdn)
        if not self._opens(zone):
            self.preview.closed_zones.add(zone)
            raise _Unsendable(_why_shut(zone))
        self.preview.zone_sources[source] += 1
        return zone

    def _check(self, text: str, size: Measure, size_bytes: int) -> None:
        if not text.strip():
            raise _Unsendable("the text is empty for this row")
        allowed = self._max_parts
        if allowed is not None and size.parts > allowed:
            raise _Unsendable(
                f"the text has {size.parts} parts in {size.encoding.label}; "
                f"the account allows {allowed}"
            )
        if size_bytes > self._room_bytes:
            raise _Unsendable(
                "the text is too long for a request; the account's `max_request_bytes` limits it"
            )


def _why_shut(zone: str) -> str:
    several = zone.count(",") + 1
    if several == 1:
        return f"the windows never open in its time zone, {zone}"
    return (
        f"the windows are never open in all of the {several} time zones that the number may be in: "
        "give its own in a column `timezone`"
    )

"""Validates the plain rows of a block together, a column at a time.

It refuses nothing: a row in which anything is unusual is left to `RowValidator`, which says what
becomes of it, and why. For the others the result is what `RowValidator` would say.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Protocol

import orjson

from dispatcher.numbers.msisdn import NumberReader
from dispatcher.recipients.content_digest import ContentDigest
from dispatcher.recipients.preview import AcceptedRows
from dispatcher.recipients.rows import RowBlock
from dispatcher.status import Encoding, RejectKind
from dispatcher.text.segments import (
    count_basic_parts,
    is_basic,
    measure_text,
    replaceable_characters,
)
from dispatcher.text.template import BoundTemplate
from dispatcher.windows.recipient_zones import ZoneChoice, ZoneSource
from dispatcher.windows.zone_names import ZoneError


class WithheldNumbers(Protocol):
    """Numbers that get no message although they are valid."""

    def __contains__(self, msisdn: int, /) -> bool: ...

    def explain(self, msisdn: int, /) -> tuple[RejectKind, str]:
        """Why one of them gets none."""
        ...


class NoNumbers:
    """Nobody is withheld."""

    def __contains__(self, msisdn: int) -> bool:
        """False."""
        return False

    def explain(self, msisdn: int) -> tuple[RejectKind, str]:
        """It is never asked."""
        raise KeyError(msisdn)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """What a row must keep to; see `RowValidator`."""

    template: BoundTemplate
    most_parts: int
    bytes_of: Callable[[int, str], int]
    room_bytes: int
    normalizes: bool
    machine_words: frozenset[str]
    zone_of: Callable[[Sequence[str], int], ZoneChoice] | None
    zone_opens: Callable[[str], bool]
    withheld: "WithheldNumbers"


class PlainRows:
    """The candidates of one block; `accept_rows` returns those that are plain."""

    def __init__(self, rules: RowRules, reader: NumberReader, digest: ContentDigest) -> None:
        self._rules = rules
        self._reader = reader
        self._digest = digest
        own = rules.template.own_text
        self._is_basic = is_basic(own)
        #: Then no row is plain: its line breaks have to be changed.
        self._has_returns = "\r" in own

    def accept_rows(self, block: RowBlock) -> "PlainResult":
        """Make messages of the plain rows; their numbers count as seen then."""
        count = len(block.cells)
        if self._has_returns:
            return PlainResult(AcceptedRows(), [], [], [*range(count)])
        places, msisdns = self._find_new_numbers(block)
        rows = _Candidates([block.cells[place] for place in places], msisdns)
        rules, template = self._rules, self._rules.template
        values = [[row[i].strip() for row in rows.cells] for i in template.columns]
        rows.texts = template.render_columns(values, len(places))
        self._find_unusual_values(rows, values)
        self._measure_texts(rows, values)
        rows.sizes_bytes = list(map(rules.bytes_of, msisdns, rows.texts))
        self._find_unsendable(rows)
        self._choose_zones(rows)
        dumped = list(map(orjson.dumps, zip(*values, strict=True))) if values else []
        kept = [place not in rows.unusual for place in range(len(places))]
        accepted = AcceptedRows(
            [block.numbers[place] for place in compress(places, kept)],
            [*compress(msisdns, kept)],
            [*compress(rows.texts, kept)],
            [*compress(rows.encodings, kept)],
            [*compress(rows.parts, kept)],
            [each.decode() for each in compress(dumped, kept)] or [None] * sum(kept),
            [*compress(rows.cells, kept)],
            [*compress(rows.sizes_bytes, kept)],
            [zone and zone.key for zone in compress(rows.zones, kept)],
        )
        self._digest.msisdns.update(accepted.msisdns)
        self._digest.add_many(accepted.msisdns, compress(dumped, kept))
        plain = {*compress(places, kept)}
        return PlainResult(
            accepted,
            [zone.source for zone in compress(rows.zones, kept) if zone is not None],
            [row[block.phone_index] for row in accepted.cells],
            [place for place in range(count) if place not in plain],
        )

    def _find_new_numbers(self, block: RowBlock) -> tuple[list[int], list[int]]:
        """Places of rows with a number that no other row has, here or before, and the numbers."""
        cells, phone_index, seen = block.cells, block.phone_index, self._digest.msisdns
        withheld = self._rules.withheld
        places = [place for place in range(len(cells)) if place not in block.unusual]
        numbers = self._reader.read_cells([cells[place][phone_index] for place in places])
        others = self._reader.read_cells([row.phone for row in block.unusual.values()])
        found = [*filter(None, numbers), *filter(None, others)]
        repeated: set[int] = set()
        if len({*found}) < len(found):
            repeated = {number for number, times in Counter(found).items() if times > 1}
        new = [
            (place, number)
            for place, number in zip(places, numbers, strict=True)
            if number is not None
            and number not in seen
            and number not in repeated
            and number not in withheld
        ]
        return [place for place, _ in new], [number for _, number in new]

    def _find_unusual_values(self, rows: "_Candidates", values: list[list[str]]) -> None:
        rules, unusual = self._rules, rows.unusual
        for place, column in enumerate(values):
            if place in rules.template.required:
                unusual.update(_places(column, {""}))
            if not rules.machine_words.isdisjoint(column):
                unusual.update(_places(column, rules.machine_words))
            if "\r" in "\n".join(column):
                unusual.update(i for i, value in enumerate(column) if "\r" in value)
            if rules.normalizes and not is_basic("\n".join(column)):
                unusual.update(i for i, value in enumerate(column) if not is_basic(value))

    def _measure_texts(self, rows: "_Candidates", values: list[list[str]]) -> None:
        """Encodings and parts. Texts whose encoding is worth a note to the person are unusual."""
        texts = rows.texts
        rows.encodings, rows.parts = [Encoding.GSM7] * len(texts), count_basic_parts(texts)
        odd: Iterable[int] = range(len(texts))
        if self._is_basic:
            columns = [column for column in values if not is_basic("\n".join(column))]
            odd = {i for column in columns for i, value in enumerate(column) if not is_basic(value)}
        for i in odd:
            measure = measure_text(texts[i])
            rows.encodings[i], rows.parts[i] = measure.encoding, measure.parts
            if measure.encoding is Encoding.UCS2 and replaceable_characters(texts[i]):
                rows.unusual.add(i)

    def _find_unsendable(self, rows: "_Candidates") -> None:
        rules, unusual = self._rules, rows.unusual
        if max(rows.parts, default=0) > rules.most_parts:
            unusual.update(i for i, parts in enumerate(rows.parts) if parts > rules.most_parts)
        if max(rows.sizes_bytes, default=0) > rules.room_bytes:
            unusual.update(i for i, s in enumerate(rows.sizes_bytes) if s > rules.room_bytes)
        if not rules.template.own_text.strip():
            unusual.update(i for i, text in enumerate(rows.texts) if not text.strip())

    def _choose_zones(self, rows: "_Candidates") -> None:
        zone_of, zone_opens = self._rules.zone_of, self._rules.zone_opens
        if zone_of is None:
            rows.zones = [None] * len(rows.cells)
            return
        for place, (cells, msisdn) in enumerate(zip(rows.cells, rows.msisdns, strict=True)):
            try:
                zone = zone_of(cells, msisdn)
            except ZoneError:
                zone = None
            if zone is None or not zone_opens(zone.key):
                rows.unusual.add(place)
            rows.zones.append(zone)


@dataclass(frozen=True, slots=True)
class PlainResult:
    """What became of a block: messages, and the `left` places of rows that are not plain."""

    accepted: AcceptedRows
    zone_sources: list[ZoneSource]
    #: The cells of the accepted rows' numbers.
    phones: list[str]
    left: list[int]


@dataclass(slots=True)
class _Candidates:
    """Rows of a block that may be plain, as columns; `unusual` are places of those that are not."""

    cells: list[list[str]]
    msisdns: list[int]
    texts: list[str] = field(default_factory=list)
    encodings: list[Encoding] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    sizes_bytes: list[int] = field(default_factory=list)
    zones: list[ZoneChoice | None] = field(default_factory=list)
    unusual: set[int] = field(default_factory=set)


def _places(column: Sequence[str], wanted: Container[str]) -> Iterator[int]:
    return (place for place, value in enumerate(column) if value in wanted)

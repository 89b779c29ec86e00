"""Validates the plain rows of a block together, a column at a time.

It refuses nothing: a row in which anything is unusual is left to `RowValidator`, which says what
becomes of it, and why. For the others the result is what `RowValidator` would say.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from operator import itemgetter
from typing import Protocol

import orjson

from dispatcher.numbers.msisdn import NumberReader
from dispatcher.recipients.content_digest import ContentDigest
from dispatcher.recipients.preview import AcceptedRows
from dispatcher.recipients.rows import RowBlock
from dispatcher.status import Encoding, RejectKind
from dispatcher.text.segments import (
    count_basic_parts,
    count_ucs2_parts,
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

    def find_among(self, msisdns: Sequence[int], /) -> Collection[int]:
        """Those of many numbers that get none."""
        ...

    def load_numbers(self) -> None:
        """Read all that is needed now: the store is not asked later. Raises StoreError."""
        ...

    def explain(self, msisdn: int, /) -> tuple[RejectKind, str]:
        """Why one of them gets none."""
        ...


class NoNumbers:
    """Nobody is withheld."""

    def __contains__(self, msisdn: int) -> bool:
        """False."""
        return False

    def find_among(self, _msisdns: Sequence[int]) -> Collection[int]:
        """None."""
        return ()

    def load_numbers(self) -> None:
        """Do nothing."""

    def explain(self, msisdn: int) -> tuple[RejectKind, str]:
        """It is never asked."""
        raise KeyError(msisdn)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """What a row must keep to; see `RowValidator`."""

    template: BoundTemplate
    most_parts: int
    sizes_of: Callable[[Sequence[int], Sequence[str]], Sequence[int]]
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
            return PlainResult(AcceptedRows(), [], [], range(count))
        places, msisdns = self._find_new_numbers(block)
        cells = block.cells
        if len(places) < count:
            cells = [cells[place] for place in places]
        rows = _Candidates(cells, msisdns)
        rules, template = self._rules, self._rules.template
        values = [[*map(str.strip, map(itemgetter(i), cells))] for i in template.columns]
        rows.texts = template.render_columns(values, len(places))
        self._find_unusual_values(rows, values)
        self._measure_texts(rows, values)
        rows.sizes_bytes = rules.sizes_of(msisdns, rows.texts)
        self._find_unsendable(rows)
        self._choose_zones(rows)
        dumped = [*map(orjson.dumps, zip(*values, strict=True))]
        accepted = AcceptedRows(
            [block.numbers[place] for place in places],
            msisdns,
            rows.texts,
            rows.encodings,
            rows.parts,
            [each.decode() for each in dumped] or [None] * len(places),
            cells,
            rows.sizes_bytes,
            [zone and zone.key for zone in rows.zones],
        )
        zones = rows.zones
        if rows.unusual:
            kept = [place not in rows.unusual for place in range(len(places))]
            accepted = accepted.select_rows(kept)
            places, zones = [*compress(places, kept)], [*compress(zones, kept)]
            dumped = [*compress(dumped, kept)]
        self._digest.msisdns.update(accepted.msisdns)
        self._digest.add_many(accepted.msisdns, dumped)
        plain = {*places}
        return PlainResult(
            accepted,
            [zone.source for zone in zones if zone is not None],
            [row[block.phone_index] for row in accepted.cells],
            [place for place in range(count) if place not in plain] if len(plain) < count else (),
        )

    def _find_new_numbers(self, block: RowBlock) -> tuple[Sequence[int], list[int]]:
        """Places of rows with a number that no other row has, here or before, and the numbers."""
        cells, unusual = block.cells, block.unusual
        places: Sequence[int] = range(len(cells))
        if unusual:
            places = [place for place in places if place not in unusual]
            cells = [cells[place] for place in places]
        numbers = self._reader.read_cells([*map(itemgetter(block.phone_index), cells)])
        others = self._reader.read_cells([row.phone for row in unusual.values()])
        valid = [number for number in numbers if number is not None]
        found = [*valid, *filter(None, others)]
        refused: set[int | None] = {*filter(self._digest.msisdns.__contains__, valid)}
        refused.update(self._rules.withheld.find_among(valid))
        if len({*found}) < len(found):
            refused.update(number for number, times in Counter(found).items() if times > 1)
        if not refused and len(valid) == len(places):
            return places, valid
        refused.add(None)
        kept = [number not in refused for number in numbers]
        new = [number for number in compress(numbers, kept) if number is not None]
        return [*compress(places, kept)], new

    def _find_unusual_values(self, rows: "_Candidates", values: list[list[str]]) -> None:
        rules, unusual = self._rules, rows.unusual
        for place, column in enumerate(values):
            if place in rules.template.required and not all(column):
                unusual |= _find_places(column, {""})
            if not rules.machine_words.isdisjoint(column):
                unusual |= _find_places(column, rules.machine_words)
            joined = "\n".join(column)
            if "\r" in joined:
                unusual |= _find_places(column, {value for value in {*column} if "\r" in value})
            if rules.normalizes and not is_basic(joined):
                unusual |= _find_odd_values(column)

    def _measure_texts(self, rows: "_Candidates", values: list[list[str]]) -> None:
        """Encodings and parts. Texts whose encoding is worth a note to the person are unusual."""
        texts = rows.texts
        rows.encodings, rows.parts = [Encoding.GSM7] * len(texts), count_basic_parts(texts)
        odd: Collection[int] = range(len(texts))
        if self._is_basic:
            columns = [column for column in values if not is_basic("\n".join(column))]
            odd = {*chain.from_iterable(map(_find_odd_values, columns))}
        for i, parts in zip(odd, count_ucs2_parts([texts[i] for i in odd]), strict=True):
            if parts is not None:
                rows.encodings[i], rows.parts[i] = Encoding.UCS2, parts
                continue
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
    left: Sequence[int]


@dataclass(slots=True)
class _Candidates:
    """Rows of a block that may be plain, as columns; `unusual` are places of those that are not."""

    cells: list[list[str]]
    msisdns: list[int]
    texts: list[str] = field(default_factory=list)
    encodings: list[Encoding] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    sizes_bytes: Sequence[int] = ()
    zones: list[ZoneChoice | None] = field(default_factory=list)
    unusual: set[int] = field(default_factory=set)


def _find_places(column: Sequence[str], wanted: Collection[str]) -> set[int]:
    return {place for place, value in enumerate(column) if value in wanted}


def _find_odd_values(column: Sequence[str]) -> set[int]:
    """Places of values that are not basic. Names and cities are the same in many rows."""
    return _find_places(column, {value for value in {*column} if not is_basic(value)})

"""Validates rows of a recipient file: each becomes a message, or a reject with a reason.

The dry run, which only counts, and the import, which stores, both use it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import orjson

from dispatcher.numbers.msisdn import MsisdnError, NumberReader
from dispatcher.recipients.content_digest import ContentDigest
from dispatcher.recipients.plain_rows import NoNumbers, PlainRows, RowRules, WithheldNumbers
from dispatcher.recipients.preview import (
    AcceptedRow,
    AcceptedRows,
    Preview,
    RejectedRow,
    SpoiltWord,
    ValidatedBlock,
)
from dispatcher.recipients.reader import RecipientFile
from dispatcher.recipients.rows import Row, RowBlock
from dispatcher.recipients.text_sample import TextSample
from dispatcher.status import Encoding, RejectKind
from dispatcher.text.machine_words import MACHINE_WORDS
from dispatcher.text.misread import find_spoilt_word
from dispatcher.text.segments import (
    Measure,
    measure_text,
    normalize,
    normalize_values,
    replaceable_characters,
)
from dispatcher.text.template import BoundTemplate, RenderError
from dispatcher.windows.recipient_zones import ZoneChoice
from dispatcher.windows.zone_names import ZoneError

_SURPLUS: Final = (
    "the row has more cells than the header: a cell with the delimiter in it needs quotes"
)
#: A program that spoils words spoils them all: so many texts are searched for one.
_SEARCHED_TEXTS: Final = 1000
_DUPLICATE: Final = "the same number is in an earlier row"
_WAS_DUPLICATE: Final = "a duplicate in the campaign of which this is the list of rejected rows"


class _Unsendable(ValueError):
    """Why a row gets no message, as a sentence."""


class _Withheld(Exception):
    """The number is valid and gets no message."""


class RowValidator:
    """Reads rows against one text: `RowValidator(...).read_blocks()`; `preview` grows meanwhile."""

    def __init__(
        self,
        file: RecipientFile,
        template: BoundTemplate,
        country: str | None,
        *,
        max_parts: int | None,
        sizes_of: Callable[[Sequence[int], Sequence[str]], Sequence[int]],
        room_bytes: int,
        normalizes: bool = False,
        limit: int | None = None,
        sample: TextSample | None = None,
        zone_of: Callable[[Sequence[str], int], ZoneChoice] | None = None,
        zone_opens: Callable[[str], bool] = lambda _zone: True,
        withheld: WithheldNumbers | None = None,
    ) -> None:
        """`country` (ISO 3166) is where numbers without a country code belong.

        `sizes_of` numbers and their texts is what each takes of a request's `room_bytes`.
        `zone_opens` says whether the windows ever open for recipients in a zone. `withheld` get no
        message.
        """
        self.preview = Preview()
        self._file = file
        self._reader = NumberReader(country)
        self._has_country = country is not None
        self._limit = limit
        self._sample = sample
        self._digest = ContentDigest()
        self._seen = self._digest.msisdns
        self._rules = RowRules(
            template=template,
            most_parts=sys.maxsize if max_parts is None else max_parts,
            sizes_of=sizes_of,
            room_bytes=room_bytes,
            normalizes=normalizes,
            machine_words=frozenset() if file.is_literal else MACHINE_WORDS,
            zone_of=zone_of,
            zone_opens=zone_opens,
            withheld=withheld or NoNumbers(),
        )
        self._plain = PlainRows(self._rules, self._reader, self._digest)

    def read_blocks(self) -> Iterator[ValidatedBlock]:
        """What the rows become, in blocks; stops behind `limit` messages."""
        limit, preview = self._limit, self.preview
        for block in self._file.read_blocks():
            validated = self._validate_block(block)
            if self._sample is not None:
                self._sample.add_rows(validated.accepted)
                self.preview.sample = self._sample.rows
            yield validated
            if limit is not None and preview.valid >= limit:
                self._file.check_unchanged()
                return

    def _validate_block(self, block: RowBlock) -> ValidatedBlock:
        plain = AcceptedRows()
        left: Sequence[int] = range(len(block.cells))
        if self._may_have_plain_rows(len(left)):
            result = self._plain.accept_rows(block)
            plain, left = result.accepted, result.left
            self.preview.add_plain_rows(plain)
            self.preview.zone_sources.update(result.zone_sources)
            if not self._has_country:
                self.preview.assumed_international += sum(map(_is_unmarked, result.phones))
        accepted: list[AcceptedRow] = []
        rejected: list[RejectedRow] = []
        for place in left:
            if self._limit is not None and self.preview.valid >= self._limit:
                break
            item = self.validate_row(block.row(place))
            if isinstance(item, AcceptedRow):
                accepted.append(item)
            elif item is not None:
                rejected.append(item)
        last_row = block.numbers[-1] if block.numbers else 0
        return ValidatedBlock(plain.merge_rows(accepted), rejected, last_row)

    def _may_have_plain_rows(self, count: int) -> bool:
        """Whether nothing is shown of single rows of a block, and the limit is not in it."""
        valid = self.preview.valid
        return valid >= _SEARCHED_TEXTS and (self._limit is None or valid + count <= self._limit)

    def content_digest(self) -> str:
        """The same for files with the same recipients and texts, once all rows are read."""
        return self._digest.hexdigest()

    def validate_row(self, row: Row) -> AcceptedRow | RejectedRow | None:
        """What one row becomes, counted; None for a repeated header, which is not a recipient."""
        item = self._validate(row)
        if item is not None:
            self.preview.add_row(item)
        return item

    def _validate(self, row: Row) -> AcceptedRow | RejectedRow | None:
        msisdn, kind, reason = None, RejectKind.INVALID, ""
        try:
            msisdn = self._read_number(row)
            if msisdn not in self._seen and not (row.sent_as and row.sent_as == str(msisdn)):
                return self._accept(row, msisdn)
            kind = RejectKind.DUPLICATE
            reason = _DUPLICATE if msisdn in self._seen else _WAS_DUPLICATE
        except _Withheld:
            assert msisdn is not None
            kind, reason = self._rules.withheld.explain(msisdn)
        except MsisdnError as error:
            if self._file.is_repeated_header(row):
                return None
            reason = str(error)
        except (RenderError, ZoneError, _Unsendable) as error:
            reason = str(error)
        return RejectedRow(row.number, kind, msisdn, reason, row.cells, row.phone)

    def _read_number(self, row: Row) -> int:
        if row.surplus:
            raise _Unsendable(_SURPLUS)
        msisdn = self._reader.read(row.phone)
        if not self._has_country and _is_unmarked(row.phone):
            self.preview.assumed_international += 1
        return msisdn

    def _accept(self, row: Row, msisdn: int) -> AcceptedRow:
        rules = self._rules
        values = rules.template.used_values(row.cells)
        if not rules.machine_words.isdisjoint(values):
            values = self._empty_machine_words(values)
        text = rules.template.render_values(values)
        if rules.normalizes or "\r" in text:
            values = self._clean_values(values)
            text = rules.template.render_values(values)
        size = measure_text(text)
        if size.encoding is Encoding.UCS2:
            self._inspect_ucs2(text, row.number, size.parts)
        (size_bytes,) = rules.sizes_of([msisdn], [text])
        if size.parts > rules.most_parts or size_bytes > rules.room_bytes or not text.strip():
            raise self._size_refusal(text, size)
        if msisdn in rules.withheld:
            # Part of the content: the same file is the same after somebody has opted out.
            self._note_content(msisdn, values)
            raise _Withheld
        zone = None if rules.zone_of is None else self._find_zone(rules.zone_of, row, msisdn)
        variables = self._note_content(msisdn, values)
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

    def _note_content(self, msisdn: int, values: list[str]) -> str | None:
        """Add a recipient to the digest; the values as JSON, None where the text has none."""
        self._seen.add(msisdn)
        if not values:
            return None
        dumped = orjson.dumps(values)
        self._digest.add_values(msisdn, dumped)
        return dumped.decode()

    def _inspect_ucs2(self, text: str, row: int, parts: int) -> None:
        preview = self.preview
        if culprits := replaceable_characters(text):
            preview.add_culprits(culprits, row)
            preview.replaceable_parts += parts - measure_text(normalize(text)).parts
        is_searched = preview.spoilt is None and preview.valid < _SEARCHED_TEXTS
        if is_searched and (spoilt := find_spoilt_word(text)) is not None:
            preview.spoilt = SpoiltWord(row, *spoilt)

    def _empty_machine_words(self, values: list[str]) -> list[str]:
        """The values, with programs' words for an empty cell made empty."""
        self.preview.machine_words.update(value for value in values if value in MACHINE_WORDS)
        return ["" if value in MACHINE_WORDS else value for value in values]

    def _clean_values(self, values: list[str]) -> list[str]:
        """Values with line breaks as texts have them, and in plain characters if asked for."""
        values = [value.replace("\r\n", "\n").replace("\r", "\n") for value in values]
        if not self._rules.normalizes:
            return values
        return normalize_values(values, self._rules.template.render_values)

    def _find_zone(
        self, zone_of: Callable[[Sequence[str], int], ZoneChoice], row: Row, msisdn: int
    ) -> str:
        """The zone of the recipient's windows; raises _Unsendable if they never open there."""
        zone, source = zone_of(row.cells, msisdn)
        if not self._rules.zone_opens(zone):
            self.preview.closed_zones.add(zone)
            raise _Unsendable(_explain_closed_zone(zone))
        self.preview.zone_sources[source] += 1
        return zone

    def _size_refusal(self, text: str, size: Measure) -> _Unsendable:
        if not text.strip():
            return _Unsendable("the text is empty for this row")
        if size.parts > self._rules.most_parts:
            return _Unsendable(
                f"the text has {size.parts} parts in {size.encoding.label}; "
                f"the account allows {self._rules.most_parts}"
            )
        return _Unsendable(
            "the text is too long for a request; the account's `max_request_bytes` limits it"
        )


def _is_unmarked(phone: str) -> bool:
    """Whether nothing marks a number as international."""
    return not phone.lstrip(" '\"=(").startswith(("+", "00"))


def _explain_closed_zone(zone: str) -> str:
    several = zone.count(",") + 1
    if several == 1:
        return f"the windows never open in its time zone, {zone}"
    return (
        f"the windows are never open in all of the {several} time zones that the number may be in: "
        "give its own in a column `timezone`"
    )

"""What the rows of a recipient file become, and the counts and examples that a person sees."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, NamedTuple

from dispatcher.numbers.msisdn import calling_code
from dispatcher.status import Encoding, RejectKind
from dispatcher.windows.recipient_zones import ZoneSource

#: How many rejected rows and rendered texts are shown.
SHOWN_REJECTS = 20
SHOWN_TEXTS = 3
_PREFIX_DIGITS = 3


class AcceptedRow(NamedTuple):
    """A row that gets a message. `variables` is a JSON array, or None if the text has none."""

    row: int
    msisdn: int
    text: str
    encoding: Encoding
    parts: int
    variables: str | None
    cells: Sequence[str]
    #: How much of a request's body it takes.
    size_bytes: int
    #: The zone of its windows; None: the campaign's.
    zone: str | None = None


@dataclass(slots=True)
class AcceptedRows:
    """Rows that get messages, in the file's order, as columns: see `AcceptedRow`."""

    rows: Sequence[int] = ()
    msisdns: Sequence[int] = ()
    texts: Sequence[str] = ()
    encodings: Sequence[Encoding] = ()
    parts: Sequence[int] = ()
    variables: Sequence[str | None] = ()
    cells: Sequence[Sequence[str]] = ()
    sizes_bytes: Sequence[int] = ()
    zones: Sequence[str | None] = ()

    def merge_rows(self, others: Sequence[AcceptedRow]) -> "AcceptedRows":
        """These rows and others, in the file's order."""
        if not others:
            return self
        added = zip(*others, strict=True)
        joined = [[*mine, *theirs] for mine, theirs in zip(self.columns, added, strict=True)]
        order = sorted(range(len(joined[0])), key=joined[0].__getitem__)
        return AcceptedRows(*([column[i] for i in order] for column in joined))

    def select_rows(self, kept: Sequence[bool]) -> "AcceptedRows":
        """Only the rows for which `kept` is true."""
        return AcceptedRows(*([*compress(column, kept)] for column in self.columns))

    @property
    def columns(self) -> tuple[Sequence[Any], ...]:
        """The columns, in the order of the fields."""
        return (
            self.rows, self.msisdns, self.texts, self.encodings, self.parts, self.variables,
            self.cells, self.sizes_bytes, self.zones,
        )  # fmt: skip


@dataclass(slots=True)
class ValidatedBlock:
    """What consecutive rows of a file became; `last_row` is the number of the last one."""

    accepted: AcceptedRows
    rejected: list["RejectedRow"]
    last_row: int


class RejectedRow(NamedTuple):
    """A row that gets no message. `phone` is the cell of its number, as it is in the file."""

    row: int
    kind: RejectKind
    msisdn: int | None
    reason: str
    cells: Sequence[str]
    phone: str = ""


class Culprit(NamedTuple):
    """A character that makes texts longer: how many texts, and the first row that has it."""

    texts: int
    first_row: int


class SpoiltWord(NamedTuple):
    """A word that another program read in a wrong encoding, and what it was."""

    row: int
    word: str
    was: str


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
    #: Messages by the first three digits of their numbers.
    prefixes: Counter[str] = field(default_factory=Counter)
    #: Numbers that were read as international although nothing marks them so.
    assumed_international: int = 0
    #: Messages by the source of the recipient's zone, and by zone; empty if windows need none.
    zone_sources: Counter[ZoneSource] = field(default_factory=Counter)
    zones: Counter[str] = field(default_factory=Counter)
    #: Zones of rows that get no message since the windows never open there.
    closed_zones: set[str] = field(default_factory=set)
    #: Characters that alone force UCS-2 on texts, and that `--normalize` replaces.
    culprits: dict[str, Culprit] = field(default_factory=dict)
    #: How many parts `--normalize` would save.
    replaceable_parts: int = 0
    #: Cells that hold a machine's word for nothing, such as NULL, by that word.
    machine_words: Counter[str] = field(default_factory=Counter)
    #: The first word that was spoilt before it came into the file.
    spoilt: SpoiltWord | None = None
    rejects: list[RejectedRow] = field(default_factory=list)
    texts: list[AcceptedRow] = field(default_factory=list)
    #: Random rows, if a person asked for some.
    sample: list[AcceptedRow] = field(default_factory=list)

    @property
    def shown_texts(self) -> list[AcceptedRow]:
        """The rows whose texts a person sees: the sample, else the first ones."""
        return self.sample or self.texts

    @property
    def calling_codes(self) -> Counter[int]:
        """Messages by country calling code."""
        codes: Counter[int] = Counter()
        for prefix, count in self.prefixes.items():
            codes[calling_code(int(prefix))] += count
        return codes

    def add_plain_rows(self, rows: AcceptedRows) -> None:
        """Count rows of which no example is shown."""
        count = len(rows.rows)
        self.rows += count
        self.valid += count
        self.parts += sum(rows.parts)
        self._count_shapes(rows)
        self._count_prefixes(rows.msisdns)
        self.zones.update(zone for zone in rows.zones if zone is not None)

    def _count_shapes(self, rows: AcceptedRows) -> None:
        # Faster than counting pairs: they would be hashed one by one.
        for encoding in Encoding:
            if rows.encodings.count(encoding) == len(rows.parts):
                parts: Iterable[int] = rows.parts
            else:
                parts = compress(rows.parts, [each is encoding for each in rows.encodings])
            for number, count in Counter(parts).items():
                self.shapes[encoding, number] += count

    def _count_prefixes(self, msisdns: Sequence[int]) -> None:
        # Few numbers differ in what is left of them without their last digits.
        last_digits = len(str(min(msisdns, default=0))) - _PREFIX_DIGITS
        last = int("1" + "0" * last_digits)
        for first, count in Counter([msisdn // last for msisdn in msisdns]).items():
            self.prefixes[str(first)[:_PREFIX_DIGITS]] += count

    def add_row(self, item: AcceptedRow | RejectedRow) -> None:
        """Count one row."""
        self.rows += 1
        if isinstance(item, AcceptedRow):
            self.valid += 1
            self.parts += item.parts
            self.shapes[item.encoding, item.parts] += 1
            self.prefixes[str(item.msisdn)[:_PREFIX_DIGITS]] += 1
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

    def add_culprits(self, characters: Sequence[str], row: int) -> None:
        """Count the characters that alone force UCS-2 on the text of a row."""
        for char in characters:
            known = self.culprits.get(char, Culprit(0, row))
            self.culprits[char] = known._replace(texts=known.texts + 1)

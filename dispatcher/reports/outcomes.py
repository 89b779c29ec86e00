"""Outcomes of messages in the words of a report, and their counts by country and operator."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from dispatcher.status import MessageState
from dispatcher.store.report_figures import SeriesCount

#: The provider took it; a receipt may still come.
NO_RECEIPT: Final = "no receipt"
#: The outcomes of a report, in the order in which they are shown, and the states that they sum up.
OUTCOMES: Final[Mapping[str, tuple[MessageState, ...]]] = {
    "delivered": (MessageState.DELIVERED,),
    "not delivered": (MessageState.UNDELIVERED, MessageState.EXPIRED),
    NO_RECEIPT: (MessageState.SUBMITTED,),
    "in doubt": (MessageState.IN_DOUBT,),
    "not submitted": (
        MessageState.REJECTED,
        MessageState.FAILED,
        MessageState.CANCELLED,
        MessageState.LAPSED,
        MessageState.SUPPRESSED,
    ),
    "pending": (MessageState.PENDING,),
}
_OUTCOME_OF: Final = {state: name for name, states in OUTCOMES.items() for state in states}
UNKNOWN: Final = "unknown"


@dataclass(slots=True, kw_only=True)
class OutcomeCount:
    """Messages of a country or an operator, by outcome."""

    name: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    parts: int = 0
    cost: Decimal | None = None

    @property
    def total(self) -> int:
        """All of its messages."""
        return sum(self.counts.values())

    def add(self, row: SeriesCount) -> None:
        """Count the messages of a series."""
        self.counts[outcome_of(row.state)] += row.n
        self.parts += row.parts
        if row.cost is not None:
            self.cost = (self.cost or Decimal()) + Decimal(str(round(row.cost, 6)))


def outcome_of(state: int) -> str:
    """The outcome that a message's state belongs to."""
    return _OUTCOME_OF[MessageState(state)]


def count_by_place(
    rows: Iterable[SeriesCount],
) -> tuple[list[OutcomeCount], list[OutcomeCount]]:
    """Outcomes by country, and by country and operator; the largest first.

    The operator is the one that the number's series was given to: people keep their number when
    they change it.
    """
    countries: dict[str, OutcomeCount] = {}
    operators: dict[str, OutcomeCount] = {}
    places: dict[int, tuple[str, str]] = {}
    for row in rows:
        if row.series not in places:
            places[row.series] = _place_of(row.example)
        country, operator = places[row.series]
        countries.setdefault(country, OutcomeCount(name=country)).add(row)
        operators.setdefault(operator, OutcomeCount(name=operator)).add(row)
    return _largest_first(countries), _largest_first(operators)


def shorten(rows: Sequence[OutcomeCount], most: int) -> list[OutcomeCount]:
    """At most `most` rows: the smallest are summed up as `others`."""
    if len(rows) <= most:
        return list(rows)
    others = OutcomeCount(name=f"{len(rows) - most + 1} others")
    for row in rows[most - 1 :]:
        for name, count in row.counts.items():
            others.counts[name] += count
        others.parts += row.parts
        if row.cost is not None:
            others.cost = (others.cost or Decimal()) + row.cost
    return [*rows[: most - 1], others]


def _largest_first(rows: Mapping[str, OutcomeCount]) -> list[OutcomeCount]:
    return sorted(rows.values(), key=lambda one: (-one.total, one.name))


def _place_of(msisdn: int) -> tuple[str, str]:
    """The country of a number, and its country with the operator of its series."""
    import phonenumbers
    from phonenumbers import carrier

    try:
        number = phonenumbers.parse(f"+{msisdn}")
    except phonenumbers.NumberParseException:
        return UNKNOWN, UNKNOWN
    country = phonenumbers.region_code_for_number(number) or f"+{number.country_code}"
    operator = carrier.name_for_number(number, "en") or UNKNOWN
    return country, f"{country}: {operator}"

"""What a submission will cost, by the prices of the account's latest messages."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from dispatcher.errors import StoreError
from dispatcher.numbers.msisdn import calling_code
from dispatcher.recipients.preview import Preview
from dispatcher.store.column_types import format_price
from dispatcher.store.costs import latest_prices
from dispatcher.store.engine import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """`total` is in the unit of the provider's prices, for `priced` of `recipients`."""

    total: Decimal
    priced: int
    recipients: int

    @property
    def in_words(self) -> str:
        """`cost about 12.3 (by earlier prices)`, with how many have none."""
        unknown = self.recipients - self.priced
        others = f", no price known for {unknown}" if unknown else ""
        return f"cost about {format_price(self.total)} (by earlier prices{others})"


def estimate_cost(store: Store, account: str, preview: Preview) -> CostEstimate | None:
    """The cost by the mean price of a part in each country; None if no price is known.

    Parts are taken to be spread evenly over countries.
    """
    if not preview.valid:
        return None
    try:
        with store.read() as conn:
            prices = latest_prices(conn, account)
    except StoreError:
        return None  # a dry run needs no store
    spent: dict[int, Decimal] = defaultdict(Decimal)
    parts: dict[int, int] = defaultdict(int)
    for price in prices:
        code = calling_code(price.msisdn)
        spent[code] += price.cost
        parts[code] += price.parts
    total, priced = Decimal(0), 0
    for code, count in preview.calling_codes.items():
        if parts.get(code):
            total += spent[code] / parts[code] * count
            priced += count
    if not priced:
        return None
    total *= Decimal(preview.parts) / preview.valid
    return CostEstimate(total=round(total, 2), priced=priced, recipients=preview.valid)

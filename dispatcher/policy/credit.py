"""Whether the balance at a provider covers a campaign, and how many recipients it reaches."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from dispatcher.status import Kind
from dispatcher.types import Balance


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditCheck:
    """What a campaign needs of a balance, in the provider's own unit.

    `reserved` is for the account's other campaigns, which were submitted before. `reaches` is how
    many of its recipients the rest is enough for, about, where their texts differ in length.
    """

    package: str
    balance: Decimal
    reserved: Decimal
    needed: Decimal
    reaches: int
    recipients: int

    @property
    def is_enough(self) -> bool:
        """Whether everybody can be texted."""
        return self.reaches >= self.recipients


def check_credit(
    balances: Sequence[Balance],
    kind: Kind,
    *,
    price: Decimal,
    parts: int,
    recipients: int,
    parts_of_others: int = 0,
) -> CreditCheck | None:
    """Compare what is left with what `parts` parts at `price` each cost.

    Counts the package that has the kind's name; without one, the largest. None where the provider
    names no balance.
    """
    own = [one for one in balances if one.package.strip().lower() == kind] or balances
    if not own:
        return None
    best = max(own, key=lambda one: one.amount)
    needed, reserved = price * parts, price * parts_of_others
    left = max(Decimal(0), best.amount - reserved)
    reaches = recipients if needed <= left else int(left * recipients / needed)
    return CreditCheck(
        package=best.package,
        balance=best.amount,
        reserved=reserved,
        needed=needed,
        reaches=min(reaches, recipients),
        recipients=recipients,
    )
